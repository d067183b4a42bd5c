"""Coarser partitions out of a fine one, for answers of less detail.

Cells that have a common ancestor are put together in it while it has no more
than so many photos: the rule of the quadtree (PlaNet section 3.1), on the
photos that are in the cells. A coarse cell covers all of a fine one or nothing
of it, so that its probability is the sum of theirs, and these lie side by side.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from planet_tf.geo import geometry, quadtree, target_cells
from planet_tf.geo.partition import Partition


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
    thresholds, counts = target_cells.cells_by_max_photos(_table(fine), 0, 1)
    far = np.abs(counts - cells)
    # More photos allowed are never more cells.
    best = min(int(np.searchsorted(-counts, -cells)), len(counts) - 1)
    if best and far[best - 1] < far[best]:
        best -= 1
    return coarsen(fine, int(thresholds[best]))


def coarsen(fine: Partition, max_photos: int) -> Coarse:
    """Puts cells together in ancestors of at most `max_photos`.

    Raises:
      ValueError: if the photos of the cells are not known.
    """
    table = _table(fine)
    ids, photos, starts = quadtree.split(table.ids, table.counts, max_photos)
    weights = table.counts
    return _coarse(fine, ids, photos, starts, weights, max_photos)


def to_width(fine: Partition, km: float) -> Coarse:
    """Puts cells together until none is narrower than so many km.

    A cell is as wide as a square of its area. The cells of the deepest level
    that has none narrower take all that is below them; larger ones stay.

    Raises:
      ValueError: if cells of no level are that wide.
    """
    level = geometry.deepest_level(km)
    ids = fine.ids.copy()
    finer = geometry.levels(ids) > level
    ids[finer] = geometry.parents(ids[finer], level)
    ids, starts = np.unique(ids, return_index=True)
    photos = np.array(fine.photos)
    sums = np.add.reduceat(photos, starts)
    weights = photos if photos.all() else np.ones(len(photos), np.int64)
    return _coarse(fine, ids, sums, starts, weights, fine.max_photos)


def limited(
    fine: Partition, min_km: float
) -> tuple[Partition, Callable[[np.ndarray], np.ndarray]]:
    """The classes that may be answered, and what makes their probabilities.

    Args:
      fine: the classes of a model.
      min_km: no cell may be narrower; 0 for no limit.

    Returns:
      A partition, and a function of probabilities (n, fine classes) that gives
      those (n, classes) of its classes.
    """
    if not min_km:
        return fine, lambda probabilities: probabilities
    coarse = to_width(fine, min_km)
    return coarse.partition, coarse.probabilities


def _coarse(
    fine: Partition,
    ids: np.ndarray,
    photos: np.ndarray,
    starts: np.ndarray,
    weights: np.ndarray,
    max_photos: int | None,
) -> Coarse:
    """Of coarse cells `ids` with `photos`; `weights` are of the fine ones."""
    vectors = geometry.to_vectors(*fine.latlng.T) * weights[:, None]
    means = geometry.from_vectors(np.add.reduceat(vectors, starts, axis=0))
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


def _table(fine: Partition) -> quadtree.CellTable:
    """The cells as leaves of trees; the sums are not needed."""
    photos = np.array(fine.photos)
    if not photos.all():
        raise ValueError(
            "the partition does not say how many photos its cells were made"
            " of, by which they would be put together"
        )
    return quadtree.CellTable(
        fine.ids, photos, np.zeros((len(photos), 3), np.int64)
    )
