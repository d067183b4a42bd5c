import collections
import json
import os
import subprocess
import sys

import bad_inputs
import engines
import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from beam_pipelines import album_records, embedding, splits, write_albums
from beam_pipelines.photos import Photos
from planet_tf.geo import partition
from planet_tf.photos import images, records
from planet_tf.photos.rejects import PhotoError

PHOTO_SIZE = 48
FEATURES = 12
RULE = {
    "seed": 3,
    # In the order of shards.json, whose keys are sorted.
    "fractions": {"albums": 0.3, "test": 0.2, "validation": 0.2},
}
HOUR = 3600


def save_model(directory, weights="sha256:1", gain=1.0):
    """A SavedModel whose embeddings are 12 weighted means of the pixels."""
    import tensorflow as tf

    from planet_tf.data import decoding

    class Small(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(weights, trainable=False)
            self.kernel = tf.Variable(
                gain * np.random.default_rng(0).normal(size=(192, FEATURES)),
                dtype=tf.float32,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def embed(self, image_bytes):
            images, valid = decoding.evaluation_images(image_bytes, 8)
            pixels = (images + 1) / 2
            flat = tf.reshape(pixels, (-1, 192))
            return {"embedding": flat @ self.kernel, "valid": valid}

    tf.saved_model.save(Small(), str(directory))


@pytest.fixture(scope="session")
def export(tmp_path_factory):
    """Where such a model is."""
    directory = tmp_path_factory.mktemp("albums") / "export"
    save_model(directory)
    return directory


class World:
    """128 photos of albums, owners and directories, and a model for them."""

    def __init__(self, path, make_manifest, export):
        self.path, self.make_manifest = path, make_manifest
        rng = np.random.default_rng(0)
        points = rng.normal([40.7, -74.0], 1, (128, 2))
        self.rows = []
        for i, (lat, lng) in enumerate(points.tolist()):
            name = f"img/{i % 7}/{i}.jpg"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(engines.jpeg(i))
            owner = f"owner{i % 30}" if i % 4 else ""
            album = f"album{i % 20}" if i % 2 else ""
            # Names go another way than times.
            at = "" if i % 11 == 0 else 1_500_000_000 + (131 * i) % 128 * HOUR
            self.rows.append([f"p{i}", name, lat, lng, owner, album, at])
        self.cells = partition.build(*points.T, max_photos=20, min_photos=1)
        self.model = path / "model"
        self.model.mkdir()
        with (self.model / "partition.json").open("w") as file:
            partition.dump(self.cells, file)
        self.describe(RULE)
        (self.model / "export").symlink_to(export)

    def describe(self, rule):
        """Writes the model's config.json."""
        facts = {
            "partition_fingerprint": self.cells.fingerprint,
            "photo_size": PHOTO_SIZE,
            "split_rule": rule,
        }
        (self.model / "config.json").write_text(json.dumps(facts))

    def write(self, *options, rows=None, out="albums", name="photos.csv"):
        """The exit code of the program."""
        manifest = self.make_manifest(rows or self.rows, name=name)
        os.utime(manifest, (1e9, 1e9 + len(rows or self.rows)))
        args = {
            "photos": manifest,
            "model_dir": self.model,
            "out": self.path / out,
            "shards": 2,
            "batch_size": 8,
            "runner": "FnApiRunner",
        }
        flags = [f"--{name}={value}" for name, value in args.items()]
        return write_albums.main(["write_albums", *flags, *options])

    def files(self, out="albums"):
        return engines.contents(self.path / out)

    def info(self, out="albums"):
        return json.loads((self.path / out / "albums.json").read_text())

    def albums(self, out="albums"):
        """{split: albums as {feature: values}}."""
        found = collections.defaultdict(list)
        for name, data in self.files(out).items():
            if ".tfrecord-" in name:
                found[records.split_of(name)] += read_records(data)
        return found

    def rejects(self, out="albums"):
        """Rejects as (id, stage, reason), sorted."""
        lines = [
            json.loads(line)
            for path in (self.path / out).glob("rejects-*.jsonl")
            for line in path.read_text().splitlines()
        ]
        return sorted((r["id"], r["stage"], r["reason"]) for r in lines)

    def split_of(self, row):
        """The split of a photo, by the rule in the model's config."""
        lat, lng, owner, album = row[2:6]
        photos = Photos.from_rows(
            [(row[0], "", 0, -1, lat, lng, owner, album, 0)]
        )
        fractions = {"validation": 0.2, "test": 0.2, "albums": 0.3}
        return splits.split_names(photos, fractions, RULE["seed"])[0]


@pytest.fixture
def world(tmp_path, make_manifest, export):
    return World(tmp_path, make_manifest, export)


def read_records(data):
    """The albums of a record file, as {feature: values}."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        record = data[at + 12 : at + 12 + size]
        at += size + 16
        features = tf_example_pb2.Example.FromString(record).features.feature
        found = {
            name: list(getattr(f, f.WhichOneof("kind")).value)
            for name, f in features.items()
        }
        ids = [value.decode() for value in found["photos/photo_id"]]
        found["photos/photo_id"] = ids
        vectors = np.array(found["photos/embedding"], np.float32)
        found["photos/embedding"] = vectors.reshape(len(ids), -1)
        found["album_id"] = found["album_id"][0].decode()
        yield found


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
        jpeg = images.fit((world.path / path).read_bytes(), PHOTO_SIZE)
        [wanted] = module.embed(tf.constant([jpeg]))["embedding"].numpy()
        embedded = album["photos/embedding"][i]
        np.testing.assert_allclose(embedded, wanted, rtol=1e-5, atol=1e-5)
    assert set(seen) == {"train", "albums", "validation", "test"}
    told = capsys.readouterr().out
    assert "128 photos read" in told
    assert f"{seen['train']} seen_in_training" in told


def test_albums_json_describes_the_files(world, capsys):
    assert world.write("--max_photos=3") == 0
    counted = capsys.readouterr().err
    info, albums, files = world.info(), world.albums(), world.files()
    assert info["format"] == "planet_tf.albums" and info["version"] == 1
    assert info["partition_fingerprint"] == world.cells.fingerprint
    assert info["model_fingerprint"] == "sha256:1"
    assert info["features"] == FEATURES and info["max_photos"] == 3
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


def test_the_order_is_that_of_times_where_they_are_known(world):
    assert world.write("--seen_photos=use") == 0
    kinds = collections.Counter()
    for album in in_albums(world.albums()).values():
        _, album, _ = album
        times = album["photos/taken_at"]
        kinds[len(times) > 1, *album["timed"]] += 1
        if album["timed"] == [1]:
            assert times == sorted(times)
        else:
            assert records.UNKNOWN_TIME in times
    assert kinds[True, 1] > 1 and kinds[True, 0] > 1


@pytest.mark.parametrize(
    ("seen", "splits_of_photos"),
    [("use", {"train", "albums"}), ("none", None)],
)
def test_photos_that_the_model_has_seen_may_be_used(
    world, seen, splits_of_photos
):
    if seen == "none":
        world.describe(None)  # it says nothing, and nothing is needed
    options = ["--validation_fraction=0.2", "--test_fraction=0.3"]
    assert world.write(f"--seen_photos={seen}", *options) == 0
    albums = world.albums()
    found = in_albums(albums)
    assert sorted(found) == sorted(row[0] for row in world.rows)
    assert set(albums) == {"train", "validation", "test"}
    owners = collections.defaultdict(set)
    for row in world.rows:
        split = found[row[0]][0]
        owners[row[4]].add(split)
        if splits_of_photos:
            of_photo = world.split_of(row)
            trained = of_photo in splits_of_photos
            assert split == ("train" if trained else of_photo)
    del owners[""]
    assert all(len(names) == 1 for names in owners.values())


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (None, "does not say how its photos were split"),
        (
            {"seed": 0, "fractions": {"validation": 0.1, "test": 0.1}},
            "--albums_fraction",
        ),
        (
            {"seed": 0, "fractions": {"validation": 0.5, "albums": 1e-9}},
            "--albums_fraction",
        ),
    ],
)
def test_without_albums_to_train_on_it_says_what_to_do(
    world, rule, why, capsys
):
    world.describe(rule)
    assert world.write() == 1
    error = capsys.readouterr().err
    assert why in error and "--seen_photos=none" in error
    assert not (world.path / "albums/albums.json").exists()


def album_rows(world, count, copies=()):
    """Rows of one album of noise images; some are copies of the first."""
    rows = []
    for i in range(count):
        name = f"img/one{i}.jpg"
        seed = 500 if i in copies else 500 + i
        (world.path / name).write_bytes(engines.jpeg(seed, 40, 30))
        rows.append([f"one{i}", name, 40.7, -74, "zoe", "one", 10**9 + i])
    return rows


def runs(world):
    """Photo ids of albums by album id."""
    [*some] = [a for albums in world.albums().values() for a in albums]
    return {a["album_id"]: a["photos/photo_id"] for a in some}


NONE_SEEN = [
    "--seen_photos=none",
    "--validation_fraction=0",
    "--test_fraction=0",
]


def test_a_long_album_is_cut_evenly_after_repeats_are_dropped(world):
    # Of 103 photos, three are repeats.
    rows = album_rows(world, 103, copies=(50, 60, 102))
    assert world.write(*NONE_SEEN, rows=rows[::-1]) == 0
    assert list(runs(world)) == ["album zoe/one/1"]
    [whole] = runs(world).values()
    wanted = [f"one{i}" for i in range(103) if i not in (50, 60, 102)]
    assert whole == wanted
    reasons = {(r[0], r[2]) for r in world.rejects()}
    assert reasons == {(f"one{i}", "duplicate_content") for i in (50, 60, 102)}
    extra = ["--max_photos=99", "--overwrite"]
    assert world.write(*NONE_SEEN, *extra, rows=rows) == 0
    assert list(runs(world)) == ["album zoe/one/1", "album zoe/one/2"]
    assert list(map(len, runs(world).values())) == [50, 50]
    assert sum(runs(world).values(), []) == wanted


def test_the_same_photo_in_two_albums_is_in_both(world):
    rows = album_rows(world, 3)
    rows += [[*row[:5], "two", row[6]] for row in rows]
    assert world.write(*NONE_SEEN, rows=rows) == 0
    assert sorted(runs(world)) == ["album zoe/one/1", "album zoe/two/1"]
    assert world.rejects() == []


def test_short_albums_are_left_out(world):
    rows = album_rows(world, 5, copies=(1,))
    rows += [
        [f"two{i}", rows[i][1], 40, -74, "zoe", "two", 5] for i in (0, 2, 3)
    ]
    assert world.write(*NONE_SEEN, "--min_photos=4", rows=rows) == 0
    assert list(runs(world)) == ["album zoe/one/1"]
    short = [r[0] for r in world.rejects() if r[2] == "short_album"]
    assert short == ["two0", "two2", "two3"]
    assert world.info()["splits"]["train"]["photos"] == 4


def test_bad_photos_are_rejected_and_those_outside_have_no_label(world):
    rows = album_rows(world, 6)
    (world.path / rows[1][1]).write_bytes(engines.jpeg(1)[:300])
    (world.path / rows[2][1]).write_text("no photo")
    (world.path / rows[3][1]).unlink()
    rows[4][2:4] = -40, 100  # where no cell is
    rows.append(["north", rows[0][1], 95, 0, "zoe", "one", 5])
    assert world.write(*NONE_SEEN, rows=rows) == 1
    assert not (world.path / "albums/albums.json").exists()
    lenient = "--max_reject_fraction=0.6"
    assert world.write(*NONE_SEEN, lenient, rows=rows) == 0
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

    rows, whole = album_rows(world, 11), album_records.images.fit
    bad = (world.path / rows[5][1]).read_bytes()
    assert world.write(*NONE_SEEN, rows=rows, out="whole") == 0
    monkeypatch.setattr(album_records.images, "fit", fit)
    assert world.write(*NONE_SEEN, "--max_reject_fraction=0.2", rows=rows) == 0
    assert world.rejects() == [("one5", "write", "corrupt_image")]
    [album], [wanted] = world.albums()["train"], world.albums("whole")["train"]
    left = [i for i in range(11) if i != 5]
    np.testing.assert_allclose(
        album["photos/embedding"],
        wanted["photos/embedding"][left],
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_bytes_are_those_of_the_run_before_and_of_shuffled_rows(world):
    rows = [*world.rows, ["x", "img/none.jpg", 40.7, -74, "", "", ""]]
    # A copy in an album of its own owner, beside what it is a copy of.
    rows.append(["copy", *rows[5][1:]])
    assert world.write("--seen_photos=use", rows=rows) == 0
    assert {r[2] for r in world.rejects()} == {
        "missing_file",
        "duplicate_content",
    }
    assert world.write("--seen_photos=use", rows=rows, out="again") == 0
    assert world.files("again") == world.files()
    shuffled = rows[::-2] + rows[-2::-2]
    options = ["--seen_photos=use", "--threads=1"]
    assert world.write(*options, rows=shuffled, out="s", name="o.csv") == 0
    made = world.files("s")
    differing = {n for n, data in world.files().items() if made[n] != data}
    assert differing == {"albums.json"}  # it names the manifest
    assert world.info("s")["fingerprint"] == world.info()["fingerprint"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["threads", "processes", "BundleBased"])
def test_the_bytes_are_the_same_from_any_runner_and_workers(world, engine):
    assert world.write() == 0
    assert world.write(*engines.LOCAL[engine], out="other") == 0
    assert world.files("other") == world.files()


def test_a_directory_of_photos_with_exif_is_an_album(world, tmp_path):
    for name in ("Lisbon", "2016/Sintra"):
        bad_inputs.make_exif_files(tmp_path / "exif" / name)
    flags = [*NONE_SEEN, "--max_reject_fraction=1"]
    assert world.write(*flags, f"--photos={tmp_path}/exif") == 0
    found = runs(world)
    assert sorted(found) == ["directory 2016/Sintra/1", "directory Lisbon/1"]
    assert found["directory Lisbon/1"] == [
        "Lisbon/fine.jpg",
        "Lisbon/south.jpg",
    ]


def test_photos_of_nobody_in_a_tar_are_one_album(world, tmp_path):
    manifest = world.make_manifest(world.rows, name="tarred.csv")
    tars = engines.make_tars(manifest, tmp_path / "tars")
    assert world.write(*NONE_SEEN, f"--photos={tars}") == 0
    nobody = [row[0] for row in world.rows if not row[4] and not row[5]]
    found = {name: ids for name, ids in runs(world).items() if "tar" in name}
    assert set(found["directory photos-0.tar/1"]) == set(nobody)


def test_finished_albums_are_known_and_replaced_on_demand_only(
    world, export, tmp_path, capsys
):
    assert world.write() == 0
    before = world.files()
    assert world.write("--threads=2") == 0
    assert "nothing was done" in capsys.readouterr().out
    for option, what in [
        ("--max_photos=9", "max_photos"),
        ("--batch_size=4", "batch_size"),
        ("--gap_hours=2", "gap_hours"),
    ]:
        assert world.write(option) == 1
        error = capsys.readouterr().err
        assert what in error and "--overwrite" in error
    save_model(tmp_path / "other", weights="sha256:2", gain=2.0)
    (world.model / "export").unlink()
    (world.model / "export").symlink_to(tmp_path / "other")
    assert world.write() == 1
    assert "made from other model" in capsys.readouterr().err
    assert world.files() == before
    assert world.write("--overwrite") == 0
    assert world.info()["model_fingerprint"] == "sha256:2"
    assert (
        world.info()["fingerprint"]
        != json.loads(before["albums.json"])["fingerprint"]
    )


def test_a_directory_of_shards_is_left_alone(world, capsys):
    (world.path / "albums").mkdir()
    (world.path / "albums/shards.json").write_text("{}")
    assert world.write() == 1
    assert "no directory of albums" in capsys.readouterr().err


def test_tfds_reads_the_albums(world):
    tfds = pytest.importorskip("tensorflow_datasets")
    assert world.write("--max_photos=4") == 0
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
            assert photos["embedding"].shape == (len(ids), FEATURES)
            assert (photos["embedding"] == own["photos/embedding"]).all()
            for name in ("label", "token", "lat", "lng", "taken_at"):
                assert photos[name].tolist() == own[f"photos/{name}"]


@pytest.mark.slow
def test_a_trained_models_embeddings_are_those_of_its_export(
    world, small_model
):
    from planet_tf.model import export

    rows = album_rows(world, 10)
    flags = [*NONE_SEEN, f"--model_dir={small_model}"]
    assert world.write(*flags, rows=rows) == 0
    locator = export.Geolocator(str(small_model))
    [album] = world.albums()["train"]
    size = locator.config["photo_size"]
    jpegs = [
        images.fit((world.path / row[1]).read_bytes(), size) for row in rows
    ]
    wanted = locator.module.embed(jpegs)["embedding"].numpy()
    np.testing.assert_allclose(
        album["photos/embedding"], wanted, rtol=1e-4, atol=1e-5
    )
    assert world.info()["features"] == wanted.shape[1]
    weights = locator.module.weights.numpy().decode()
    assert world.info()["model_fingerprint"] == weights
    assert weights.startswith("sha256:")
    shares = locator.module.classify(album["photos/embedding"])
    np.testing.assert_allclose(
        shares["probabilities"], locator.probabilities(jpegs), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["one thread", "processes"])
def test_a_trained_models_albums_are_the_same_bytes_again(
    world, small_model, engine
):
    flags = [*NONE_SEEN, f"--model_dir={small_model}"]
    assert world.write(*flags) == 0
    flags += engines.LOCAL[engine]
    assert world.write(*flags, rows=world.rows[::-1], out="again") == 0
    made, again = world.files(), world.files("again")
    names = [name for name in made if ".tfrecord-" in name]
    assert len(names) == 2
    assert all(made[name] == again[name] for name in names)


def test_a_model_that_cannot_be_used_is_refused(world, tmp_path, capsys):
    (world.model / "export").unlink()
    assert world.write() == 1
    assert "training has not ended" in capsys.readouterr().err
    (world.model / "export").mkdir()
    assert world.write() == 1
    assert "does not say what weights" in capsys.readouterr().err
    assert world.write(f"--model_dir={tmp_path}/none") == 1
    assert "not a model directory" in capsys.readouterr().err


def test_a_worker_refuses_a_model_that_was_changed(export):
    file = embedding.ModelFile(str(export), "sha256:old", PHOTO_SIZE, 8)
    with pytest.raises(embedding.ModelError, match="changed meanwhile"):
        file.load()


@pytest.mark.parametrize(
    "option",
    [
        "--validation_fraction=0.9",
        "--max_photos=0",
        "--min_photos=101",
        "--gap_hours=-1",
        "--seen_photos=all",
        "--albums=3",
    ],
)
def test_a_wrong_option_ends_with_exit_2(world, option):
    with pytest.raises(SystemExit) as end:
        world.write(option, "--test_fraction=0.2")
    assert end.value.code == 2


def test_help_is_given_without_tensorflow():
    code = (
        "import sys\nfrom beam_pipelines import write_albums\n"
        "try: write_albums.main(['write_albums', '--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--gap_hours" in done.stdout


@pytest.mark.slow
def test_a_dry_run_changes_nothing(world, capsys):
    pytest.importorskip("apitools")  # of apache-beam[gcp]
    dataflow = [
        "--runner=DataflowRunner",
        "--project=test-project",
        "--region=us-central1",
        "--temp_location=gs://bucket/temp",
        "--staging_location=gs://bucket/staging",
        "--no_auth",
        "--dry_run=True",
    ]
    with pytest.raises(SystemExit) as end:
        world.write(*dataflow)
    assert end.value.code == 0 and "dry run" in capsys.readouterr().out
    assert not (world.path / "albums").exists()


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
