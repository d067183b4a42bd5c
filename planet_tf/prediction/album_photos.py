"""Albums to be asked about: image files of one, and records of many."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from planet_tf.data import data_dirs
from planet_tf.photos import album_order, images, records
from planet_tf.photos.photo_files import PhotoFile
from planet_tf.photos.rejects import PhotoError, Reason, Reject

Point = tuple[float, float]  # (lat, lng)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Album:
    """An album of n photos in order.

    Attributes:
      name: as people know it.
      timed: whether the order is that of times.
      names: (n,) of the photos.
      times: (n,) Unix seconds, or records.UNKNOWN_TIME.
      truths: (n,) where they were taken, if known.
      jpegs: (n,) what the photo model is asked about; None if it was asked.
      embedding: (n, features) what it made of them; None if it was not asked.
    """

    name: str
    timed: bool
    names: Sequence[str]
    times: Sequence[int]
    truths: Sequence[Point | None]
    jpegs: Sequence[bytes] | None = None
    embedding: np.ndarray | None = None

    def take(self, which: Sequence[int]) -> "Album":
        """The album of some of its photos, by position."""
        parts = ("names", "times", "truths", "jpegs")
        taken: dict[str, Any] = {
            part: [values[i] for i in which]
            for part in parts
            if (values := getattr(self, part)) is not None
        }
        return dataclasses.replace(self, **taken)


def read(
    items: Sequence[PhotoFile | Reject], name: str, photo_size: int
) -> tuple[Album, list[tuple[str, str]]]:
    """An album of photos, and why some of them are not in it.

    Args:
      items: as photo_files lists them.
      name: of the album.
      photo_size: pixels that photos' short sides are scaled to.

    Returns:
      The album of those that can be read, and (id, reason) of the others.
    """
    kept, rejects = [], []
    for item in items:
        if isinstance(item, Reject):
            rejects.append((item.id, f"{item.reason}: {item.detail}"))
            continue
        try:
            kept.append((item.photo_id, *_read_photo(item, photo_size)))
        except PhotoError as error:
            rejects.append((item.photo_id, str(error)))
    names, times, truths, jpegs = zip(*kept, strict=True) if kept else [()] * 4
    order, timed = album_order.in_order(names, times)
    album = Album(
        name=name,
        timed=timed,
        names=names,
        times=times,
        truths=truths,
        jpegs=jpegs,
    )
    return album.take(order), rejects


def _read_photo(
    item: PhotoFile, photo_size: int
) -> tuple[int, Point | None, bytes]:
    """Time, place if known, and JPEG of a photo."""
    data = item.read()
    try:
        lat, lng, time = images.read_exif(io.BytesIO(data))
        place = lat, lng
    except PhotoError as error:
        if error.reason not in (Reason.NO_GPS, Reason.BAD_GPS):
            raise
        place, time = None, images.read_time(io.BytesIO(data))
    return time, place, images.fit(data, photo_size)


def of_records(albums: data_dirs.Albums, split: str) -> Iterator[Album]:
    """The albums of a split, whose photos are embedded already."""
    spec = records.album_spec() | records.album_photos_spec()
    features = {name: _list_of(kind) for name, kind in spec.items()}
    paths = [path for path, _ in albums.split(split)]
    for record in tf.data.TFRecordDataset(paths):
        found = tf.io.parse_single_example(record, features)
        yield _of_record({k: v.numpy() for k, v in found.items()}, albums)


def _list_of(kind: str) -> tf.io.FixedLenSequenceFeature:
    return tf.io.FixedLenSequenceFeature(
        (), tf.as_dtype(kind), allow_missing=True
    )


def _of_record(found: dict[str, np.ndarray], albums: data_dirs.Albums) -> Album:
    names = [name.decode() for name in found["photos/photo_id"]]
    places = zip(found["photos/lat"], found["photos/lng"], strict=True)
    return Album(
        name=found["album_id"][0].decode(),
        timed=bool(found["timed"][0]),
        names=names,
        times=found["photos/taken_at"].tolist(),
        truths=[(float(lat), float(lng)) for lat, lng in places],
        embedding=found["photos/embedding"].reshape(-1, albums.features),
    )
