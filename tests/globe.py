"""Points all over the Earth, and the cells that s2geometry says hold them."""

import numpy as np
import s2geometry as s2

from planet_tf.geo import geometry

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
