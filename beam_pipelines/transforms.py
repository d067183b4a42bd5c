"""PlaNet's steps on batches of photos: the partition, and splits by it.

The tree of the partition needs no photos, only how many there are in each
small cell. Each worker counts its own; the counts meet once, by a coarse cell
above them; the tree below each coarse cell is grown on its own, and the few
leaves of all make the top. This is one small shuffle for any number of photos
and exact: the same tree as `partition.build` on all of them.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows

from beam_pipelines.photos import Photos
from planet_tf import geometry
from planet_tf import partition as partition_lib
from planet_tf.rejects import Reason, Reject

# Ids of cells (uint64, sorted) and how many photos each has (int64).
Histogram: TypeAlias = tuple[np.ndarray, np.ndarray]

# Photos of unknown owner and album are split by cells of this level, 35 km
# wide: views of one place stay together.
PLACE_LEVEL = 8
_PHOTOS_PER_FLUSH = 4_000_000  # 32 MB of ids in a worker


@dataclasses.dataclass(eq=False)
class PartitionLeaves(beam.PTransform):
    """Batches of photos to the leaves of the quadtrees: one CellTable.

    Attributes:
      max_photos: a cell with more is split (t1).
      max_level: but never below this level.
      coarse_level: trees below cells of this level are grown separately. It
        changes no result; deeper makes smaller pieces, but more of them.
    """

    max_photos: int
    max_level: int
    coarse_level: int = 4

    def expand(self, photos: beam.PCollection) -> beam.PCollection:
        """Gives one CellTable."""
        level = partition_lib.histogram_level(self.max_level)
        coarse = min(self.coarse_level, self.max_level)
        return (
            photos
            | beam.ParDo(_CountCells(level, coarse))
            # (str, Histogram): a coarse cell's token, counts below it
            | beam.CombinePerKey(_AddHistograms())
            | beam.Values()
            | beam.Map(subtree, self.max_photos, self.max_level, coarse)
            # CellTable: the leaves below a coarse cell
            | beam.combiners.ToList()
            | beam.Map(join, self.max_photos, coarse)
        )


@dataclasses.dataclass(eq=False)
class _CountCells(beam.DoFn):
    """Counts a whole bundle, so that less goes through the shuffle."""

    level: int
    coarse_level: int

    def start_bundle(self):
        self.pending: list[np.ndarray] = []

    def process(self, photos: Photos) -> Iterator[tuple[str, Histogram]]:
        ids = geometry.leaf_ids(photos.lat, photos.lng)
        self.pending.append(geometry.parents(ids, self.level))
        if sum(map(len, self.pending)) >= _PHOTOS_PER_FLUSH:
            yield from self._flush()

    def finish_bundle(self):
        for element in self._flush():
            yield GlobalWindows.windowed_value(element)

    def _flush(self) -> Iterator[tuple[str, Histogram]]:
        ids = np.concatenate([np.zeros(0, np.uint64), *self.pending])
        self.pending = []
        yield from by_coarse_cell(
            partition_lib.count_cells(ids), self.coarse_level
        )


def by_coarse_cell(
    histogram: Histogram, coarse_level: int
) -> Iterator[tuple[str, Histogram]]:
    """Cuts a histogram into those of coarse cells, by their tokens."""
    ids, counts = histogram
    coarse, first = np.unique(
        geometry.parents(ids, coarse_level), return_index=True
    )
    last = np.append(first, len(ids))[1:]
    for token, i, j in zip(
        geometry.to_tokens(coarse), first, last, strict=True
    ):
        yield token, (ids[i:j], counts[i:j])


class _AddHistograms(beam.CombineFn):
    """Adds histograms, which are integers: in any order, the same sum."""

    def create_accumulator(self) -> list[Histogram]:
        return []

    def add_input(
        self, parts: list[Histogram], part: Histogram
    ) -> list[Histogram]:
        parts.append(part)
        return parts if len(parts) < 16 else self.compact(parts)

    def merge_accumulators(
        self, accumulators: Iterable[list[Histogram]]
    ) -> list[Histogram]:
        return [merge([part for parts in accumulators for part in parts])]

    def compact(self, parts: list[Histogram]) -> list[Histogram]:
        return [merge(parts)]

    def extract_output(self, parts: list[Histogram]) -> Histogram:
        return merge(parts)


def merge(parts: list[Histogram]) -> Histogram:
    """The sum of histograms."""
    ids = np.concatenate([np.zeros(0, np.uint64), *(p[0] for p in parts)])
    counts = np.concatenate([np.zeros(0, np.int64), *(p[1] for p in parts)])
    return partition_lib.count_cells(ids, counts)


def subtree(
    histogram: Histogram, max_photos: int, max_level: int, coarse_level: int
) -> partition_lib.CellTable:
    """Leaves below one coarse cell."""
    table = partition_lib.cell_table(*histogram)
    return partition_lib.split(table, max_photos, max_level, coarse_level)


def join(
    leaves: list[partition_lib.CellTable], max_photos: int, coarse_level: int
) -> partition_lib.CellTable:
    """Leaves of the whole Earth from those below all coarse cells."""
    table = partition_lib.concatenate(leaves)
    return partition_lib.join_subtrees(table, max_photos, coarse_level)


@dataclasses.dataclass(eq=False)
class DropOutside(beam.DoFn):
    """Photos inside the partition; the others are tagged `rejects`."""

    partition: partition_lib.Partition

    def process(self, photos: Photos) -> Iterator[Any]:
        """Gives Photos, and a tagged Reject for each photo outside."""
        inside = self.partition.labels(photos.lat, photos.lng) >= 0
        outside = photos.take(~inside)
        for photo_id, lat, lng in zip(
            outside.photo_id, outside.lat, outside.lng, strict=True
        ):
            yield beam.pvalue.TaggedOutput(
                "rejects",
                Reject(
                    photo_id,
                    "assign",
                    Reason.OUTSIDE_PARTITION,
                    f"no cell holds lat {lat}, lng {lng}",
                ),
            )
        yield photos.take(inside)


def split_names(
    photos: Photos, fractions: Mapping[str, float], seed: int
) -> np.ndarray:
    """The split of each photo, (n,) str, by a hash of its group.

    A group is an owner, else an album, else a place: photos that resemble one
    another because they belong together are never on both sides.

    Args:
      photos: n photos.
      fractions: share of the groups in each of the splits but "train".
      seed: another seed is another split.
    """
    keys = group_keys(photos)
    distinct, where = np.unique(keys, return_inverse=True)
    uniform = np.array([hash64(f"{seed} {key}") / 2**64 for key in distinct])
    names = np.full(len(distinct), "train", object)
    start = 0.0
    for name, fraction in fractions.items():
        names[(uniform >= start) & (uniform < start + fraction)] = name
        start += fraction
    return names[where]


def group_keys(photos: Photos) -> np.ndarray:
    """What must stay on one side of a split, (n,) str."""
    cells = geometry.parents(
        geometry.leaf_ids(photos.lat, photos.lng), PLACE_LEVEL
    )
    keys = "place " + np.array(geometry.to_tokens(cells), object)
    keys = np.where(photos.album_id != "", "album " + photos.album_id, keys)
    return np.where(photos.owner_id != "", "owner " + photos.owner_id, keys)


def hash64(text: str) -> int:
    """A hash in 0 .. 2**64 - 1 that never changes."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def leaves_to_json(
    leaves: partition_lib.CellTable, rejects: Mapping[str, int]
) -> dict[str, Any]:
    """The leaves and the counts of rejects as plain values."""
    return {
        "tokens": geometry.to_tokens(leaves.ids),
        "photos": leaves.counts.tolist(),
        "sums": leaves.sums.tolist(),
        "rejects": rejects,
    }


def leaves_from_json(value: Mapping[str, Any]) -> partition_lib.CellTable:
    """The leaves that `leaves_to_json` was given."""
    return partition_lib.CellTable(
        geometry.from_tokens(value["tokens"]),
        np.array(value["photos"], np.int64),
        np.array(value["sums"], np.int64).reshape(-1, 3),
    )
