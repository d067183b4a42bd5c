"""References to photos in, record files out, the same bytes in every run.

A photo's shard is a hash of its id, the order within the shard is that of the
hashes, and a file is renamed when it is whole: neither the runner, nor the
number of workers, nor the order of the input, nor a repeated bundle changes a
byte. All rows with one id meet in one shard, where one of them is kept. A
shard is one file in each split.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from beam_pipelines import batches, duplicates, files, splits
from beam_pipelines.photos import Photos
from planet_tf.photos import images, records
from planet_tf.photos.rejects import PhotoError, Reject

# Photos read and encoded before they are written, so that threads have work
# while the first of them is at a large one; their bytes at most.
AHEAD_OF_EACH_THREAD = 16
_FIRST_AHEAD = 8  # while it is not known how large they are
_BYTES_AHEAD = 64_000_000
_ROWS_AT_ONCE = 1_024


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the content of the record files depends on, beside the photos.

    Attributes:
      shards: files of each split.
      fractions: share of each split but "train", which gets the rest.
      split_seed: another seed is another split.
      image_size: short side of larger images, in pixels; 0 for any.
      jpeg_quality: of images that have to be encoded again.
      limits: of images that are taken.
    """

    shards: int
    fractions: Mapping[str, float]
    split_seed: int
    image_size: int
    jpeg_quality: int
    limits: images.Limits

    @property
    def splits(self) -> list[str]:
        """The splits, without those of fraction 0."""
        return ["train", *(s for s, f in self.fractions.items() if f > 0)]

    def file_names(self) -> list[str]:
        """All record files."""
        return [
            records.file_name(split, shard, self.shards)
            for split in self.splits
            for shard in range(self.shards)
        ]


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """A record file that is whole."""

    name: str
    split: str
    shard: int
    photos: int
    bytes: int
    sha256: str

    def counts(self) -> dict[str, int]:
        """How many of what are in it."""
        return {"photos": self.photos}


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Writes batches of photos, all inside the partition, as record files.

    Attributes:
      directory: where to.
      partition_file: whose cells are the labels.
      layout: see there.
      threads: images read and decoded at once by a worker.
    """

    directory: str
    partition_file: splits.PartitionFile
    layout: Layout
    threads: int

    def expand(self, photos: beam.PCollection) -> Any:
        """Gives PCollections `files` (RecordFile) and `rejects` (Reject)."""
        count = self.layout.shards
        write = _WriteShard(
            self.directory, self.partition_file, self.layout, self.threads
        )
        return by_shard(
            photos, functools.partial(shard_numbers, shards=count), count
        ) | beam.ParDo(write).with_outputs("rejects", main="files")


def by_shard(
    photos: beam.PCollection,
    shard_numbers: Callable[[Photos], np.ndarray],
    shards: int,
) -> beam.PCollection:
    """Pairs of a shard and its pieces of batches, also for empty shards.

    Args:
      photos: batches of them.
      shard_numbers: the shard of each photo of a batch, (n,).
      shards: how many there are.
    """
    keys = (
        photos.pipeline
        | beam.Create([shards])
        | beam.FlatMap(empty_shards)  # (int, None)
    )
    pieces = photos | beam.ParDo(batches.Cut(shard_numbers))
    return (
        (keys, pieces)
        | beam.Flatten()  # (int, Photos | None)
        | beam.GroupByKey()  # of references; no image goes through it
    )


def empty_shards(count: int) -> Iterator[tuple[int, None]]:
    """A key for each shard, without photos."""
    yield from ((key, None) for key in range(count))


def shard_numbers(photos: Photos, shards: int) -> np.ndarray:
    """The shard of each photo, (n,)."""
    return splits.hashes(photos.photo_id) % np.uint64(shards)


@dataclasses.dataclass(eq=False)
class _WriteShard(beam.DoFn):
    directory: str
    partition_file: splits.PartitionFile
    layout: Layout
    threads: int

    def setup(self) -> None:
        self.partition = self.partition_file.load()
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)

    def teardown(self) -> None:
        self.pool.shutdown()

    def process(
        self, group: tuple[int, Iterable[Photos | None]]
    ) -> Iterator[Any]:
        shard, pieces = group
        photos, rejects = duplicates.one_of_each_id(
            batches.join(piece for piece in pieces if piece is not None)
        )
        names = splits.split_names(
            photos, self.layout.fractions, self.layout.split_seed
        )
        for split in self.layout.splits:
            file, bad = self._write(split, shard, photos.take(names == split))
            rejects += bad
            add_to_counter("photos_written", file.photos)
            add_to_counter("bytes_written", file.bytes)
            yield file
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)

    def _write(
        self, split: str, shard: int, photos: Photos
    ) -> tuple[RecordFile, list[Reject]]:
        name = records.file_name(split, shard, self.layout.shards)
        rejects: list[Reject] = []
        encode = functools.partial(encode_row, layout=self.layout)
        results = ahead(
            self.pool,
            encode,
            self._labelled(photos),
            AHEAD_OF_EACH_THREAD * self.threads,
        )
        size, sha256 = write_file(
            FileSystems.join(self.directory, name), _good(results, rejects)
        )
        written = len(photos) - len(rejects)
        return RecordFile(name, split, shard, written, size, sha256), rejects

    def _labelled(self, photos: Photos) -> Iterator[tuple[tuple, int, str]]:
        """Row, label and token of each photo; few rows exist at a time."""
        labels = self.partition.labels(photos.lat, photos.lng).tolist()
        for start in range(0, len(photos), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            for row, label in zip(
                photos.take(some).rows(), labels[some], strict=True
            ):
                yield row, label, self.partition.token(label)


def _good(
    results: Iterable[bytes | Reject], rejects: list[Reject]
) -> Iterator[bytes]:
    """Gives the records and gathers the rejects."""
    for result in results:
        if isinstance(result, Reject):
            rejects.append(result)
        else:
            yield result


def write_file(path: str, encoded: Iterable[bytes]) -> tuple[int, str]:
    """Writes records as a whole file; returns its bytes and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with files.create(path) as file:
        for record in encoded:
            framed = records.frame(record)
            file.write(framed)
            digest.update(framed)
            size += len(framed)
    return size, digest.hexdigest()


def ahead(
    pool: concurrent.futures.Executor,
    work: Callable[..., Any],
    items: Iterable[tuple],
    count: int,
) -> Iterator[Any]:
    """Results of `work` in the order of the items, made in advance.

    A result has a length, in bytes, or is a Reject. At most `count` are made,
    and fewer if they are large: as many as make up _BYTES_AHEAD if all were as
    large as the largest so far.
    """
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    room, largest = min(count, _FIRST_AHEAD), 1
    for item in items:
        waiting.append(pool.submit(work, *item))
        while len(waiting) > room:
            result = waiting.popleft().result()
            if not isinstance(result, Reject):
                largest = max(largest, len(result))
                room = min(count, 1 + _BYTES_AHEAD // largest)
            yield result
    while waiting:
        yield waiting.popleft().result()


def add_to_counter(name: str, number: int) -> None:
    """Adds to a counter of Beam's."""
    Metrics.counter("planet_tf", name).inc(number)


def encode_row(
    row: Sequence[Any], label: int, token: str, layout: Layout
) -> bytes | Reject:
    """The record of a photo, or why there is none."""
    photo_id, uri, offset, length, lat, lng, *known = row
    owner_id, album_id, taken_at = known
    try:
        image = images.fit(
            files.read_photo(uri, offset, length),
            layout.image_size,
            quality=layout.jpeg_quality,
            limits=layout.limits,
        )
    except PhotoError as error:
        return Reject(photo_id, "write", error.reason, error.detail)
    return records.encode_photo(
        records.Photo(
            image=image,
            photo_id=photo_id,
            lat=lat,
            lng=lng,
            token=token,
            label=label,
            album_id=album_id,
            owner_id=owner_id,
            taken_at=taken_at,
        )
    )


def summary(
    written: Iterable[RecordFile], rejects: Mapping[str, int]
) -> dict[str, Any]:
    """What the files hold: the content's part of what describes them."""
    written = sorted(written, key=lambda file: file.name)
    text = "".join(f"{file.name} {file.sha256}\n" for file in written)
    splits: dict[str, dict[str, int]] = {}
    for file in written:
        split = splits.setdefault(file.split, {})
        facts = file.counts() | {"bytes": file.bytes, "shards": 1}
        for name, number in facts.items():
            split[name] = split.get(name, 0) + number
    return {
        "fingerprint": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "splits": splits,
        "files": {
            file.name: {**file.counts(), "sha256": file.sha256}
            for file in written
        },
        "rejects": dict(rejects),
    }
