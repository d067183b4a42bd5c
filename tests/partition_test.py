import collections
import csv
import importlib.util
import pathlib

import numpy as np
import pytest
import s2geometry as s2
from globe import all_over_the_globe
from hypothesis import given, settings
from hypothesis import strategies as st
from partitions import NEW_YORK, PARIS, POINT_SETS, RIO, build, dumped

from planet_tf.geo import geometry, partition, quadtree


def grow(cell, leaves, max_photos, max_level):
    """The paper's rule word for word: cells and counts, one at a time."""
    if len(leaves) > max_photos and cell.level() < max_level:
        for k in range(4):
            child = cell.child(k)
            inside = [x for x in leaves if child.contains(x)]
            yield from grow(child, inside, max_photos, max_level)
    elif leaves:
        yield cell, len(leaves)


def brute_force(points, max_photos, min_photos, max_level):
    """Tokens with their counts, and how many photos are in dropped cells."""
    leaves = [s2.S2CellId(s2.S2LatLng.FromDegrees(*p)) for p in points.tolist()]
    cells = []
    for face in range(6):
        root = s2.S2CellId.FromFacePosLevel(face, 0, 0)
        inside = [x for x in leaves if root.contains(x)]
        cells += grow(root, inside, max_photos, max_level)
    kept = {c.ToToken(): n for c, n in cells if n >= min_photos}
    return kept, len(points) - sum(kept.values())


@pytest.mark.parametrize("name", POINT_SETS)
@pytest.mark.parametrize(
    ("max_photos", "min_photos", "max_level"),
    [
        (50, 5, 20),
        (10, 1, 20),
        (10, 10, 8),
        (100, 50, 3),
        (3, 2, 30),
        (1, 1, 0),
    ],
)
def test_the_partition_is_that_of_the_rule_applied_cell_by_cell(
    name, max_photos, min_photos, max_level
):
    points = POINT_SETS[name]
    cells, dropped = brute_force(points, max_photos, min_photos, max_level)
    if not cells:
        with pytest.raises(partition.PartitionError, match="without cells"):
            build(points, max_photos, min_photos, max_level)
        return
    built = build(points, max_photos, min_photos, max_level)
    assert dict(zip(built.tokens, built.photos, strict=True)) == cells
    assert list(built.tokens) == sorted(cells)
    assert built.dropped == dropped
    over = [t for t, n in cells.items() if n > max_photos]
    assert built.over_max_photos == sorted(over)


def test_the_point_sets_make_splits_drops_and_cells_over_the_cap():
    # Otherwise the test above would compare trivial partitions.
    built = [build(p, 10, 2, 12) for p in POINT_SETS.values()]
    assert sum(len(b.tokens) for b in built) > 300
    assert sum(b.dropped for b in built) > 100
    assert sum(len(b.over_max_photos) for b in built) >= 2
    cell_levels = np.concatenate([geometry.levels(b.ids) for b in built])
    assert cell_levels.min() <= 1 and cell_levels.max() == 12


@pytest.mark.parametrize(
    ("photos", "max_photos", "split"), [(9, 10, 0), (10, 10, 0), (11, 10, 1)]
)
def test_a_cell_splits_above_max_photos_and_not_at_it(
    photos, max_photos, split
):
    # Two places of one face, in different children of it.
    points = [(10, -80)] * 6 + [(-10, -100)] * (photos - 6)
    assert len(build(points, max_photos, 1).tokens) == 1 + split


@pytest.mark.parametrize(
    ("photos", "min_photos", "kept"), [(4, 5, 0), (5, 5, 5), (6, 5, 6)]
)
def test_a_cell_is_dropped_below_min_photos_and_not_at_it(
    photos, min_photos, kept
):
    points = [PARIS] * 20 + [RIO] * photos  # on different faces
    built = build(points, 100, min_photos)
    assert sum(built.photos) == 20 + kept
    assert built.dropped == photos - kept


@pytest.mark.parametrize("cap", [0, 5, 20, 26, 28, 30])
def test_one_place_ends_over_the_cap_and_is_reported(cap):
    built = build([NEW_YORK] * 11 + [RIO] * 2 + [PARIS] * 30, 10, 1, cap)
    assert len(built.tokens) == 3
    new_york = s2.S2CellId(s2.S2LatLng.FromDegrees(*NEW_YORK)).parent(cap)
    paris = s2.S2CellId(s2.S2LatLng.FromDegrees(*PARIS)).parent(cap)
    expected = [paris.ToToken(), new_york.ToToken()]  # in S2 order
    assert built.over_max_photos == expected


def test_cells_are_not_split_below_level_20_unless_asked_to():
    lat, lng = np.array([NEW_YORK] * 11).T
    for built in (
        partition.build(lat, lng, max_photos=10, min_photos=1),
        partition.build_from_batches([(lat, lng)], max_photos=10, min_photos=1),
    ):
        assert built.max_level == 20
        assert geometry.levels(built.ids) == [20]
        assert not built.other_class


@pytest.mark.parametrize("level", [0, 1, 3, 12, 24, 28])
def test_photos_on_an_edge_are_stood_for_by_a_point_inside_and_near(level):
    # Sums of vectors are good to 2 cm, so the mean may fall outside.
    for leaf in geometry.leaf_ids(*all_over_the_globe(30, 8).T)[:, None]:
        token = geometry.to_tokens(geometry.parents(leaf, level))[0]
        for place in geometry.cell_outline(token, points_per_edge=3):
            built = build([place] * 3, 100, 1, max_level=30)
            assert len(built.tokens) == 1  # a face, checked to hold its point
            assert geometry.great_circle_km(*built.points[0], *place) < 1e-4


@pytest.mark.parametrize("level", [3, 12, 24])
def test_photos_on_edges_of_many_cells_at_once_are_stood_for_inside(level):
    leaves = geometry.leaf_ids(*all_over_the_globe(60, 10).T)
    ids = np.unique(geometry.parents(leaves, level))
    tokens = geometry.to_tokens(ids)
    corners = np.array([geometry.cell_outline(token)[0] for token in tokens])
    vectors = np.rint(geometry.to_vectors(*corners.T) * 2**28).astype(int)
    table = quadtree.CellTable(ids, np.full(len(ids), 3), 3 * vectors)
    made_by = {"note": "corners"}
    built = partition.from_leaves(
        table, max_photos=5, min_photos=1, max_level=level, made_by=made_by
    )  # where each point is found to be in its cell
    assert built.made_by == made_by and built.tokens == tuple(tokens)
    assert not built.other_class
    km = geometry.great_circle_km(*corners.T, *built.latlng.T)
    assert km.max() < 1e-4


@pytest.mark.parametrize("end", [0, 1])
def test_photos_in_the_outermost_leaf_cell_are_stood_for_there(end):
    leaves = geometry.leaf_ids(*all_over_the_globe(60, 12).T)
    ids = np.unique(geometry.parents(leaves, 12))
    # So many photos that their sum is good to a tenth of a leaf cell.
    vectors = geometry.cell_vectors(geometry.range_bounds(ids)[end])
    sums = np.rint(vectors * 2**28 * 1000).astype(int)
    table = quadtree.CellTable(ids, np.full(len(ids), 1000), sums)
    built = partition.from_leaves(
        table, max_photos=2000, min_photos=1, max_level=12
    )
    centres = geometry.from_vectors(vectors)
    km = geometry.great_circle_km(*centres.T, *built.latlng.T)
    assert km.max() < 1e-6


@st.composite
def points_and_thresholds(draw):
    # Few distinct values, so that cells fill and coordinates repeat.
    latitude = st.sampled_from([-90, -45.5, -22.91, 0, 1e-9, 40.71, 90])
    longitude = st.sampled_from([-180, -74, -43.17, 0, 45, 180])
    point = st.tuples(
        latitude | st.floats(-90, 90), longitude | st.floats(-180, 180)
    )
    points = draw(st.lists(point, min_size=1, max_size=60))
    max_photos = draw(st.integers(1, 12))
    max_level = draw(st.integers(0, 30))
    return np.array(points, np.float64), max_photos, max_level


@settings(deadline=None)
@given(points_and_thresholds(), st.booleans())
def test_invariants_of_any_partition(case, other_class):
    points, max_photos, max_level = case
    whole = build(points, max_photos, 1, max_level, other_class=other_class)
    most = max(whole.photos)
    built = build(points, max_photos, most, max_level, other_class=other_class)
    assert sum(built.photos) + built.dropped == len(points)
    assert whole.dropped == 0 and set(built.tokens) <= set(whole.tokens)
    assert built.num_classes == len(built.tokens) + other_class

    cells = [s2.S2CellId.FromToken(t) for t in built.tokens]
    for before, after in zip(cells, cells[1:], strict=False):
        assert before.range_max().id() < after.range_min().id()
    for cell, point, n in zip(cells, built.points, built.photos, strict=True):
        assert cell.contains(s2.S2CellId(s2.S2LatLng.FromDegrees(*point)))
        assert n <= max_photos or cell.level() == max_level

    labels = built.labels(*points.T)
    outside = 0 if other_class else -1
    assert labels.tolist() == label_by_search(points, cells, other_class)
    found = collections.Counter(labels.tolist())
    assert found.pop(outside, 0) == built.dropped
    counts = {k + other_class: n for k, n in enumerate(built.photos)}
    assert found == counts


def label_by_search(points, cells, other_class):
    labels = []
    for lat, lng in points.tolist():
        leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(lat, lng))
        holders = [k for k, cell in enumerate(cells) if cell.contains(leaf)]
        assert len(holders) <= 1
        labels.append(holders[0] + other_class if holders else other_class - 1)
    return labels


@pytest.mark.parametrize("other_class", [False, True])
def test_labels_of_places_no_photo_came_from(other_class):
    points = POINT_SETS["cities"]
    built = build(points, 30, 6, other_class=other_class)
    cells = [s2.S2CellId.FromToken(t) for t in built.tokens]
    asked = np.concatenate(
        [points, all_over_the_globe(300, 9), [[90, 0], [0, 180]]]
    )
    labels = built.labels(*asked.T)
    assert labels.dtype == np.int64
    assert labels.tolist() == label_by_search(asked, cells, other_class)
    assert 0.1 < (labels == other_class - 1).mean() < 0.9
    assert built.labels(np.zeros(0), np.zeros(0)).shape == (0,)


def test_a_label_has_a_token_and_other_is_label_0():
    plain = build(POINT_SETS["cities"], 30, 6)
    assert [plain.token(k) for k in range(plain.num_classes)] == list(
        plain.tokens
    )
    other = build(POINT_SETS["cities"], 30, 6, other_class=True)
    named = [other.token(k) for k in range(other.num_classes)]
    assert named == ["other", *plain.tokens]


def test_points_are_spherical_means_of_the_photos():
    points = POINT_SETS["antimeridian"]
    built = build(points, 60, 1)
    labels = built.labels(*points.T)
    for k, point in enumerate(built.points):
        mean = geometry.to_vectors(*points[labels == k].T).mean(0)
        km = geometry.great_circle_km(*point, *geometry.from_vectors(mean))
        assert km < 0.002  # photos count as at the centres of 2 m cells
    # An arithmetic mean would put Fiji's photos at Greenwich.
    assert (np.abs(built.latlng[:, 1]) > 150).all()


def test_a_place_with_more_photos_weighs_more_in_the_mean():
    built = build([(40.0, -74.0)] * 9 + [(41.0, -74.0)], 100, 1)
    assert built.points[0] == pytest.approx((40.1, -74.0), abs=1e-4)


def test_the_order_of_the_photos_does_not_matter():
    points = POINT_SETS["the Americas"]
    shuffled = np.random.default_rng(0).permutation(points)
    assert dumped(build(points, 20, 2)) == dumped(build(shuffled, 20, 2))


@pytest.mark.parametrize("batches", [1, 7])
def test_points_may_come_in_batches(batches):
    points = POINT_SETS["the Americas"]
    parts = np.array_split(
        np.random.default_rng(1).permutation(points), batches
    )
    built = partition.build_from_batches(
        (part.T for part in parts), max_photos=20, min_photos=2
    )
    assert dumped(built) == dumped(build(points, 20, 2))


def test_no_cell_with_enough_photos_says_to_lower_min_photos():
    with pytest.raises(partition.PartitionError, match="lower min_photos"):
        build(all_over_the_globe(20, 1), 10, 50)


@pytest.fixture(scope="module")
def real_coordinates():
    """The 100,000 photo coordinates in the package geoclip, not imported."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        pytest.skip("the package geoclip is not installed")
    root = pathlib.Path(spec.submodule_search_locations[0])
    with next(root.rglob("coordinates_100K.csv")).open() as file:
        rows = [(row["LAT"], row["LON"]) for row in csv.DictReader(file)]
    return np.array(rows, np.float64)


@pytest.mark.parametrize(
    ("max_photos", "cells", "kept"), [(10000, 34, 99965), (2000, 151, 99555)]
)
@pytest.mark.parametrize("max_level", [12, 20, 30])
def test_known_partitions_of_real_photo_coordinates(
    real_coordinates, max_photos, cells, kept, max_level
):
    built = build(real_coordinates, max_photos, 50, max_level)
    assert len(built.tokens) == cells
    assert sum(built.photos) == kept
    assert built.dropped == 100_000 - kept
