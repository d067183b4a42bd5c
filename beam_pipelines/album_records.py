"""Images read ahead, embedded in batches, and the records of their albums."""

import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from beam_pipelines import duplicates, embedding, files, grouping, shards
from beam_pipelines.photos import Photos
from planet_tf.photos import album_order, images, records
from planet_tf.photos.rejects import PhotoError, Reason, Reject


@dataclasses.dataclass(frozen=True)
class AlbumFile(shards.RecordFile):
    """A record file of albums that is whole.

    Attributes:
      albums: in it.
      untimed: albums whose order is not that of times.
      longest: photos of the longest album.
      features: size of an embedding; 0 without albums.
    """

    albums: int
    untimed: int
    longest: int
    features: int

    def counts(self) -> dict[str, int]:
        """How many of what are in it."""
        return {
            "albums": self.albums,
            "photos": self.photos,
            "albums_without_times": self.untimed,
        }


@dataclasses.dataclass(frozen=True)
class Image:
    """An image as the model takes it.

    Attributes:
      jpeg: bytes.
      digest: of the image's file, which another one may repeat.
    """

    jpeg: bytes
    digest: bytes

    def __len__(self) -> int:
        return len(self.jpeg)


class AlbumWriter:
    """Makes the records of one file; counts what is in them.

    Attributes:
      albums: in the file.
      untimed: albums whose order is not that of times.
      photos: in these albums.
      longest: photos of the longest album.
      features: size of an embedding; 0 without albums.
      embedded: photos that the model was asked about.
      rejects: photos that were left out.
    """

    def __init__(
        self,
        groups: Sequence[grouping.Group],
        partition: Any,
        model: "embedding.Embedder",
        rule: grouping.Rule,
        numbers: Mapping[str, Iterator[int]],
        pool: concurrent.futures.Executor,
    ):
        """`numbers` gives the next number of an album by its key."""
        self.groups, self.partition, self.model = groups, partition, model
        self.rule, self.numbers, self.pool = rule, numbers, pool
        self.albums = self.untimed = self.photos = self.embedded = 0
        self.longest = self.features = 0
        self.rejects: list[Reject] = []

    def encoded(self, ahead: int) -> Iterator[bytes]:
        """The records; `ahead` images are read at most before their turn."""
        work = functools.partial(read_image, photo_size=self.model.photo_size)
        places = (
            row[:4] for group in self.groups for row in group.photos.rows()
        )
        found = shards.ahead(self.pool, work, places, ahead)
        embedded = self._embedded(self._distinct(found))
        # Albums without any photo left do not come here.
        for number, some in itertools.groupby(embedded, lambda e: e[0]):
            _, rows, vectors = zip(*some, strict=True)
            yield from self._albums(
                self.groups[number], np.array(rows), np.stack(vectors)
            )

    def _distinct(
        self, found: Iterator[Image | Reject]
    ) -> Iterator[tuple[int, int, bytes]]:
        """Group, row and JPEG of photos, each of a group's images once."""
        for number, group in enumerate(self.groups):
            kept: dict[bytes, str] = {}
            for row, photo_id in enumerate(group.photos.photo_id):
                image = next(found)
                if not isinstance(image, Reject) and image.digest in kept:
                    detail = f"same bytes as {kept[image.digest]}"
                    image = Reject(
                        photo_id, "write", Reason.DUPLICATE_CONTENT, detail
                    )
                if isinstance(image, Reject):
                    self.rejects.append(image)
                    continue
                kept[image.digest] = photo_id
                yield number, row, image.jpeg

    def _embedded(
        self, distinct: Iterator[tuple[int, int, bytes]]
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Group, row and embedding of photos."""
        while batch := list(itertools.islice(distinct, self.model.batch_size)):
            self.embedded += len(batch)
            vectors = self.model.embed([jpeg for _, _, jpeg in batch])
            for (number, row, _), vector in zip(batch, vectors, strict=True):
                if vector is not None:
                    yield number, row, vector
                    continue
                photo_id = self.groups[number].photos.photo_id[row]
                self.rejects.append(
                    Reject(
                        photo_id,
                        "write",
                        Reason.CORRUPT_IMAGE,
                        "TensorFlow cannot decode it",
                    )
                )

    def _albums(
        self, group: grouping.Group, rows: np.ndarray, vectors: np.ndarray
    ) -> Iterator[bytes]:
        """The records of what is left of a group."""
        photos = group.photos.take(rows)
        if len(photos) < self.rule.min_photos:
            self.rejects += [
                grouping.short_album(photo_id, group, len(photos))
                for photo_id in photos.photo_id
            ]
            return
        of_photos = album_photos(photos, self.partition)
        for run in album_order.even_cuts(len(photos), self.rule.max_photos):
            self.albums += 1
            self.untimed += not group.timed
            self.photos += run.stop - run.start
            self.longest = max(self.longest, run.stop - run.start)
            self.features = vectors.shape[1]
            yield records.encode_album(
                records.Album(
                    album_id=f"{group.key}/{next(self.numbers[group.key])}",
                    timed=group.timed,
                    photos=of_photos[run],
                    embedding=vectors[run],
                )
            )

    def file(
        self, name: str, split: str, shard: int, size: int, sha256: str
    ) -> AlbumFile:
        """What is in the file that was written."""
        return AlbumFile(
            name=name,
            split=split,
            shard=shard,
            photos=self.photos,
            bytes=size,
            sha256=sha256,
            albums=self.albums,
            untimed=self.untimed,
            longest=self.longest,
            features=self.features,
        )


def read_image(
    photo_id: str, uri: str, offset: int, length: int, photo_size: int
) -> Image | Reject:
    """An image as the model takes it, or why there is none."""
    try:
        data = files.read_photo(uri, offset, length)
        return Image(
            images.fit(data, photo_size), duplicates.content_hash(data)
        )
    except PhotoError as error:
        return Reject(photo_id, "write", error.reason, error.detail)


def album_photos(photos: Photos, partition: Any) -> list[records.PhotoOfAlbum]:
    """What albums say of photos; those that no cell holds have no label."""
    labels = partition.labels(photos.lat, photos.lng).tolist()
    return [
        records.PhotoOfAlbum(
            photo_id=photo_id,
            label=label,
            token=partition.token(label) if label >= 0 else "",
            lat=lat,
            lng=lng,
            taken_at=taken_at,
        )
        for label, photo_id, lat, lng, taken_at in zip(
            labels,
            photos.photo_id.tolist(),
            photos.lat.tolist(),
            photos.lng.tolist(),
            photos.taken_at.tolist(),
            strict=True,
        )
    ]
