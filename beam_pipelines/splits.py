"""Splits of photos that leak nothing, and what lies outside the partition."""

import dataclasses
import functools
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from beam_pipelines import files
from beam_pipelines.photos import Photos
from planet_tf.geo import geometry
from planet_tf.geo import partition as partition_lib
from planet_tf.photos.rejects import Reason, Reject

# Photos of unknown owner and album are split by cells of this level, 35 km
# wide: views of one place stay together.
PLACE_LEVEL = 8
TRAIN = "train"  # the split that gets what the others leave
# In which splits take their shares of the hashes. It is not the order of a
# mapping, which a JSON file may have sorted meanwhile.
_ORDER = ("validation", "test", "albums")


@dataclasses.dataclass(frozen=True)
class PartitionFile:
    """Where workers find the partition, which is no part of the pipeline.

    Attributes:
      path: of the file, on any file system that Beam knows.
      fingerprint: of the partition that must be in it.
    """

    path: str
    fingerprint: str

    def load(self) -> partition_lib.Partition:
        """The partition, read once by a process; PartitionError if changed."""
        return _load(self)


@functools.lru_cache(maxsize=1)
def _load(file: PartitionFile) -> partition_lib.Partition:
    text = files.read(file.path).decode(errors="replace")
    partition = partition_lib.load(io.StringIO(text))
    if partition.fingerprint != file.fingerprint:
        raise partition_lib.PartitionError(
            f"{file.path} has fingerprint {partition.fingerprint}, but the"
            f" pipeline was started for {file.fingerprint}: it was changed"
            " meanwhile; start again"
        )
    return partition


@dataclasses.dataclass(eq=False)
class DropOutside(beam.DoFn):
    """Photos inside the partition; the others are tagged `rejects`."""

    partition_file: PartitionFile

    def setup(self) -> None:
        """Loads the partition."""
        self.partition = self.partition_file.load()

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
    return of_groups(group_keys(photos), fractions, seed)


def only(
    photos: Photos, split: str, fractions: Mapping[str, float], seed: int
) -> Photos:
    """The photos of one split; see split_names."""
    return photos.take(split_names(photos, fractions, seed) == split)


def of_groups(
    keys: np.ndarray, fractions: Mapping[str, float], seed: int
) -> np.ndarray:
    """The split of each photo by its group's key, (n,) str."""
    distinct = pa.array(keys, pa.string()).dictionary_encode()
    names = of_keys(distinct.dictionary.to_pylist(), fractions, seed)
    return names[distinct.indices.to_numpy()]


def of_keys(
    keys: Iterable[str], fractions: Mapping[str, float], seed: int
) -> np.ndarray:
    """The split of each group by its key, (n,) str; see split_names."""
    uniform = hashes(f"{seed} {key}" for key in keys) / 2**64
    names = np.full(len(uniform), TRAIN, object)
    start = 0.0
    for name in sorted(fractions, key=_ORDER.index):
        fraction = fractions[name]
        names[(uniform >= start) & (uniform < start + fraction)] = name
        start += fraction
    return names


def group_keys(photos: Photos) -> np.ndarray:
    """What must stay on one side of a split, (n,) str.

    A key's first word says what it is of, and all that follows is the name,
    so that no owner is taken for an album. An album without an owner is known
    by its own name: with an owner, the owner's other photos come along.
    """
    keys = np.where(
        photos.owner_id != "",
        "owner " + photos.owner_id,
        "album " + photos.album_id,
    )
    rest = (photos.owner_id == "") & (photos.album_id == "")
    leaves = geometry.leaf_ids(photos.lat[rest], photos.lng[rest])
    cells, where = np.unique(
        geometry.parents(leaves, PLACE_LEVEL), return_inverse=True
    )
    tokens = np.array(geometry.to_tokens(cells), object)
    keys[rest] = ("place " + tokens)[where]
    return keys


def hashes(texts: Iterable[str]) -> np.ndarray:
    """The `hash64` of texts, (n,) uint64."""
    digests = b"".join(_digest(text) for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def hash64(text: str) -> int:
    """A hash in 0 .. 2**64 - 1 that never changes."""
    return int.from_bytes(_digest(text), "big")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
