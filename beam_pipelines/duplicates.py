"""One photo of each content: the same bytes must not be in two splits.

A picture is often there several times, under other ids, owners and albums.
Splits by owner or album do not keep such copies together, so all but one are
left out. What is compared are the files, JPEGs without their metadata, by a
hash of 128 bits. A picture that was encoded again is another one here.

Each image is read once for that, before it is read again to be written, since
a shuffle of the images would cost six times their size in memory. What goes
through the two shuffles, and a third one to the shards, are references: some
150 bytes each with the hash. A bucket, the photos that one worker compares, is
as large as a shard; a reference takes 350 bytes of its memory.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines import batches, files, splits
from beam_pipelines.photos import Photos
from planet_tf.photos import images
from planet_tf.photos.rejects import PhotoError, Reason, Reject

_DIGEST_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Hashed:
    """A batch of n photos with the hashes of their images.

    Attributes:
      photos: the batch.
      digest: (n, 2) uint64.
    """

    photos: Photos
    digest: np.ndarray

    def __len__(self) -> int:
        return len(self.photos)

    def take(self, rows: Any) -> "Hashed":
        """The batch of some rows, by slice, mask or index."""
        return Hashed(self.photos.take(rows), self.digest[rows])


@dataclasses.dataclass(eq=False)
class DropDuplicates(beam.PTransform):
    """Keeps one of the photos with the same bytes, the same in every run.

    Photos that cannot be read are rejected here.

    Attributes:
      buckets: groups of photos that are compared by one worker each.
      threads: images read at once by a worker.
    """

    buckets: int
    threads: int

    def expand(self, photos: beam.PCollection) -> Any:
        """Gives a dict of `photos` (Photos) and `rejects` (Reject)."""
        hashed = (
            photos
            | beam.FlatMap(batches.pieces)  # Photos, few
            | beam.Reshuffle()  # else one worker reads a whole manifest's
            | beam.ParDo(_Hash(self.threads)).with_outputs(
                "rejects", main="hashed"
            )
        )
        compared = (
            hashed.hashed
            | beam.ParDo(
                batches.Cut(functools.partial(_buckets, count=self.buckets))
            )  # (int, Hashed)
            | beam.GroupByKey()
            | beam.ParDo(_Compare()).with_outputs("rejects", main="photos")
        )
        rejects = (hashed.rejects, compared.rejects) | beam.Flatten()
        return {"photos": compared.photos, "rejects": rejects}


def _buckets(hashed: Hashed, count: int) -> np.ndarray:
    return hashed.digest[:, 0] % np.uint64(count)


@dataclasses.dataclass(eq=False)
class _Hash(beam.DoFn):
    threads: int

    def setup(self) -> None:
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)

    def teardown(self) -> None:
        self.pool.shutdown()

    def process(self, photos: Photos) -> Iterator[Any]:
        places = (photos.uri, photos.offset.tolist(), photos.length.tolist())
        found = list(self.pool.map(digest, photos.photo_id, *places))
        whole = np.array([isinstance(d, bytes) for d in found], bool)
        for reject in found:
            if isinstance(reject, Reject):
                yield beam.pvalue.TaggedOutput("rejects", reject)
        data = b"".join(d for d in found if isinstance(d, bytes))
        yield Hashed(
            photos.take(whole), np.frombuffer(data, np.uint64).reshape(-1, 2)
        )


def digest(photo_id: str, uri: str, offset: int, length: int) -> bytes | Reject:
    """The hash of an image's bytes, or why there is none."""
    try:
        data = files.read_photo(uri, offset, length)
    except PhotoError as error:
        return Reject(photo_id, "write", error.reason, error.detail)
    return content_hash(data)


def content_hash(data: bytes) -> bytes:
    """16 bytes that tell one image file from another.

    A JPEG's metadata does not count: shards have the images without.
    """
    data = images.without_metadata(data) or data
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


class _Compare(beam.DoFn):
    def process(self, group: tuple[int, Iterable[Hashed]]) -> Iterator[Any]:
        photos, rejects = one_of_each_content(batches.join(group[1]))
        for reject in rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)
        yield photos


def one_of_each_content(hashed: Hashed) -> tuple[Photos, list[Reject]]:
    """Photos of different bytes, and those whose bytes another one has.

    The photo whose id has the smallest hash is kept.
    """
    ids = hashed.photos.photo_id
    order = np.lexsort((ids, splits.hashes(ids), *hashed.digest.T))
    return _first_of_runs(
        hashed.photos.take(order), batches.runs(hashed.digest[order])
    )


def one_of_each_id(photos: Photos) -> tuple[Photos, list[Reject]]:
    """Photos by the hashes of their ids, and the rows that repeat an id."""
    ids = photos.photo_id
    order = np.lexsort((ids, splits.hashes(ids)))
    return _first_of_runs(photos.take(order), batches.runs(ids[order]))


def _first_of_runs(
    photos: Photos, runs: Sequence[slice]
) -> tuple[Photos, list[Reject]]:
    """Keeps one photo of each run, wherever it stood in the input.

    It has the id that the run starts with. Of several rows with that id, the
    smallest by the fields of Photos is kept.
    """
    kept, rejects = [], []
    for run in runs:
        best = run.start
        if run.stop - run.start > 1:
            ids = photos.photo_id[run]
            same_id = slice(best, best + int((ids == ids[0]).sum()))
            rows = photos.take(same_id).rows()
            best += min(range(len(rows)), key=rows.__getitem__)
            others = (i for i in range(run.start, run.stop) if i != best)
            rejects += [_repeats(photos, i, best) for i in others]
        kept.append(best)
    return photos.take(np.array(kept, np.int64)), rejects


def _repeats(photos: Photos, index: int, kept: int) -> Reject:
    photo_id, kept_id = photos.photo_id[[index, kept]]
    if photo_id != kept_id:
        reason, detail = Reason.DUPLICATE_CONTENT, f"same bytes as {kept_id}"
    else:
        reason = Reason.DUPLICATE_ID
        detail = f"kept is {_place(photos, kept)}, not {_place(photos, index)}"
    return Reject(photo_id, "write", reason, detail)


def _place(photos: Photos, i: int) -> str:
    return f"{photos.uri[i]} at lat {photos.lat[i]}, lng {photos.lng[i]}"
