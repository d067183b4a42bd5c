import re

import numpy as np
import pytest

from planet_tf.answering import photo_answers
from planet_tf.geo import countries, geometry, partition


@pytest.fixture(scope="module", params=[False, True])
def cells(request):
    """Cells in France and Japan."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[46.5, 2.5], [36.0, 138.5]], [300, 300], axis=0)
    places = centres + rng.normal(0, 0.3, (600, 2))
    return partition.build(
        *places.T, max_photos=100, min_photos=1, other_class=request.param
    )


def test_countries_are_named_by_the_sum_of_their_cells(cells):
    shares = np.zeros(cells.num_classes)
    # The small cells lie in one country each.
    small = geometry.levels(cells.ids) >= 6
    french = cells.latlng[:, 1] < 90
    first = int(cells.other_class)
    shares[first + np.flatnonzero(small & french)[:2]] = 0.3
    shares[first + np.flatnonzero(small & ~french)[0]] = 0.4
    lines = photo_answers.Answerer(cells).answers(shares[None])[0].lines()
    lines = lines[-2:]
    found = re.findall(r"([A-Z]\w+) ([\d.]+)%", lines[1])
    assert [name for name, _ in found][:2] == ["France", "Japan"]
    assert float(found[0][1]) == pytest.approx(60, abs=1)
    half, most = re.search(
        r"50% within ([\d,]+) km, 90% within ([\d,]+) km", lines[0]
    ).groups()
    # The first answer is the Japanese cell, where less than a half is.
    assert 8_000 < int(half.replace(",", "")) < 11_000
    assert 8_000 < int(most.replace(",", "")) < 11_000


def test_without_polygons_there_are_no_countries(cells, monkeypatch):
    monkeypatch.setattr(countries, "available", lambda: False)
    shares = np.full((2, cells.num_classes), 1 / cells.num_classes)
    first, second = photo_answers.Answerer(cells).answers(shares, 3)
    assert first == second
    assert first.countries == () and first.json()["countries"] == []
    assert len(first.lines()) == 1 + 3 + 1


def test_json_is_the_cells_with_their_points_and_names(cells):
    shares = np.zeros(cells.num_classes, np.float32)
    label = cells.labels(np.array([36.0]), np.array([138.5]))[0]
    shares[label] = 1
    found = photo_answers.Answerer(cells).answers(shares[None])[0].json()
    best = found["cells"][0]
    k = label - int(cells.other_class)
    assert best["token"] == cells.tokens[k]
    assert (best["lat"], best["lng"]) == cells.points[k]
    assert best["probability"] == 1
    assert best["place"].endswith(", Japan")
    area = geometry.cell_area_km2(cells.tokens[k])
    assert best["width_km"] == pytest.approx(area**0.5)
    half, most = found["radius_km"]["50%"], found["radius_km"]["90%"]
    assert 0 < half < most < 2 * best["width_km"]
    assert found["countries"][0]["name"] == "Japan"
    assert len(found["cells"]) == 5
