import numpy as np
import pytest
import s2geometry as s2
from hypothesis import given
from hypothesis import strategies as st

from planet_tf.geo import geometry

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)

NEW_YORK, BUENOS_AIRES = (40.7128, -74.0060), (-34.6037, -58.3816)
PARIS, SUVA, NORTH_POLE = (48.8566, 2.3522), (-18.1416, 178.4419), (90, 0)


def s2_cell(lat, lng):
    return s2.S2CellId(s2.S2LatLng.FromDegrees(float(lat), float(lng)))


def s2_ids(points):
    return np.array([s2_cell(*p).id() for p in points], np.uint64)


def all_over_the_globe(n, seed):
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    return np.stack([lat, rng.uniform(-180, 180, n)], -1)


def in_the_americas(n, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-55, 72, n), rng.uniform(-168, -34, n)], -1)


def face_edges_and_corners():
    """Points where two coordinates of the cube tie, or one is zero."""
    rng = np.random.default_rng(3)
    on_edges = rng.uniform(-1, 1, (300, 3))
    on_edges[:, 1] = on_edges[:, 0] * rng.choice([-1, 1], 300)
    on_planes = rng.uniform(-1, 1, (300, 3))
    on_planes[:, 2] = 0
    corners = np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1]))
    corners = corners.reshape(3, -1).T
    corners = corners[np.abs(corners).sum(-1) > 0]
    vectors = np.concatenate([np.roll(on_edges, k, 1) for k in range(3)])
    return geometry.from_vectors(np.concatenate([vectors, on_planes, corners]))


def special_points():
    """A grid of round values, the poles and both sides of the antimeridian."""
    lat = [-90, -89.9999999, -45, -35.2643896, 0, 1e-12, 35.2643896, 45, 90]
    lng = np.arange(-180, 181, 22.5).tolist()
    lng += [179.9999999, -179.9999999, np.nextafter(180, 0), -1e-12, 1e-300]
    return np.array([(a, b) for a in lat for b in lng])


# Found by search: a coordinate in its face, times 2**30, is a whole number.
LEAF_BORDERS = np.array(
    [
        (-38.63990036861435, 6.851816633832442),
        (15.46027231995994, -78.13818838979071),
        (-23.33122867275169, -83.19335712763998),
        (-36.675459702441515, 34.27693768191568),
        (64.97525099359744, -3.589432666142642),
    ]
)
POINT_SETS = {
    "all over the globe": all_over_the_globe(4000, seed=1),
    "in the Americas": in_the_americas(2000, seed=2),
    "face edges and corners": face_edges_and_corners(),
    "round values, poles, antimeridian": special_points(),
    "rounded to 2 places": np.round(all_over_the_globe(2000, seed=4), 2),
    "rounded to degrees": np.round(all_over_the_globe(2000, seed=5)),
    "near the poles": all_over_the_globe(500, seed=6) * [1e-6, 1] + [89.9, 0],
    "on borders of leaf cells": LEAF_BORDERS,
    "near the antimeridian": all_over_the_globe(500, 7) * [1, 1e-9] + [0, 180],
}


@pytest.mark.parametrize("name", POINT_SETS)
def test_leaf_ids_are_bit_exact_with_s2geometry(name):
    points = POINT_SETS[name]
    ids = geometry.leaf_ids(*points.T)
    assert ids.dtype == np.uint64
    np.testing.assert_array_equal(ids, s2_ids(points))


def test_the_point_sets_reach_every_face_and_ids_beyond_int64():
    points = np.concatenate(list(POINT_SETS.values()))
    faces = geometry.leaf_ids(*points.T) >> np.uint64(61)
    assert set(faces.tolist()) == set(range(6))
    assert geometry.leaf_ids(*NEW_YORK) > np.uint64(2**63)


@given(LATITUDES, LONGITUDES)
def test_leaf_ids_are_bit_exact_for_any_point(lat, lng):
    ids = geometry.leaf_ids(np.array([lat]), np.array([lng]))
    assert int(ids[0]) == s2_cell(lat, lng).id()


def test_leaf_ids_of_more_points_than_are_worked_on_at_a_time():
    points = all_over_the_globe(2 * geometry._CHUNK + 5, seed=10)
    ids = geometry.leaf_ids(*points.T)
    np.testing.assert_array_equal(ids, s2_ids(points))
    vectors = geometry.cell_vectors(ids)
    np.testing.assert_allclose(
        vectors, geometry.to_vectors(*points.T), rtol=0, atol=3e-9
    )
    shaped = geometry.leaf_ids(*points[:6].reshape(2, 3, 2).transpose(2, 0, 1))
    np.testing.assert_array_equal(shaped, ids[:6].reshape(2, 3))


def test_leaf_ids_of_no_points_is_an_empty_array_of_ids():
    ids = geometry.leaf_ids(np.zeros(0), np.zeros(0))
    assert ids.shape == (0,) and ids.dtype == np.uint64


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7, 8, 12, 20, 27, 28, 29, 30])
def test_parents_levels_and_ranges_are_those_of_s2geometry(level):
    points = np.concatenate([p[::7] for p in POINT_SETS.values()])
    leaves = geometry.leaf_ids(*points.T)
    cells = [s2_cell(*p).parent(level) for p in points]
    ids = geometry.parents(leaves, level)
    np.testing.assert_array_equal(ids, [c.id() for c in cells])
    assert ids.dtype == np.uint64
    assert (geometry.levels(ids) == level).all()
    first, last = geometry.range_bounds(ids)
    np.testing.assert_array_equal(first, [c.range_min().id() for c in cells])
    np.testing.assert_array_equal(last, [c.range_max().id() for c in cells])
    assert ((first <= leaves) & (leaves <= last)).all()


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7, 12, 28, 29])
def test_children_are_those_of_s2geometry(level):
    points = np.concatenate([p[::20] for p in POINT_SETS.values()])
    ids = geometry.parents(geometry.leaf_ids(*points.T), level)
    cells = [s2_cell(*p).parent(level) for p in points]
    expected = [c.child(k).id() for c in cells for k in range(4)]
    np.testing.assert_array_equal(geometry.children(ids), expected)
    assert geometry.children(ids).dtype == np.uint64


@pytest.mark.parametrize("level", [0, 1, 2, 5, 9, 15, 22, 29, 30])
def test_cell_vectors_are_the_centres_of_s2geometry(level):
    points = np.concatenate([p[::9] for p in POINT_SETS.values()])
    ids = geometry.parents(geometry.leaf_ids(*points.T), level)
    centres = [s2_cell(*p).parent(level).ToPoint() for p in points]
    expected = [(c.x(), c.y(), c.z()) for c in centres]
    np.testing.assert_allclose(
        geometry.cell_vectors(ids), expected, rtol=0, atol=1e-15
    )


def test_a_cell_holds_its_own_centre_at_every_level():
    points = np.concatenate([p[::9] for p in POINT_SETS.values()])
    leaves = geometry.leaf_ids(*points.T)
    for level in range(geometry.MAX_CELL_LEVEL + 1):
        ids = geometry.parents(leaves, level)
        centres = geometry.from_vectors(geometry.cell_vectors(ids))
        inside = geometry.parents(geometry.leaf_ids(*centres.T), level)
        np.testing.assert_array_equal(inside, ids)


def test_tokens_are_those_of_s2geometry_and_come_back_as_the_same_ids():
    points = all_over_the_globe(300, seed=8)
    levels = np.arange(len(points)) % 31
    cells = [
        s2_cell(*p).parent(int(level))
        for p, level in zip(points, levels, strict=True)
    ]
    ids = np.array([c.id() for c in cells], np.uint64)
    tokens = geometry.to_tokens(ids)
    assert tokens == [c.ToToken() for c in cells]
    np.testing.assert_array_equal(geometry.from_tokens(tokens), ids)
    assert geometry.from_tokens(tokens).dtype == np.uint64
    np.testing.assert_array_equal(geometry.levels(ids), levels)


def test_token_order_is_id_order():
    ids = geometry.leaf_ids(*all_over_the_globe(500, seed=9).T)
    ids = np.concatenate([geometry.parents(ids, k) for k in (3, 9)])
    tokens = geometry.to_tokens(ids)
    assert sorted(tokens) == geometry.to_tokens(np.sort(ids))


@pytest.mark.parametrize(
    "token",
    [
        "4.7E+064",  # "47e63" after a spreadsheet
        "",
        "X",
        "0",
        "47e6F",
        "47E63",
        "47e630",  # a trailing zero
        "c00",
        "d",  # a face that does not exist
        "47e63 ",
        "89c25a31000000001",  # 17 digits
        "0x89c4",
        "47e62",  # no cell ends in this bit pattern at an odd position
    ],
)
def test_a_destroyed_token_is_refused_by_name(token):
    with pytest.raises(ValueError, match="cell token 1 is") as error:
        geometry.from_tokens(["89c4", token])
    assert repr(token) in str(error.value)


@pytest.mark.parametrize(
    ("start", "end", "km"),
    [
        # A quarter and half of the sphere: R * pi / 2 and R * pi.
        ((0, 0), (0, 90), 10007.557221),
        ((0, 0), (90, 123), 10007.557221),
        ((0, 0), (0, 180), 20015.114442),
        ((90, 0), (-90, 77), 20015.114442),
        ((40.7128, -74.0060), (-40.7128, 105.9940), 20015.114442),
        ((30, 10), (31, 10), 111.195080),  # a degree of latitude
        ((0, 179.5), (0, -179.5), 111.195080),  # over the antimeridian
        ((0, -180), (0, 180), 0),  # one meridian
        ((90, 0), (90, 145), 0),  # one pole
        ((40.7128, -74.0060), (40.7128, -74.0060), 0),
    ],
)
def test_known_distances(start, end, km):
    distance = geometry.great_circle_km(*start, *end)
    assert distance == pytest.approx(km, abs=1e-5)
    assert geometry.great_circle_km(*end, *start) == distance


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distances_agree_with_the_angle_between_vectors(a, b, c, d):
    start, end = geometry.to_vectors(a, b), geometry.to_vectors(c, d)
    # The form that is precise for all angles, unlike arccos or arcsin.
    cross = np.linalg.norm(np.cross(start, end))
    angle = np.arctan2(cross, np.dot(start, end))
    distance = geometry.great_circle_km(a, b, c, d)
    assert distance == pytest.approx(angle * 6371.0088, rel=1e-6, abs=1e-3)
    assert 0 <= distance <= np.pi * 6371.0088


def test_the_distance_of_near_points_keeps_its_precision():
    lat, lng = NEW_YORK
    for metres in (1e-3, 1e-2, 1.0):
        step = np.degrees(metres / 1000 / geometry.EARTH_RADIUS_KM)
        km = geometry.great_circle_km(lat, lng, lat + step, lng)
        assert km == pytest.approx(metres / 1000, rel=1e-4)


def test_distances_broadcast():
    points = all_over_the_globe(5, seed=1)
    lat, lng = points.T
    table = geometry.great_circle_km(lat[:, None], lng[:, None], lat, lng)
    assert table.shape == (5, 5)
    np.testing.assert_array_equal(np.diag(table), 0)
    np.testing.assert_allclose(table, table.T)


def test_vectors_are_of_unit_length_and_come_back_as_points():
    points = np.concatenate([*POINT_SETS.values()])
    vectors = geometry.to_vectors(*points.T)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-15)
    back = geometry.from_vectors(vectors * 17.0)
    assert geometry.great_circle_km(*points.T, *back.T).max() < 1e-8


@pytest.mark.parametrize(
    ("lat", "lng", "vector"),
    [
        (0, 0, (1, 0, 0)),
        (0, 90, (0, 1, 0)),
        (0, -90, (0, -1, 0)),
        (0, 180, (-1, 0, 0)),
        (90, 33, (0, 0, 1)),
        (-30, -90, (0, -np.sqrt(3) / 2, -0.5)),
    ],
)
def test_axes_point_where_they_should(lat, lng, vector):
    np.testing.assert_allclose(
        geometry.to_vectors(lat, lng), vector, atol=1e-15
    )


@pytest.mark.parametrize(
    ("lng", "wrapped"),
    [
        (180, -180),
        (-180, -180),
        (540, -180),
        (181, -179),
        (-181, 179),
        (359.5, -0.5),
        (-74.006, -74.006),
        (np.nextafter(180, 0), np.nextafter(180, 0)),
        (np.nextafter(-180, -200), -180),  # rounds up to a whole turn
    ],
)
def test_longitudes_are_wrapped(lng, wrapped):
    assert geometry.wrap_lng(lng) == pytest.approx(wrapped, abs=1e-12)
    assert geometry.wrap_lng(np.array([lng]))[0] < 180


@given(st.floats(-1e6, 1e6))
def test_wrapping_keeps_the_meridian_and_is_done_once(lng):
    wrapped = geometry.wrap_lng(lng)
    assert -180 <= wrapped < 180
    assert geometry.wrap_lng(wrapped) == wrapped
    turns = (lng - wrapped) / 360
    assert turns == pytest.approx(round(turns), abs=1e-9)
    if -180 <= lng < 180:
        assert wrapped == lng  # not by one bit different


@pytest.mark.parametrize(
    ("start", "bearing", "km", "end"),
    [
        ((0, 0), 0, 10007.557221, (90, 0)),
        ((0, 0), 90, 10007.557221, (0, 90)),
        ((0, 170), 90, 2223.901604, (0, -170)),  # over the antimeridian
        ((0, 0), 270, 111.195080, (0, -1)),
        ((10, 20), 180, 1111.950803, (0, 20)),
        ((90, 0), 180, 1111.950803, (80, 0)),  # south, from the pole
        ((90, 0), 90, 1111.950803, (80, 90)),
        ((-90, 0), 0, 1111.950803, (-80, 0)),
        ((40.7128, -74.0060), 123, 0, (40.7128, -74.0060)),
    ],
)
def test_known_destinations(start, bearing, km, end):
    reached = geometry.destinations(*start, bearing, km)
    assert geometry.great_circle_km(*reached, *end) < 1e-5


@pytest.mark.parametrize("start", [NEW_YORK, BUENOS_AIRES, PARIS, SUVA])
def test_destinations_lie_at_the_asked_distance_and_bearing(start):
    bearing, km = np.meshgrid(np.arange(0, 360, 15.0), [0.5, 450.0, 9000.0])
    reached = geometry.destinations(*start, bearing, km)
    assert reached.shape == (*km.shape, 2)
    back = geometry.great_circle_km(*start, reached[..., 0], reached[..., 1])
    np.testing.assert_allclose(back, km, rtol=1e-7)
    # The initial course to the point, by the textbook formula.
    phi, theta = np.radians(start)
    lat, lng = np.moveaxis(np.radians(reached), -1, 0)
    course = np.arctan2(
        np.sin(lng - theta) * np.cos(lat),
        np.cos(phi) * np.sin(lat)
        - np.sin(phi) * np.cos(lat) * np.cos(lng - theta),
    )
    turn = (np.degrees(course) - bearing + 180) % 360 - 180
    np.testing.assert_allclose(turn, 0, atol=1e-6)


def shoelace(ring):
    x, y = ring.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


@pytest.mark.parametrize("place", [NEW_YORK, BUENOS_AIRES, PARIS])
def test_an_outline_surrounds_its_cell_counter_clockwise(place):
    for level in (4, 8, 13):
        token = s2_cell(*place).parent(level).ToToken()
        ring = geometry.cell_outline(token)
        assert ring.shape == (4, 2)
        assert shoelace(ring[:, ::-1]) > 0
        corners = [
            s2.S2LatLng(s2.S2Cell(s2.S2CellId.FromToken(token)).GetVertex(k))
            for k in range(4)
        ]
        expected = [(c.lat().degrees(), c.lng().degrees()) for c in corners]
        np.testing.assert_allclose(ring, expected, atol=1e-9)


def test_a_finer_outline_has_the_corners_and_great_circles_between():
    for place in (NEW_YORK, SUVA, NORTH_POLE, BUENOS_AIRES):
        token = s2_cell(*place).parent(1).ToToken()
        ring = geometry.cell_outline(token, points_per_edge=6)
        corners = geometry.to_vectors(*geometry.cell_outline(token).T)
        vectors = geometry.to_vectors(*ring.T)
        assert ring.shape == (24, 2)
        np.testing.assert_allclose(vectors[::6], corners, atol=1e-12)
        for edge in range(4):
            normal = np.cross(corners[edge], corners[(edge + 1) % 4])
            along = vectors[6 * edge : 6 * edge + 6]
            np.testing.assert_allclose(along @ normal, 0, atol=1e-12)


@pytest.mark.parametrize("level", [0, 1, 4])
def test_cells_of_a_level_cover_the_sphere_once(level):
    cell = s2.S2CellId.Begin(level)
    total = 0.0
    while cell.id() != s2.S2CellId.End(level).id():
        total += geometry.cell_area_km2(cell.ToToken())
        cell = cell.next()
    assert total == pytest.approx(4 * np.pi * 6371.0088**2, rel=1e-9)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, 12, 29])
def test_the_deepest_level_has_no_cell_that_is_too_narrow(level):
    cells = (np.arange(6, dtype=np.uint64) << np.uint64(61)) + np.uint64(
        1 << 60
    )
    if level <= 5:
        for _ in range(level):
            cells = geometry.children(cells)
    else:  # the narrowest are in the corners of the faces
        cells = np.concatenate(geometry.range_bounds(cells))
        cells = geometry.parents(cells, level)
    areas = map(geometry.cell_area_km2, geometry.to_tokens(cells))
    narrowest = min(areas) ** 0.5
    assert geometry.deepest_level(0.7 * narrowest) == level
    assert geometry.deepest_level(narrowest * (1 + 1e-6)) == level - 1


def test_any_cell_is_wide_enough_for_no_width():
    assert geometry.deepest_level(0) == 30
    assert geometry.deepest_level(1e-9) == 30
    assert geometry.deepest_level(7142) == 0
