"""Partitions and probabilities that tests ask about."""

import numpy as np

from planet_tf.answering import spread
from planet_tf.geo import geometry, partition


def world(other_class=False, photos=3000, seed=0):
    """A partition with cells of many sizes, on all faces."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(photos, 3))
    vectors[::2] = vectors[1::2] * 0.02 + [-1.0, 0.0, 0.3]  # a town at 180 E
    vectors[::5] = vectors[1::5] * 0.05 + [0.0, 0.0, -1.0]  # at the pole
    latlng = geometry.from_vectors(vectors)
    latlng[:, 1] = geometry.wrap_lng(latlng[:, 1])
    made = partition.build(
        *latlng.T, max_photos=60, min_photos=5, other_class=other_class
    )
    return made, latlng


SPREADS = {
    "at points": lambda made, latlng: spread.at_points(made),
    "evenly": lambda made, latlng: spread.evenly(made),
    "as photos": spread.as_photos,
}


def distributions(made, n=12, evenness=0.05):
    """Few likely cells, the fewer the less even, and a rest everywhere."""
    rng = np.random.default_rng(1)
    alpha = np.full(made.num_classes, evenness)
    return rng.dirichlet(alpha, n).astype(np.float32)


def cells_around(*latlng, level=8):
    """A partition of the cells of a level that hold points."""
    ids = geometry.parents(geometry.leaf_ids(*np.array(latlng).T), level)
    order = np.argsort(ids)
    made = partition.Partition(
        tokens=tuple(geometry.to_tokens(ids[order])),
        photos=(1,) * len(ids),
        points=tuple(latlng[i] for i in order),
        max_photos=None,
        min_photos=None,
        max_level=None,
        dropped=0,
    )
    return made, np.argsort(order)
