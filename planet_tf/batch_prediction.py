"""Answers for many photos, to a file, in pieces that survive a crash.

Photos are answered a piece of some thousand after the other. A piece gets its
name when it is whole, and is not answered again; when all are there they are
put together. Threads read and fit the next batches while the model is asked.
"""

import collections
import concurrent.futures
import dataclasses
import glob
import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from planet_tf import export, images, photo_answers, prediction_files
from planet_tf.asking_config import PredictConfig
from planet_tf.rejects import PhotoError, Reason, Reject

REJECTS = "rejects.jsonl"
_PIECES, _RUN = "pieces", "run.json"
_BATCHES_AHEAD = 3
_SAY_SECONDS = 5.0


class PredictionError(ValueError):
    """Predictions that cannot be made, and what to do about it."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Says how far it is, now and then."""

    photos: int
    begun: float = dataclasses.field(default_factory=time.monotonic)
    told: list[float] = dataclasses.field(default_factory=lambda: [0.0])

    def say(self, done: int, new: int, rejects: int) -> None:
        """Of `done` photos in all, `new` in this run."""
        now = time.monotonic()
        if now - self.told[0] < _SAY_SECONDS or not new:
            return
        self.told[0] = now
        speed = new / (now - self.begun)
        left = time.gmtime((self.photos - done) / speed)
        print(
            f"{done:,}/{self.photos:,} photos, {speed:.1f} photos/s,"
            f" {time.strftime('%H:%M:%S', left)} left, {rejects:,} rejected",
            file=sys.stderr,
            flush=True,
        )


def predict(config: PredictConfig, paths: Sequence[str]) -> str:
    """Writes the answers for photos, and those left out to rejects.jsonl.

    Returns:
      The path of the file.

    Raises:
      PredictionError: if --out holds predictions of another kind, or too many
        photos cannot be read.
    """
    locator = export.Geolocator(config.model_dir, config.min_cell_km)
    target = os.path.join(config.out, f"predictions.{config.format}")
    pieces = os.path.join(config.out, _PIECES)
    os.makedirs(config.out, exist_ok=True)
    _claim(config, locator, paths)
    if os.path.exists(target):
        print(f"{target} is there already", file=sys.stderr)
        return target
    os.makedirs(pieces, exist_ok=True)
    answerer = photo_answers.Answerer(locator.partition)
    progress = Progress(len(paths))
    new = rejected = 0
    for start in range(0, len(paths), config.piece_photos):
        piece = os.path.join(pieces, f"{start:012}")
        some = paths[start : start + config.piece_photos]
        if not os.path.exists(piece):
            for count, bad in _answer(config, locator, answerer, some, piece):
                new += count
                rejected += bad
                progress.say(start + count, new, rejected)
    rejects = _join(config, pieces, target)
    shutil.rmtree(pieces)
    _check(config, rejects, len(paths))
    return target


def _claim(
    config: PredictConfig, locator: export.Geolocator, paths: Sequence[str]
) -> None:
    """Refuses a directory with predictions of another kind."""
    facts = {
        "model": locator.weights,
        "partition": locator.partition.fingerprint,
        "photos": hashlib.sha256("\0".join(paths).encode()).hexdigest(),
        "top": config.top,
        "format": config.format,
        "batch_size": config.batch_size,
        "piece_photos": config.piece_photos,
    }
    path = os.path.join(config.out, _RUN)
    if not os.path.exists(path):
        _write(path, json.dumps(facts, indent=1))
        return
    with open(path) as file:
        before: dict[str, Any] = json.load(file)
    for name, value in facts.items():
        if before.get(name) != value:
            raise PredictionError(
                f"{config.out} holds predictions with {name}"
                f" {before.get(name)}; this run has {value}. Give another"
                " --out, or delete that one"
            )


def _answer(
    config: PredictConfig,
    locator: export.Geolocator,
    answerer: photo_answers.Answerer,
    paths: Sequence[str],
    piece: str,
) -> Iterator[tuple[int, int]]:
    """Answers a piece; gives photos and rejects of each batch."""
    form = prediction_files.FORMATS[config.format]
    texts: list[str] = []
    rejects: list[Reject] = []
    for batch in _fitted(config, locator.photo_size, paths):
        good, bad = _embedded(locator, batch)
        rejects += bad
        if good:
            probabilities = locator.classify(np.stack(list(good.values())))
            answers = answerer.answers(probabilities, config.top)
            texts += [
                form.photo(path, answer, config.top)
                for path, answer in zip(good, answers, strict=True)
            ]
        yield len(batch), len(bad)
    lines = "".join(reject.line() + "\n" for reject in rejects)
    _write(f"{piece}.{REJECTS}", lines)
    _write(piece, form.between.join(texts))


def _embedded(
    locator: export.Geolocator, batch: Sequence[tuple[str, bytes | Reject]]
) -> tuple[dict[str, np.ndarray], list[Reject]]:
    """The penultimate layer by path, and what could not be read."""
    rejects = [found for _, found in batch if isinstance(found, Reject)]
    jpegs = {path: x for path, x in batch if isinstance(x, bytes)}
    if not jpegs:
        return {}, rejects
    embedding, valid = locator.embed(list(jpegs.values()))
    rejects += [
        _reject(path, Reason.CORRUPT_IMAGE, "TensorFlow cannot read it")
        for path, is_valid in zip(jpegs, valid, strict=True)
        if not is_valid
    ]
    rows = zip(jpegs, embedding, valid, strict=True)
    return {path: row for path, row, is_valid in rows if is_valid}, rejects


def _fitted(
    config: PredictConfig, photo_size: int, paths: Sequence[str]
) -> Iterator[list[tuple[str, bytes | Reject]]]:
    """Batches of photos as the model takes them, or why not."""
    ahead: collections.deque[list[concurrent.futures.Future]] = (
        collections.deque()
    )
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in itertools.count(0, config.batch_size):
            batch = paths[start : start + config.batch_size]
            if batch:
                ahead.append(
                    [threads.submit(_fit, path, photo_size) for path in batch]
                )
            if len(ahead) > _BATCHES_AHEAD or not batch:
                if not ahead:
                    return
                yield [future.result() for future in ahead.popleft()]


def _fit(path: str, photo_size: int) -> tuple[str, bytes | Reject]:
    try:
        with open(path, "rb") as file:
            return path, images.fit(file.read(), photo_size)
    except FileNotFoundError:
        return path, _reject(path, Reason.MISSING_FILE, "there is no such file")
    except OSError as error:
        return path, _reject(path, Reason.UNREADABLE_FILE, error.strerror)
    except PhotoError as error:
        return path, _reject(path, error.reason, error.detail)


def _reject(path: str, reason: Reason, detail: str) -> Reject:
    return Reject(path, "predict", reason, detail)


def _join(config: PredictConfig, pieces: str, target: str) -> int:
    """Puts all pieces together; returns the number of rejects."""
    form = prediction_files.FORMATS[config.format]
    paths = sorted(glob.glob(os.path.join(glob.escape(pieces), "?" * 12)))
    with open(target + ".incomplete", "w", encoding="utf-8") as file:
        file.write(form.head(config.top))
        begun = False
        for path in paths:
            with open(path, encoding="utf-8") as piece:
                text = piece.read()
            if text:
                file.write(form.between * begun + text)
                begun = True
        file.write(form.tail if begun or config.format == "geojson" else "")
    rejects = 0
    with open(os.path.join(config.out, REJECTS), "w") as file:
        for path in paths:
            with open(f"{path}.{REJECTS}") as piece:
                for line in piece:
                    file.write(line)
                    rejects += 1
    os.replace(target + ".incomplete", target)
    return rejects


def _check(config: PredictConfig, rejects: int, photos: int) -> None:
    if rejects > config.max_reject_fraction * photos:
        raise PredictionError(
            f"{rejects:,} of {photos:,} photos are bad, more than"
            f" --max_reject_fraction={config.max_reject_fraction} allows;"
            f" {os.path.join(config.out, REJECTS)} names them. All others are"
            " answered"
        )


def _write(path: str, text: str) -> None:
    """Writes a file that appears when it is whole."""
    with open(path + ".incomplete", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".incomplete", path)
