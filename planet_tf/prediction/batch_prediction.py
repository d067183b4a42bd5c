"""Answers for many photos, to a file, in pieces that survive a crash.

Photos are answered a piece of some thousand after the other. A piece that is
there is not answered again; when all are there they are put together.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from planet_tf.answering import prediction_files
from planet_tf.geo.partition import Partition
from planet_tf.model import export
from planet_tf.options.asking_config import AnswersConfig, PredictConfig
from planet_tf.prediction import pieces

REJECTS = "rejects.jsonl"
_PIECES, _RUN = "pieces", "run.json"
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


def predict(config: PredictConfig, items: pieces.Items) -> str:
    """Writes the answers for photos, and those left out to rejects.jsonl.

    Returns:
      The path of the file.

    Raises:
      PredictionError: if --out holds predictions of another kind, or too many
        photos cannot be read.
    """
    locator = export.Geolocator(config.model_dir, config.min_cell_km)
    target = os.path.join(config.out, f"predictions.{config.format}")
    known = facts(config, _form(config), locator.weights, locator.partition)
    claim(config.out, known | {"photos": _digest(items)})
    if os.path.exists(target):
        print(f"{target} is there already", file=sys.stderr)
        return target
    directory = os.path.join(config.out, _PIECES)
    os.makedirs(directory, exist_ok=True)
    paths = _write_pieces(config, locator, items, directory)
    rejects = _join(config, paths, target)
    shutil.rmtree(directory)
    _check(config, rejects, len(items))
    return target


def claim(out: str, facts: Mapping[str, Any]) -> None:
    """Makes a directory for a run, or checks that the run in it is this.

    Args:
      out: the directory.
      facts: what the bytes of the answers depend on.

    Raises:
      PredictionError: if it is another.
    """
    path = os.path.join(out, _RUN)
    if not tf.io.gfile.exists(path):
        tf.io.gfile.makedirs(out)
        pieces.write(path, json.dumps(facts, indent=1))
        return
    with tf.io.gfile.GFile(path) as file:
        before: dict[str, Any] = json.load(file)
    for name, value in facts.items():
        if before.get(name) != value:
            raise PredictionError(
                f"{out} holds predictions with {name} {before.get(name)}; this"
                f" run has {value}. Give another --out, or delete that one"
            )


def facts(
    config: AnswersConfig, form: pieces.Form, weights: str, partition: Partition
) -> dict[str, Any]:
    """What the bytes of answers depend on, beside the photos.

    Args:
      config: of the run.
      form: of the answers.
      weights: the fingerprint of the model's.
      partition: that is answered.
    """
    return {
        "model": weights,
        "partition": partition.fingerprint,
        **dataclasses.asdict(form),
        "piece_photos": config.piece_photos,
    }


def _form(config: PredictConfig) -> pieces.Form:
    """What the answers look like."""
    return pieces.Form(config.format, config.top, config.batch_size)


def _digest(items: pieces.Items) -> str:
    """Tells photos from others, by their names and where they are."""
    digest = hashlib.sha256()
    for item in items:
        facts = dataclasses.astuple(item)
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _write_pieces(
    config: PredictConfig,
    locator: export.Geolocator,
    items: pieces.Items,
    directory: str,
) -> list[pieces.Paths]:
    """Answers what is not answered yet; gives all pieces."""
    asker = pieces.Asker(locator, _form(config))
    progress = Progress(len(items))
    found = []
    new = rejected = 0
    for start in range(0, len(items), config.piece_photos):
        name = os.path.join(directory, f"{start:012}")
        paths = pieces.Paths(name, f"{name}.{REJECTS}")
        found.append(paths)
        if paths.done():
            continue
        done = start
        some = items[start : start + config.piece_photos]
        for count, bad in asker.write(some, paths, whole=False):
            done += count
            new += count
            rejected += bad
            progress.say(done, new, rejected)
    return found


def _join(config: PredictConfig, found: list[pieces.Paths], target: str) -> int:
    """Puts all pieces together; returns the number of rejects."""
    texts = prediction_files.FORMATS[config.format]
    with open(target + ".incomplete", "w", encoding="utf-8") as file:
        file.write(texts.head(config.top))
        begun = False
        for paths in found:
            if os.path.exists(paths.answers):
                file.write(texts.between * begun)
                with open(paths.answers, encoding="utf-8") as piece:
                    shutil.copyfileobj(piece, file)
                begun = True
        file.write(texts.tail if begun or config.format == "geojson" else "")
    rejects = 0
    with open(os.path.join(config.out, REJECTS), "w") as file:
        for paths in found:
            with open(paths.rejects) as piece:
                for line in piece:
                    file.write(line)
                    rejects += 1
    os.replace(target + ".incomplete", target)
    return rejects


def _check(config: PredictConfig, rejects: int, photos: int) -> None:
    """Raises PredictionError if too many photos could not be answered."""
    if rejects > config.max_reject_fraction * photos:
        raise PredictionError(
            f"{rejects:,} of {photos:,} photos are bad, more than"
            f" --max_reject_fraction={config.max_reject_fraction} allows;"
            f" {os.path.join(config.out, REJECTS)} names them. All others are"
            " answered"
        )
