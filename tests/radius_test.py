import numpy as np
import pytest
from worlds import SPREADS, cells_around, distributions, world

from planet_tf.answering import radius, spread
from planet_tf.geo import geometry


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("name", SPREADS)
def test_radii_are_those_of_a_search_through_all_places(name, other_class):
    made, latlng = world(other_class, photos=800)
    spreading = SPREADS[name](made, latlng)
    rows = distributions(made, 6)
    points = np.array(
        [[40.7, -74], [90, 0], [-90, 7], [-17, 179.9], [-17, -179.9], [0, 0]],
        np.float64,
    )
    shares = (0.05, 0.5, 0.9, 1.0)
    found = radius.radius_holding(rows, made, points, shares, spread=spreading)
    places = spreading.points.reshape(-1, 2)
    for i, point in enumerate(points):
        km = geometry.great_circle_km(*places.T, *point)
        mass = rows[i, int(other_class) :, None] * spreading.weights
        mass = mass.reshape(-1) / mass.sum()
        for share, reach in zip(shares, found[i], strict=True):
            assert mass[km <= reach + 1e-6].sum() >= share - 1e-6
            assert mass[km < reach - 1e-3].sum() < share


def test_a_radius_around_the_only_place_is_zero_and_elsewhere_the_distance():
    made, _ = cells_around((-17.0, 179.9), (40.7, -74.0))
    row = np.zeros((2, 2))
    row[:, made.labels(np.array([-17.0]), np.array([179.9]))[0]] = 1
    points = np.array([[-17.0, 179.9], [-17.0, -179.9]])
    found = radius.radius_holding(
        row, made, points, [0.5, 1.0], spread=spread.at_points(made)
    )
    arc = np.radians(0.2) * 6371.0088 * np.cos(np.radians(17))
    assert found[0] == pytest.approx([0, 0], abs=1e-6)
    assert found[1] == pytest.approx([arc, arc], rel=1e-5)


def test_there_is_no_radius_around_no_answer():
    made, _ = world()
    found = radius.radius_holding(
        distributions(made, 2),
        made,
        np.array([[np.nan, np.nan], [1.0, 2.0]]),
        [0.5],
        spread=spread.at_points(made),
    )
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("share", [0.0, 1.01, float("nan")])
def test_shares_that_are_none_are_refused(share):
    made, _ = world()
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        radius.radius_holding(
            distributions(made, 1),
            made,
            np.zeros((1, 2)),
            [0.5, share],
            spread=spread.at_points(made),
        )


def test_coverage_of_truths_drawn_from_the_distribution_is_the_share():
    made, _ = world()
    rng = np.random.default_rng(5)
    rows = rng.dirichlet(np.full(made.num_classes, 0.3), 3000)
    cells = (rows.cumsum(1) > rng.random((3000, 1))).argmax(axis=1)
    spreading = spread.evenly(made)
    place = (spreading.weights[cells].cumsum(1) > rng.random((3000, 1))).argmax(
        axis=1
    )
    truth = spreading.points[cells, place]
    points = made.latlng[rows.argmax(axis=1)]
    shares = np.array([0.1, 0.5, 0.9])
    radii = radius.radius_holding(rows, made, points, shares, spread=spreading)
    errors = geometry.great_circle_km(*points.T, *truth.T)
    assert radius.coverage(errors, radii + 1e-6) == pytest.approx(
        shares, abs=0.03
    )


def test_coverage_counts_the_radius_and_not_what_has_no_answer():
    radii = np.array([[1.0, 5.0], [1.0, 5.0], [np.nan, np.nan], [0.0, 0.0]])
    errors = np.array([1.0, 5.1, np.nan, np.inf])
    assert radius.coverage(errors, radii).tolist() == [0.25, 0.25]
