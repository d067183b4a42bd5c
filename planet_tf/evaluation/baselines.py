"""What a model must beat on the same photos.

The prior gives every photo the same answers: the points near which most
training photos are. The nearest neighbours give the places of the training
photos that look most alike, by hand-made features and by the model's own
embedding; such a place is a photo's, not a cell's, and so may be nearer than
any classifier's.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from planet_tf.answering import metrics
from planet_tf.data import data_dirs
from planet_tf.evaluation import features, neighbors
from planet_tf.geo import geometry

PRIOR = "prior"
# As the figure that reports lead with. Cells are cut so that they hold about
# equally many photos: the most frequent one's point is a far weaker prior.
PRIOR_KM = 750.0
_CANDIDATES = 4_096  # training photos whose places may be the prior's answers
_ROWS = 64  # candidates compared with all photos at a time


def answers(
    shards: data_dirs.Shards,
    split: str,
    *,
    most: int,
    vote: neighbors.Vote,
    embed: Callable[[tf.Tensor], dict[str, tf.Tensor]] | None = None,
) -> dict[str, np.ndarray]:
    """Points (n, k, 2) for all photos of a split, by the baseline's name.

    Args:
      shards: where the photos are.
      split: which of them to answer for.
      most: training photos that may be looked at, the first ones.
      vote: how neighbours become an answer.
      embed: of a photo model, as export.PhotoGeolocator.embed; or none.
    """
    train = features.of_split(shards, "train", most, embed)
    asked = features.of_split(shards, split, shards.count(split), embed)
    found = {
        f"neighbours by {name}": neighbors.points(
            vectors, train.places, asked.vectors[name], vote
        )
        for name, vectors in train.vectors.items()
    }
    prior = prior_points(train.places)
    return found | {PRIOR: np.tile(prior, (len(asked.places), 1, 1))}


def prior_points(places: np.ndarray, km: float = PRIOR_KM) -> np.ndarray:
    """The best constant answers (<= TOP, 2) for photos at places (n, 2).

    The first is the photo's place that most places are within `km` of, the
    next the one that most of the rest are; of equals the first.
    """
    step = -(-len(places) // _CANDIDATES)
    candidates = places[::step]
    vectors = geometry.to_vectors(*candidates.T)
    left = geometry.to_vectors(*places.T)
    # Of unit vectors; a little more than km, for the candidate itself.
    least = np.cos(km / geometry.EARTH_RADIUS_KM) - 1e-12
    chosen: list[int] = []
    while len(left) and len(chosen) < metrics.TOP:
        counts = [
            np.count_nonzero(vectors[i : i + _ROWS] @ left.T >= least, axis=1)
            for i in range(0, len(vectors), _ROWS)
        ]
        chosen.append(int(np.concatenate(counts).argmax()))
        left = left[left @ vectors[chosen[-1]] < least]
    return candidates[chosen]
