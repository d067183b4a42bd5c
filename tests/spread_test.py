import numpy as np
import pytest
from worlds import SPREADS, world

from planet_tf.answering import spread
from planet_tf.geo import geometry, partition


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("name", SPREADS)
def test_each_cell_is_spread_as_a_whole_and_within_itself(name, other_class):
    made, latlng = world(other_class)
    found = SPREADS[name](made, latlng)
    assert len(made.tokens) > 50
    assert found.weights.sum(axis=1) == pytest.approx(1)
    assert (found.weights >= 0).all()
    labels = made.labels(*np.moveaxis(found.points, -1, 0))
    own = np.arange(len(made.tokens)) + other_class
    assert (labels == own[:, None])[found.weights > 0].all()


def test_even_weights_are_the_areas_of_the_descendants():
    tokens = ["1", "3", "5", "89c25c", "b", "94a4"]
    tokens.sort()
    ids = geometry.from_tokens(tokens)
    points = geometry.from_vectors(geometry.cell_vectors(ids))
    made = partition.Partition(
        tokens=tuple(tokens),
        photos=(0,) * len(tokens),
        points=tuple(map(tuple, points.tolist())),
        max_photos=None,
        min_photos=None,
        max_level=None,
        dropped=0,
    )
    found = spread.evenly(made, 3)
    small = ids
    for _ in range(3):
        small = geometry.children(small)
    areas = [geometry.cell_area_km2(t) for t in geometry.to_tokens(small)]
    areas = np.reshape(areas, found.weights.shape)
    assert areas.max(axis=1)[0] > 1.5 * areas.min(axis=1)[0]  # no trivial case
    wanted = areas / areas.sum(axis=1, keepdims=True)
    assert found.weights == pytest.approx(wanted, rel=0.02)


def test_cells_too_small_to_halve_are_at_their_centres():
    leaf = geometry.leaf_ids(np.array([40.7]), np.array([-74.0]))
    point = geometry.from_vectors(geometry.cell_vectors(leaf))
    made = partition.Partition(
        tokens=tuple(geometry.to_tokens(leaf)),
        photos=(9,),
        points=(tuple(point[0].tolist()),),
        max_photos=1,
        min_photos=1,
        max_level=30,
        dropped=0,
    )
    found = spread.evenly(made, 2)
    assert found.points.reshape(-1, 2) == pytest.approx(
        np.tile(point, (16, 1)), abs=1e-12
    )


def test_photos_are_drawn_without_repeats_and_from_all_of_a_cell():
    made, latlng = world()
    found = spread.as_photos(made, latlng, most=7, seed=3)
    labels = made.labels(*latlng.T)
    for cell in range(len(made.tokens)):
        drawn = found.points[cell][found.weights[cell] > 0]
        own = latlng[labels == cell]
        assert len(np.unique(drawn, axis=0)) == min(7, len(own))
        assert {tuple(p) for p in drawn} <= {tuple(p) for p in own}
    again = spread.as_photos(made, latlng, most=7, seed=4)
    assert (again.points != found.points).any()


def test_a_cell_without_photos_is_at_its_point():
    made, latlng = world()
    labels = made.labels(*latlng.T)
    found = spread.as_photos(made, latlng[labels != 4])
    assert found.weights[4].tolist() == [1] + [0] * 15
    assert found.points[4, 0] == pytest.approx(made.latlng[4])
