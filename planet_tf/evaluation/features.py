"""What photos look like in numbers, by hand and by a trained network.

The hand-made features are those of geolocation before networks (Im2GPS, Hays
and Efros 2008): tiny images, a joint histogram of colours in CIE Lab, and
histograms of gradients over a grid. Brightness, contrast and tint are taken
out of each, and their sizes are those that find most validation photos of the
default data within 750 km; sets of other photos may prefer others.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from planet_tf.data import data_dirs, decoding

SIDE = 64  # pixels of the squares that features are made of
TINY, COLORS, GRADIENTS = "tiny images", "colours", "gradients"
EMBEDDING = "embeddings"

_TINY_SIDE = 8
# Of L, a, b; odd, so that what has no colour is not on the edge of two.
_COLOR_BINS = (17, 7, 7)
_COLOR_SPAN = (2.5, 5.0, 5.0)  # deviations that they reach to either side
_GRID = 3
_ORIENTATIONS = 8
_BATCH = 128

# Linear RGB of sRGB to XYZ (IEC 61966-2-1), white having (1, 1, 1).
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_XYZ /= _XYZ.sum(axis=1, keepdims=True)
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Features:
    """Photos of a split, in its order.

    Attributes:
      places: (n, 2) their (lat, lng).
      vectors: (n, d) float32, by the feature's name.
    """

    places: np.ndarray
    vectors: dict[str, np.ndarray]


def of_split(
    shards: data_dirs.Shards,
    split: str,
    most: int,
    embed: Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None,
) -> Features:
    """All features of a split's photos, in one pass.

    Args:
      shards: where they are.
      split: which.
      most: of its photos, the first ones: their order is random.
      embed: of a photo model, as export.PhotoGeolocator.embed; or none.
    """
    places, columns = [], []
    for jpegs, pixels, latlng in _batches(shards, split, most):
        places.append(latlng)
        made = {name: make(pixels) for name, make in HAND_MADE.items()}
        if embed is not None:
            made[EMBEDDING] = embed(tf.constant(jpegs))["embedding"].numpy()
        columns.append({k: v.astype(np.float32) for k, v in made.items()})
    return Features(
        np.concatenate(places),
        {k: np.concatenate([c[k] for c in columns]) for k in columns[0]},
    )


def _batches(
    shards: data_dirs.Shards, split: str, most: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """JPEGs (n,), squares of them (n, SIDE, SIDE, 3), and places (n, 2)."""

    def example(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        photo = decoding.parse(record, ("image", "lat", "lng"))
        pixels = tf.io.decode_jpeg(photo["image"], channels=3)
        small = tf.image.resize(pixels, (SIDE, SIDE), method="area")
        return photo["image"], small, tf.stack([photo["lat"], photo["lng"]])

    return (
        tf.data.TFRecordDataset([path for path, _ in shards.split(split)])
        .take(most)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH)
        .prefetch(1)
        .as_numpy_iterator()
    )


def tiny_images(pixels: np.ndarray) -> np.ndarray:
    """Pixels (n, d) of (n, side, side, 3), each colour standardised."""
    n, side = pixels.shape[:2]
    of = side // _TINY_SIDE
    shape = (n, _TINY_SIDE, of, _TINY_SIDE, of, 3)
    small = pixels.reshape(shape).mean(axis=(2, 4))
    return standardized(small.reshape(n, -1, 3)).reshape(n, -1)


def color_histograms(pixels: np.ndarray) -> np.ndarray:
    """Joint histograms (n, d) of standardised Lab.

    Roots of the shares: their Euclidean distance is Hellinger's, which does
    not let the few large shares decide alone.
    """
    n = len(pixels)
    colors = standardized(lab(pixels).reshape(n, -1, 3))
    span, bins = np.array(_COLOR_SPAN), np.array(_COLOR_BINS)
    at = np.floor((colors + span) / (2 * span) * bins).astype(np.int64)
    at = np.clip(at, 0, bins - 1)  # what lies beyond counts in the last bin
    flat = np.ravel_multi_index(tuple(np.moveaxis(at, -1, 0)), _COLOR_BINS)
    return np.sqrt(
        _counts(flat, np.ones(flat.shape), bins.prod()) / at.shape[1]
    )


def gradient_histograms(pixels: np.ndarray) -> np.ndarray:
    """Directions of gradients (n, d) in the squares of a grid.

    A gradient counts by its length, shared between the two nearest directions;
    the whole has length 1. From dark to light differs from light to dark.
    """
    grey = pixels @ _LUMA
    n, side = grey.shape[:2]
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    turn = np.arctan2(down, across) / (2 * np.pi) * _ORIENTATIONS
    lower = np.floor(turn)
    share, lower = turn - lower, lower.astype(np.int64)
    length = np.hypot(across, down)
    square = np.arange(side) * _GRID // side
    square = (square[:, None] * _GRID + square) * _ORIENTATIONS
    found = np.zeros((n, _GRID**2 * _ORIENTATIONS))
    for step, part in ((0, 1 - share), (1, share)):
        at = square + (lower + step) % _ORIENTATIONS
        found = found + _counts(at, length * part, _GRID**2 * _ORIENTATIONS)
    return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-6)


HAND_MADE = {
    TINY: tiny_images,
    COLORS: color_histograms,
    GRADIENTS: gradient_histograms,
}


def standardized(values: np.ndarray) -> np.ndarray:
    """Values (n, pixels, 3), each of three with mean 0 and deviation 1."""
    values = values - values.mean(axis=1, keepdims=True)
    # A grey photo's rounding is no colour: deviations are of whole units.
    return values / (values.std(axis=1, keepdims=True) + 1e-3)


def lab(pixels: np.ndarray) -> np.ndarray:
    """CIE Lab (..., 3) of sRGB (..., 3) with 0 to 255, of daylight (D65)."""
    encoded = pixels / 255
    linear = np.where(
        encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92
    )
    xyz = linear @ _XYZ.T
    f = np.where(
        xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29
    )
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _counts(at: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Sums (n, bins) of weights (n, ...) by their bin (n, ...)."""
    n = len(at)
    at = at.reshape(n, -1) + np.arange(n)[:, None] * bins
    found = np.bincount(at.ravel(), weights.ravel(), n * bins)
    return found.reshape(n, bins)
