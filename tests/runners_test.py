"""The same bytes from every engine, and what a killed worker leaves behind."""

import os
import pathlib
import subprocess
import time

import engines
import psutil
import pytest

_BOUND = 90  # seconds within which a run with a dead worker has to end


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A manifest of 240 photos."""
    return engines.make_collection(tmp_path_factory.mktemp("photos") / "in")


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    """All files of both programs, of a run in one thread."""
    out = tmp_path_factory.mktemp("expected")
    made = engines.make_all(photos, out, engines.LOCAL["one thread"])
    # It is no trivial run: all splits and shards have photos, and some photos
    # were rejected by each stage.
    records = [data for name, data in made.items() if ".tfrecord-" in name]
    assert len(records) == 9 and all(records)
    rejects = made["shards/rejects-00000-of-00001.jsonl"]
    for stage in (b"read", b"assign", b"write"):
        assert b'"stage": "' + stage + b'"' in rejects
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", ["DirectRunner", "threads", "processes", "BundleBased"]
)
def test_engines_of_this_machine_make_the_same_bytes(
    engine, photos, expected, tmp_path
):
    made = engines.make_all(photos, tmp_path, engines.LOCAL[engine])
    assert made == expected


@pytest.mark.slow
def test_a_job_service_with_external_workers_makes_the_same_bytes(
    photos, expected, tmp_path
):
    (tmp_path / "out").mkdir()
    with engines.external_workers(tmp_path / "services") as (flags, _):
        made = engines.make_all(photos, tmp_path / "out", flags)
    assert made == expected


@pytest.mark.parametrize(
    "engine",
    [
        "one thread",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("threads", "processes", "BundleBased")
        ),
    ],
)
def test_tars_make_the_same_partition_and_records_as_files(
    engine, photos, expected, tmp_path
):
    tars = engines.make_tars(photos, tmp_path / "tars")
    (tmp_path / "out").mkdir()
    flags = engines.LOCAL[engine]
    made = engines.make_all(tars, tmp_path / "out", flags)
    assert made.keys() == expected.keys()
    for name, data in expected.items():
        if "rejects" not in name and "shards.json" not in name:
            assert made[name] == data, name


@pytest.mark.slow
def test_external_workers_read_tars_too(photos, expected, tmp_path):
    tars = engines.make_tars(photos, tmp_path / "tars")
    (tmp_path / "out").mkdir()
    with engines.external_workers(tmp_path / "services") as (flags, _):
        made = engines.make_all(tars, tmp_path / "out", flags)
    records = [name for name in expected if ".tfrecord-" in name]
    assert records
    for name in ["partition.json", *records]:
        assert made[name] == expected[name], name


class Interrupted:
    """write_shards of a collection in which one image never comes."""

    def __init__(self, photos: pathlib.Path, directory: pathlib.Path):
        # Bytes of the same collection, in a place of its own.
        self.photos = engines.make_collection(directory / "in")
        assert self.photos.read_bytes() == photos.read_bytes()
        self.directory, self.out = directory, directory / "shards"
        self.partition = directory / "partition.json"
        self.image = directory / "in/images/00002.jpg"
        self.jpeg = self.image.read_bytes()
        self.image.unlink()
        os.mkfifo(self.image)  # opening it waits for a writer
        self.log = directory / "log"

    def flags(self) -> list[str]:
        return [
            *engines.shards_flags(self.photos, self.partition, self.out),
            "--duplicates=keep",  # else the image is read before any is written
        ]

    def start(self, *flags: str) -> subprocess.Popen:
        args = ("-m", "beam_pipelines.write_shards", *self.flags(), *flags)
        return engines.start(*args, log=self.log)

    def end(self, process: subprocess.Popen) -> int:
        """The exit code, within a bounded time."""
        return process.wait(timeout=_BOUND)

    def check_nothing_is_half_written(self, whole: dict[str, bytes]) -> None:
        made = engines.contents(self.out)
        assert "shards.json" not in made
        assert any(name.endswith(".incomplete") for name in made)
        for name, data in made.items():
            if not name.endswith(".incomplete"):
                assert data == whole[name], name

    def finish(self) -> dict[str, bytes]:
        """All files of a run with the image."""
        from beam_pipelines import write_shards

        self.image.unlink(missing_ok=True)
        self.image.write_bytes(self.jpeg)
        assert write_shards.main(["write_shards", *self.flags()]) == 0
        return engines.contents(self.out)


@pytest.fixture
def interrupted(photos, expected, tmp_path):
    """write_shards of a collection in which one image never comes."""
    job = Interrupted(photos, tmp_path)
    job.partition.write_bytes(expected["partition.json"])
    return job


@pytest.fixture(scope="module")
def whole(photos, expected, tmp_path_factory):
    """Files of the collection with its copies, by one thread."""
    directory = tmp_path_factory.mktemp("whole")
    job = Interrupted(photos, directory)
    job.partition.write_bytes(expected["partition.json"])
    return job.finish()


def writer_below(process: psutil.Process) -> psutil.Process:
    """The worker below a process that waits in the middle of a file."""
    deadline = time.monotonic() + _BOUND
    first_seen: dict[str, float] = {}
    while time.monotonic() < deadline:
        for child in process.children(recursive=True):
            try:
                files = [file.path for file in child.open_files()]
            except psutil.Error:
                continue
            for path in files:
                if path.endswith(".incomplete"):
                    since = first_seen.setdefault(path, time.monotonic())
                    if time.monotonic() - since > 1:
                        return child
        time.sleep(0.1)
    raise AssertionError("no worker writes a file")


def worker_below(process: psutil.Process) -> psutil.Process:
    """A worker below a process, as soon as there is one."""
    deadline = time.monotonic() + _BOUND
    while time.monotonic() < deadline:
        for child in process.children(recursive=True):
            with_arguments = " ".join(child.cmdline())
            if "sdk_worker_main" in with_arguments:
                return child
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def without_paths(made: dict[str, bytes]) -> dict[str, bytes]:
    """All files but those that name the place of the source."""
    return {k: v for k, v in made.items() if ".json" not in k}


@pytest.mark.slow
@pytest.mark.parametrize("find", [writer_below, worker_below])
def test_a_killed_worker_process_fails_the_run(find, interrupted, whole):
    process = interrupted.start(*engines.LOCAL["processes"])
    try:
        find(psutil.Process(process.pid)).kill()
        if find is worker_below:  # the others must be able to end
            interrupted.image.unlink()
            interrupted.image.write_bytes(interrupted.jpeg)
        assert interrupted.end(process) == 1
    finally:
        engines.stop(process)
    assert "error: a worker process died" in interrupted.log.read_text()
    if find is writer_below:
        interrupted.check_nothing_is_half_written(whole)
    assert without_paths(interrupted.finish()) == without_paths(whole)


@pytest.mark.slow
def test_a_killed_external_worker_fails_the_run(interrupted, whole):
    services = interrupted.directory / "services"
    with engines.external_workers(services) as (flags, pool):
        process = interrupted.start(*flags)
        try:
            writer_below(psutil.Process(pool.pid)).kill()
            assert interrupted.end(process) == 1
        finally:
            engines.stop(process)
    assert "error: a worker process died" in interrupted.log.read_text()
    interrupted.check_nothing_is_half_written(whole)
    assert without_paths(interrupted.finish()) == without_paths(whole)


@pytest.mark.slow
def test_a_service_that_never_answers_is_given_up(interrupted, whole):
    services = interrupted.directory / "services"
    with engines.external_workers(services) as (flags, _):
        process = interrupted.start(*flags, "--max_minutes=0.2")
        try:
            assert interrupted.end(process) == 1
        finally:
            engines.stop(process)
    assert "after --max_minutes=0.2" in interrupted.log.read_text()
    interrupted.check_nothing_is_half_written(whole)
