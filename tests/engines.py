"""A small collection of photos, and the programs run on it by any engine."""

import contextlib
import csv
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

REPOSITORY = pathlib.Path(__file__).parents[1]
PLACES = ((40.7, -74.0), (-33.4, -70.6), (48.8, 2.3), (-18.1, 178.4))
_PATIENCE = 60  # seconds for a service to start

# By name: a run in one process, or in processes that Beam starts itself.
LOCAL = {
    "one thread": ["--runner=FnApiRunner"],
    "DirectRunner": ["--runner=DirectRunner"],
    "threads": [
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    ],
    "processes": [
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    ],
    "BundleBased": ["--runner=BundleBasedDirectRunner"],
}


def jpeg(seed: int, width: int = 72, height: int = 54) -> bytes:
    """Smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def make_collection(directory: pathlib.Path, photos: int = 240) -> pathlib.Path:
    """JPEG files and their manifest; some are bad, some are copies."""
    (directory / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(photos):
        name = f"images/{i:05}.jpg"
        data = jpeg(i if i % 40 else 0)
        if i % 60 == 7:
            data = data[:200]
        (directory / name).write_bytes(data)
        lat, lng = rng.normal(PLACES[i % 4], 0.5)
        owner = f"owner {i % 23}" if i % 3 else ""
        album = f"album {i % 31}" if i % 2 else ""
        rows.append([f"p{i}", name, lat, lng, owner, album, 1_500_000_000 + i])
    rows += [
        ["gone", "images/gone.jpg", 40.7, -74.0, "", "", ""],
        ["north", "images/00001.jpg", 95, 0, "", "", ""],
        ["p5", "images/00005.jpg", 1, 2, "", "", ""],  # an id a second time
        ["far", "images/00003.jpg", 10, 10, "", "", ""],  # outside
    ]
    manifest = directory / "photos.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "photo_id",
                "path",
                "lat",
                "lng",
                "owner_id",
                "album_id",
                "taken_at",
            ]
        )
        writer.writerows(rows)
    return manifest


def make_tars(manifest: pathlib.Path, directory: pathlib.Path) -> str:
    """The photos of a manifest as two tars; returns the glob of them.

    An image that is not there becomes one that is none.
    """
    directory.mkdir()
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for part in (0, 1):
        with tarfile.open(directory / f"photos-{part}.tar", "w") as tar:
            for i, row in enumerate(rows):
                if i % 2 == part:
                    image = manifest.parent / row.pop("path")
                    data = image.read_bytes() if image.exists() else b"none"
                    _add(tar, f"{i:05}.jpg", data)
                    _add(tar, f"{i:05}.json", json.dumps(row).encode())
    return f"{directory}/*.tar"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def partition_flags(photos: pathlib.Path | str, out: pathlib.Path) -> list[str]:
    """Options of build_partition for the collection."""
    return [
        f"--photos={photos}",
        f"--out={out}",
        "--max_photos=20",
        "--min_photos=3",
    ]


def shards_flags(
    photos: pathlib.Path | str, partition: pathlib.Path, out: pathlib.Path
) -> list[str]:
    """Options of write_shards for the collection."""
    return [
        f"--photos={photos}",
        f"--partition={partition}",
        f"--out={out}",
        "--shards=3",
        "--validation_fraction=0.2",
        "--test_fraction=0.2",
        "--image_size=48",
        "--max_reject_fraction=0.2",
    ]


def make_all(
    photos: pathlib.Path | str, out: pathlib.Path, flags: list[str]
) -> dict[str, bytes]:
    """Runs both programs; returns all files that they wrote."""
    from beam_pipelines import build_partition, write_shards

    partition = out / "partition.json"
    args = partition_flags(photos, partition)
    assert build_partition.main(["build_partition", *args, *flags]) == 0
    args = shards_flags(photos, partition, out / "shards")
    assert write_shards.main(["write_shards", *args, *flags]) == 0
    return contents(out)


def contents(directory: pathlib.Path) -> dict[str, bytes]:
    """All files below a directory, by their paths from there."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def start(
    *args: str, log: pathlib.Path, **environment: str
) -> subprocess.Popen:
    """A Python program in a session of its own, as `stop` needs it."""
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *args],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=REPOSITORY,
            # Beam's worker pool starts what is called python on the PATH.
            env={
                **os.environ,
                "PATH": path,
                "PYTHONPATH": str(REPOSITORY),
                **environment,
            },
            start_new_session=True,
        )


def stop(process: subprocess.Popen) -> None:
    """Ends a process of `start`, and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def external_workers(
    directory: pathlib.Path,
) -> Iterator[tuple[list[str], subprocess.Popen]]:
    """Options for workers in processes of their own, and their pool.

    A job service and a worker pool run until the block ends.
    """
    directory.mkdir()
    port_file = directory / "port"
    started = []
    try:
        service = start(
            "-m",
            "apache_beam.runners.portability.local_job_service_main",
            f"--port_file={port_file}",
            f"--staging_dir={directory / 'staging'}",
            log=directory / "service.log",
        )
        started.append(service)
        pool_port = free_port()
        pool = start(
            "-m",
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={pool_port}",
            log=directory / "pool.log",
        )
        started.append(pool)
        wait_for(port_file.exists, service, directory / "service.log")
        wait_for(lambda: listens(pool_port), pool, directory / "pool.log")
        yield (
            [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{port_file.read_text()}",
                "--environment_type=EXTERNAL",
                f"--environment_config=localhost:{pool_port}",
            ],
            pool,
        )
    finally:
        for process in started:
            stop(process)


def wait_for(ready, process: subprocess.Popen, log: pathlib.Path) -> None:
    """Waits until a process is ready; fails with its log if it never is."""
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} is not up:\n{log.read_text()}")
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as s:
        return s.connect_ex(("localhost", port)) == 0
