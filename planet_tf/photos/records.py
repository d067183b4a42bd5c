"""The records of photos and of albums: their features' names and types.

A record is a tf.Example that TFDS and tf.data can read. It is encoded here
without TensorFlow, which Beam workers do not import. No other place knows the
features.
"""

import dataclasses
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import google_crc32c
import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

# The first part of the record files' names.
DATASET = "planet"
ALBUMS = "planet_albums"

SHARDS_FILE = "shards.json"  # says what the shards are; written last
ALBUMS_FILE = "albums.json"  # the same of albums
PARTITION_FILE = "partition.json"  # their partition, copied beside them
PHOTO_MODEL = "photo_model"  # beside albums: what embedded their photos
UNKNOWN_TIME = -(2**63)  # taken_at of a photo without a known time

SHARDS_FORMAT = "planet_tf.shards"
SHARDS_VERSION = 1
ALBUMS_FORMAT = "planet_tf.albums"
ALBUMS_VERSION = 1

NO_LABEL = -1  # of a photo in an album that no cell holds

_DESCRIPTIONS = {
    DATASET: "Geotagged photos labelled with the cells of a PlaNet partition."
    f" {SHARDS_FILE} beside this file says how they were made.",
    ALBUMS: "Albums of geotagged photos in order, each photo by the embedding"
    " that a photo model gives it and the cell of a PlaNet partition."
    f" {ALBUMS_FILE} beside this file says how they were made.",
}
_OF_PHOTOS = "photos"  # the feature that holds an album's photos
_TYPES: dict[object, str] = {
    bytes: "string",
    str: "string",
    float: "float32",
    int: "int64",
}
_MASK_DELTA = 0xA282EAD8  # TFRecord stores rotated checksums, plus this


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photo; the fields are the record's features.

    Attributes:
      image: JPEG bytes.
      photo_id: unique within the data set.
      lat: degrees, stored as float32 (about 1 m).
      lng: degrees in [-180, 180), stored as float32.
      token: the cell of the partition that holds it.
      label: that cell's label.
      album_id: "" if unknown.
      owner_id: "" if unknown.
      taken_at: Unix seconds, or UNKNOWN_TIME.
    """

    image: bytes
    photo_id: str
    lat: float
    lng: float
    token: str
    label: int
    album_id: str = ""
    owner_id: str = ""
    taken_at: int = UNKNOWN_TIME


@dataclasses.dataclass(frozen=True)
class PhotoOfAlbum:
    """What an album's record says of each photo; the fields are its features.

    Attributes:
      photo_id: unique within the album.
      label: of the cell that holds it, or NO_LABEL.
      token: of that cell; "" if there is none.
      lat: degrees, stored as float32 (about 1 m).
      lng: degrees in [-180, 180), stored as float32.
      taken_at: Unix seconds, or UNKNOWN_TIME.
    """

    photo_id: str
    label: int
    token: str
    lat: float
    lng: float
    taken_at: int = UNKNOWN_TIME


@dataclasses.dataclass(frozen=True)
class Album:
    """An album, or a run of a long one.

    Attributes:
      album_id: unique within the data set, and says what the album is of.
      timed: whether the order is that of known times.
      photos: n photos in order.
      embedding: (n, features) float32, in the same order.
    """

    album_id: str
    timed: bool
    photos: Sequence[PhotoOfAlbum]
    embedding: np.ndarray


def photo_spec() -> dict[str, str]:
    """Type of each feature, all scalar, as tf.io names it."""
    return {f.name: _TYPES[f.type] for f in dataclasses.fields(Photo)}


def album_spec() -> dict[str, str]:
    """Type of each scalar feature of an album, as tf.io names it."""
    return {"album_id": "string", "timed": "int64"}


def album_photos_spec() -> dict[str, str]:
    """Type of each feature of an album's photos, as tf.io names it.

    A feature of n photos is a list of n values in the tf.Example, in their
    order; `photos/embedding` is one of n times as many as the model has.
    """
    of_photo = {
        f"{_OF_PHOTOS}/{f.name}": _TYPES[f.type]
        for f in dataclasses.fields(PhotoOfAlbum)
    }
    return of_photo | {f"{_OF_PHOTOS}/embedding": "float32"}


def encode_photo(photo: Photo) -> bytes:
    """A photo as a serialised tf.Example: always the same bytes."""
    return _encode(
        {
            name: (kind, [getattr(photo, name)])
            for name, kind in photo_spec().items()
        }
    )


def encode_album(album: Album) -> bytes:
    """An album as a serialised tf.Example: always the same bytes."""
    values: dict[str, Iterable] = {
        "album_id": [album.album_id],
        "timed": [int(album.timed)],
        f"{_OF_PHOTOS}/embedding": album.embedding.astype("<f4").ravel(),
    }
    for field in dataclasses.fields(PhotoOfAlbum):
        name = f"{_OF_PHOTOS}/{field.name}"
        values[name] = [getattr(photo, field.name) for photo in album.photos]
    kinds = album_spec() | album_photos_spec()
    return _encode({name: (kind, values[name]) for name, kind in kinds.items()})


def _encode(features: Mapping[str, tuple[str, Iterable]]) -> bytes:
    """A tf.Example of lists of values by name, each with its type."""
    example = tf_example_pb2.Example()
    for name, (kind, values) in features.items():
        feature = example.features.feature[name]
        if kind == "float32":
            feature.float_list.value.extend(values)
        elif kind == "int64":
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(
                v.encode() if isinstance(v, str) else v for v in values
            )
    return example.SerializeToString(deterministic=True)


def frame(record: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, data, checksums."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, masked_crc(length), record, masked_crc(record)))


def file_name(
    split: str, shard: int, shards: int, dataset: str = DATASET
) -> str:
    """Name of a record file, as TFDS expects it."""
    return f"{dataset}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"


def split_of(name: str) -> str:
    """The split that a record file's name says."""
    return name.partition(".tfrecord-")[0].rpartition("-")[2]


def photo_features() -> Any:
    """TFDS features of a photo's record."""
    import tensorflow_datasets as tfds

    special = {
        "image": tfds.features.Image(
            shape=(None, None, 3), encoding_format="jpeg"
        )
    }
    return tfds.features.FeaturesDict(_features(photo_spec()) | special)


def album_features(features: int) -> Any:
    """TFDS features of an album's record, by the size of embeddings."""
    import tensorflow_datasets as tfds

    start = len(f"{_OF_PHOTOS}/")
    of_photos = {name[start:]: t for name, t in album_photos_spec().items()}
    embedding = tfds.features.Tensor(shape=(features,), dtype=np.float32)
    each = _features(of_photos) | {"embedding": embedding}
    return tfds.features.FeaturesDict(
        _features(album_spec()) | {_OF_PHOTOS: tfds.features.Sequence(each)}
    )


def _features(spec: Mapping[str, str]) -> dict[str, Any]:
    """TFDS features of scalars by their types."""
    import tensorflow_datasets as tfds

    types = {
        "string": tfds.features.Text(),
        "float32": np.float32,
        "int64": np.int64,
    }
    return {name: types[kind] for name, kind in spec.items()}


def write_metadata(
    directory: str,
    lengths: Mapping[str, Sequence[int]],
    num_bytes: Mapping[str, int],
    *,
    dataset: str = DATASET,
    features: Any = None,
) -> None:
    """Writes features.json and dataset_info.json beside finished shards.

    Args:
      directory: where the record files are.
      lengths: records in each shard, by split.
      num_bytes: size of each split.
      dataset: DATASET or ALBUMS.
      features: TFDS features of the records; of photos by default.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import naming

    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(in_split),
            num_bytes=num_bytes[split],
            filename_template=naming.ShardedFileTemplate(
                data_dir=directory,
                dataset_name=dataset,
                split=split,
                filetype_suffix="tfrecord",
            ),
        )
        for split, in_split in lengths.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=features or photo_features(),
        split_infos=splits,
        # Else TFDS takes it from the name of the directory, if that has one.
        version="1.0.0",
        description=_DESCRIPTIONS[dataset],
        check_data=False,  # the check imports TensorFlow
    )


def masked_crc(data: bytes) -> bytes:
    """The checksum of TFRecord files, 4 bytes."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) + _MASK_DELTA
    return struct.pack("<I", rotated & 0xFFFFFFFF)
