import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import engines
import pytest
import written
from apache_beam.internal import pickler

from beam_pipelines import (
    options,
    photos,
    shards,
    shards_dir,
    splits,
    write_shards,
)


@pytest.fixture
def world(tmp_path):
    return written.ShardsWorld(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [engines.LOCAL["BundleBased"], ["--threads=1"], engines.LOCAL["processes"]],
)
def test_the_bytes_are_the_same_from_any_runner_and_workers(world, options):
    rows = world.with_copies()
    assert world.write(rows=rows) == 0
    assert world.write(*options, rows=rows, out="other") == 0
    assert world.files("other") == world.files()


def test_too_many_bad_photos_fail_and_leave_no_finished_shards(world, capsys):
    bad = [[f"bad{i}", "no.jpg", 40.7, -74, "", "", ""] for i in range(10)]
    assert world.write(rows=world.rows + bad) == 1
    error = capsys.readouterr().err
    assert "10 of 70 photos are bad" in error and "missing_file" in error
    assert "shards.json" not in world.files()
    # What an unfinished run left is no reason to refuse.
    assert world.write() == 0


OTHER_SHARDS = [
    "--shards=2",
    "--split_seed=1",
    "--duplicates=keep",
    "--image_size=0",
    "--jpeg_quality=80",
    "--min_side=17",
    "--max_pixels=1000000",
]


def test_the_pipeline_counts_for_beam_and_holds_no_partition(world):
    rows = [*world.with_copies(), ["x", "x.jpg", 95, 0, "", "", ""]]
    manifest = world.manifest(rows)
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
        f"--photos={world.manifest(world.rows)}",
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


@pytest.mark.slow
def test_a_dry_run_changes_nothing(world, capsys):
    pytest.importorskip("apitools")  # of apache-beam[gcp]
    assert world.write() == 0
    before = world.files()
    with pytest.raises(SystemExit) as end:
        world.write("--shards=2", "--overwrite", *written.DATAFLOW_DRY_RUN)
    assert end.value.code == 0 and "dry run" in capsys.readouterr().out
    assert world.files() == before
