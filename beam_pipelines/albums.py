"""References to photos in, record files of albums out.

All photos of an album meet in one shard, which is a hash of what they have in
common, and the albums of a file are in the order of the hashes. Images are
read, embedded and forgotten where the file is written. So, as for photos,
neither the runner, nor the workers, nor the order of the input changes a byte.

A worker holds the references of one shard and the embeddings of one album:
8 kB a photo at the model's full width.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems

from beam_pipelines import batches, embedding, grouping, shards, splits
from beam_pipelines.album_records import AlbumFile, AlbumWriter
from beam_pipelines.photos import Photos
from planet_tf.photos import records
from planet_tf.photos.rejects import Reason, Reject


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the content of the files depends on, beside photos and models.

    Attributes:
      shards: files of each split.
      rule: what becomes an album of which split.
    """

    shards: int
    rule: grouping.Rule

    def file_names(self) -> list[str]:
        """All record files."""
        return [
            self.file_name(split, shard)
            for split in self.rule.splits
            for shard in range(self.shards)
        ]

    def file_name(self, split: str, shard: int) -> str:
        """Name of a record file."""
        return records.file_name(split, shard, self.shards, records.ALBUMS)


@dataclasses.dataclass(eq=False)
class DropSeen(beam.DoFn):
    """Photos that the photo model was not trained on.

    The others are tagged `rejects`.
    """

    fractions: Mapping[str, float]
    split_seed: int

    def process(self, photos: Photos) -> Iterator[Any]:
        """Gives Photos, and a tagged Reject for each of the others."""
        names = splits.split_names(photos, self.fractions, self.split_seed)
        seen = names == grouping.TRAIN
        for photo_id in photos.photo_id[seen]:
            reject = Reject(
                photo_id,
                "assign",
                Reason.SEEN_IN_TRAINING,
                "its group is in the photo model's split train",
            )
            yield beam.pvalue.TaggedOutput("rejects", reject)
        yield photos.take(~seen)


@dataclasses.dataclass(eq=False)
class WriteAlbums(beam.PTransform):
    """Writes batches of photos as record files of albums.

    Attributes:
      directory: where to.
      partition_file: whose cells are the labels.
      model: what gives the embeddings.
      layout: see there.
      threads: images read and decoded at once by a worker.
    """

    directory: str
    partition_file: splits.PartitionFile
    model: embedding.SharedModel
    layout: Layout
    threads: int

    def expand(self, photos: beam.PCollection) -> Any:
        """Gives PCollections `files` (AlbumFile) and `rejects` (Reject)."""
        write = WriteShard(
            self.directory,
            self.partition_file,
            self.model,
            self.layout,
            self.threads,
        )
        number = functools.partial(shard_numbers, layout=self.layout)
        return shards.by_shard(photos, number, self.layout.shards) | beam.ParDo(
            write
        ).with_outputs("rejects", main="files")


def shard_numbers(photos: Photos, layout: Layout) -> np.ndarray:
    """The shard of each photo, (n,): one for all photos of an album."""
    keys = grouping.keys(photos, layout.rule.root)
    return splits.hashes(keys) % np.uint64(layout.shards)


@dataclasses.dataclass(eq=False)
class WriteShard(beam.DoFn):
    """Writes one shard's photos as a file of albums for each split.

    Attributes:
      directory: where to.
      partition_file: whose cells are the labels.
      model_file: what gives the embeddings.
      layout: see there.
      threads: images read and decoded at once.
    """

    directory: str
    partition_file: splits.PartitionFile
    model_file: embedding.SharedModel
    layout: Layout
    threads: int

    def setup(self) -> None:
        """Loads the partition and the model."""
        self.partition = self.partition_file.load()
        self.model = self.model_file.load()
        # Some are read while the model is at a whole batch.
        self.ahead = self.model.batch_size + (
            shards.AHEAD_OF_EACH_THREAD * self.threads
        )
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)

    def teardown(self) -> None:
        """Ends the threads."""
        self.pool.shutdown()

    def process(
        self, group: tuple[int, Iterable[Photos | None]]
    ) -> Iterator[Any]:
        """Gives an AlbumFile a split, and a tagged Reject for bad photos."""
        shard, pieces = group
        rule = self.layout.rule
        photos = batches.join(piece for piece in pieces if piece is not None)
        keys = grouping.keys(photos, rule.root)
        names = grouping.split_names(photos, keys, rule)
        groups, rejects = grouping.groups(photos, keys, names, rule.gap_seconds)
        numbers: dict[str, Iterator[int]] = {
            key: itertools.count(1) for key in keys
        }
        for split in rule.splits:
            own = [g for g in groups if g.split == split]
            writer = AlbumWriter(
                own, self.partition, self.model, rule, numbers, self.pool
            )
            name = self.layout.file_name(split, shard)
            path = FileSystems.join(self.directory, name)
            size, sha256 = shards.write_file(path, writer.encoded(self.ahead))
            shards.add_to_counter("albums_written", writer.albums)
            shards.add_to_counter("photos_embedded", writer.embedded)
            shards.add_to_counter("bytes_written", size)
            rejects += writer.rejects
            yield writer.file(name, split, shard, size, sha256)
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)


def summary(
    written: Iterable[AlbumFile], rejects: Mapping[str, int]
) -> dict[str, Any]:
    """What the files hold: the content's part of albums.json."""
    written = list(written)
    return {
        **shards.summary(written, rejects),
        "max_photos": max(file.longest for file in written),
        "features": max(file.features for file in written),
    }
