"""The photo record: the only place that knows its features' names and types.

A record is a tf.Example that TFDS and tf.data can read. It is encoded here
without TensorFlow, which Beam workers do not import.
"""

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import google_crc32c
from tensorflow_datasets.proto import tf_example_pb2

DATASET = "planet"  # the first part of the record files' names
SHARDS_FILE = "shards.json"  # says what the shards are; written last
PARTITION_FILE = "partition.json"  # their partition, copied beside them
UNKNOWN_TIME = -(2**63)  # taken_at of a photo without a known time

SHARDS_FORMAT = "planet_tf.shards"
SHARDS_VERSION = 1

_DESCRIPTION = (
    "Geotagged photos labelled with the cells of a PlaNet partition."
    " shards.json beside this file says how they were made."
)
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


def photo_spec() -> dict[str, str]:
    """Type of each feature, all scalar, as tf.io names it."""
    types = {bytes: "string", str: "string", float: "float32", int: "int64"}
    return {f.name: types[f.type] for f in dataclasses.fields(Photo)}


def encode_photo(photo: Photo) -> bytes:
    """A photo as a serialised tf.Example: always the same bytes."""
    example = tf_example_pb2.Example()
    for name, kind in photo_spec().items():
        feature = example.features.feature[name]
        value = getattr(photo, name)
        if kind == "float32":
            feature.float_list.value.append(value)
        elif kind == "int64":
            feature.int64_list.value.append(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            feature.bytes_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def frame(record: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, data, checksums."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, masked_crc(length), record, masked_crc(record)))


def file_name(split: str, shard: int, shards: int) -> str:
    """Name of a record file, as TFDS expects it."""
    return f"{DATASET}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"


def split_of(name: str) -> str:
    """The split that a record file's name says."""
    return name.removeprefix(DATASET + "-").partition(".tfrecord-")[0]


def photo_features() -> Any:
    """TFDS features of the record."""
    import numpy as np
    import tensorflow_datasets as tfds

    special = {
        "image": tfds.features.Image(
            shape=(None, None, 3), encoding_format="jpeg"
        )
    }
    types = {
        "string": tfds.features.Text(),
        "float32": np.float32,
        "int64": np.int64,
    }
    return tfds.features.FeaturesDict(
        {name: special.get(name, types[t]) for name, t in photo_spec().items()}
    )


def write_metadata(
    directory: str,
    photos: Mapping[str, Sequence[int]],
    num_bytes: Mapping[str, int],
) -> None:
    """Writes features.json and dataset_info.json beside finished shards.

    Args:
      directory: where the record files are.
      photos: photos in each shard, by split.
      num_bytes: size of each split.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import naming

    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(lengths),
            num_bytes=num_bytes[split],
            filename_template=naming.ShardedFileTemplate(
                data_dir=directory,
                dataset_name=DATASET,
                split=split,
                filetype_suffix="tfrecord",
            ),
        )
        for split, lengths in photos.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=photo_features(),
        split_infos=splits,
        # Else TFDS takes it from the name of the directory, if that has one.
        version="1.0.0",
        description=_DESCRIPTION,
        check_data=False,  # the check imports TensorFlow
    )


def masked_crc(data: bytes) -> bytes:
    """The checksum of TFRecord files, 4 bytes."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) + _MASK_DELTA
    return struct.pack("<I", rotated & 0xFFFFFFFF)
