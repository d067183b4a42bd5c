import re

import numpy as np
import pytest

from planet_tf import countries, geometry, partition, surroundings


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
    lines = surroundings.Surroundings(cells).lines(shares)
    assert len(lines) == 2
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
    shares = np.full(cells.num_classes, 1 / cells.num_classes)
    assert len(surroundings.Surroundings(cells).lines(shares)) == 1
