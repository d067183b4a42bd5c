"""The distributed partition: batches of photos to the leaves of the quadtrees.

The tree of the partition needs no photos, only how many there are in each
small cell. Each worker counts its own; the counts meet once, by a coarse cell
above them; the tree below each coarse cell is grown on its own, and the few
leaves of all make the top. This is exact, the same tree as `partition.build`
on all photos, and one shuffle of 5 bytes a photo (9 with coarse cells above
level 6), fewer where photos share cells of 2 m. The largest group is that of
the coarse cell with the most photos, which takes a worker 50 bytes a photo.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines.photos import Photos, Places
from planet_tf.geo import geometry, quadtree, target_cells

# Ids of cells (uint64, sorted) and how many photos each has (int64).
Histogram: TypeAlias = tuple[np.ndarray, np.ndarray]
# Cells of photos below a coarse cell, as positions along the Hilbert curve
# there, ascending, and how many photos each has; as small as they can be.
Packed: TypeAlias = tuple[bytes, bytes]
# Leaves, and the cells of the histogram with the most photos, of those in
# leaves with too many.
Leaves: TypeAlias = tuple[quadtree.CellTable, quadtree.CellTable]

HOTTEST = 5  # how many of them are kept
_PHOTOS_PER_FLUSH = 4_000_000  # 32 MB of ids in a worker
_ROWS_PER_FLUSH = 1 << 16
_TREES_PER_FLUSH = 1 << 10


@dataclasses.dataclass(eq=False)
class PartitionLeaves(beam.PTransform):
    """Batches of photos to the leaves of the quadtrees.

    Attributes:
      max_photos: a cell with more is split (t1).
      max_level: but never below this level.
      coarse_level: trees below cells of this level are grown separately. It
        changes no result; deeper makes smaller pieces, but more of them.
      target_cells: a wanted number of cells: t1 is not `max_photos` then but
        `target_cells.floor`, which only a run can tell.
    """

    max_photos: int
    max_level: int
    coarse_level: int = 6
    target_cells: int | None = None

    def expand(self, photos: beam.PCollection) -> beam.PCollection:
        """Gives one pair Leaves."""
        coarse = min(self.coarse_level, self.max_level)
        level = quadtree.histogram_level(self.max_level)
        max_photos = self._max_photos(photos)
        return (
            photos
            | beam.ParDo(_CountCells(level, coarse))
            # (str, Packed): a coarse cell's token, photos below it. Few of
            # the small cells are met twice: adding up early gains nothing.
            | beam.GroupByKey()
            | beam.ParDo(_GrowTrees(self.max_level, level), max_photos)
            # Leaves: below some coarse cells
            | beam.combiners.ToList()
            | beam.Map(join, max_photos)
        )

    def _max_photos(self, photos: beam.PCollection) -> Any:
        """The threshold, or a side input that is it."""
        if self.target_cells is None:
            return self.max_photos
        floors = (
            photos
            | "Photos" >> beam.Map(len)
            | "Total" >> beam.CombineGlobally(sum)
            | "Floor" >> beam.Map(target_cells.floor, self.target_cells)
        )
        return beam.pvalue.AsSingleton(floors)


@dataclasses.dataclass(eq=False)
class _CountCells(beam.DoFn):
    """Counts a whole bundle, so that less goes through the shuffle."""

    level: int
    coarse_level: int

    def start_bundle(self) -> None:
        self.pending: list[np.ndarray] = []

    def process(self, photos: Photos | Places) -> Iterator[tuple[str, Packed]]:
        ids = geometry.leaf_ids(photos.lat, photos.lng)
        self.pending.append(geometry.parents(ids, self.level))
        if sum(map(len, self.pending)) >= _PHOTOS_PER_FLUSH:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for element in self._flush():
            yield GlobalWindows.windowed_value(element)

    def _flush(self) -> Iterator[tuple[str, Packed]]:
        ids = np.concatenate([np.zeros(0, np.uint64), *self.pending])
        self.pending = []
        ids.sort()
        return pack(quadtree.add_up(ids), self.level, self.coarse_level)


def pack(
    histogram: Histogram, level: int, coarse_level: int
) -> Iterator[tuple[str, Packed]]:
    """Cuts a histogram into those of coarse cells, by their tokens.

    Args:
      histogram: of cells of `level`.
      level: of the histogram.
      coarse_level: of the coarse cells, at most `level`.
    """
    ids, counts = histogram
    coarse, sizes = quadtree.add_up(geometry.parents(ids, coarse_level))
    shift, last = _positions(level, coarse_level)
    positions = (ids >> shift & last).astype(np.min_scalar_type(last))
    tokens, ends = geometry.to_tokens(coarse), np.cumsum(sizes)
    for token, i, j in zip(tokens, ends - sizes, ends, strict=True):
        part = counts[i:j]
        small = part.astype(np.min_scalar_type(part.max()))
        yield token, (positions[i:j].tobytes(), small.tobytes())


def unpack(token: str, parts: Iterable[Packed], level: int) -> Histogram:
    """The sum of histograms of one coarse cell."""
    [coarse] = geometry.from_tokens([token])
    shift, last = _positions(level, int(geometry.levels(coarse)))
    positions, counts = [], []
    for position_bytes, count_bytes in parts:
        positions.append(
            np.frombuffer(position_bytes, np.min_scalar_type(last))
        )
        size = len(count_bytes) // len(positions[-1])
        counts.append(np.frombuffer(count_bytes, f"u{size}"))
    position, count = np.concatenate(positions), np.concatenate(counts)
    order = np.argsort(position, kind="stable")  # merges what is sorted
    position, count = quadtree.add_up(position[order], count[order])
    first_leaf = geometry.range_bounds(coarse)[0]
    ids = first_leaf + (position.astype(np.uint64) << shift)
    return geometry.parents(ids, level), count


def _positions(level: int, coarse_level: int) -> tuple[np.uint64, np.uint64]:
    """Where a cell's position below a coarse cell is in its id; the last one.

    Of 16 levels, positions have 32 bits.
    """
    shift = 2 * (geometry.MAX_CELL_LEVEL - level) + 1
    last = (1 << 2 * (level - coarse_level)) - 1
    return np.uint64(shift), np.uint64(last)


@dataclasses.dataclass(eq=False)
class _GrowTrees(beam.DoFn):
    """Grows the trees below many coarse cells in one go.

    Most coarse cells have few photos, and calling numpy takes longer than its
    work on them.
    """

    max_level: int
    level: int

    def start_bundle(self) -> None:
        self.pending: dict[str, Histogram] = {}

    def process(
        self, group: tuple[str, Iterable[Packed]], max_photos: int
    ) -> Iterator[Leaves]:
        token, parts = group
        self.pending[token] = unpack(token, parts, self.level)
        self.max_photos = max_photos
        rows = sum(len(ids) for ids, _ in self.pending.values())
        if rows >= _ROWS_PER_FLUSH or len(self.pending) >= _TREES_PER_FLUSH:
            yield self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self.pending:
            yield GlobalWindows.windowed_value(self._flush())

    def _flush(self) -> Leaves:
        histograms, self.pending = self.pending, {}
        return subtrees(histograms, self.max_photos, self.max_level)


def subtrees(
    histograms: Mapping[str, Histogram], max_photos: int, max_level: int
) -> Leaves:
    """Leaves below coarse cells, given by token."""
    tokens = sorted(histograms)
    ids, counts = map(
        np.concatenate, zip(*(histograms[t] for t in tokens), strict=True)
    )
    roots = geometry.from_tokens(tokens)
    leaves = quadtree.grow(ids, counts, max_photos, max_level, roots)
    # What keeps a cell from being split are hot spots in it.
    over = leaves.ids[leaves.counts > max_photos]
    hot = np.zeros(len(ids), bool)
    if len(over):
        hot = np.isin(geometry.parents(ids, max_level), over)
    return leaves, quadtree.hottest(ids[hot], counts[hot], HOTTEST)


def join(parts: list[Leaves], max_photos: int) -> Leaves:
    """Leaves of the whole Earth from those below all coarse cells."""
    leaves = quadtree.concatenate(leaves for leaves, _ in parts)
    hottest = quadtree.concatenate(hottest for _, hottest in parts)
    return (
        quadtree.coarsen(leaves, max_photos),
        quadtree.hottest(hottest.ids, hottest.counts, HOTTEST),
    )


def leaves_to_json(
    leaves: Leaves, rejects: Mapping[str, int]
) -> dict[str, Any]:
    """The leaves and the counts of rejects as plain values."""
    table, hottest = leaves
    return {
        "leaves": _table_to_json(table),
        "hottest": _table_to_json(hottest),
        "rejects": rejects,
    }


def leaves_from_json(value: Mapping[str, Any]) -> Leaves:
    """The leaves that `leaves_to_json` was given."""
    return (
        _table_from_json(value["leaves"]),
        _table_from_json(value["hottest"]),
    )


def _table_to_json(table: quadtree.CellTable) -> dict[str, Any]:
    return {
        "tokens": geometry.to_tokens(table.ids),
        "photos": table.counts.tolist(),
        "sums": table.sums.tolist(),
    }


def _table_from_json(value: Mapping[str, Any]) -> quadtree.CellTable:
    return quadtree.CellTable(
        geometry.from_tokens(value["tokens"]),
        np.array(value["photos"], np.int64),
        np.array(value["sums"], np.int64).reshape(-1, 3),
    )
