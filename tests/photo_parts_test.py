import numpy as np
import pytest

from planet_tf.geo import countries, geometry, partition
from planet_tf.reports import photo_parts

RNG = np.random.default_rng(4)


@pytest.fixture(scope="module", params=[False, True])
def cells(request):
    """A partition with cells of several levels, with and without other."""
    lat = np.concatenate([RNG.normal(48, 1, 800), RNG.uniform(-60, 60, 300)])
    lng = np.concatenate([RNG.normal(2, 1, 800), RNG.uniform(-180, 180, 300)])
    return partition.build(
        lat, lng, max_photos=90, min_photos=8, other_class=request.param
    )


@pytest.fixture(scope="module")
def places():
    """Places in and out of cells, at a pole and the antimeridian too."""
    spread = [RNG.uniform(-90, 90, 500), RNG.uniform(-180, 180, 500)]
    near = [RNG.normal(48, 1, 500), RNG.normal(2, 1, 500)]
    odd = [[90, -90, 0, 0], [0, 0, 180, -180]]
    return np.concatenate([np.stack(x, 1) for x in (spread, near, odd)])


def holding(cells, point):
    """The cell that holds a point, by looking at each."""
    leaf = geometry.leaf_ids(*point[:, None])[0]
    first, last = geometry.range_bounds(cells.ids)
    found = np.flatnonzero((first <= leaf) & (leaf <= last))
    return int(found[0]) if len(found) else None


def test_photos_are_sorted_by_the_cell_that_holds_them(cells, places):
    of = photo_parts.cells_of(cells, places)
    level = photo_parts.by_level(cells, of)
    photos = photo_parts.by_photos(cells, of)
    inside = 0
    for i, place in enumerate(places):
        cell = holding(cells, place)
        if cell is None:
            assert level.parts[level.part[i]] == "in no cell"
            assert photos.parts[photos.part[i]] == "in no cell"
            continue
        inside += 1
        own = geometry.levels(cells.ids[[cell]])[0]
        assert level.parts[level.part[i]] == f"level {own}"
        low, _, high = photos.parts[photos.part[i]].partition(" to ")
        assert int(low) <= cells.photos[cell] <= int(high)
    assert 200 < inside < 1000
    assert len(set(level.part)) > 3


def test_a_quarter_of_the_cells_is_in_each_part(cells):
    names = photo_parts.by_photos(cells, np.arange(len(cells.ids))).parts[:-1]
    counts = [
        sum(
            int(name.split(" to ")[0]) <= n <= int(name.split(" to ")[1])
            for n in cells.photos
        )
        for name in names
    ]
    assert sum(counts) == len(cells.photos)
    assert len(counts) == 4
    assert max(counts) - min(counts) <= 0.1 * sum(counts)


def test_cells_of_one_size_are_one_part():
    whole = partition.Partition(
        ("1", "3"), (5, 5), ((1.0, 2.0), (1.0, 91.0)), None, None, None, 0
    )
    of = photo_parts.cells_of(whole, np.array([[0.0, 0.0], [0, 180]]))
    found = photo_parts.by_photos(whole, of)
    assert found.parts == ("5 to 5", "in no cell")
    assert found.part.tolist() == [0, 1]


def test_the_sea_is_a_part_of_its_own():
    found = photo_parts.by_continent(np.array([0, -1, 1]), ("Africa", "Europe"))
    names = [found.parts[i] for i in found.part]
    assert names == ["Africa", "at sea", "Europe"]


def test_the_rank_is_that_of_the_first_cell_that_holds_the_photo(cells):
    truth = cells.latlng[:4]
    own = np.array(cells.tokens, object)[:4]
    tokens = np.full((4, 3), "", object)
    tokens[0] = own[1], own[0], own[2]
    tokens[1] = own[1], "", ""
    tokens[2] = own[0], own[1], own[3]
    assert photo_parts.cell_rank(tokens, truth).tolist() == [1, 0, 5, 5]


def test_cells_within_each_other_count_by_the_better_rank():
    truth = np.array([[48.1, 11.5]])
    leaf = geometry.leaf_ids(*truth.T)
    deep, high = (
        geometry.to_tokens(geometry.parents(leaf, level))[0] for level in (9, 3)
    )
    for tokens in ([deep, high], [high, deep]):
        ranked = np.array([["1", *tokens]], object)
        assert photo_parts.cell_rank(ranked, truth).tolist() == [1]


def test_no_answer_is_in_no_cell_and_no_country():
    where = photo_parts.locate(np.array([[np.nan, np.nan], [48.1, 11.5]]))
    assert where.country[0] == where.continent[0] == -1
    world = countries.countries()
    assert world.codes[where.country[1]] == "DE"
    assert photo_parts.continents()[where.continent[1]] == "Europe"
