import dataclasses

import numpy as np
import pytest

from planet_tf.geo import coarsening, geometry, partition

RNG = np.random.default_rng(12)


def places(photos=4000):
    """Places of all densities, at the poles and the antimeridian too."""
    centres = RNG.uniform([-90, -180], [90, 180], (60, 2))
    centres[:4] = [[90, 0], [-89, 30], [-17, 180], [40.7, -74]]
    found = centres[RNG.integers(0, 60, photos)]
    found = found + RNG.normal(size=(photos, 2)) * 10 ** RNG.uniform(
        -3, 1, (photos, 1)
    )
    found[:, 1] = geometry.wrap_lng(found[:, 1])
    return found.clip([-90, -180], [90, 180])


# At level 4 cells have more photos than 30 and are whole all the same.
@pytest.fixture(scope="module", params=[(False, 20), (True, 20), (True, 4)])
def fine(request):
    other_class, max_level = request.param
    found = partition.build(
        *places().T,
        max_photos=30,
        min_photos=3,
        max_level=max_level,
        other_class=other_class,
    )
    assert (len(found.over_max_photos) > 3) == (max_level == 4)
    return found


def ancestors_by_hand(fine, max_photos):
    """Of each cell the largest ancestor that may be, by looking at all."""
    found = []
    for token, n in zip(fine.tokens, fine.photos, strict=True):
        cell = geometry.from_tokens([token])[0]
        level = geometry.levels(np.array([cell]))[0]
        best = token
        for upper in range(level - 1, -1, -1):
            ancestor = geometry.parents(np.array([cell]), upper)[0]
            first, last = geometry.range_bounds(np.array([ancestor]))
            inside = (fine.ids >= first) & (fine.ids <= last)
            if np.array(fine.photos)[inside].sum() > max_photos:
                break
            best = geometry.to_tokens(np.array([ancestor]))[0]
        found.append((best, n))
    return found


@pytest.mark.parametrize("max_photos", [1, 30, 100, 1000, 10**9])
def test_cells_are_in_the_largest_ancestor_that_may_be(fine, max_photos):
    found = coarsening.coarsen(fine, max_photos)
    wanted = ancestors_by_hand(fine, max_photos)
    tokens = dict.fromkeys(token for token, _ in wanted)
    assert list(found.partition.tokens) == list(tokens)
    for token, photos, start in zip(
        found.partition.tokens,
        found.partition.photos,
        found.starts,
        strict=True,
    ):
        assert photos == sum(n for own, n in wanted if own == token)
        assert wanted[start][0] == token


def test_probabilities_are_sums_and_whole(fine):
    shares = RNG.dirichlet(np.ones(fine.num_classes), 5)
    found = coarsening.coarsen(fine, 200)
    sums = found.probabilities(shares)
    of_cells = shares[:, int(fine.other_class) :]
    assert sums.sum(1) == pytest.approx(of_cells.sum(1))
    own = found.partition.labels(*fine.latlng.T)
    for cell in range(sums.shape[1]):
        wanted = of_cells[:, own == cell].sum(1)
        assert sums[:, cell] == pytest.approx(wanted)


def test_points_are_the_means_of_the_photos(fine):
    found = coarsening.coarsen(fine, 300)
    own = found.partition.labels(*fine.latlng.T)
    vectors = geometry.to_vectors(*fine.latlng.T)
    for cell, point in enumerate(found.partition.latlng):
        weights = np.array(fine.photos)[own == cell, None]
        mean = geometry.from_vectors((vectors[own == cell] * weights).sum(0))
        assert float(geometry.great_circle_km(*mean, *point)) < 1e-6


def test_what_nothing_is_put_together_in_stays_as_it_is(fine):
    found = coarsening.coarsen(fine, 0)
    assert found.partition.tokens == fine.tokens
    assert found.partition.points == fine.points
    assert found.starts.tolist() == list(range(len(fine.tokens)))


@pytest.fixture(scope="module")
def possible(fine):
    """All numbers of cells that there may be."""
    return {
        len(coarsening.coarsen(fine, int(total)).starts)
        for total in range(0, sum(fine.photos) + 1, 3)
    } | {len(fine.tokens)}


@pytest.mark.parametrize("cells", [1, 7, 40, 100, 10_000])
def test_the_number_of_cells_is_the_nearest_there_is(fine, possible, cells):
    found = len(coarsening.to_cells(fine, cells).starts)
    assert abs(found - cells) <= min(abs(n - cells) for n in possible)


def test_unknown_photos_are_refused():
    plain = partition.Partition(
        ("1", "3"), (0, 0), ((1.0, 2.0), (1.0, 91.0)), None, None, None, 0
    )
    with pytest.raises(ValueError, match="how many photos"):
        coarsening.coarsen(plain, 5)


@pytest.mark.parametrize("km", [0.5, 25, 100, 750, 7000])
def test_no_cell_is_narrower_than_asked_for(fine, km):
    found = coarsening.to_width(fine, km)
    coarse = found.partition
    widths = [geometry.cell_area_km2(t) ** 0.5 for t in coarse.tokens]
    assert min(widths) >= km
    # All that was fine is in one coarse cell, and its photos are too.
    owner = coarse.labels(*fine.latlng.T)
    assert (np.diff(owner) >= 0).all()
    assert set(owner.tolist()) == set(range(len(coarse.tokens)))
    counts = np.bincount(owner, weights=fine.photos)
    assert counts.tolist() == list(coarse.photos)
    shares = RNG.dirichlet(np.ones(fine.num_classes), 4)
    of_cells = shares[:, int(fine.other_class) :]
    wanted = [np.bincount(owner, weights=row) for row in of_cells]
    np.testing.assert_allclose(found.probabilities(shares), wanted)
    # Cells that are wide enough by far stay as they are.
    wide = [
        token
        for token in fine.tokens
        if geometry.cell_area_km2(token) ** 0.5 >= 4 * km
    ]
    assert set(wide) <= set(coarse.tokens)


def test_cells_of_unknown_photos_are_put_together_too(fine):
    unknown = dataclasses.replace(fine, photos=(0,) * len(fine.photos))
    found = coarsening.to_width(unknown, 300).partition
    assert found.tokens == coarsening.to_width(fine, 300).partition.tokens
    assert set(found.photos) == {0}


@pytest.mark.parametrize("km", [-1, 8000, float("nan")])
def test_a_width_that_no_cell_has_is_refused(fine, km):
    with pytest.raises(ValueError, match="give 0 to 7,14"):
        coarsening.to_width(fine, km)
