"""The adaptive partition of the Earth (PlaNet section 3.1).

Of the leaves that `quadtree` grows, those with fewer than `min_photos` (the
paper's t2) are dropped, with their photos. What is left, in S2 order, are the
classes. A partition is a JSON file (see docs of `Partition`).
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from planet_tf.geo import geometry, quadtree

FORMAT = "planet_tf.partition"
VERSION = 1
# In `made_by`: the rule of the split whose photos alone it was made of.
TRAIN_SPLIT = "train_split"


class PartitionError(ValueError):
    """A partition, or a file that should hold one, that is not valid."""


@dataclasses.dataclass(frozen=True)
class Partition:
    """The classes: cells in S2 order, a cell's label being its position.

    With `other_class` label 0 is "other", for photos outside all cells, and
    the cells' labels start at 1 (as in Google's published PlaNet v2 map).

    Attributes:
      tokens: the cells.
      photos: photos each was made from; 0 where that is not known, as of
        partitions that others published.
      points: (lat, lng) each stands for: the spherical mean of its photos.
      max_photos: split above this (t1); None if not known.
      min_photos: drop below this (t2); None if not known.
      max_level: never split below this level; None if not known.
      dropped: photos in dropped leaves.
      other_class: whether label 0 is "other".
      made_by: free-form record of how it was made.
    """

    tokens: tuple[str, ...]
    photos: tuple[int, ...]
    points: tuple[tuple[float, float], ...]
    max_photos: int | None
    min_photos: int | None
    max_level: int | None
    dropped: int
    other_class: bool = False
    made_by: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_classes(self) -> int:
        """Cells, and one more with `other_class`."""
        return len(self.tokens) + self.other_class

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """Cell ids (cells,) uint64, ascending."""
        return geometry.from_tokens(list(self.tokens))

    @functools.cached_property
    def latlng(self) -> np.ndarray:
        """Points of the cells (cells, 2) float64, in degrees."""
        return np.array(self.points, np.float64).reshape(-1, 2)

    @functools.cached_property
    def fingerprint(self) -> str:
        """What shards and models are tied to: the classes and their order."""
        text = "".join(token + "\n" for token in self.tokens)
        text = f"other={int(self.other_class)}\n" + text
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def over_max_photos(self) -> list[str]:
        """Cells that `max_level` kept from being split."""
        if self.max_photos is None:
            return []
        pairs = zip(self.tokens, self.photos, strict=True)
        return [token for token, n in pairs if n > self.max_photos]

    def labels(self, lat: np.ndarray, lng: np.ndarray) -> np.ndarray:
        """Labels (n,) int64 of points; -1 outside, or 0 with `other_class`."""
        first, last = geometry.range_bounds(self.ids)
        leaves = geometry.leaf_ids(lat, lng)
        cell = np.searchsorted(first, leaves, side="right") - 1
        inside = (cell >= 0) & (leaves <= last[np.maximum(cell, 0)])
        outside = 0 if self.other_class else -1
        return np.where(inside, cell + self.other_class, outside)

    def token(self, label: int) -> str:
        """The token of a label; "other" for the class of that name."""
        if self.other_class and label == 0:
            return "other"
        return self.tokens[label - self.other_class]


def from_leaves(
    leaves: quadtree.CellTable,
    *,
    max_photos: int,
    min_photos: int,
    max_level: int,
    other_class: bool = False,
    made_by: dict[str, Any] | None = None,
) -> Partition:
    """The partition of the leaves that have at least `min_photos`."""
    kept = leaves.take(leaves.counts >= min_photos)
    points = _points(kept)
    return Partition(
        tokens=tuple(geometry.to_tokens(kept.ids)),
        photos=tuple(kept.counts.tolist()),
        points=tuple((lat, lng) for lat, lng in points.tolist()),
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=max_level,
        dropped=int(leaves.counts.sum() - kept.counts.sum()),
        other_class=other_class,
        made_by=made_by or {},
    )


def _points(table: quadtree.CellTable) -> np.ndarray:
    """Spherical means (n, 2) of the photos of each cell, inside the cell."""
    points = geometry.from_vectors(table.sums.astype(np.float64))
    leaves = geometry.leaf_ids(*points.T)
    first, last = geometry.range_bounds(table.ids)
    out = (leaves < first) | (leaves > last)
    # The sums are good to 2 cm. Cells that small, and photos that near to a
    # cell's edge, need a push of 6 cm (1e-8), at most to the cell's centre.
    mean = geometry.to_vectors(*points[out].T)
    push = geometry.cell_vectors(table.ids[out]) - mean
    push *= np.minimum(1, 1e-8 / np.linalg.norm(push, axis=-1, keepdims=True))
    points[out] = geometry.from_vectors(mean + push)
    return points


def build(
    lat: np.ndarray,
    lng: np.ndarray,
    *,
    max_photos: int,
    min_photos: int,
    max_level: int = 20,
    other_class: bool = False,
) -> Partition:
    """The partition of points (n,) in degrees."""
    return build_from_batches(
        [(lat, lng)],
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=max_level,
        other_class=other_class,
    )


def build_from_batches(
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    max_photos: int,
    min_photos: int,
    max_level: int = 20,
    other_class: bool = False,
) -> Partition:
    """The partition of points that come as (lat, lng), in one process.

    Takes 8 bytes of memory a point: 91 million points take 0.7 GB. The Beam
    job `build_partition` gives the same for any number of points.
    """
    level = quadtree.histogram_level(max_level)
    cells = quadtree.sorted_cells(batches, level)
    return from_leaves(
        quadtree.grow(cells, None, max_photos, max_level),
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=max_level,
        other_class=other_class,
    )


def dump(partition: Partition, file: IO[str]) -> None:
    """Writes a partition as JSON, one cell a line, always the same bytes."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": partition.fingerprint,
        "max_photos": partition.max_photos,
        "min_photos": partition.min_photos,
        "max_level": partition.max_level,
        "other_class": partition.other_class,
        "kept_photos": sum(partition.photos),
        "dropped_photos": partition.dropped,
        "made_by": partition.made_by,
    }
    rows = zip(
        partition.tokens, partition.photos, partition.points, strict=True
    )
    cells = [
        json.dumps({"token": t, "photos": n, "lat": p[0], "lng": p[1]})
        for t, n, p in rows
    ]
    text = json.dumps(head, indent=1, sort_keys=True)
    file.write(text[:-2] + ',\n "cells": [\n  ')
    file.write(",\n  ".join(cells))
    file.write("\n ]\n}\n")


def load(file: IO[str]) -> Partition:
    """Reads what `dump` wrote; PartitionError says what is wrong with it."""
    try:
        data = json.load(file)
        if data["format"] != FORMAT or data["version"] != VERSION:
            raise PartitionError(
                f"this is {data['format']} version {data['version']}; needed"
                f" is {FORMAT} version {VERSION}"
            )
        partition = Partition(
            tokens=tuple(c["token"] for c in data["cells"]),
            photos=tuple(c["photos"] for c in data["cells"]),
            points=tuple((c["lat"], c["lng"]) for c in data["cells"]),
            max_photos=data["max_photos"],
            min_photos=data["min_photos"],
            max_level=data["max_level"],
            dropped=data["dropped_photos"],
            other_class=data["other_class"],
            made_by=data["made_by"],
        )
        written = data["fingerprint"]
    except PartitionError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise PartitionError(
            "this is no partition as build_partition writes it:"
            f" {type(error).__name__}: {error}"
        ) from error
    if partition.fingerprint != written:
        raise PartitionError(
            f"the cells have fingerprint {partition.fingerprint} but the file"
            f" says {written}: it was changed by hand; build it again"
        )
    return partition


def _check(partition: Partition) -> None:
    if not partition.tokens:
        raise PartitionError(
            "a partition without cells: no cell has the needed"
            f" {partition.min_photos} photos; lower min_photos"
        )
    try:
        ids = partition.ids
    except ValueError as error:
        raise PartitionError(str(error)) from error
    first, last = geometry.range_bounds(ids)
    overlap = np.flatnonzero(first[1:] <= last[:-1])
    if overlap.size:
        a, b = partition.tokens[overlap[0]], partition.tokens[overlap[0] + 1]
        raise PartitionError(f"cells {a} and {b} overlap or are out of order")
    latlng = partition.latlng
    if not (np.isfinite(latlng).all() and (np.abs(latlng) <= [90, 180]).all()):
        raise PartitionError("a cell's point has no valid lat, lng")
    leaves = geometry.leaf_ids(*latlng.T)
    outside = np.flatnonzero((leaves < first) | (leaves > last))
    if outside.size:
        raise PartitionError(
            f"the point of cell {partition.tokens[outside[0]]} is not in it"
        )
    for token, n in zip(partition.tokens, partition.photos, strict=True):
        if not (isinstance(n, int) and n >= 0):
            raise PartitionError(
                f"cell {token}'s photos are counted by {n!r}; needed is a"
                " whole number, 0 or more"
            )
