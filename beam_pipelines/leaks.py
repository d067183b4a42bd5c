"""What two splits have in common: a search through finished record files.

Each file is read once. Of a photo goes on a hash of 16 bytes for each thing
that must not be in two splits, the split, and where the record is; of an
owner, album, image or place one of those in a file is enough. That is at most
150 bytes a photo through one shuffle, where hashes of one bucket meet. Names
are not shuffled but read again, for the few that are shown.
"""

import dataclasses
import enum
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import batches, files, record_files, splits
from beam_pipelines.record_files import DIGEST_BYTES, Row
from planet_tf.geo import geometry
from planet_tf.photos import records
from planet_tf.photos.records import Photo

_PROBLEMS = 5  # of one file that are told


class Kind(enum.StrEnum):
    """What is compared between splits; the order is the number in Keys."""

    PHOTO_ID = "photo_id"
    OWNER = "owner"
    ALBUM = "album"  # of an owner, who may not be known
    IMAGE = "image"  # its bytes
    PLACE = "place"  # of photos with neither owner nor album
    ALBUM_ID = "album_id"  # whoever the owner is: may be in two splits


_KINDS = tuple(Kind)


@dataclasses.dataclass(frozen=True)
class Keys:
    """A batch of n hashes.

    Attributes:
      kind: (n,) uint8, the position in the list of Kind.
      digest: (n, 2) uint64.
      split: (n,) uint8, the position in the list of splits.
      file: (n,) uint32, the position in the list of files.
      offset: (n,) uint64, of the record's data in the file.
    """

    kind: np.ndarray
    digest: np.ndarray
    split: np.ndarray
    file: np.ndarray
    offset: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Any) -> "Keys":
        """The batch of some rows, by slice, mask or index."""
        fields = dataclasses.fields(self)
        return Keys(*(getattr(self, field.name)[rows] for field in fields))


@dataclasses.dataclass(eq=False)
class FindLeaks(beam.PTransform):
    """Reads record files, (position, name), and compares what is in them.

    Attributes:
      directory: where they are.
      partition_file: whose cells the labels are.
      split_names: the splits.
      buckets: groups of hashes that are compared by one worker each.
      examples: leaks of a kind that are told, by a bucket.
    """

    directory: str
    partition_file: splits.PartitionFile
    split_names: Sequence[str]
    buckets: int
    examples: int

    def expand(self, names: beam.PCollection) -> Any:
        """Gives a dict of `files` and `leaks`, PCollections of JSON dicts."""
        read = (
            names
            | beam.Reshuffle()  # (int, str)
            | beam.ParDo(
                _ReadFile(self.directory, self.partition_file, self.split_names)
            ).with_outputs("files", main="keys")
        )
        leaks = (
            read.keys
            | beam.ParDo(batches.Cut(self._buckets_of))  # (int, Keys)
            | beam.GroupByKey()
            | beam.FlatMap(_compare, self.examples)
        )
        return {"files": read.files, "leaks": leaks}

    def _buckets_of(self, keys: Keys) -> np.ndarray:
        bucket = keys.digest[:, 0] % np.uint64(self.buckets)
        return bucket.astype(np.int64) * len(Kind) + keys.kind


@dataclasses.dataclass(eq=False)
class _ReadFile(beam.DoFn):
    directory: str
    partition_file: splits.PartitionFile
    split_names: Sequence[str]

    def setup(self) -> None:
        self.partition = self.partition_file.load()

    def process(self, file: tuple[int, str]) -> Iterator[Any]:
        position, name = file
        found = record_files.read_file(files.join(self.directory, name))
        problems = found.problems + record_files.wrong_labels(
            found.rows, self.partition
        )
        keys, on_edge = make_keys(
            found.rows, self.split_names.index(records.split_of(name)), position
        )
        facts = {
            "name": name,
            "photos": len(found.rows),
            "bytes": found.bytes,
            "sha256": found.sha256,
            "on_edge": on_edge,
            "bad": len(problems),
            "problems": problems[:_PROBLEMS],
        }
        yield beam.pvalue.TaggedOutput("files", facts)
        yield keys


def make_keys(rows: Sequence[Row], split: int, file: int) -> tuple[Keys, int]:
    """Hashes of what is in a file, and how many photos have no sure place.

    The place of a photo at an edge of its block cannot be told from the
    rounded degrees of the record.
    """
    texts: dict[Kind, dict[bytes, int]] = {kind: {} for kind in Kind}
    places, sure = _places(rows)
    on_edge = 0
    ids = []
    for k, row in enumerate(rows):
        photo = row.photo
        ids.append((Kind.PHOTO_ID, _digest(photo.photo_id), row.offset))
        texts[Kind.IMAGE].setdefault(row.image, row.offset)
        owner, album = photo.owner_id, photo.album_id
        if owner:
            texts[Kind.OWNER].setdefault(_digest(owner), row.offset)
        if album:
            both = _digest(f"{len(owner)} {owner}{album}")
            texts[Kind.ALBUM].setdefault(both, row.offset)
            texts[Kind.ALBUM_ID].setdefault(_digest(album), row.offset)
        if not (owner or album):
            on_edge += not sure[k]
            if sure[k]:
                place = _digest(str(places[k]))
                texts[Kind.PLACE].setdefault(place, row.offset)
    others = (
        (kind, digest, offset)
        for kind, found in texts.items()
        for digest, offset in found.items()
    )
    return _keys(list(itertools.chain(ids, others)), split, file), on_edge


def describe(kind: str, photo: Photo) -> str:
    """What a photo shows to be in several splits."""
    return {
        Kind.PHOTO_ID: f"photo id {photo.photo_id!r}",
        Kind.OWNER: f"owner {photo.owner_id!r}",
        Kind.ALBUM: f"album {photo.album_id!r} of owner {photo.owner_id!r}",
        Kind.IMAGE: "the same image",
        Kind.PLACE: f"the place of lat {photo.lat}, lng {photo.lng}",
    }[Kind(kind)]


def _keys(
    found: Sequence[tuple[Kind, bytes, int]], split: int, file: int
) -> Keys:
    n = len(found)
    digests = b"".join(digest for _, digest, _ in found)
    return Keys(
        kind=np.array([_KINDS.index(kind) for kind, _, _ in found], np.uint8),
        digest=np.frombuffer(digests, np.uint64).reshape(-1, 2),
        split=np.full(n, split, np.uint8),
        file=np.full(n, file, np.uint32),
        offset=np.array([offset for _, _, offset in found], np.uint64),
    )


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def _places(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """Place blocks (n,) uint64, and whether rounding cannot have changed it."""
    lat, lng = record_files.latlng(rows)
    bad = ~((np.abs(lat) <= 90) & (np.abs(lng) <= 180))
    lat, lng = np.where(bad, 0, lat), np.where(bad, 0, lng)
    reach = [np.spacing(np.abs(x).astype(np.float32)) for x in (lat, lng)]
    blocks = [
        geometry.parents(
            geometry.leaf_ids(
                np.clip(lat + a * reach[0], -90, 90),
                geometry.wrap_lng(lng + b * reach[1]),
            ),
            splits.PLACE_LEVEL,
        )
        for a, b in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    same = np.all([block == blocks[0] for block in blocks], axis=0)
    return blocks[0], same & ~bad


def _compare(
    group: tuple[int, Iterable[Keys]], examples: int
) -> Iterator[dict[str, Any]]:
    keys = batches.join(group[1])
    order = np.lexsort((keys.offset, keys.file, keys.split, *keys.digest.T))
    yield leaks_of(keys.take(order), examples)


def leaks_of(keys: Keys, examples: int) -> dict[str, Any]:
    """What one bucket of one kind, in order, has in several splits.

    Gives the kind, how many hashes are distinct, how many are leaks, and the
    first leaks as lists of places, which are file and offset. A photo id
    leaks if it is there twice at all.
    """
    digest = keys.digest
    changed = (digest[1:] != digest[:-1]).any(-1)
    first = np.concatenate([[0], np.flatnonzero(changed) + 1])
    last = np.append(first[1:], len(keys)) - 1
    # In order of the splits: the number of steps is one less than of splits.
    steps = np.append(0, np.cumsum(np.diff(keys.split.astype(np.int64)) != 0))
    number = steps[last] - steps[first] + 1
    leaking = number > 1
    kind = _KINDS[keys.kind[0]]
    if kind == Kind.PHOTO_ID:
        leaking = last > first
    shown = np.flatnonzero(leaking)[:examples]
    return {
        "kind": kind.value,
        "distinct": len(first),
        "leaks": int(leaking.sum()),
        "examples": [_where(keys, first[k], last[k]) for k in shown.tolist()],
    }


def _where(keys: Keys, first: int, last: int) -> list[list[int]]:
    """File and offset of one record of each split, of two if there is one."""
    rows = np.arange(first, last + 1)
    _, one_each = np.unique(keys.split[rows], return_index=True)
    chosen = rows[one_each] if len(one_each) > 1 else rows[:2]
    return [[int(keys.file[k]), int(keys.offset[k])] for k in chosen]
