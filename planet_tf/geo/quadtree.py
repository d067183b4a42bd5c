"""The quadtrees under the partition (PlaNet section 3.1): photos to leaves.

Six cube faces, each the root of a quadtree of S2 cells. A cell with more than
`max_photos` (the paper's t1) photos is split, down to `max_level`. Nothing is
needed for that but the photos' cells in order: the photos of a cell are
neighbours there, and two binary searches count them. Sums are of integers:
any order, and any way to cut the work into parts, gives the same bits.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from planet_tf.geo import geometry

# Photos count as at the centres of cells of this level (about 2 m), or of
# max_level if it is deeper.
HISTOGRAM_LEVEL = 22
FACES = geometry.parents(np.arange(6, dtype=np.uint64) << np.uint64(61), 0)
# Unit vectors are summed as integers, a unit being 2 cm on the ground: exact
# up to 3e10 photos.
_VECTOR_UNITS = float(1 << 28)
_ROWS_PER_CHUNK = 1 << 14  # vectors that are in the cache at a time
# 32 MB: memory of this size and more is given back as soon as it is freed.
_IDS_PER_BLOCK = 1 << 22


@dataclasses.dataclass(frozen=True)
class CellTable:
    """Cells with their photos.

    Attributes:
      ids: (n,) uint64, sorted, without repetition, not nested.
      counts: (n,) int64, photos in each cell.
      sums: (n, 3) int64, sum of the photos' unit vectors in 2**-28.
    """

    ids: np.ndarray
    counts: np.ndarray
    sums: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Any) -> "CellTable":
        """The table of some rows, by slice, mask or index."""
        return CellTable(self.ids[rows], self.counts[rows], self.sums[rows])


def histogram_level(max_level: int) -> int:
    """Level of the cells that photos are counted in, for a level cap."""
    return max(max_level, HISTOGRAM_LEVEL)


def sorted_cells(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], level: int
) -> np.ndarray:
    """Cells (n,) uint64 of all points, sorted, in 8 bytes a point.

    Args:
      batches: (lat, lng), (any number,) each.
      level: of the cells.
    """
    blocks, filled = [], _IDS_PER_BLOCK
    for lat, lng in batches:
        start = 0
        while start < len(lat):
            if filled == _IDS_PER_BLOCK:
                blocks.append(np.empty(_IDS_PER_BLOCK, np.uint64))
                filled = 0
            end = min(start + _IDS_PER_BLOCK - filled, len(lat))
            leaves = geometry.leaf_ids(lat[start:end], lng[start:end])
            cells = geometry.parents(leaves, level)
            blocks[-1][filled : filled + len(cells)] = cells
            filled += len(cells)
            start = end
    if not blocks:
        return np.zeros(0, np.uint64)
    blocks[-1] = blocks[-1][:filled]
    ids = np.empty(sum(map(len, blocks)), np.uint64)
    end = len(ids)
    while blocks:  # each is freed when the next one is copied
        block = blocks.pop()
        ids[end - len(block) : end] = block
        end -= len(block)
    ids.sort()
    return ids


def add_up(
    ids: np.ndarray, counts: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of sorted ids, and how many photos each has (int64).

    Args:
      ids: (n,) sorted.
      counts: (n,) photos of each; one each by default.
    """
    if not len(ids):
        return ids, np.zeros(0, np.int64)
    first = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    first = np.concatenate([[0], first, [len(ids)]])
    first, end = first[:-1], first[1:]
    if counts is None:
        return ids[first], end - first
    return ids[first], np.add.reduceat(counts, first, dtype=np.int64)


def grow(
    ids: np.ndarray,
    counts: np.ndarray | None,
    max_photos: int,
    max_level: int,
    roots: np.ndarray = FACES,
) -> CellTable:
    """Leaves of the quadtrees over photos: no leaf is empty.

    Args:
      ids: (n,) uint64, cells of `histogram_level`, sorted.
      counts: (n,) photos of each; one each by default.
      max_photos: a cell with more is split.
      max_level: but never below this level.
      roots: where the trees start; all photos must be below.
    """
    cells, photos, first = split(ids, counts, max_photos, max_level, roots)
    return CellTable(cells, photos, _vector_sums(ids, counts, first))


def coarsen(table: CellTable, max_photos: int) -> CellTable:
    """The leaves that `grow` would have given for a higher `max_photos`.

    Args:
      table: leaves of trees of which none is coarser than what is asked for:
        they were grown with the same `max_photos` from roots below the faces,
        or with a lower one.
      max_photos: as of `grow`.
    """
    cells, photos, first = split(table.ids, table.counts, max_photos)
    sums = np.zeros((0, 3), np.int64)
    if len(first):
        sums = np.add.reduceat(table.sums, first)
    return CellTable(cells, photos, sums)


def concatenate(tables: Iterable[CellTable]) -> CellTable:
    """One sorted table of several with different cells."""
    nothing = CellTable(
        np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 3), int)
    )
    tables = [nothing, *tables]
    ids = np.concatenate([t.ids for t in tables])
    counts = np.concatenate([t.counts for t in tables])
    sums = np.concatenate([t.sums for t in tables])
    return CellTable(ids, counts, sums).take(np.argsort(ids))


def hottest(ids: np.ndarray, counts: np.ndarray, number: int) -> CellTable:
    """The few cells of a histogram that have the most photos."""
    top = np.sort(np.lexsort([ids, -counts])[:number])
    sums = _vector_sums(ids[top], counts[top], np.arange(len(top)))
    return CellTable(ids[top], counts[top], sums)


def split(
    ids: np.ndarray,
    counts: np.ndarray | None,
    max_photos: int,
    max_level: int = geometry.MAX_CELL_LEVEL,
    roots: np.ndarray = FACES,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaves, sorted, with their photos and where in `ids` they start.

    A cell of `ids` is not split, whatever its photos: hot spots at the level
    cap of the tree that they are leaves of. The rest is as of `grow`.
    """
    before = None
    if counts is not None:  # photos before each row
        before = np.concatenate([[0], np.cumsum(counts)])
    cells, found = roots, []
    while len(cells):
        first, last = geometry.range_bounds(cells)
        start = np.searchsorted(ids, first)
        end = np.searchsorted(ids, last, side="right")
        photos = end - start if before is None else before[end] - before[start]
        done = (photos <= max_photos) | (geometry.levels(cells) >= max_level)
        done[~done] = ids[start[~done]] == cells[~done]
        leaf = done & (photos > 0)
        found.append((cells[leaf], photos[leaf], start[leaf]))
        cells = geometry.children(cells[~done])
    cells, photos, start = map(np.concatenate, zip(*found, strict=True))
    order = np.argsort(cells)
    return cells[order], photos[order], start[order]


def _vector_sums(
    ids: np.ndarray, counts: np.ndarray | None, first: np.ndarray
) -> np.ndarray:
    """Sums (cells, 3) of rows' vectors, for the cells that start at `first`.

    The vectors of all rows at once would take 24 bytes a photo.
    """
    sums = np.zeros((len(first), 3), np.int64)
    for start in range(0, len(ids), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        vectors = geometry.cell_vectors(ids[rows]).T * _VECTOR_UNITS
        vectors = np.rint(vectors).astype(np.int64)
        if counts is not None:
            vectors *= counts[rows]
        low = np.searchsorted(first, start, side="right") - 1
        high = np.searchsorted(first, start + _ROWS_PER_CHUNK)
        begin = np.maximum(first[low:high] - start, 0)
        sums[low:high] += np.add.reduceat(vectors, begin, axis=1).T
    return sums
