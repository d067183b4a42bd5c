import gzip
import json

import numpy as np
import pytest

from planet_tf.drawing import web_world
from planet_tf.geo import countries, geometry


@pytest.fixture(scope="module")
def lines():
    return web_world.borders()


@pytest.mark.parametrize(
    ("place", "is_border"),
    [
        ((49.0, -110.0), True),  # United States and Canada
        ((46.0, 7.85), True),  # Italy and Switzerland
        ((40.6, -73.9), False),  # a coast
        ((-33.9, 151.3), False),
        ((47.0, 2.0), False),  # inland
    ],
)
def test_borders_are_where_countries_meet_and_no_coasts(
    lines, place, is_border
):
    near = min(
        _km_to(np.asarray(line), place) for line in lines if len(line) > 1
    )
    assert (near < 20) == is_border


def _km_to(line, place):
    """Least km from a line's edges, halved often, to a place."""
    share = np.linspace(0, 1, 65)[:, None, None]
    points = (line[:-1] * (1 - share) + line[1:] * share).reshape(-1, 2)
    return geometry.great_circle_km(*points.T, *place).min()


def test_both_sides_of_borders_are_countries(lines):
    world = countries.countries()
    middles = np.array([line[len(line) // 2] for line in lines])
    assert (world.find(*middles.T) >= 0).mean() > 0.95


def test_the_world_fits_a_page_and_comes_back_as_it_was(lines):
    world = web_world.world()
    packed = gzip.compress(json.dumps(world).encode())
    assert len(packed) < 700_000
    assert len(world["borders"]) == len(lines) > 300
    again = np.cumsum(np.reshape(world["borders"][0], (-1, 2)), axis=0) / 100
    np.testing.assert_allclose(again, lines[0], atol=0.0051)
    assert [len(rings) > 0 for rings in world["land"]] == [True] * 3
    assert world["places"][0][0] == "Shanghai"
    assert "GeoNames" in world["credits"]
