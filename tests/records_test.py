import json

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from planet_tf.photos import records

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


ALBUM = records.Album(
    album_id="owner Zoë/1",
    timed=True,
    photos=[
        records.PhotoOfAlbum("a", 7, "6b", -33.85, -179.5, 5),
        records.PhotoOfAlbum("é", records.NO_LABEL, "", 1.5, 2.5),
        records.PhotoOfAlbum("c", 0, "04", 89.5, 0.0, -5),
    ],
    embedding=np.arange(12, dtype=np.float32).reshape(3, 4) / 3,
)


def test_an_album_comes_back_from_its_record():
    example = tf_example_pb2.Example.FromString(records.encode_album(ALBUM))
    feature = example.features.feature
    spec = records.album_spec() | records.album_photos_spec()
    assert set(feature) == set(spec)
    kinds = {
        "string": "bytes_list",
        "float32": "float_list",
        "int64": "int64_list",
    }
    found = {
        name: list(getattr(feature[name], kinds[kind]).value)
        for name, kind in spec.items()
    }
    vectors = found.pop("photos/embedding")
    assert vectors == ALBUM.embedding.ravel().tolist()
    assert found == {
        "album_id": ["owner Zoë/1".encode()],
        "timed": [1],
        "photos/photo_id": [b"a", "é".encode(), b"c"],
        "photos/label": [7, -1, 0],
        "photos/token": [b"6b", b"", b"04"],
        "photos/lat": np.float32([-33.85, 1.5, 89.5]).tolist(),
        "photos/lng": np.float32([-179.5, 2.5, 0.0]).tolist(),
        "photos/taken_at": [5, records.UNKNOWN_TIME, -5],
    }
    assert records.encode_album(ALBUM) == records.encode_album(ALBUM)


def test_tf_data_reads_an_album_by_its_spec():
    tf = pytest.importorskip("tensorflow")
    record = records.encode_album(ALBUM)
    found = tf.io.parse_single_example(
        record,
        {
            name: tf.io.FixedLenFeature([], kind)
            for name, kind in records.album_spec().items()
        }
        | {
            name: tf.io.FixedLenSequenceFeature(
                [4] if name.endswith("embedding") else [],
                kind,
                allow_missing=True,
            )
            for name, kind in records.album_photos_spec().items()
        },
    )
    assert (found["photos/embedding"].numpy() == ALBUM.embedding).all()
    assert found["photos/label"].numpy().tolist() == [7, -1, 0]
    assert found["timed"] == 1


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
    name = records.file_name("test", 0, 2, records.ALBUMS)
    assert name == "planet_albums-test.tfrecord-00000-of-00002"
    assert records.split_of(name) == "test"


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


def test_metadata_of_albums_names_every_feature(tmp_path):
    name = records.file_name("train", 0, 1, records.ALBUMS)
    (tmp_path / name).touch()
    records.write_metadata(
        str(tmp_path),
        {"train": [3]},
        {"train": 99},
        dataset=records.ALBUMS,
        features=records.album_features(256),
    )
    text = (tmp_path / "features.json").read_text()
    features = json.loads(text)["featuresDict"]["features"]
    assert set(features) == {*records.album_spec(), "photos"}
    of_photos = features["photos"]["sequence"]["feature"]["featuresDict"]
    names = {f"photos/{name}" for name in of_photos["features"]}
    assert names == set(records.album_photos_spec())
    assert '"256"' in text
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert "Albums" in info["description"]
