"""Files of satellite views, written by a pool of processes."""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from beam_pipelines import satellite

VIEW_KM = 450.0  # about the picture's own resolution at 75 pixels
JPEG_QUALITY = 90
_CHUNK = 500  # views to a task, and so to a line of progress


@dataclasses.dataclass(frozen=True)
class View:
    """One view, whatever other views there are.

    Attributes:
      path: of its file, relative to the directory of the views.
      lat: of its place.
      lng: of its place.
      kind: what it shows: "clear" or one of satellite.UNINFORMATIVE_KINDS.
      seeds: of its jitter, no other view's.
    """

    path: str
    lat: float
    lng: float
    kind: str
    seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Job:
    """What all views have in common.

    Attributes:
      out: the directory of the views.
      picture: the file with the picture of the Earth.
      size: width and height of a view in pixels.
      workers: processes, or 0 for one on each CPU.
    """

    out: pathlib.Path
    picture: pathlib.Path
    size: int
    workers: int = 0


class NoSeaError(RuntimeError):
    """The picture has no open sea for a view of it."""


@functools.cache  # 44 MB, once in a process
def load_picture(path: pathlib.Path) -> np.ndarray:
    """The padded picture of the Earth, for `satellite.cut`."""
    with Image.open(path) as image:
        return satellite.pad(np.asarray(image.convert("RGB")))


@functools.cache  # a second, once in a process
def load_sea(path: pathlib.Path) -> np.ndarray:
    """Points (n, 2) about which a view shows nothing but the open sea."""
    reach = satellite.reach_km(VIEW_KM, satellite.Jitter())
    sea = satellite.open_sea(load_picture(path), reach)
    if not len(sea):
        raise NoSeaError(
            f"{path} has nowhere {reach:.0f} km of dark blue sea around;"
            " needed is a picture of the whole Earth"
        )
    return sea


def write_view(job: Job, view: View) -> None:
    """Writes one view."""
    path = job.out / view.path
    rng = np.random.default_rng(view.seeds)
    place = view.lat, view.lng
    if view.kind == "sea":
        place = rng.choice(load_sea(job.picture))
    pixels = satellite.jittered_view(
        load_picture(job.picture),
        *place,
        rng,
        size=job.size,
        km=VIEW_KM,
        jitter=satellite.Jitter(),
        kind=view.kind,
    )
    # A view gets its name only when complete, so that one found is kept.
    partial = path.with_suffix(".tmp")
    Image.fromarray(pixels).save(partial, format="JPEG", quality=JPEG_QUALITY)
    os.replace(partial, path)


def write_missing(job: Job, views: Sequence[View]) -> None:
    """Writes the views that have no file yet."""
    for directory in sorted({os.path.dirname(view.path) for view in views}):
        (job.out / directory).mkdir(parents=True, exist_ok=True)
    missing = [view for view in views if not (job.out / view.path).exists()]
    if missing:
        write_in_pool(job, missing)


def write_in_pool(job: Job, views: Sequence[View]) -> None:
    """Writes views in a pool of processes, with lines of progress."""
    chunks = [views[i : i + _CHUNK] for i in range(0, len(views), _CHUNK)]
    # Spawned, not forked: a forked copy of a program with threads may hang.
    pool = concurrent.futures.ProcessPoolExecutor(
        job.workers or os.cpu_count() or 1,
        multiprocessing.get_context("spawn"),
        _start_worker,
    )
    try:
        tasks = [pool.submit(write_chunk, job, chunk) for chunk in chunks]
        start, done = time.monotonic(), 0
        for task in concurrent.futures.as_completed(tasks):
            done += task.result()
            rate = done / (time.monotonic() - start)
            left = (len(views) - done) / rate
            log(
                f"{done}/{len(views)} views, {rate:.0f} views/s,"
                f" {left:.0f} s left"
            )
    finally:
        pool.shutdown(cancel_futures=True)


def write_chunk(job: Job, views: Sequence[View]) -> int:
    """Writes views in this process; returns how many."""
    for view in views:
        write_view(job, view)
    return len(views)


def log(text: str) -> None:
    """Prints a line of progress."""
    print(text, file=sys.stderr, flush=True)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:  # as every worker has
        parent.join()
        os._exit(1)
