"""Dataflow as far as it goes offline: translated, staged, submitted."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import engines
import numpy as np
import pytest

from beam_pipelines import build_partition, write_shards
from planet_tf.geo import partition as partition_lib

pytest.importorskip(
    "apitools", reason="DataflowRunner needs apache-beam[gcp], not installed"
)

_CLOUD = [
    "--runner=DataflowRunner",
    "--project=test-project",
    "--region=us-central1",
    "--job_name=planet-test",
    "--no_auth",
    "--sdk_container_image=gcr.io/test-project/planet:1",
]
_DRY = [
    *_CLOUD,
    "--dry_run=True",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A manifest of 240 photos."""
    return engines.make_collection(tmp_path_factory.mktemp("photos") / "in")


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    """All files of both programs, of a run in one thread."""
    out = tmp_path_factory.mktemp("expected")
    return engines.make_all(photos, out, engines.LOCAL["one thread"])


@pytest.fixture
def translated(monkeypatch):
    """Pipelines as Dataflow would get them; Beam may run one within itself."""
    import apache_beam as beam

    found = []
    run = beam.Pipeline.run

    def record(self, *args):
        result = run(self, *args)
        found.append(result.job.proto_pipeline)
        return result

    monkeypatch.setattr(beam.Pipeline, "run", record)
    return found


@pytest.fixture(scope="module")
def setup_file(tmp_path_factory):
    """The setup.py of a copy of the source, which is built there."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "README.md", "pyproject.toml", "LICENSE"):
        shutil.copy(engines.REPOSITORY / name, source)
    for name in ("planet_tf", "beam_pipelines"):
        shutil.copytree(
            engines.REPOSITORY / name,
            source / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return source / "setup.py"


def nothing_runs(main, args, capsys) -> str:
    """What a program says that exits well without running its pipeline."""
    with pytest.raises(SystemExit) as ended:
        main(["program", *args])
    assert not ended.value.code
    return capsys.readouterr().out


def names(pipeline) -> set[str]:
    """The first parts of the names of a pipeline's transforms."""
    transforms = pipeline.components.transforms.values()
    return {transform.unique_name.split("/")[0] for transform in transforms}


def test_build_partition_translates(photos, translated, tmp_path, capsys):
    args = engines.partition_flags(photos, tmp_path / "partition.json")
    said = nothing_runs(build_partition.main, [*args, *_DRY], capsys)
    assert "nothing was run" in said
    assert not list(tmp_path.iterdir())
    pipeline = translated[-1]
    assert {"ReadPhotos", "PartitionLeaves", "WriteRejects"} <= names(pipeline)
    assert pipeline.ByteSize() < 200_000


def test_write_shards_translates_without_photos_or_cells(
    photos, translated, tmp_path, capsys
):
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 400_000)))
    cells = partition_lib.build(
        lat,
        rng.uniform(-180, 180, 400_000),
        max_photos=22,
        min_photos=1,
    )
    assert len(cells.tokens) > 26_000
    partition = tmp_path / "partition.json"
    with partition.open("w") as file:
        partition_lib.dump(cells, file)
    args = engines.shards_flags(photos, partition, tmp_path / "shards")
    said = nothing_runs(write_shards.main, [*args, *_DRY], capsys)
    assert "nothing was run" in said
    pipeline = translated[-1]
    assert {"ReadPhotos", "WriteShards", "WriteRejects"} <= names(pipeline)
    data = pipeline.SerializeToString()
    assert len(data) < 300_000  # Dataflow takes 10 MB
    assert b"images/00001.jpg" not in data
    assert (photos.parent / "images/00001.jpg").read_bytes()[-64:] not in data
    assert cells.tokens[1000].encode() not in data


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    ["build_partition", "write_shards", "check_photos", "report_partition"],
)
def test_the_launch_script_translates(program, photos, expected, tmp_path):
    partition, out = tmp_path / "partition.json", tmp_path / "out"
    partition.write_bytes(expected["partition.json"])
    args = {
        "build_partition": engines.partition_flags(photos, out),
        "write_shards": engines.shards_flags(photos, partition, out),
        "check_photos": [f"--photos={photos}", f"--out={out}"],
        "report_partition": [
            f"--photos={photos}",
            f"--partition={partition}",
            f"--out={out}",
        ],
    }[program]
    script = engines.REPOSITORY / "launch/dataflow/run.sh"
    settings = {
        **os.environ,
        "PLANET_VENV": sys.prefix,
        "PROJECT": "test-project",
        "BUCKET": "bucket",
        "IMAGE": "gcr.io/test-project/planet:1",
    }
    command = [script, program, *args, "--no_auth", "--dry_run=True"]
    run = functools.partial(
        subprocess.run, command, capture_output=True, text=True
    )
    done = run(env=settings)
    assert done.returncode == 0, done.stderr
    assert "nothing was run" in done.stdout
    del settings["IMAGE"]
    done = run(env=settings)
    assert done.returncode != 0
    assert "the image of the workers" in done.stderr


def staging(directory: pathlib.Path, setup_file: pathlib.Path) -> list[str]:
    """Options that stage to a directory."""
    for name in ("staging", "temp", "template"):
        (directory / name).mkdir()  # else Beam tries for minutes to write there
    return [
        *_CLOUD,
        f"--setup_file={setup_file}",
        f"--staging_location={directory / 'staging'}",
        f"--temp_location={directory / 'temp'}",
    ]


def replay(directory: pathlib.Path) -> None:
    """Runs what was staged in a fresh interpreter; see replay.py."""
    [pipeline] = directory.rglob("pipeline.pb")
    work = directory / "replay"
    work.mkdir()
    subprocess.run(
        [
            sys.executable,
            "-E",
            pathlib.Path(__file__).with_name("replay.py"),
            pipeline.parent,
            work,
        ],
        cwd=directory,
        check=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["files", "tars"])
def test_what_is_staged_makes_the_same_bytes(
    form, photos, expected, setup_file, tmp_path, capsys
):
    partition = tmp_path / "partition.json"
    partition.write_bytes(expected["partition.json"])
    out = tmp_path / "shards"
    template = tmp_path / "template/job.json"
    source, same = photos, ("shards/planet-", "shards/rejects-")
    if form == "tars":  # whose rejects name other files
        source, same = engines.make_tars(photos, tmp_path / "tars"), same[:1]
    args = engines.shards_flags(source, partition, out)
    said = nothing_runs(
        write_shards.main,
        [
            *args,
            *staging(tmp_path, setup_file),
            f"--template_location={template}",
            "--dataflow_endpoint=http://localhost:1",
        ],
        capsys,
    )
    assert f"template written to {template}, and nothing was run" in said
    assert json.loads(template.read_text())["name"]
    assert set(engines.contents(out)) <= {"partition.json"}
    replay(tmp_path)
    made = engines.contents(out)
    for name, data in expected.items():
        if name.startswith(same):
            assert made[name.removeprefix("shards/")] == data, name


class _Service(http.server.BaseHTTPRequestHandler):
    """Answers like Dataflow; runs a job, as it was staged, on submission."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        job = json.loads(self.rfile.read(length))
        self.server.jobs.append((self.path, job))
        replay(self.server.directory)
        self._answer({**job, "id": "job-1", "currentState": "JOB_STATE_QUEUED"})

    def do_GET(self):
        what = self.path.partition("?")[0].rpartition("/")[2]
        state = {"id": "job-1", "currentState": "JOB_STATE_DONE"}
        self._answer(state if what == "job-1" else {})

    def _answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def service(directory: pathlib.Path):
    """A stand-in for Dataflow, with the list of its jobs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    server.jobs, server.directory = [], directory
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("program", ["build_partition", "write_shards"])
def test_a_submitted_job_ends_with_the_last_steps_here(
    program, photos, expected, setup_file, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    if program == "build_partition":
        main = build_partition.main
        args = engines.partition_flags(photos, out / "partition.json")
    else:
        main = write_shards.main
        (out / "partition.json").write_bytes(expected["partition.json"])
        args = engines.shards_flags(
            photos, out / "partition.json", out / "shards"
        )
    with service(tmp_path) as server:
        endpoint = f"http://localhost:{server.server_port}"
        flags = staging(tmp_path, setup_file)
        flags.append(f"--dataflow_endpoint={endpoint}")
        assert main([program, *args, *flags]) == 0
    [(path, job)] = server.jobs
    assert path.startswith(
        "/v1b3/projects/test-project/locations/us-central1/jobs"
    )
    assert job["name"] == "planet-test"
    wanted = {
        name: data
        for name, data in expected.items()
        if name.startswith("shards/") == (program == "write_shards")
    }
    made = engines.contents(out)
    assert wanted.items() <= made.items()
    assert not any(name.endswith(".incomplete") for name in made)
