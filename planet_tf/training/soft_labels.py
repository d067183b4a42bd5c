"""Soft labels: cells near a photo share its label, by great-circle distance.

A mistake of a few km is no worse for the plain softmax loss than one of half
the Earth. Soft labels tell it otherwise: this is the haversine smoothing of
Haas et al., PIGEON: Predicting Image Geolocations (CVPR 2024), section 3.2,
there as here an option next to the paper's own labels.
"""

import numpy as np
import tensorflow as tf

from planet_tf.geo import geometry
from planet_tf.geo.partition import Partition

# Of its distance, the least share that counts against a cell.
_LEAST = 0.1


class SoftLabels:
    """The distribution over the classes that a photo is trained towards.

    With x a photo's place, p_i the point that cell i stands for, d great-circle
    km and o the photo's own cell, cell i gets a share proportional to

        exp(-(d(p_i, x) - d(p_o, x)) / km)                      (PIGEON)

    so the own cell counts 1. Cells often lie side by side of which one is much
    larger, and then the point of another cell may be nearer than that of the
    own; the equation gives such a cell more than the own cell, at a small km
    everything. Hence the difference of the distances counts at least a tenth
    of d(p_i, x): the own cell always has the largest share, farther cells
    never have more than nearer ones, and with km towards 0 the own cell has
    it all. Shares sum to 1 (in PIGEON they are not normalised).

    The class "other" has no place: its photos are labelled by it alone, and
    no other photo is labelled by it.

    Arrays of photos x cells are float32, 13 MB for 128 photos and 26,263
    cells; without XLA about four are held at a time.
    """

    def __init__(self, partition: Partition, km: float):
        if not km > 0:
            raise ValueError(
                f"soft labels need a scale above 0 km, got {km}; without them"
                " the label is the photo's cell itself"
            )
        self.km = km
        self.other_class = partition.other_class
        vectors = geometry.to_vectors(*partition.latlng.T)
        self._vectors = vectors.astype(np.float32)

    def __call__(self, labels: tf.Tensor, latlng: tf.Tensor) -> tf.Tensor:
        """Shares (b, classes) float32, of labels (b,) and points (b, 2)."""
        cells = len(self._vectors)
        km = distances_km(latlng, self._vectors)
        own = tf.one_hot(labels - int(self.other_class), cells)  # 0s: "other"
        to_own = tf.reduce_sum(own * km, -1, keepdims=True)
        farther = tf.maximum(km - to_own, _LEAST * km)
        shares = tf.maximum(tf.exp(-farther / self.km), own)
        shares /= tf.reduce_sum(shares, -1, keepdims=True)
        if not self.other_class:
            return shares
        of_cells = tf.reduce_sum(own, -1, keepdims=True)
        # Far from all cells, shares of "other" may be 0 / 0.
        shares = tf.where(of_cells > 0, shares, 0.0)
        return tf.concat([1.0 - of_cells, shares], -1)


def distances_km(latlng: tf.Tensor, vectors: np.ndarray) -> tf.Tensor:
    """Great-circle km (b, n) between points (b, 2) and unit vectors (n, 3).

    By the chord, from differences of float32 coordinates: right to a few
    metres for near points, where the scalar product is off by km, and no
    matrix product, which TPUs round to bfloat16.
    """
    radians = tf.cast(latlng, tf.float32) * np.float32(np.pi / 180)
    lat, lng = tf.unstack(radians, axis=-1)
    point = (
        tf.cos(lng) * tf.cos(lat),
        tf.sin(lng) * tf.cos(lat),
        tf.sin(lat),
    )
    squared = tf.add_n(
        [
            tf.square(here[:, None] - there)
            for here, there in zip(point, vectors.T, strict=True)
        ]
    )
    half_chord = tf.minimum(tf.sqrt(squared) / 2, 1.0)
    return 2 * geometry.EARTH_RADIUS_KM * tf.asin(half_chord)
