import importlib.util
import pathlib

import numpy as np
import pytest

from planet_tf.geo import geometry, partition, quadtree, target_cells


def histogram(n=900, seed=0):
    """Points around places in the Americas and at a pole; 30 at one place."""
    rng = np.random.default_rng(seed)
    places = np.array([(40.7, -74), (-22.9, -43.2), (48.9, 2.35), (90, 0)])
    found = places[rng.integers(0, 4, n)]
    found += rng.normal(size=(n, 2)) * 10.0 ** rng.uniform(-4, 1, (n, 1))
    found[:30] = places[1]
    lat, lng = np.clip(found[:, 0], -90, 90), geometry.wrap_lng(found[:, 1])
    return quadtree.add_up(quadtree.sorted_cells([(lat, lng)], 22))


def kept(ids, counts, max_photos, min_photos, max_level):
    leaves = quadtree.grow(ids, counts, max_photos, max_level)
    if min_photos is None:
        min_photos = target_cells.min_photos_for(max_photos)
    return int((leaves.counts >= min_photos).sum())


@pytest.mark.parametrize("low", [1, 7])
@pytest.mark.parametrize("min_photos", [None, 1, 5, 12])
@pytest.mark.parametrize("max_level", [20, 4])
def test_the_numbers_of_cells_are_those_of_trees_grown_for_each_threshold(
    low, min_photos, max_level
):
    ids, counts = histogram()
    leaves = quadtree.grow(ids, counts, low, max_level)
    thresholds, cells = target_cells.cells_by_max_photos(
        leaves, low, min_photos
    )
    assert thresholds[0] == low and (np.diff(thresholds) > 0).all()
    assert len(set(cells.tolist())) > 4
    for t1 in range(low, thresholds[-1] + 1):
        row = np.searchsorted(thresholds, t1, side="right") - 1
        assert cells[row] == kept(ids, counts, t1, min_photos, max_level), t1


@pytest.mark.parametrize("min_photos", [None, 1, 5])
@pytest.mark.parametrize("wanted", [1, 9, 30, 55])
def test_the_nearest_number_of_cells_is_found(wanted, min_photos):
    ids, counts = histogram()
    low = target_cells.floor(int(counts.sum()), wanted)
    leaves = quadtree.grow(ids, counts, low, 20)
    found = target_cells.choose_max_photos(leaves, wanted, min_photos, 20)
    # From the photos of the fullest face on, no threshold splits anything.
    fullest = quadtree.grow(ids, counts, 900, 20).counts.max()
    off = {
        t: abs(kept(ids, counts, t, min_photos, 20) - wanted)
        for t in range(low, fullest + 1)
    }
    nearest = [t for t in off if off[t] == min(off.values())]
    assert found in nearest
    # Of several as near the one that drops the least.
    assert nearest[nearest.index(found) :] == list(
        range(found, nearest[-1] + 1)
    )


@pytest.mark.parametrize(
    "min_photos, message", [(5, "lower --min"), (None, "ask for fewer cells$")]
)
def test_more_cells_than_there_can_be_is_an_error_that_says_how_many(
    min_photos, message
):
    ids, counts = histogram()
    leaves = quadtree.grow(ids, counts, 1, 20)
    most = max(kept(ids, counts, t, min_photos, 20) for t in range(1, 400))
    with pytest.raises(target_cells.TargetError, match=message) as error:
        target_cells.choose_max_photos(leaves, most + 1, min_photos, 20)
    assert f"at most {most} cells, not {most + 1}" in str(error.value)
    found = target_cells.choose_max_photos(leaves, most, min_photos, 20)
    assert kept(ids, counts, found, min_photos, 20) == most


def test_a_tree_that_drops_less_is_taken_before_one_that_drops_more():
    # A face with three quarters of ten photos: one has six and four at a
    # place, so has another one, and the third one has ten places.
    quarters = geometry.children(quadtree.FACES[4:5])[:3]
    ids, counts = [], []
    for quarter, photos in zip(
        quarters, [[6, 4], [6, 4], [1] * 10], strict=True
    ):
        cells = np.array([quarter])
        while len(cells) < len(photos):
            cells = geometry.children(cells)
        leaves = geometry.range_bounds(cells)[0][: len(photos)]
        ids += geometry.parents(leaves, 22).tolist()
        counts += photos
    ids, counts = np.array(ids, np.uint64), np.array(counts)
    sizes = [kept(ids, counts, t, 5, 20) for t in (6, 9, 10, 29, 30)]
    assert sizes == [2, 2, 3, 3, 1]
    leaves = quadtree.grow(ids, counts, target_cells.floor(30, 2), 20)
    # Two cells would leave 18 photos out. One and three are as near.
    assert target_cells.choose_max_photos(leaves, 2, 5, 20) == 30


def test_no_photos_have_no_cells():
    nothing = quadtree.concatenate([])
    with pytest.raises(target_cells.TargetError, match="no photos"):
        target_cells.choose_max_photos(nothing, 10, None, 20)


def real_coordinates():
    """The 100,000 photo coordinates in the package geoclip, not imported."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        pytest.skip("the package geoclip is not installed")
    root = pathlib.Path(spec.submodule_search_locations[0])
    path = next(root.rglob("coordinates_100K.csv"))
    return np.loadtxt(path, delimiter=",", skiprows=1).T


@pytest.mark.parametrize("min_photos", [None, 5, 50])
def test_the_coarse_map_of_the_paper_is_met_within_5_percent(min_photos):
    lat, lng = real_coordinates()
    cells = quadtree.sorted_cells([(lat, lng)], 22)
    leaves = quadtree.grow(cells, None, target_cells.floor(len(lat), 354), 20)
    t1 = target_cells.choose_max_photos(leaves, 354, min_photos, 20)
    t2 = min_photos or target_cells.min_photos_for(t1)
    built = partition.build(lat, lng, max_photos=t1, min_photos=t2)
    assert len(built.tokens) == pytest.approx(354, rel=0.05)
    again = quadtree.coarsen(leaves, t1)
    assert built == partition.from_leaves(
        again, max_photos=t1, min_photos=t2, max_level=20
    )
