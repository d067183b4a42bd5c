import collections
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from apache_beam.internal import pickler
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from beam_pipelines import (
    options,
    photos,
    shards,
    shards_dir,
    splits,
    write_shards,
)
from planet_tf.geo import partition
from planet_tf.photos import records


@pytest.fixture
def world(tmp_path, make_jpeg, make_manifest):
    """60 photos of 10 owners around New York, and their partition."""
    rng = np.random.default_rng(0)
    points = rng.normal([40.7, -74.0], 1, (60, 2))
    (tmp_path / "img").mkdir()
    rows = []
    for i, (lat, lng) in enumerate(points.tolist()):
        (tmp_path / f"img/{i}.jpg").write_bytes(make_jpeg(seed=i))
        owner, album = f"owner{i % 10}", f"album{i % 20}"
        rows.append([f"p{i}", f"img/{i}.jpg", lat, lng, owner, album, 1000 + i])
    cells = partition.build(*points.T, max_photos=20, min_photos=1)
    with (tmp_path / "partition.json").open("w") as file:
        partition.dump(cells, file)
    return World(tmp_path, rows, cells, make_manifest)


class World:
    def __init__(self, path, rows, cells, make_manifest):
        self.path, self.rows, self.cells = path, rows, cells
        self.make_manifest = make_manifest

    def write(self, *options, rows=None, out="shards", name="photos.csv"):
        """The exit code of the program."""
        manifest = self.make_manifest(rows or self.rows, name=name)
        os.utime(manifest, (1e9, 1e9 + len(rows or self.rows)))
        args = {
            "photos": manifest,
            "partition": self.path / "partition.json",
            "out": self.path / out,
            "shards": 3,
            "validation_fraction": 0.2,
            "test_fraction": 0.2,
            "runner": "FnApiRunner",
        }
        flags = [f"--{name}={value}" for name, value in args.items()]
        return write_shards.main(["write_shards", *flags, *options])

    def files(self, out="shards"):
        """{name: bytes} of the whole directory."""
        found = (self.path / out).iterdir()
        return {path.name: path.read_bytes() for path in found}

    def record_files(self, out="shards"):
        files = self.files(out).items()
        return {name: data for name, data in files if ".tfrecord-" in name}

    def info(self, out="shards"):
        return json.loads((self.path / out / "shards.json").read_text())

    def rejects(self, out="shards"):
        """Rejects as (id, stage, reason), sorted."""
        lines = [
            line
            for path in sorted((self.path / out).glob("rejects-*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        found = [json.loads(line) for line in lines]
        assert all(set(r) == {"id", "stage", "reason", "detail"} for r in found)
        return sorted((r["id"], r["stage"], r["reason"]) for r in found)


def read_records(data):
    """The examples of a TFRecord file as {feature: value}."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        record = data[at + 12 : at + 12 + size]
        assert records.frame(record) == data[at : at + size + 16]
        at += size + 16
        features = tf_example_pb2.Example.FromString(record).features.feature
        yield {
            name: getattr(f, f.WhichOneof("kind")).value[0]
            for name, f in features.items()
        }


def test_every_photo_is_in_one_shard_with_its_label(world):
    assert world.write() == 0
    found = {}
    for data in world.record_files().values():
        for record in read_records(data):
            found[record["photo_id"].decode()] = record
    assert sorted(found) == sorted(row[0] for row in world.rows)
    for photo_id, path, lat, lng, owner, album, taken_at in world.rows:
        record = found[photo_id]
        [label] = world.cells.labels(np.array([lat]), np.array([lng]))
        assert record["label"] == label
        assert record["token"].decode() == world.cells.tokens[label]
        assert record["image"] == (world.path / path).read_bytes()
        assert record["lat"] == np.float32(lat)
        assert record["lng"] == np.float32(lng)
        assert record["owner_id"].decode() == owner
        assert record["album_id"].decode() == album
        assert record["taken_at"] == taken_at


def test_an_owner_is_in_one_split_only(world):
    assert world.write() == 0
    splits = {}
    for name, data in world.record_files().items():
        for record in read_records(data):
            split = records.split_of(name)
            splits.setdefault(record["owner_id"], set()).add(split)
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) > 1


def test_another_training_split_than_the_partitions_is_refused(world, capfd):
    rule = {
        "seed": 0,
        "fractions": {"validation": 0.2, "test": 0.2, "albums": 0.0},
    }
    cells = dataclasses.replace(world.cells, made_by={"train_split": rule})
    with (world.path / "partition.json").open("w") as file:
        partition.dump(cells, file)
    for other in ("--split_seed=1", "--test_fraction=0.1"):
        assert world.write(other) == 1
        told = capfd.readouterr().err
        assert "would have made cells" in told
        assert "'test': 0.2" in told
    assert world.write() == 0


def test_shards_json_describes_the_files(world):
    assert world.write() == 0
    info, files = world.info(), world.record_files()
    assert info["format"] == "planet_tf.shards" and info["version"] == 1
    assert info["partition_fingerprint"] == world.cells.fingerprint
    assert (world.path / "shards/partition.json").read_bytes() == (
        world.path / "partition.json"
    ).read_bytes()
    assert set(info["files"]) == set(files) and len(files) == 9
    for name, facts in info["files"].items():
        assert facts["photos"] == len(list(read_records(files[name])))
    for split, facts in info["splits"].items():
        own = [n for n in files if records.split_of(n) == split]
        assert facts["shards"] == len(own) == 3
        assert facts["bytes"] == sum(len(files[n]) for n in own)
        assert facts["photos"] == sum(info["files"][n]["photos"] for n in own)
    assert info["config"]["validation_fraction"] == 0.2
    assert not [n for n in world.files() if n.endswith(".incomplete")]


def test_the_bytes_are_those_of_the_run_before_and_of_shuffled_rows(world):
    bad = [["p1", "img/5.jpg", 40, -74, "", "", ""]]
    bad += [[f"x{i}", "x.jpg", 95, 0, "", "", ""] for i in range(3)]
    rows, lenient = world.rows + bad, ["--max_reject_fraction=0.1"]
    assert world.write(*lenient, rows=rows) == 0
    assert len(world.rejects()) == 4
    assert world.write(*lenient, rows=rows, out="again", name="photos.csv") == 0
    assert world.files("again") == world.files()
    shuffled = rows[::-2] + rows[-2::-2]
    assert (
        world.write(*lenient, rows=shuffled, out="shuffled", name="other.csv")
        == 0
    )
    differing = {
        name
        for name, data in world.files("shuffled").items()
        if data != world.files()[name]
    }
    assert differing == {"shards.json"}  # it names the manifest
    assert world.info("shuffled")["fingerprint"] == world.info()["fingerprint"]


RUNS = pytest.mark.parametrize(
    "options",
    [
        ["--runner=BundleBasedDirectRunner"],
        ["--threads=1"],
        pytest.param(
            [
                "--direct_running_mode=multi_processing",
                "--direct_num_workers=2",
            ],
            marks=pytest.mark.slow,
        ),
    ],
)


@pytest.mark.slow
@RUNS
def test_the_bytes_are_the_same_from_any_runner_and_workers(world, options):
    rows = with_copies(world)
    assert world.write(rows=rows) == 0
    assert world.write(*options, rows=rows, out="other") == 0
    assert world.files("other") == world.files()


def with_copies(world):
    """Rows of 60 photos, and of their copies of other owners and albums."""
    rows = list(world.rows)
    for i, (photo_id, path, lat, lng, owner, _, at) in enumerate(world.rows):
        data = (world.path / path).read_bytes()
        (world.path / f"img/copy{i}.jpg").write_bytes(data)
        copy = [f"{photo_id}-again", f"img/copy{i}.jpg", lat, lng]
        rows += [
            [*copy, f"{owner}-again", "", at],
            [f"{photo_id}-more", path, lat, lng, "", f"album{i}", at],
        ][: 1 + i % 2]
    return rows


def images_in_splits(world):
    """{image bytes: the splits of its records}, a list each."""
    found = collections.defaultdict(list)
    for name, data in world.record_files().items():
        for record in read_records(data):
            found[record["image"]].append(records.split_of(name))
    return found


def test_an_image_is_in_one_split_only_under_whatever_id_and_owner(world):
    rows = with_copies(world)
    assert world.write("--duplicates=keep", rows=rows, out="kept") == 0
    assert (
        sum(s["photos"] for s in world.info("kept")["splits"].values()) == 150
    )
    assert world.write(rows=rows) == 0
    found = images_in_splits(world)
    assert len(found) == 60
    assert all(len(splits) == 1 for splits in found.values())
    # Copies are no fault of the data: 60 % of it are no reason to fail.
    assert world.info()["rejects"] == {"duplicate_content": 90}
    files = world.record_files()
    shuffled = rows[::-2] + rows[-2::-2]
    assert world.write(rows=shuffled, out="again") == 0
    assert world.record_files("again") == files
    assert world.rejects("again") == world.rejects()


@pytest.mark.slow
def test_kept_copies_would_leak(world):
    rows = with_copies(world)
    assert world.write("--duplicates=keep", rows=rows) == 0
    sides = [set(splits) for splits in images_in_splits(world).values()]
    assert max(map(len, sides)) > 1


def test_bad_rows_end_in_the_rejects_and_the_rest_is_written(
    world, make_jpeg, capsys
):
    jpeg = make_jpeg(seed=99)
    (world.path / "img/half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (world.path / "img/text.jpg").write_text("not a photo")
    (world.path / "img/zzz.jpg").write_bytes(make_jpeg(seed=98))
    (world.path / "img/copy.jpg").write_bytes(make_jpeg(seed=8))
    where = [40.7, -74.0, "owner1", "", ""]
    bad = [
        ["missing", "img/none.jpg", *where],
        ["half", "img/half.jpg", *where],
        ["text", "img/text.jpg", *where],
        ["north", "img/1.jpg", 95, 0, "", "", ""],
        ["nan", "img/1.jpg", "NaN", 0, "", "", ""],
        ["empty", "img/1.jpg", 40, "", "", "", ""],
        ["pathless", "", *where],
        ["far", "img/1.jpg", -40, 100, "", "", ""],
        # Another place, so that alone it could be in another split.
        ["p7", "img/zzz.jpg", 41.0, -73.0, "owner2", "", ""],
        # The same bytes as p8, and as p9 once more.
        ["copy", "img/copy.jpg", *where],
        ["p9", "img/9.jpg", 40.8, -74.0, "owner2", "", ""],
    ]
    assert world.write("--max_reject_fraction=0.2", rows=bad + world.rows) == 0
    copy = max("copy", "p8", key=splits.hash64)
    assert world.rejects() == sorted(
        [
            ("missing", "write", "missing_file"),
            ("half", "write", "truncated_image"),
            ("text", "write", "not_an_image"),
            ("north", "read", "lat_out_of_range"),
            ("nan", "read", "coordinates_not_a_number"),
            ("empty", "read", "missing_coordinates"),
            ("pathless", "read", "missing_path"),
            ("far", "assign", "outside_partition"),
            ("p7", "write", "duplicate_id"),
            ("p9", "write", "duplicate_id"),
            (copy, "write", "duplicate_content"),
        ]
    )
    info = world.info()
    reasons = [reason for _, _, reason in world.rejects()]
    assert info["rejects"] == collections.Counter(reasons)
    assert sum(s["photos"] for s in info["splits"].values()) == 60
    told = capsys.readouterr().out
    assert "71 photos read" in told and "60 written" in told
    for reason, n in info["rejects"].items():
        assert f"{n} {reason}" in told


@pytest.mark.slow
def test_too_many_bad_photos_fail_and_leave_no_finished_shards(world, capsys):
    bad = [[f"bad{i}", "no.jpg", 40.7, -74, "", "", ""] for i in range(10)]
    assert world.write(rows=world.rows + bad) == 1
    error = capsys.readouterr().err
    assert "10 of 70 photos are bad" in error and "missing_file" in error
    assert "shards.json" not in world.files()
    # What an unfinished run left is no reason to refuse.
    assert world.write() == 0


def test_photos_outside_the_partition_are_no_failure(world):
    far = [[f"far{i}", "img/1.jpg", -40, 100, "", "", ""] for i in range(60)]
    assert world.write(rows=world.rows + far) == 0
    assert world.info()["rejects"] == {"outside_partition": 60}


def test_larger_photos_are_scaled_to_the_image_size(world):
    assert world.write("--image_size=30") == 0
    for data in world.record_files().values():
        for record in read_records(data):
            image = Image.open(io.BytesIO(record["image"]))
            assert image.size == (40, 30)


OTHER_SHARDS = [
    "--shards=2",
    "--split_seed=1",
    "--duplicates=keep",
    "--image_size=0",
    "--jpeg_quality=80",
    "--min_side=17",
    "--max_pixels=1000000",
]


def test_originals_are_kept_byte_for_byte(world, make_jpeg):
    large = make_jpeg(width=900, height=700, seed=77, quality=97)
    (world.path / "img/0.jpg").write_bytes(large)
    assert world.write("--image_size=0") == 0
    images = [
        record["image"]
        for data in world.record_files().values()
        for record in read_records(data)
    ]
    assert large in images and len(images) == 60


def test_photos_beyond_the_limits_are_left_out(world, make_jpeg):
    (world.path / "img/0.jpg").write_bytes(make_jpeg(width=50, height=40))
    (world.path / "img/1.jpg").write_bytes(make_jpeg(width=100, height=90))
    assert world.write("--min_side=50", "--max_pixels=8000") == 0
    assert world.rejects() == [
        ("p0", "write", "too_small"),
        ("p1", "write", "too_many_pixels"),
    ]


@pytest.mark.slow
def test_the_quality_of_scaled_photos_is_an_option(world):
    sizes = []
    for quality in (95, 50):
        out = f"shards{quality}"
        how = ["--image_size=30", f"--jpeg_quality={quality}"]
        assert world.write(*how, out=out) == 0
        info = world.info(out)
        assert info["config"]["jpeg_quality"] == quality
        assert info["image_size"] == info["config"]["image_size"] == 30
        sizes.append(sum(s["bytes"] for s in info["splits"].values()))
    assert sizes[0] > 1.3 * sizes[1]


def test_the_pipeline_counts_for_beam_and_holds_no_partition(world):
    rows = [*with_copies(world), ["x", "x.jpg", 95, 0, "", "", ""]]
    manifest = world.make_manifest(rows)
    config = write_shards.Config(
        photos=str(manifest), partition="", out=str(world.path), shards=10_000
    )
    partition_file = splits.PartitionFile(
        str(world.path / "partition.json"), world.cells.fingerprint
    )

    def pipeline(config):
        return write_shards.pipeline(
            config,
            options.beam_options(["--runner=FnApiRunner"]),
            str(world.path / "out"),
            partition_file,
            write_shards.make_layout(config),
            str(world.path / "result"),
        )

    graph = pipeline(config).to_runner_api().SerializeToString()
    assert len(graph) < 200_000  # Dataflow takes 10 MB
    for fn in (
        splits.DropOutside(partition_file),
        shards._WriteShard(
            "", partition_file, write_shards.make_layout(config), 4
        ),
    ):
        assert len(pickler.dumps(fn)) < 4_000
    config = dataclasses.replace(config, shards=2)
    found = pipeline(config).run().metrics().query()["counters"]
    counters = collections.Counter()
    for counter in found:
        if counter.key.metric.namespace == "planet_tf":
            counters[counter.key.metric.name] += counter.committed
    result = json.loads((world.path / "result").read_text())
    assert counters == {
        "photos_read": 151,
        "photos_written": 60,
        "bytes_written": sum(s["bytes"] for s in result["splits"].values()),
        "rejected_duplicate_content": 90,
        "rejected_lat_out_of_range": 1,
    }


@pytest.mark.slow
def test_a_run_that_failed_leaves_nothing_under_a_final_name(
    world, monkeypatch, capsys
):
    encode, written = shards.encode_row, []

    def dies(row, label, token, layout):
        written.append(row)
        if len(written) > 30:
            raise MemoryError("no memory")
        return encode(row, label, token, layout)

    monkeypatch.setattr(shards, "encode_row", dies)
    assert world.write("--threads=1") == 1
    assert "no memory" in capsys.readouterr().err
    assert "shards.json" not in world.files()
    left = world.record_files()
    monkeypatch.undo()
    assert world.write() == 0
    whole = world.record_files()
    assert 0 < len(left) < 10
    for name, data in left.items():
        assert name.endswith(".incomplete") or data == whole[name]


@pytest.mark.slow
def test_a_killed_run_leaves_whole_files_or_none_and_is_repeated(world):
    flags = [
        f"--photos={world.make_manifest(world.rows)}",
        f"--partition={world.path / 'partition.json'}",
        f"--out={world.path / 'shards'}",
        "--shards=300",
        "--runner=FnApiRunner",
    ]
    args = [sys.executable, "-m", "beam_pipelines.write_shards", *flags]
    process = subprocess.Popen(args, stdout=subprocess.PIPE)
    while process.poll() is None:
        if next((world.path / "shards").glob("*.tfrecord-*-of-00300"), None):
            process.kill()
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    left = world.record_files()
    assert "shards.json" not in world.files() and left
    assert subprocess.run(args, stdout=subprocess.DEVNULL).returncode == 0
    whole = world.record_files()
    assert set(whole) == set(world.info()["files"])
    for name, data in left.items():
        assert name.endswith(".incomplete") or data == whole[name]


@pytest.mark.parametrize(
    ("photos", "count", "hint"),
    [
        (26_000, 16, None),
        (60, 1, None),
        (60, 3, "a shard has some 20 photos; --shards=1 would fit"),
        (100_000, 16, "a shard has some 6,250 photos; --shards=100 would fit"),
    ],
)
def test_a_better_number_of_shards_is_named(photos, count, hint):
    found = list(write_shards.shards_hint(photos, count))
    assert found == ([f"hint: {hint}"] if hint else [])


def test_the_sources_fingerprint_is_of_its_files(world, tmp_path):
    def fingerprint(path=world.path / "img", table="", out="/elsewhere"):
        source = photos.Source(str(path), table=str(table))
        return shards_dir.source_fingerprint(source, str(out))

    before = fingerprint()
    assert fingerprint() == before
    assert fingerprint(world.path / "img/*.jpg") == before
    assert fingerprint(world.path / "img/1.jpg") != before
    (world.path / "img/shards").mkdir()
    (world.path / "img/shards/shards.json").write_text("{}")
    assert fingerprint() != before
    assert fingerprint(out=world.path / "img/shards") == before
    (world.path / "img/shards/shards.json").unlink()
    assert fingerprint(table=world.path / "partition.json") != before
    os.utime(world.path / "img/1.jpg", (5, 5))
    assert fingerprint() != before


@pytest.mark.slow
def test_finished_shards_are_known_and_replaced_on_demand_only(world, capsys):
    assert world.write() == 0
    before = world.files()
    capsys.readouterr()
    assert world.write("--threads=2") == 0
    assert "up to date" in capsys.readouterr().out
    for option in OTHER_SHARDS:
        assert world.write(option) == 1
        name = option.strip("-").partition("=")[0]
        assert f"other {name}; --overwrite" in capsys.readouterr().err
    assert world.write(rows=world.rows[1:]) == 1
    assert "other photos; --overwrite" in capsys.readouterr().err
    # Images that a manifest names are not looked at.
    os.utime(world.path / "img/1.jpg", (2**32, 2**32))
    assert world.write() == 0
    assert world.files() == before
    assert world.write("--shards=2", "--overwrite") == 0
    assert len(world.record_files()) == 6


def test_a_directory_of_other_things_is_left_alone(world, capsys):
    out = world.path / "shards"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for flags in ([], ["--overwrite"]):
        assert world.write(*flags) == 1
        assert "thesis.txt" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_what_a_killed_run_left_is_removed(world):
    out = world.path / "shards"
    out.mkdir()
    (out / "planet-train.tfrecord-00007-of-00009").write_text("old")
    (out / "planet-test.tfrecord-00000-of-00003.ab12.incomplete").write_text("")
    assert world.write() == 0
    assert set(world.record_files()) == set(world.info()["files"])


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "x"}', "\xff"])
def test_a_file_that_is_no_partition_is_refused(world, text, capsys):
    (world.path / "partition.json").write_bytes(text.encode("latin1"))
    assert world.write() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error


@pytest.mark.parametrize(
    "option",
    [
        "--test_fraction=0.9",
        "--image_size=4",
        "--image_size=-1",
        "--jpeg_quality=0",
        "--duplicates=some",
        "--shard=3",
        "--shards=0",
    ],
)
def test_a_wrong_option_ends_with_exit_2(world, option):
    with pytest.raises(SystemExit) as end:
        world.write(option)
    assert end.value.code == 2


def test_progress_is_told_while_it_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shards_dir, "_SECONDS_PER_LINE", 0.01)
    (tmp_path / "a").touch()
    with shards_dir.progress(str(tmp_path), ["a", "b"]):
        for _ in range(500):
            time.sleep(0.01)
            if "1 of 2 files" in capsys.readouterr().err:
                return
    pytest.fail("nothing was told")


def test_tfds_reads_the_photos(world):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")
    assert world.write("--test_fraction=0", "--image_size=60") == 0
    builder = tfds.builder_from_directory(str(world.path / "shards"))
    assert set(builder.info.splits) == {"train", "validation"}
    found = []
    for split in builder.info.splits:
        photos = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert len(photos) == builder.info.splits[split].num_examples
        found += photos
    assert len(found) == 60
    by_id = {row[0]: row for row in world.rows}
    for photo in found:
        row = by_id[photo["photo_id"].decode()]
        assert photo["image"].shape == (60, 80, 3)
        assert photo["lat"] == np.float32(row[2])
        assert photo["owner_id"].decode() == row[4]


def test_a_split_that_got_no_photos_is_read_as_empty(world):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")
    assert world.write("--test_fraction=0.0001") == 0
    builder = tfds.builder_from_directory(str(world.path / "shards"))
    assert builder.info.splits["test"].num_examples == 0
    assert builder.info.splits["train"].num_examples > 0


@pytest.mark.slow
def test_a_dry_run_changes_nothing(world, capsys):
    pytest.importorskip("apitools")  # of apache-beam[gcp]
    assert world.write() == 0
    before = world.files()
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
        world.write("--shards=2", "--overwrite", *dataflow)
    assert end.value.code == 0 and "dry run" in capsys.readouterr().out
    assert world.files() == before
