import json

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from planet_tf import records

PHOTO = records.Photo(
    image=b"\xff\xd8 bytes \x00",
    photo_id="Zürich/1.jpg",
    lat=-33.8568,
    lng=-179.5,
    token="6b",
    label=7,
    owner_id="anna",
    taken_at=-5,
)


def test_a_photo_comes_back_from_its_record():
    example = tf_example_pb2.Example.FromString(records.encode_photo(PHOTO))
    feature = example.features.feature
    assert set(feature) == set(records.photo_spec())
    for name, kind in records.photo_spec().items():
        value = getattr(PHOTO, name)
        if kind == "string":
            value = value.encode() if isinstance(value, str) else value
            assert list(feature[name].bytes_list.value) == [value]
        elif kind == "float32":
            [found] = feature[name].float_list.value
            assert found == np.float32(value)
        else:
            assert list(feature[name].int64_list.value) == [value]


def test_unknown_fields_are_empty_and_the_unknown_time_fits_int64():
    example = tf_example_pb2.Example.FromString(
        records.encode_photo(records.Photo(b"", "a", 0.0, 0.0, "1", 0))
    )
    feature = example.features.feature
    assert list(feature["album_id"].bytes_list.value) == [b""]
    assert list(feature["taken_at"].int64_list.value) == [-(2**63)]


def test_the_same_photo_gives_the_same_bytes():
    assert records.encode_photo(PHOTO) == records.encode_photo(PHOTO)


def test_framed_records_are_a_tfrecord_file(tmp_path):
    tf = pytest.importorskip("tensorflow")
    data = [b"", b"a", bytes(range(256)) * 40]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in data:
            writer.write(record)
    ours = b"".join(map(records.frame, data))
    assert ours == (tmp_path / "theirs").read_bytes()


def test_the_split_is_in_the_file_name():
    name = records.file_name("validation", 3, 16)
    assert name == "planet-validation.tfrecord-00003-of-00016"
    assert records.split_of(name) == "validation"


def test_metadata_names_every_feature(tmp_path):
    for shard in range(2):
        (tmp_path / records.file_name("train", shard, 2)).touch()
    records.write_metadata(str(tmp_path), {"train": [3, 0]}, {"train": 99})
    features = json.loads((tmp_path / "features.json").read_text())
    assert set(features["featuresDict"]["features"]) == set(
        records.photo_spec()
    )
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["splits"][0]["shardLengths"] == ["3", "0"]
