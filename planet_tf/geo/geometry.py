"""Points and cells on the sphere: the project's only geometry.

A point is (lat, lng) in degrees, a distance is in km on the sphere of mean
radius, a cell is an S2 cell (a cube on the sphere, each face a quadtree in
Hilbert order; PlaNet section 3.1). Functions over many photos are vectorised
numpy; what is done once per cell is left to s2geometry, imported here only.

Inside numpy a cell is its uint64 id. Ids of faces 4 and 5 exceed int64, so
between processes and in files a cell is its token, a string.
"""

import functools
from collections.abc import Sequence

import numpy as np
import s2geometry as s2
from numpy.typing import ArrayLike

EARTH_RADIUS_KM = 6371.0088
MAX_CELL_LEVEL = 30  # of a leaf cell, about 8 mm wide

# Steradians that no cell of level 0 has less of; a quarter each level deeper.
_LEAST_AREA = 8 * np.sqrt(2) / 9
_FACE_BITS = 61  # the face is stored above bit 60 of a cell id
# Points that are worked on at a time: their temporaries stay in the cache,
# which makes the whole three times faster.
_CHUNK = 1 << 14
_SWAP, _INVERT = 1, 2
# The four children of a cell along the Hilbert curve, per orientation:
# their (i, j) as two bits, and how each child's orientation differs.
_POS_TO_IJ = ((0, 1, 3, 2), (0, 2, 3, 1), (3, 2, 0, 1), (3, 1, 0, 2))
_POS_TO_ORIENTATION = (_SWAP, 0, 0, _INVERT | _SWAP)


def great_circle_km(
    lat1: ArrayLike, lng1: ArrayLike, lat2: ArrayLike, lng2: ArrayLike
) -> np.ndarray:
    """Great-circle distances in km between points in degrees; broadcasts.

    The haversine form, which keeps its precision for near points.
    """
    lat1, lng1, lat2, lng2 = (
        np.radians(np.asarray(x, np.float64)) for x in (lat1, lng1, lat2, lng2)
    )
    h = np.sin((lat2 - lat1) / 2) ** 2
    h = h + np.cos(lat1) * np.cos(lat2) * np.sin((lng2 - lng1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))


def to_vectors(lat: ArrayLike, lng: ArrayLike) -> np.ndarray:
    """Unit vectors (..., 3) of points in degrees."""
    return np.stack(_components(lat, lng), -1)


def _components(
    lat: ArrayLike, lng: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The order of the operations is s2geometry's: leaf_ids is bit-exact.
    phi = np.asarray(lat, np.float64) * (np.pi / 180)
    theta = np.asarray(lng, np.float64) * (np.pi / 180)
    cos_phi = np.cos(phi)
    return np.cos(theta) * cos_phi, np.sin(theta) * cos_phi, np.sin(phi)


def from_vectors(vectors: np.ndarray) -> np.ndarray:
    """Points (..., 2) = (lat, lng) of vectors (..., 3) of any length > 0."""
    x, y, z = np.moveaxis(np.asarray(vectors, np.float64), -1, 0)
    lat = np.arctan2(z, np.hypot(x, y))
    return np.degrees(np.stack([lat, np.arctan2(y, x)], -1))


def wrap_lng(lng: ArrayLike) -> np.ndarray:
    """Longitudes in [-180, 180): +180 and -180 are one meridian."""
    lng = np.asarray(lng, np.float64)
    wrapped = (lng + 180.0) % 360.0 - 180.0
    # Just below a multiple of the turn, % rounds up to the turn itself.
    wrapped = np.where(wrapped >= 180, -180.0, wrapped)
    return np.where((lng >= -180) & (lng < 180), lng, wrapped)


def destinations(
    lat: float, lng: float, bearing: ArrayLike, km: ArrayLike
) -> np.ndarray:
    """Points (..., 2) reached from one point, by bearing (degrees) and km.

    This is the inverse azimuthal-equidistant projection about the point,
    free of distortion at the poles.
    """
    angle = np.asarray(km, np.float64) / EARTH_RADIUS_KM
    bearing = np.radians(np.asarray(bearing, np.float64))
    phi, theta = np.radians(lat), np.radians(lng)
    up = to_vectors(lat, lng)
    east = np.array([-np.sin(theta), np.cos(theta), 0.0])
    north = np.array(
        [
            -np.sin(phi) * np.cos(theta),
            -np.sin(phi) * np.sin(theta),
            np.cos(phi),
        ]
    )
    along = (
        np.cos(bearing)[..., None] * north + np.sin(bearing)[..., None] * east
    )
    return from_vectors(
        np.cos(angle)[..., None] * up + np.sin(angle)[..., None] * along
    )


def leaf_ids(lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
    """Ids (n,) uint64 of the leaf cells that hold points in degrees.

    Bit-exact with s2geometry and more than 20 times faster per point. The
    points must be finite and in range: check first, nothing is checked here.
    """
    lat, lng = np.asarray(lat, np.float64), np.asarray(lng, np.float64)
    ids = np.empty(lat.shape, np.uint64)
    flat = ids.reshape(-1)
    lat, lng = lat.reshape(-1), lng.reshape(-1)
    for i in range(0, flat.size, _CHUNK):
        chunk = slice(i, i + _CHUNK)
        flat[chunk] = _leaf_ids(lat[chunk], lng[chunk])
    return ids


def _leaf_ids(lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
    x, y, z = _components(lat, lng)
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    on_x, on_z = ax > ay, az >= np.maximum(ax, ay)
    on_x &= ~on_z
    # A face and the opposite one have the same two axes, u and v swapped.
    major = np.where(on_x, x, np.where(on_z, z, y))
    i = _cell_coordinates(np.where(on_x, y, -x) / major)
    j = _cell_coordinates(np.where(on_z, -y, z) / major)
    opposite = major < 0
    i, j = np.where(opposite, j, i), np.where(opposite, i, j)
    face = np.where(on_x, 0, np.where(on_z, 2, 1)) + 3 * opposite
    position = face.astype(np.int64)
    lookup = _hilbert_tables()[0]
    orientation = face & _SWAP
    for shift in range(28, -1, -4):  # four levels at a time, from the top
        ij = ((i >> shift) & 15) << 4 | (j >> shift) & 15
        entry = lookup[orientation << 8 | ij]
        # The topmost step has two levels, its upper four bits being zero.
        position = position << (8 if shift < 28 else 4) | entry >> 2
        orientation = entry & 3
    return position.astype(np.uint64) << np.uint64(1) | np.uint64(1)


def cell_vectors(ids: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) of the centres of cells given by uint64 ids."""
    ids = np.asarray(ids, np.uint64)
    vectors = np.empty((3, len(ids)))
    for i in range(0, len(ids), _CHUNK):
        chunk = slice(i, i + _CHUNK)
        vectors[:, chunk] = _cell_components(ids[chunk])
    return vectors.T


def _cell_components(
    ids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low = ids & (~ids + np.uint64(1))  # the bit that ends an id: its level
    first_leaf = (ids - (low - np.uint64(1))) >> np.uint64(1)
    face = (first_leaf >> np.uint64(_FACE_BITS - 1)).astype(np.int64)
    position = first_leaf.astype(np.int64)
    lookup = _hilbert_tables()[1]
    orientation = face & _SWAP
    i = np.zeros(ids.shape, np.int64)
    j = np.zeros(ids.shape, np.int64)
    for shift in range(56, -1, -8):
        # Of the 60 bits, the topmost step takes four and the others eight.
        bits = position >> shift & (15 if shift == 56 else 255)
        entry = lookup[orientation << 8 | bits]
        i = i << 4 | entry >> 6
        j = j << 4 | entry >> 2 & 15
        orientation = entry & 3
    size = np.sqrt(low.astype(np.float64))
    mask = -size.astype(np.int64)
    half = size / 2
    opposite = face >= 3
    i, j = np.where(opposite, j, i), np.where(opposite, i, j)
    u = _st_to_uv(((i & mask) + half) / 2**MAX_CELL_LEVEL)
    v = _st_to_uv(((j & mask) + half) / 2**MAX_CELL_LEVEL)
    major = np.where(opposite, -1.0, 1.0) / np.sqrt(1 + u * u + v * v)
    u, v = u * major, v * major
    on_x, on_z = face % 3 == 0, face % 3 == 2
    return (
        np.where(on_x, major, -u),
        np.where(on_x, u, np.where(on_z, -v, major)),
        np.where(on_z, major, v),
    )


def parents(ids: np.ndarray, level: int) -> np.ndarray:
    """Ids of the ancestors at a level; the ids must be at it or below."""
    low = np.uint64(1 << 2 * (MAX_CELL_LEVEL - level))
    return np.asarray(ids, np.uint64) & (~low + np.uint64(1)) | low


def children(ids: np.ndarray) -> np.ndarray:
    """Ids (4 * n,) of the four children of each cell, in S2 order."""
    ids = np.asarray(ids, np.uint64)
    low = ids & (~ids + np.uint64(1))
    step = (low >> np.uint64(2))[:, None]
    odd = np.array([1, 3, 5, 7], np.uint64)
    return ((ids - low)[:, None] + step * odd).reshape(-1)


def range_bounds(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the first and the last leaf cell of each cell (inclusive)."""
    ids = np.asarray(ids, np.uint64)
    reach = (ids & (~ids + np.uint64(1))) - np.uint64(1)
    return ids - reach, ids + reach


def levels(ids: np.ndarray) -> np.ndarray:
    """Levels (n,) int64 of cells given by uint64 ids: 0 a face, 30 a leaf."""
    ids = np.asarray(ids, np.uint64)
    low = (ids & (~ids + np.uint64(1))).astype(np.float64)
    return MAX_CELL_LEVEL - np.log2(low).astype(np.int64) // 2


def to_tokens(ids: np.ndarray) -> list[str]:
    """Tokens of cells given by uint64 ids."""
    return [f"{int(i):016x}".rstrip("0") for i in ids]


def from_tokens(tokens: Sequence[str]) -> np.ndarray:
    """Ids (n,) uint64 of cells given by tokens; ValueError names a bad one."""
    for position, token in enumerate(tokens):
        cell = s2.S2CellId.FromToken(token)
        if not cell.is_valid() or cell.ToToken() != token:
            raise ValueError(
                f"cell token {position} is {token!r}, which is not an S2 cell."
                " A token is 1 to 16 lower-case hexadecimal digits without"
                " trailing zeros; spreadsheets are known to destroy them."
            )
    return np.array([int(t.ljust(16, "0"), 16) for t in tokens], np.uint64)


def cell_outline(token: str, points_per_edge: int = 1) -> np.ndarray:
    """Outline (4 * points_per_edge, 2) of a cell, counter-clockwise.

    Edges are great circles; more points show their curve on a map.
    """
    cell = s2.S2Cell(s2.S2CellId.FromToken(token))
    corners = np.array(
        [[p.x(), p.y(), p.z()] for p in map(cell.GetVertex, range(4))]
    )
    steps = np.arange(points_per_edge)[None, :, None] / points_per_edge
    start, end = corners[:, None], np.roll(corners, -1, 0)[:, None]
    return from_vectors((start * (1 - steps) + end * steps).reshape(-1, 3))


def cell_area_km2(token: str) -> float:
    """Area of a cell in km2."""
    cell = s2.S2Cell(s2.S2CellId.FromToken(token))
    return cell.ExactArea() * EARTH_RADIUS_KM**2


def deepest_level(km: float) -> int:
    """The deepest level none of whose cells is narrower than so many km.

    A cell is as wide as a square of its area. ValueError if faces are too
    small.
    """
    widest = np.sqrt(_LEAST_AREA) * EARTH_RADIUS_KM
    if not 0 <= km <= widest:
        raise ValueError(
            f"cells at least {km:g} km wide; the largest cells are"
            f" {widest:,.0f} km wide, so give 0 to {int(widest):,}"
        )
    if km == 0:
        return MAX_CELL_LEVEL
    return min(MAX_CELL_LEVEL, int(np.log2(widest / km)))


def _cell_coordinates(u: np.ndarray) -> np.ndarray:
    """Leaf coordinates 0 .. 2**30 - 1 along one axis of a face."""
    root = 0.5 * np.sqrt(1 + 3 * np.abs(u))
    st = np.where(u >= 0, root, 1 - root)
    size = 1 << MAX_CELL_LEVEL
    return np.minimum((size * st).astype(np.int64), size - 1)  # |u| <= 1


def _st_to_uv(st: np.ndarray) -> np.ndarray:
    return np.where(
        st >= 0.5,
        (1 / 3) * (4 * st * st - 1),
        (1 / 3) * (1 - 4 * (1 - st) * (1 - st)),
    )


@functools.cache
def _hilbert_tables() -> tuple[np.ndarray, np.ndarray]:
    """Four levels of the Hilbert curve in one step, both ways, (1024,) each.

    By orientation (2 bits) and 4 + 4 bits of (i, j): 8 bits of position, and
    the orientation below it in the two lowest bits; and the reverse.
    """
    to_position = np.zeros((4, 256), np.int64)
    to_ij = np.zeros((4, 256), np.int64)
    for start in range(4):
        for position in range(256):
            i = j = 0
            orientation = start
            for shift in (6, 4, 2, 0):
                child = position >> shift & 3
                ij = _POS_TO_IJ[orientation][child]
                i, j = i << 1 | ij >> 1, j << 1 | ij & 1
                orientation ^= _POS_TO_ORIENTATION[child]
            to_ij[start, position] = i << 6 | j << 2 | orientation
            to_position[start, i << 4 | j] = position << 2 | orientation
    return to_position.reshape(-1), to_ij.reshape(-1)
