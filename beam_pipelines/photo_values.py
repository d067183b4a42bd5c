"""Places, times, owners, albums and contents that photos share.

Each is a number, or a hash of 64 bits. A batch becomes a histogram, which is
cut by the hash of the values, so that one worker adds up all of a value. Of
each distinct value of a batch some 45 bytes go through that shuffle: number,
hashes of the owners, and an example.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipelines import batches, splits
from beam_pipelines.photos import Photos
from planet_tf.geo import geometry
from planet_tf.photos import records

TOP = 10  # of the most frequent values of a kind
_SPREAD = 0x9E3779B97F4A7C15  # makes the low bits of a number matter


class Kind(enum.IntEnum):
    """What the most frequent values are looked for of."""

    PLACE = 0
    TIME = 1
    OWNER = 2
    ALBUM = 3
    CONTENT = 4


@dataclasses.dataclass(frozen=True)
class Values:
    """How often each of n values is met; a field is an array (n,).

    Attributes:
      kind: uint8 Kind.
      value: uint64, what is counted or a hash of it.
      count: int64 photos.
      low: uint64, the smallest of the hashes of their owners.
      high: uint64, the largest.
      example: str, what stands for the value to people.
    """

    kind: np.ndarray
    value: np.ndarray
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray
    example: np.ndarray

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: Any) -> "Values":
        """Some of the values."""
        fields = dataclasses.fields(self)
        return Values(*(getattr(self, f.name)[rows] for f in fields))


def count_values(
    kind: Kind, value: np.ndarray, owners: np.ndarray, examples: np.ndarray
) -> Values:
    """Counts the values (n,) of photos, whose owners have hashes (n,)."""
    n = len(value)
    return add_values(
        Values(
            kind=np.full(n, kind, np.uint8),
            value=value,
            count=np.ones(n, np.int64),
            low=owners,
            high=owners,
            example=examples,
        )
    )


def add_values(values: Values) -> Values:
    """Each value once, of values of one kind; sorted."""
    if not len(values):
        return values
    values = values.take(np.argsort(values.value, kind="stable"))
    first = [run.start for run in batches.runs(values.value)]
    return Values(
        kind=values.kind[first],
        value=values.value[first],
        count=np.add.reduceat(values.count, first),
        low=np.minimum.reduceat(values.low, first),
        high=np.maximum.reduceat(values.high, first),
        example=np.minimum.reduceat(values.example, first),
    )


def values_of(photos: Photos) -> Values:
    """Places, times, owners and albums of a batch."""
    owners = _hashes(photos.owner_id)
    albums = photos.owner_id + "\0" + photos.album_id
    known = {
        Kind.TIME: photos.taken_at != records.UNKNOWN_TIME,
        Kind.OWNER: photos.owner_id != "",
        Kind.ALBUM: photos.album_id != "",
    }
    columns = {
        Kind.PLACE: (
            geometry.leaf_ids(photos.lat, photos.lng),
            photos.photo_id,
        ),
        Kind.TIME: (photos.taken_at.view(np.uint64), photos.photo_id),
        Kind.OWNER: (owners, photos.owner_id),
        Kind.ALBUM: (_hashes(albums), photos.album_id),
    }
    everything = np.full(len(photos), True)
    return batches.join(
        count_values(kind, value[rows], owners[rows], example[rows])
        for kind, (value, example) in columns.items()
        for rows in [known.get(kind, everything)]
    )


def contents_of(photos: Photos, digest: np.ndarray) -> Values:
    """Contents of a batch by their hashes (n, 2); 64 bits are enough here."""
    owners = _hashes(photos.owner_id)
    return count_values(Kind.CONTENT, digest[:, 0], owners, photos.photo_id)


def _hashes(texts: np.ndarray) -> np.ndarray:
    """The hash of each text, (n,) uint64, made once of each."""
    column = pa.array(texts, pa.string()).dictionary_encode()
    hashes = splits.hashes(column.dictionary.to_pylist())
    return hashes[column.indices.to_numpy()]


def value_buckets(values: Values, count: int) -> np.ndarray:
    """Which of `count` groups of its kind each value is counted in, (n,)."""
    mixed = (values.value * np.uint64(_SPREAD)) >> np.uint64(32)
    groups = (mixed % np.uint64(count)).astype(np.int64)
    return values.kind.astype(np.int64) * count + groups


def summarize(values: Values) -> dict[str, Any]:
    """What is told of the values of one kind.

    `sizes` has the number of values by the bits of their counts: 1 for 1, 2
    for 2 and 3, 3 for 4 to 7. A row of `top` is [-count, value, whether
    owners differ, example], so that the smallest rows are the first.
    """
    values = add_values(values)
    bits, numbers = np.unique(
        np.frexp(values.count)[1] if len(values) else [], return_counts=True
    )
    order = np.lexsort((values.value, -values.count))[:TOP]
    best = values.take(order[values.count[order] > 0])
    return {
        "distinct": len(values),
        "photos": int(values.count.sum()),
        "repeated": int(values.count[values.count > 1].sum()),
        "sizes": {
            str(int(b)): int(n) for b, n in zip(bits, numbers, strict=True)
        },
        "top": [
            [-n, value, low != high, example]
            for n, value, low, high, example in zip(
                *(c.tolist() for c in (best.count, best.value)),
                *(c.tolist() for c in (best.low, best.high, best.example)),
                strict=True,
            )
        ],
    }


def add_summaries(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of disjoint values of one kind."""
    total: dict[str, Any] = {"distinct": 0, "photos": 0, "repeated": 0}
    sizes: dict[str, int] = {}
    top: list[Sequence[Any]] = []
    for part in parts:
        for name in total:
            total[name] += part[name]
        for bits, n in part["sizes"].items():
            sizes[bits] = sizes.get(bits, 0) + n
        top = sorted([*top, *part["top"]])[:TOP]
    return {**total, "sizes": dict(sorted(sizes.items())), "top": top}
