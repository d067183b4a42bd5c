import collections

import numpy as np
import pytest

from planet_tf.geo import geometry, quadtree

PLACES = [
    *[(40.71, -74.0), (-22.91, -43.17), (48.86, 2.35), (35.68, 139.7)],
    *[(90.0, 0.0), (-90.0, 0.0), (-17.7, 179.99), (35.264, 45.0)],
]


def points(n=900, seed=0):
    """Around places of all faces, from metres to 2,000 km; some repeat."""
    rng = np.random.default_rng(seed)
    found = np.array(PLACES)[rng.integers(0, len(PLACES), n)]
    found = found + rng.normal(size=(n, 2)) * 10.0 ** rng.uniform(
        -5, 1.3, (n, 1)
    )
    lat = np.clip(found[:, 0], -90, 90)
    lng = geometry.wrap_lng(found[:, 1])
    lat[:40], lng[:40] = PLACES[0]
    return lat, lng


def histogram(lat, lng, level=22):
    cells = quadtree.sorted_cells([(lat, lng)], level)
    return quadtree.add_up(cells)


def assert_equal(one, other):
    for field in ("ids", "counts", "sums"):
        a, b = getattr(one, field), getattr(other, field)
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.mark.parametrize(
    "sizes", [[900], [0, 1, 99, 500, 0, 300], [900 // 9] * 9]
)
@pytest.mark.parametrize("block", [7, 100, 300, 900, 1000])
def test_cells_are_sorted_whatever_the_batches_and_blocks(
    sizes, block, monkeypatch
):
    monkeypatch.setattr(quadtree, "_IDS_PER_BLOCK", block)
    lat, lng = points()
    ends = np.cumsum(sizes)
    batches = [
        (lat[end - n : end], lng[end - n : end])
        for n, end in zip(sizes, ends, strict=True)
    ]
    cells = quadtree.sorted_cells(iter(batches), 15)
    expected = np.sort(geometry.parents(geometry.leaf_ids(lat, lng), 15))
    np.testing.assert_array_equal(cells, expected)


def test_no_batches_have_no_cells_and_no_leaves():
    for batches in ([], [(np.zeros(0), np.zeros(0))]):
        cells = quadtree.sorted_cells(batches, 22)
        assert cells.shape == (0,) and cells.dtype == np.uint64
        leaves = quadtree.grow(cells, None, 10, 20)
        assert leaves.sums.shape == (0, 3)
        assert_equal(quadtree.coarsen(leaves, 20), leaves)
        assert_equal(quadtree.concatenate([]), leaves)


def test_photos_are_added_up_by_cell():
    ids = np.array([2, 5, 5, 5, 9, 9], np.uint64)
    assert [x.tolist() for x in quadtree.add_up(ids)] == [[2, 5, 9], [1, 3, 2]]
    # Sums beyond the type that the counts come in.
    counts = np.array([1, 200, 100, 7, 0, 255], np.uint8)
    distinct, total = quadtree.add_up(ids, counts)
    assert (distinct.tolist(), total.tolist()) == ([2, 5, 9], [1, 307, 255])
    assert distinct.dtype == np.uint64 and total.dtype == np.int64
    assert [len(x) for x in quadtree.add_up(ids[:0])] == [0, 0]


def test_the_trees_stand_on_the_six_faces():
    faces = ["1", "3", "5", "7", "9", "b"]
    assert geometry.to_tokens(quadtree.FACES) == faces


@pytest.mark.parametrize("max_level", [0, 12, 22, 23, 30])
def test_photos_are_counted_in_cells_of_2_metres_or_of_the_cap(max_level):
    level = quadtree.histogram_level(max_level)
    if max_level > 22:
        assert level == max_level
        return
    cells = geometry.parents(geometry.leaf_ids(*points()), level)
    areas = map(geometry.cell_area_km2, geometry.to_tokens(cells))
    assert np.sqrt(np.mean(list(areas))) == pytest.approx(0.002, rel=0.15)


def leaves_by_the_rule(ids, max_photos, max_level):
    """Of each photo the first cell on its way down that is not split."""
    leaves = np.zeros_like(ids)
    for level in range(max_level + 1):
        cells = geometry.parents(ids, level)
        _, where, counts = np.unique(
            cells, return_inverse=True, return_counts=True
        )
        done = (counts[where] <= max_photos) | (level == max_level)
        leaves = np.where(done & (leaves == 0), cells, leaves)
    return np.unique(leaves, return_counts=True)


@pytest.mark.parametrize("level", [22, 30])
@pytest.mark.parametrize(
    "max_photos, max_level", [(1, 22), (3, 21), (5, 6), (60, 0), (2000, 9)]
)
def test_leaves_are_those_of_the_rule(max_photos, max_level, level):
    ids = quadtree.sorted_cells([points()], level)
    if level == 30:  # photos in the first and the last leaf cell of a cell
        cells = np.concatenate([geometry.parents(ids, k) for k in (2, 14)])
        ids = np.sort(np.concatenate([ids, *geometry.range_bounds(cells)]))
    cells, counts = leaves_by_the_rule(ids, max_photos, max_level)
    leaves = quadtree.grow(ids, None, max_photos, max_level)
    np.testing.assert_array_equal(leaves.ids, cells)
    np.testing.assert_array_equal(leaves.counts, counts)


@pytest.mark.parametrize("max_photos, max_level", [(1, 20), (30, 20), (5, 6)])
def test_counted_cells_grow_the_tree_of_single_photos(max_photos, max_level):
    lat, lng = points()
    cells = quadtree.sorted_cells([(lat, lng)], 22)
    single = quadtree.grow(cells, None, max_photos, max_level)
    counted = quadtree.grow(*histogram(lat, lng), max_photos, max_level)
    assert len(single) > 20 and single.counts.max() > 1
    assert_equal(single, counted)


def test_leaves_hold_the_sums_of_their_photos_vectors(monkeypatch):
    monkeypatch.setattr(quadtree, "_ROWS_PER_CHUNK", 7)
    lat, lng = points()
    ids, counts = histogram(lat, lng)
    leaves = quadtree.grow(ids, counts, 30, 20)
    vectors = np.rint(geometry.cell_vectors(ids) * 2**28).astype(int)
    first, last = geometry.range_bounds(leaves.ids)
    for row in range(len(leaves)):
        inside = (ids >= first[row]) & (ids <= last[row])
        assert leaves.counts[row] == counts[inside].sum()
        expected = (vectors[inside] * counts[inside, None]).sum(0)
        np.testing.assert_array_equal(leaves.sums[row], expected)


@pytest.mark.parametrize("root_level", [0, 1, 4, 9])
@pytest.mark.parametrize("max_photos", [3, 60, 10000])
def test_trees_grown_from_their_branches_make_the_whole(root_level, max_photos):
    # How build_partition spreads the work over workers.
    ids, counts = histogram(*points())
    roots = geometry.parents(ids, root_level)
    parts = [
        quadtree.grow(
            ids[roots == root],
            counts[roots == root],
            max_photos,
            20,
            np.array([root]),
        )
        for root in np.unique(roots)[::-1]
    ]
    joined = quadtree.coarsen(quadtree.concatenate(iter(parts)), max_photos)
    assert_equal(joined, quadtree.grow(ids, counts, max_photos, 20))


@pytest.mark.parametrize("max_level", [5, 20])
def test_a_coarser_tree_follows_from_finer_leaves(max_level):
    # How --target_cells searches for a threshold.
    ids, counts = histogram(*points())
    finer = quadtree.grow(ids, counts, 3, max_level)
    sizes = set()
    for max_photos in (3, 4, 10, 39, 40, 41, 300, 1000):
        expected = quadtree.grow(ids, counts, max_photos, max_level)
        found = quadtree.coarsen(finer, max_photos)
        assert_equal(found, expected)
        sizes.add(len(found))
    assert len(sizes) >= 6


@pytest.mark.parametrize("number", [1, 3, 10000])
def test_the_hottest_cells_have_the_most_photos(number):
    ids, counts = histogram(*points(), level=12)
    found = quadtree.hottest(ids, counts, number)
    pairs = sorted(zip(-counts, ids, strict=True))[:number]
    assert sorted(i for _, i in pairs) == found.ids.tolist()
    assert collections.Counter(-n for n, _ in pairs) == collections.Counter(
        found.counts.tolist()
    )
    centres = geometry.from_vectors(found.sums)
    there = geometry.from_vectors(geometry.cell_vectors(found.ids))
    assert geometry.great_circle_km(*centres.T, *there.T).max() < 1e-4
