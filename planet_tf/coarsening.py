"""Coarser partitions out of a fine one, for answers of less detail.

Cells that have a common ancestor are put together in it while it has no more
than so many photos: the rule of the quadtree (PlaNet section 3.1), on the
photos that are in the cells. A coarse cell covers all of a fine one or nothing
of it, so that its probability is the sum of theirs, and these lie side by side.
"""

import dataclasses

import numpy as np

from planet_tf import geometry
from planet_tf.partition import Partition

_MAX_LEVEL = 30


@dataclasses.dataclass(frozen=True)
class Coarse:
    """A coarser partition and how it comes from a finer one.

    Attributes:
      partition: the coarse cells, without the class "other".
      starts: (cells,) the first fine cell of each.
      other_class: whether the fine partition has the class "other".
    """

    partition: Partition
    starts: np.ndarray
    other_class: bool

    def probabilities(self, of_classes: np.ndarray) -> np.ndarray:
        """Probabilities (n, coarse cells) from those of fine classes."""
        of_cells = of_classes[:, int(self.other_class) :]
        return np.add.reduceat(of_cells, self.starts, axis=1)


def to_cells(fine: Partition, cells: int) -> Coarse:
    """The coarse partition whose number of cells is nearest to `cells`.

    Args:
      fine: with its photos known.
      cells: how many are wanted; the fewer ones of two that are as near.
    """
    totals = np.unique(_totals(fine))
    low, high = 0, len(totals) - 1
    while low < high:  # more photos allowed, never more cells
        middle = (low + high) // 2
        if len(_starts(fine, totals[middle])[0]) > cells:
            low = middle + 1
        else:
            high = middle
    tried = [coarsen(fine, int(totals[i])) for i in {max(0, low - 1), low}]
    return min(
        tried,
        key=lambda found: (
            abs(len(found.starts) - cells),
            len(found.starts),
        ),
    )


def coarsen(fine: Partition, max_photos: int) -> Coarse:
    """Puts cells together in ancestors of at most `max_photos`.

    Raises:
      ValueError: if the photos of the cells are not known.
    """
    starts, ids = _starts(fine, max_photos)
    photos = np.add.reduceat(np.array(fine.photos), starts)
    vectors = geometry.to_vectors(*fine.latlng.T)
    weighted = vectors * np.array(fine.photos)[:, None]
    means = geometry.from_vectors(np.add.reduceat(weighted, starts, axis=0))
    # A cell that stays is not to move by the last bits of its mean.
    alone = np.diff(starts, append=len(fine.tokens)) == 1
    means[alone] = fine.latlng[starts[alone]]
    partition = Partition(
        tokens=tuple(geometry.to_tokens(ids)),
        photos=tuple(photos.tolist()),
        points=tuple((lat, lng) for lat, lng in means.tolist()),
        max_photos=max_photos,
        min_photos=fine.min_photos,
        max_level=fine.max_level,
        dropped=fine.dropped,
        made_by={"coarsened": fine.fingerprint},
    )
    return Coarse(partition, starts, fine.other_class)


def _starts(fine: Partition, max_photos: int) -> tuple[np.ndarray, np.ndarray]:
    """The first fine cell and the id of each coarse cell."""
    photos = _photos(fine)
    levels = geometry.levels(fine.ids)
    ids = fine.ids.copy()
    free = np.ones(len(ids), bool)  # not in a coarse cell yet
    for level in range(_MAX_LEVEL):
        deeper = np.flatnonzero(free & (levels > level))
        parents = geometry.parents(fine.ids[deeper], level)
        _, number = np.unique(parents, return_inverse=True)
        fits = np.bincount(number, photos[deeper])[number] <= max_photos
        ids[deeper[fits]] = parents[fits]
        free[deeper[fits]] = False
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    return starts, ids[starts]


def _totals(fine: Partition) -> np.ndarray:
    """Photos of all ancestors of the cells: where coarsening changes."""
    photos = _photos(fine)
    levels = geometry.levels(fine.ids)
    found = [np.array([0])]
    for level in range(_MAX_LEVEL):
        deeper = levels > level
        parents = geometry.parents(fine.ids[deeper], level)
        _, number = np.unique(parents, return_inverse=True)
        if len(number):
            found.append(np.bincount(number, photos[deeper]).astype(int))
    return np.concatenate(found)


def _photos(fine: Partition) -> np.ndarray:
    photos = np.array(fine.photos)
    if not photos.all():
        raise ValueError(
            "the partition does not say how many photos its cells were made"
            " of, by which they would be put together"
        )
    return photos
