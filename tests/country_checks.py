"""Countries of points, and distances to what their outlines are."""

import numpy as np
import pytest

from planet_tf.geo import countries, geometry

shapely = pytest.importorskip("shapely")

AT_SEA = "at sea"


def codes(world, lat, lng):
    """Codes of points, AT_SEA where there is none."""
    return np.append(world.codes, AT_SEA)[world.find(lat, lng)]


def edges(polygons):
    """Ends of all edges as unit vectors, each (e, 3), and their polygons."""
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    vectors = geometry.to_vectors(corners[:, 1], corners[:, 0])
    same = ring[:-1] == ring[1:]
    return vectors[:-1][same], vectors[1:][same], polygon[ring[1:][same]]


def km_to_arcs(point, start, end):
    """Distances (e,) of one point to arcs of great circles."""
    normal = np.cross(start, end)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-300
    beside = (np.cross(normal, start) @ point >= 0) & (
        np.cross(end, normal) @ point >= 0
    )
    to_ends = np.minimum(
        np.linalg.norm(start - point, axis=1),
        np.linalg.norm(end - point, axis=1),
    )
    angle = np.where(
        beside, np.arcsin(np.abs(normal @ point)), 2 * np.arcsin(to_ends / 2)
    )
    return angle * geometry.EARTH_RADIUS_KM


def places_around_the_world(count):
    """Points on all the Earth, as many at outlines, and some at the seam."""
    rng = np.random.default_rng(0)
    outline = geometry.from_vectors(countries.countries().coast.data)
    near = outline[rng.integers(0, len(outline), count)]
    near = near + rng.normal(0, 0.2, near.shape)
    everywhere = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    fiji = rng.uniform((-20, 179), (-15, 181), (count // 4, 2))
    lat = np.concatenate([everywhere, near[:, 0].clip(-90, 90), fiji[:, 0]])
    lng = np.concatenate(
        [rng.uniform(-180, 180, count), near[:, 1], fiji[:, 1]]
    )
    lng[-3:] = -180
    return lat, geometry.wrap_lng(lng)
