"""References to photos in, record files out, the same bytes in every run.

A photo's shard is a hash of its id, the order within the shard is that of the
hashes, and a file is renamed when it is whole: neither the runner, nor the
number of workers, nor the order of the input, nor a repeated bundle changes a
byte. All rows with one id meet in one shard, where one of them is kept. A
shard is one file in each split.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems

from beam_pipelines import files, transforms
from beam_pipelines.photos import Photos
from planet_tf import images, records
from planet_tf.partition import Partition
from planet_tf.rejects import PhotoError, Reason, Reject

_PHOTOS_AHEAD = 256  # photos read and encoded before they are written


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the content of the record files depends on, beside the photos.

    Attributes:
      shards: files of each split.
      fractions: share of each split but "train", which gets the rest.
      split_seed: another seed is another split.
      image_size: short side of larger images, in pixels.
    """

    shards: int
    fractions: Mapping[str, float]
    split_seed: int
    image_size: int

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


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Writes batches of photos, all inside the partition, as record files.

    Attributes:
      directory: where to.
      partition: whose cells are the labels.
      layout: see there.
      threads: images read and decoded at once by a worker.
    """

    directory: str
    partition: Partition
    layout: Layout
    threads: int

    def expand(self, photos: beam.PCollection) -> Any:
        """Gives PCollections `files` (RecordFile) and `rejects` (Reject)."""
        shards = self.layout.shards
        # A key for each shard, so that empty ones are written too.
        keys = photos.pipeline | beam.Create([(i, None) for i in range(shards)])
        batches = photos | beam.FlatMap(by_shard, shards)
        return (
            (keys, batches)
            | beam.Flatten()  # (int, Photos | None)
            | beam.GroupByKey()  # of references; no image goes through it
            | beam.ParDo(
                _WriteShard(
                    self.directory, self.partition, self.layout, self.threads
                )
            ).with_outputs("rejects", main="files")
        )


def by_shard(photos: Photos, shards: int) -> Iterator[tuple[int, Photos]]:
    """Cuts a batch by the shards of its photos."""
    shard = np.array([transforms.hash64(i) % shards for i in photos.photo_id])
    for key in np.unique(shard):
        yield int(key), photos.take(shard == key)


def one_of_each_id(
    batches: Iterable[Photos],
) -> tuple[Photos, list[Reject]]:
    """Photos in the order of a shard, and the rows that repeat an id.

    Of rows with one id the smallest by (uri, lat, lng, owner, album, time) is
    kept, wherever it stood in the input.
    """
    rows = sorted(
        (transforms.hash64(row[0]), *row)
        for batch in batches
        for row in batch.rows()
    )
    kept, rejects = [], []
    for _, *row in rows:
        if kept and kept[-1][0] == row[0]:
            detail = f"kept is {_place(kept[-1])}, not {_place(row)}"
            rejects.append(Reject(row[0], "write", Reason.DUPLICATE_ID, detail))
        else:
            kept.append(row)
    return Photos.from_rows(kept), rejects


def _place(row: Sequence[Any]) -> str:
    return f"{row[1]} at lat {row[2]}, lng {row[3]}"


@dataclasses.dataclass(eq=False)
class _WriteShard(beam.DoFn):
    directory: str
    partition: Partition
    layout: Layout
    threads: int

    def setup(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)

    def teardown(self):
        self.pool.shutdown()

    def process(
        self, group: tuple[int, Iterable[Photos | None]]
    ) -> Iterator[Any]:
        shard, batches = group
        photos, rejects = one_of_each_id(b for b in batches if b is not None)
        names = transforms.split_names(
            photos, self.layout.fractions, self.layout.split_seed
        )
        for split in self.layout.splits:
            file, bad = self._write(split, shard, photos.take(names == split))
            rejects += bad
            yield file
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)

    def _write(
        self, split: str, shard: int, photos: Photos
    ) -> tuple[RecordFile, list[Reject]]:
        name = records.file_name(split, shard, self.layout.shards)
        digest, size, rejects = hashlib.sha256(), 0, []
        with files.create(FileSystems.join(self.directory, name)) as file:
            for result in self._encode_all(photos):
                if isinstance(result, Reject):
                    rejects.append(result)
                    continue
                framed = records.frame(result)
                file.write(framed)
                digest.update(framed)
                size += len(framed)
        written = len(photos) - len(rejects)
        return (
            RecordFile(name, split, shard, written, size, digest.hexdigest()),
            rejects,
        )

    def _encode_all(self, photos: Photos) -> Iterator[bytes | Reject]:
        encode = functools.partial(
            encode_row, image_size=self.layout.image_size
        )
        for start in range(0, len(photos), _PHOTOS_AHEAD):
            some = photos.take(slice(start, start + _PHOTOS_AHEAD))
            labels = self.partition.labels(some.lat, some.lng).tolist()
            tokens = map(self.partition.token, labels)
            yield from self.pool.map(encode, some.rows(), labels, tokens)


def encode_row(
    row: Sequence[Any], label: int, token: str, image_size: int
) -> bytes | Reject:
    """The record of a photo, or why there is none."""
    photo_id, uri, lat, lng, owner_id, album_id, taken_at = row
    try:
        image = images.fit(files.read_photo(uri), image_size)
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
    """What the files hold: the content's part of shards.json."""
    written = sorted(written, key=lambda file: file.name)
    text = "".join(f"{file.name} {file.sha256}\n" for file in written)
    splits: dict[str, dict[str, int]] = {}
    for file in written:
        split = splits.setdefault(
            file.split, {"photos": 0, "bytes": 0, "shards": 0}
        )
        split["photos"] += file.photos
        split["bytes"] += file.bytes
        split["shards"] += 1
    return {
        "fingerprint": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "splits": splits,
        "files": {
            file.name: {"photos": file.photos, "sha256": file.sha256}
            for file in written
        },
        "rejects": dict(rejects),
    }
