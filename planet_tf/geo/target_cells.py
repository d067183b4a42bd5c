"""The threshold t1 that gives a wanted number of cells.

A cell of the quadtrees is a leaf from the t1 that it does not exceed, up to
the one that its parent does not exceed. From these intervals follows how many
cells there are for every t1, without growing a tree for each.
"""

import numpy as np

from planet_tf.geo import geometry, quadtree

# The paper's t1 and t2 are 10,000 and 50: t2 follows t1 if it is not given.
MAX_TO_MIN_PHOTOS = 200
# A tree of N cells is found among the coarser ones of a tree whose cells have
# this fraction of a mean cell's photos, total / N; the paper's t1 is 3.5 mean
# cells, and less is needed only if hot spots hold most of the photos.
_FLOOR_FRACTION = 8


class TargetError(ValueError):
    """A number of cells that no partition of the photos has."""


def floor(photos: int, target_cells: int) -> int:
    """The lowest t1 that is tried for a number of cells."""
    return max(1, photos // (_FLOOR_FRACTION * target_cells))


def min_photos_for(max_photos: int) -> int:
    """The t2 that goes with a t1."""
    return max(1, max_photos // MAX_TO_MIN_PHOTOS)


def choose_max_photos(
    leaves: quadtree.CellTable,
    target_cells: int,
    min_photos: int | None,
    max_level: int,
) -> int:
    """The t1 whose number of kept cells is nearest to a wanted one.

    Args:
      leaves: of the trees grown with t1 = `floor`.
      target_cells: how many cells are wanted.
      min_photos: t2; None for `min_photos_for` t1.
      max_level: that the trees were grown with.

    Raises:
      TargetError: if no t1 gives as many.
    """
    if not len(leaves):
        raise TargetError("there can be no cells, as there are no photos")
    low = floor(int(leaves.counts.sum()), target_cells)
    thresholds, cells = cells_by_max_photos(leaves, low, min_photos)
    most = int(cells.max())
    if most < target_cells:
        raise TargetError(
            f"there can be at most {most:,} cells, not {target_cells:,}, with"
            f" --max_level={max_level}, {min_photos or 1:,} or more photos in"
            f" a cell and a t1 of {low:,} or more; ask for fewer cells"
            + (", or lower --min_photos" if min_photos else "")
        )
    # Below the t1 with the most cells there are fewer again, since they do
    # not reach t2: the trees above it drop less.
    peak = np.flatnonzero(cells == most)[-1]
    far = np.abs(cells - target_cells)
    far[:peak], far[cells == 0] = most, most
    best = np.flatnonzero(far == far.min())[-1]
    return int(thresholds[best])


def cells_by_max_photos(
    leaves: quadtree.CellTable, low: int, min_photos: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """How many cells are kept for every t1 from `low` on.

    Args:
      leaves: of the trees grown with t1 = `low`; what has more photos is not
        split either.
      low: the lowest t1.
      min_photos: t2; None for `min_photos_for` t1.

    Returns:
      Values of t1 at which the number changes, ascending from `low`, and the
      numbers from there on, (n,) each.
    """
    counts, parents, whole = _nodes(leaves)
    first = np.where(whole, low, np.maximum(counts, low))
    end = parents  # the first t1 that does not split it off
    if min_photos is None:
        end = np.minimum(end, MAX_TO_MIN_PHOTOS * (counts + 1))
        kept = first < end
    else:
        kept = (first < end) & (counts >= min_photos)
    changes = np.concatenate([[low], first[kept], end[kept]])
    steps = np.repeat([0, 1, -1], [1, kept.sum(), kept.sum()])
    thresholds, where = np.unique(changes, return_inverse=True)
    cells = np.cumsum(np.bincount(where, steps)).astype(np.int64)
    some = thresholds <= counts.max()  # from there on nothing is split
    return thresholds[some], cells[some]


def _nodes(
    leaves: quadtree.CellTable,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All cells of the trees: photos, the parents' photos, if a leaf."""
    found = []
    levels = geometry.levels(leaves.ids)
    above = above_counts = np.array([], np.int64)
    for level in range(levels.max() + 1):
        below = leaves.take(levels >= level)
        ids, counts = quadtree.add_up(
            geometry.parents(below.ids, level), below.counts
        )
        if level == 0:  # a face is whole from its own number on
            parents = np.full(len(ids), np.iinfo(np.int64).max)
        else:
            row = np.searchsorted(above, geometry.parents(ids, level - 1))
            parents = above_counts[row]
        found.append((counts, parents, np.isin(ids, leaves.ids)))
        above, above_counts = ids, counts
    counts, parents, whole = map(np.concatenate, zip(*found, strict=True))
    return counts, parents, whole
