import collections
import contextlib
import io

import bad_inputs
import engines
import numpy as np
import pytest
import written

from beam_pipelines import album_records
from planet_tf.photos import images, records
from planet_tf.photos.rejects import PhotoError


@pytest.fixture
def world(tmp_path, embedder):
    return written.AlbumsWorld(tmp_path, embedder)


@pytest.fixture(scope="module")
def used(tmp_path_factory, embedder):
    """What was written of photos seen, too; not to be changed."""
    world = written.AlbumsWorld(tmp_path_factory.mktemp("used"), embedder)
    fractions = ["--validation_fraction=0.2", "--test_fraction=0.3"]
    assert world.write("--seen_photos=use", *fractions) == 0
    return world


def in_albums(albums):
    """{photo id: (split, album, position)}."""
    return {
        photo_id: (split, album, i)
        for split, some in albums.items()
        for album in some
        for i, photo_id in enumerate(album["photos/photo_id"])
    }


def test_photos_that_the_model_has_not_seen_are_in_albums(world, capsys):
    import tensorflow as tf

    assert world.write() == 0
    found, rejected = (
        in_albums(world.albums()),
        dict((photo_id, reason) for photo_id, _, reason in world.rejects()),
    )
    module = tf.saved_model.load(str(world.model / "export"))
    seen = collections.Counter()
    for row in world.rows:
        photo_id, path, lat, lng, *_, at = row
        of_photo = world.split_of(row)
        seen[of_photo] += 1
        if of_photo == "train":
            assert rejected[photo_id] == "seen_in_training"
            assert photo_id not in found
            continue
        split, album, i = found[photo_id]
        assert split == ("train" if of_photo == "albums" else of_photo)
        [label] = world.cells.labels(np.array([lat]), np.array([lng]))
        assert album["photos/label"][i] == label
        assert album["photos/token"][i].decode() == world.cells.token(label)
        assert album["photos/lat"][i] == np.float32(lat)
        assert album["photos/lng"][i] == np.float32(lng)
        taken_at = records.UNKNOWN_TIME if at == "" else at
        assert album["photos/taken_at"][i] == taken_at
        jpeg = images.fit((world.path / path).read_bytes(), written.PHOTO_SIZE)
        [wanted] = module.embed(tf.constant([jpeg]))["embedding"].numpy()
        embedded = album["photos/embedding"][i]
        np.testing.assert_allclose(embedded, wanted, rtol=1e-5, atol=1e-5)
    assert set(seen) == {"train", "albums", "validation", "test"}
    told = capsys.readouterr().out
    assert "128 photos read" in told
    assert f"{seen['train']} seen_in_training" in told


@pytest.fixture(scope="module")
def short(tmp_path_factory, embedder):
    """Albums of at most three photos, and what was told; as `used`."""
    world = written.AlbumsWorld(tmp_path_factory.mktemp("short"), embedder)
    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert world.write("--max_photos=3") == 0
    return world, told.getvalue()


def test_albums_json_describes_the_files(short):
    world, counted = short
    info, albums, files = world.info(), world.albums(), world.files()
    assert info["format"] == "planet_tf.albums" and info["version"] == 1
    assert info["partition_fingerprint"] == world.cells.fingerprint
    assert info["model_fingerprint"] == "sha256:1"
    assert info["features"] == written.FEATURES and info["max_photos"] == 3
    assert (
        files["partition.json"] == (world.model / "partition.json").read_bytes()
    )
    names = [name for name in files if ".tfrecord-" in name]
    assert set(info["files"]) == set(names) and len(names) == 6
    for split, facts in info["splits"].items():
        own = [name for name in names if records.split_of(name) == split]
        assert facts["bytes"] == sum(len(files[name]) for name in own)
        assert facts["shards"] == 2
        assert facts["albums"] == len(albums[split]) > 0
        photos = sum(len(a["photos/photo_id"]) for a in albums[split])
        assert facts["photos"] == photos
        untimed = sum(a["timed"] == [0] for a in albums[split])
        assert facts["albums_without_times"] == untimed
    ids = [a["album_id"] for some in albums.values() for a in some]
    assert len(set(ids)) == len(ids) > 20
    photos = sum(s["photos"] for s in info["splits"].values())
    assert f"{len(ids)} albums_written" in counted
    assert f"{photos} photos_embedded" in counted
    assert not [name for name in files if name.endswith(".incomplete")]


def test_the_order_is_that_of_times_where_they_are_known(used):
    kinds = collections.Counter()
    for album in in_albums(used.albums()).values():
        _, album, _ = album
        times = album["photos/taken_at"]
        kinds[len(times) > 1, *album["timed"]] += 1
        if album["timed"] == [1]:
            assert times == sorted(times)
        else:
            assert records.UNKNOWN_TIME in times
    assert kinds[True, 1] > 1 and kinds[True, 0] > 1


def splits_of_all(world):
    """{photo id: split}; every photo is there, an owner's in one split."""
    albums = world.albums()
    found = {name: split for name, (split, *_) in in_albums(albums).items()}
    assert sorted(found) == sorted(row[0] for row in world.rows)
    assert set(albums) == {"train", "validation", "test"}
    owners = collections.defaultdict(set)
    for row in world.rows:
        owners[row[4]].add(found[row[0]])
    del owners[""]
    assert all(len(names) == 1 for names in owners.values())
    return found


def test_photos_that_the_model_has_seen_may_be_used(used):
    found = splits_of_all(used)
    for row in used.rows:
        of_photo = used.split_of(row)
        trained = of_photo in ("train", "albums")
        assert found[row[0]] == ("train" if trained else of_photo)


def test_of_a_model_that_has_seen_no_photos_nothing_need_be_known(world):
    world.describe(None)
    options = ["--validation_fraction=0.2", "--test_fraction=0.3"]
    assert world.write("--seen_photos=none", *options) == 0
    splits_of_all(world)


def test_a_long_album_is_cut_evenly_after_repeats_are_dropped(world):
    # Of 103 photos, three are repeats.
    rows = world.album_rows(103, copies=(50, 60, 102))
    assert world.write(*written.NONE_SEEN, rows=rows[::-1]) == 0
    assert list(world.runs()) == ["album zoe/one/1"]
    [whole] = world.runs().values()
    wanted = [f"one{i}" for i in range(103) if i not in (50, 60, 102)]
    assert whole == wanted
    reasons = {(r[0], r[2]) for r in world.rejects()}
    assert reasons == {(f"one{i}", "duplicate_content") for i in (50, 60, 102)}
    extra = ["--max_photos=99", "--overwrite"]
    assert world.write(*written.NONE_SEEN, *extra, rows=rows) == 0
    assert list(world.runs()) == ["album zoe/one/1", "album zoe/one/2"]
    assert list(map(len, world.runs().values())) == [50, 50]
    assert sum(world.runs().values(), []) == wanted


def test_the_same_photo_in_two_albums_is_in_both(world):
    rows = world.album_rows(3)
    rows += [[*row[:5], "two", row[6]] for row in rows]
    assert world.write(*written.NONE_SEEN, rows=rows) == 0
    assert sorted(world.runs()) == ["album zoe/one/1", "album zoe/two/1"]
    assert world.rejects() == []


def test_short_albums_are_left_out(world):
    rows = world.album_rows(5, copies=(1,))
    rows += [
        [f"two{i}", rows[i][1], 40, -74, "zoe", "two", 5] for i in (0, 2, 3)
    ]
    assert world.write(*written.NONE_SEEN, "--min_photos=4", rows=rows) == 0
    assert list(world.runs()) == ["album zoe/one/1"]
    short = [r[0] for r in world.rejects() if r[2] == "short_album"]
    assert short == ["two0", "two2", "two3"]
    assert world.info()["splits"]["train"]["photos"] == 4


def test_bad_photos_are_rejected_and_those_outside_have_no_label(world):
    rows = world.album_rows(6)
    (world.path / rows[1][1]).write_bytes(engines.jpeg(1)[:300])
    (world.path / rows[2][1]).write_text("no photo")
    (world.path / rows[3][1]).unlink()
    rows[4][2:4] = -40, 100  # where no cell is
    rows.append(["north", rows[0][1], 95, 0, "zoe", "one", 5])
    assert world.write(*written.NONE_SEEN, rows=rows) == 1
    assert not (world.path / "albums/albums.json").exists()
    lenient = "--max_reject_fraction=0.6"
    assert world.write(*written.NONE_SEEN, lenient, rows=rows) == 0
    assert world.rejects() == [
        ("north", "read", "lat_out_of_range"),
        ("one1", "write", "truncated_image"),
        ("one2", "write", "not_an_image"),
        ("one3", "write", "missing_file"),
    ]
    [album] = world.albums()["train"]
    assert album["photos/photo_id"] == ["one0", "one4", "one5"]
    assert album["photos/label"][1] == records.NO_LABEL == -1
    assert album["photos/token"][1] == b""
    assert min(album["photos/label"][::2]) >= 0


def test_what_tensorflow_cannot_decode_does_not_fail_its_batch(
    world, monkeypatch
):
    def fit(data, size):
        return b"\xff\xd8\xff broken" if data == bad else whole(data, size)

    rows, whole = world.album_rows(11), album_records.images.fit
    bad = (world.path / rows[5][1]).read_bytes()
    assert world.write(*written.NONE_SEEN, rows=rows, out="whole") == 0
    monkeypatch.setattr(album_records.images, "fit", fit)
    assert (
        world.write(*written.NONE_SEEN, "--max_reject_fraction=0.2", rows=rows)
        == 0
    )
    assert world.rejects() == [("one5", "write", "corrupt_image")]
    [album], [wanted] = world.albums()["train"], world.albums("whole")["train"]
    left = [i for i in range(11) if i != 5]
    np.testing.assert_allclose(
        album["photos/embedding"],
        wanted["photos/embedding"][left],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_directory_of_photos_with_exif_is_an_album(world, tmp_path):
    for name in ("Lisbon", "2016/Sintra"):
        bad_inputs.make_exif_files(tmp_path / "exif" / name)
    flags = [*written.NONE_SEEN, "--max_reject_fraction=1"]
    assert world.write(*flags, f"--photos={tmp_path}/exif") == 0
    found = world.runs()
    assert sorted(found) == ["directory 2016/Sintra/1", "directory Lisbon/1"]
    assert found["directory Lisbon/1"] == [
        "Lisbon/fine.jpg",
        "Lisbon/south.jpg",
    ]


def test_photos_of_nobody_in_a_tar_are_one_album(world, tmp_path):
    manifest = world.manifest(world.rows, "tarred.csv")
    tars = engines.make_tars(manifest, tmp_path / "tars")
    assert world.write(*written.NONE_SEEN, f"--photos={tars}") == 0
    nobody = [row[0] for row in world.rows if not row[4] and not row[5]]
    found = {name: ids for name, ids in world.runs().items() if "tar" in name}
    assert set(found["directory photos-0.tar/1"]) == set(nobody)


def test_tfds_reads_the_albums(short):
    tfds = pytest.importorskip("tensorflow_datasets")
    world, _ = short
    builder = tfds.builder_from_directory(str(world.path / "albums"))
    assert set(builder.info.splits) == {"train", "validation", "test"}
    for split, wanted in world.albums().items():
        found = list(builder.as_dataset(split=split))
        assert builder.info.splits[split].num_examples == len(found)
        for album, own in zip(found, wanted, strict=True):
            assert album["album_id"].numpy().decode() == own["album_id"]
            assert album["timed"].numpy() == own["timed"][0]
            photos = {k: v.numpy() for k, v in album["photos"].items()}
            ids = [name.decode() for name in photos["photo_id"]]
            assert ids == own["photos/photo_id"]
            assert photos["embedding"].shape == (len(ids), written.FEATURES)
            assert (photos["embedding"] == own["photos/embedding"]).all()
            for name in ("label", "token", "lat", "lng", "taken_at"):
                assert photos[name].tolist() == own[f"photos/{name}"]


def test_images_are_read_or_rejected(world):
    row = world.rows[3]
    path = str(world.path / row[1])
    image = album_records.read_image("a", path, 0, -1, 32)
    assert image.jpeg == images.fit((world.path / row[1]).read_bytes(), 32)
    assert len(image) == len(image.jpeg) and len(image.digest) == 16
    with pytest.raises(PhotoError):
        images.fit(b"", 32)
    missing = album_records.read_image("a", path + "x", 0, -1, 32)
    assert missing.reason == "missing_file" and missing.id == "a"
