import numpy as np
import pytest
from globe import (
    BUENOS_AIRES,
    NEW_YORK,
    PARIS,
    POINT_SETS,
    SUVA,
    all_over_the_globe,
    s2_cell,
    s2_ids,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_tf.geo import geometry

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


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


@settings(deadline=None)
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


@settings(deadline=None)
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


def test_antipodes_are_half_a_circumference_apart():
    # Of some the haversine comes out a little more than 1.
    lat, lng = all_over_the_globe(4000, seed=11).T
    km = geometry.great_circle_km(lat, lng, -lat, lng + 180)
    np.testing.assert_allclose(km, np.pi * 6371.0088, rtol=1e-7)


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


def test_longitudes_of_any_type_are_wrapped_in_double_precision():
    for lng in ([181, -74], np.array([181, -74], np.float32)):
        wrapped = geometry.wrap_lng(lng)
        assert wrapped.dtype == np.float64
        assert wrapped.tolist() == [-179, -74]


def test_longitudes_in_range_are_not_changed_by_one_bit():
    lng = np.random.default_rng(0).uniform(-180, 180, 1000)
    lng = np.concatenate([lng, -180 + lng % 1])
    assert (geometry.wrap_lng(lng) == lng).all()


@settings(deadline=None)
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
