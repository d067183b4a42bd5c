import collections
import json

import numpy as np
import pytest
import s2geometry as s2

from planet_tf.geo import geometry, partition, place_names
from planet_tf.reports import partition_markdown, partition_report

NEW_YORK, SANTIAGO, SUVA = (40.71, -74.0), (-33.45, -70.66), (-18.14, 178.44)


def world(n=600, seed=0):
    """Points (n, 2): towns, both poles, both sides of the antimeridian."""
    rng = np.random.default_rng(seed)
    centres = [NEW_YORK, SANTIAGO, SUVA, (90, 0), (-90, 0), (0.0, 180.0)]
    km = 10 ** rng.uniform(-2, 3.3, n)
    parts = [
        geometry.destinations(*centre, rng.uniform(0, 360, n), km)
        for centre in centres
    ]
    points = np.concatenate(parts)
    points[:, 1] = geometry.wrap_lng(points[:, 1])
    return points


def make(max_photos=40, min_photos=5, other_class=False, max_level=20):
    return partition.build(
        *world().T,
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=max_level,
        other_class=other_class,
    )


def figures(cells, **counts):
    return partition_report.figures(
        cells, partition_report.cells_of(cells), **counts
    )


def s2_cell_of(cells, point):
    """The token of the cell that holds a point, by s2geometry; or None."""
    leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(*point))
    for level in range(31):
        if leaf.parent(level).ToToken() in cells.tokens:
            return leaf.parent(level).ToToken()
    return None


@pytest.mark.parametrize("other_class", [False, True])
def test_the_ceiling_is_that_of_one_photo_after_the_other(other_class):
    cells = make(other_class=other_class)
    photos = world(seed=1, n=60)
    expected = collections.Counter(photos=len(photos))
    for point in photos:
        token = s2_cell_of(cells, point)
        if token is None:
            expected["outside"] += 1
            continue
        centre = s2.S2CellId.FromToken(token).ToLatLng()
        means = cells.points[cells.tokens.index(token)]
        answers = {
            "centres": (centre.lat().degrees(), centre.lng().degrees()),
            "means": means,
        }
        for name, answer in answers.items():
            km = geometry.great_circle_km(*answer, *point)
            for radius in (1, 25, 200, 750, 2500):
                expected[f"{name} {radius}"] += bool(km <= radius)
    found = partition_report.count_within(*photos.T, cells)
    assert expected["outside"] > 5  # else there is little to see
    assert found == {key: expected[key] for key in found}
    shares = partition_report.ceiling(found)
    assert shares["outside_share"] == expected["outside"] / len(photos)
    within = expected["means 200"] / len(photos)
    assert shares["means"]["within_200km"] == within


def test_a_photo_exactly_at_a_radius_is_within(monkeypatch):
    cells = partition.build([10.0], [20.0], max_photos=9, min_photos=1)
    errors = np.array([1.0, np.nextafter(1.0, 2), 25.0, 2500.0, 2500.1])
    monkeypatch.setattr(geometry, "great_circle_km", lambda *points: errors)
    lat, lng = np.full(5, 10.0), np.full(5, 20.0)
    found = partition_report.count_within(lat, lng, cells)
    for name in partition_report.ANSWERS:
        radii = (1, 25, 200, 750, 2500)
        assert [found[f"{name} {km}"] for km in radii] == [1, 3, 3, 3, 4]


@pytest.mark.parametrize("count", ["count_within", "count_regions"])
def test_counts_of_parts_add_up_to_those_of_the_whole(count):
    count = getattr(partition_report, count)
    cells, photos = make(), world(seed=2)
    whole = count(*photos.T, cells)
    for parts in (2, 7, 1000):
        total = collections.Counter()
        for part in np.array_split(photos, parts):
            total.update(count(*part.T, cells))
        assert total == collections.Counter(whole)


def test_no_photos_have_no_counts_and_no_ceiling():
    none = np.zeros(0)
    assert partition_report.count_regions(none, none, make()) == {}
    found = partition_report.count_within(none, none, make())
    assert set(found.values()) == {0}
    with pytest.raises(ValueError, match="no photos"):
        partition_report.ceiling(found)


def test_regions_are_those_of_one_photo_after_the_other():
    cells, photos = make(min_photos=20), world()
    expected = collections.Counter()
    for point in photos:
        leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(*point))
        kept = "dropped" if s2_cell_of(cells, point) is None else "kept"
        expected[f"{kept} {leaf.parent(8).ToToken()}"] += 1
    found = partition_report.count_regions(*photos.T, cells)
    assert collections.Counter(found) == expected
    sums = partition_report.region_figures(found)
    assert sums["kept"] == sum(cells.photos)
    assert sums["dropped"] == cells.dropped > 0


def test_regions_are_countries_with_most_photos_first():
    pytest.importorskip("reverse_geocode")
    tokens = [
        geometry.to_tokens(geometry.parents(geometry.leaf_ids(*np.array(p)), 8))
        for p in np.array([NEW_YORK, (34.05, -118.24), SANTIAGO, (0, -30)])[
            :, :, None
        ]
    ]
    (new_york,), (los_angeles,), (santiago,), (sea,) = tokens
    found = partition_report.region_figures(
        {
            f"kept {new_york}": 5,
            f"dropped {los_angeles}": 2,
            f"kept {santiago}": 8,
            f"dropped {sea}": 1,
        }
    )
    assert found["regions"] == [
        {"region": "Chile", "kept": 8, "dropped": 0},
        {"region": "United States", "kept": 5, "dropped": 2},
        {"region": place_names.NOWHERE, "kept": 0, "dropped": 1},
    ]


def test_figures_are_those_of_the_cells_one_by_one():
    cells = make(other_class=True, max_level=10)
    found = figures(cells)
    assert found["head"]["parameters"] == 2049 * (len(cells.tokens) + 1)
    assert found["head"]["megabytes"] == found["head"]["parameters"] * 4e-6
    levels = [s2.S2CellId.FromToken(t).level() for t in cells.tokens]
    assert found["levels"] == {
        str(k): n for k, n in sorted(collections.Counter(levels).items())
    }
    assert found["photos"] == {
        "kept": sum(cells.photos),
        "dropped": cells.dropped,
    }
    assert found["photos_per_cell"]["median"] == np.median(cells.photos)
    pairs = sorted(
        zip(cells.tokens, cells.photos, strict=True),
        key=lambda pair: -pair[1] / geometry.cell_area_km2(pair[0]),
    )
    assert [row["token"] for row in found["densest"]] == [
        token for token, _ in pairs[:10]
    ]
    over = {row["token"] for row in found["over_max_photos"]}
    assert over == set(cells.over_max_photos) and over
    at_cap = [n for n, k in zip(cells.photos, levels, strict=True) if k == 10]
    assert found["at_max_level"]["cells"] == len(at_cap) >= len(over)
    assert found["at_max_level"]["photos"] == sum(at_cap)
    json.dumps(found, allow_nan=False)


def test_what_a_published_partition_does_not_tell_is_unknown():
    tokens = make().tokens
    centres = geometry.from_vectors(
        geometry.cell_vectors(geometry.from_tokens(list(tokens)))
    )
    cells = partition.Partition(
        tokens=tokens,
        photos=(0,) * len(tokens),
        points=tuple(map(tuple, centres.tolist())),
        max_photos=None,
        min_photos=None,
        max_level=None,
        dropped=0,
    )
    found = figures(cells)
    for key in ("photos_per_cell", "photos_per_km2", "densest"):
        assert found[key] is None
    assert found["over_max_photos"] is found["at_max_level"] is None
    text = partition_markdown.markdown(found, "published.json")
    assert "| split above (t1) | unknown |" in text
    assert "| photos kept | unknown |" in text


def test_without_the_package_for_names_the_report_says_so(monkeypatch):
    monkeypatch.setattr(place_names, "_PACKAGE", "no_such_package")
    cells = make()
    regions = partition_report.count_regions(*world().T, cells)
    found = figures(cells, regions=regions)
    assert found["source"]["regions"] is None
    assert found["source"]["kept"] == sum(cells.photos)
    text = partition_markdown.markdown(found, "p.json")
    assert "pip install reverse-geocode" in text


def test_the_report_tells_of_photos_that_are_not_the_partition_s():
    cells = make()
    same = partition_report.count_regions(*world().T, cells)
    other = partition_report.count_regions(*world(seed=5).T, cells)
    for counts, word in ((same, False), (other, True)):
        found = figures(cells, regions=counts)
        text = partition_markdown.markdown(found, "p.json")
        assert ("made of other photos" in text) == word
