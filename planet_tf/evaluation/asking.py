"""A trained photo model asked about a split: its answers, in several ways."""

import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from planet_tf.answering import answers as answers_lib
from planet_tf.answering import metrics, radius, spread
from planet_tf.data import data_dirs, decoding
from planet_tf.geo import coarsening
from planet_tf.geo.partition import Partition
from planet_tf.model import export
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.reports import calibration, photo_parts
from planet_tf.reports.scores import Answers, Whereabouts

OURS = "network"  # what reports call the model
PREDICTIONS = "predictions.jsonl"
RADIUS_SHARES = (0.5, 0.9)  # of the probability that a radius should hold
VALIDATION = "validation"
_PROGRESS_SECONDS = 5.0

# Of probabilities (n, classes), ranked answers: points (n, k, 2), probabilities
# (n, k), and tokens (n, k) of their cells, None if they are no cells.
Decided = tuple[np.ndarray, np.ndarray, np.ndarray | None]
Decider = Callable[[np.ndarray], Decided]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a model answered about n photos, and what is known of these.

    Attributes:
      ids: (n,) str.
      truth: (n, 2).
      group: (n,) str, the owner, else the album, else "".
      answers: by the name of the way to decide.
      tempered: (n,) probability of the likeliest cell at the fitted
        temperature.
      radii: (n, shares) km about OURS that hold RADIUS_SHARES.
      sums: the likeliest countries and continents by the sum of their cells'
        probabilities; None without polygons of countries.
    """

    ids: np.ndarray
    truth: np.ndarray
    group: np.ndarray
    answers: dict[str, Answers]
    tempered: np.ndarray
    radii: np.ndarray
    sums: Whereabouts | None


def ask(
    config: EvaluateConfig,
    locator: export.Geolocator,
    shards: data_dirs.Shards,
    temperature: float,
) -> Asked:
    """Asks the model about a split, and writes predictions.jsonl."""
    questions = Questions(config, locator, temperature)
    count, done = shards.count(config.split), 0
    found: list[Asked] = []
    begun = told = time.monotonic()
    path = os.path.join(config.out, PREDICTIONS)
    with tf.io.gfile.GFile(path + ".incomplete", "w") as file:
        for photos in _batches(config, shards, config.split):
            asked, lines = questions.ask(photos)
            found.append(asked)
            file.write(lines)
            done += len(asked.ids)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                speed = done / (told - begun)
                say(f"{done:,}/{count:,} photos, {speed:.0f} photos/s")
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)
    return _joined(found)


class Questions:
    """What a model is asked about each photo."""

    def __init__(
        self,
        config: EvaluateConfig,
        locator: export.Geolocator,
        temperature: float,
    ):
        self.locator = locator
        self.temperature = temperature
        self.tokens = np.array(locator.partition.tokens)
        self.others = deciders(config, locator.partition)
        self.evenly = spread.evenly(locator.partition)
        self.sums = photo_parts.summed(locator.partition)

    def ask(self, photos: dict[str, np.ndarray]) -> tuple[Asked, str]:
        """The answers for a batch, and its lines of predictions.jsonl."""
        partition = self.locator.partition
        probabilities = self.locator.probabilities(photos["image"].tolist())
        ids = np.array([photo_id.decode() for photo_id in photos["photo_id"]])
        truth = np.stack([photos["lat"], photos["lng"]], -1)
        points, shares, tokens = _likeliest(
            partition, self.tokens, probabilities
        )
        decided: dict[str, Decided] = {OURS: (points, shares, tokens)}
        for name, decide in self.others.items():
            decided[name] = decide(probabilities)
        warm = calibration.tempered(probabilities, self.temperature)
        sums = [sums(probabilities) for sums in self.sums]
        asked = Asked(
            ids=ids,
            truth=truth,
            group=_groups(photos),
            answers={n: _ranked(*own, truth) for n, own in decided.items()},
            tempered=warm[:, int(partition.other_class) :].max(axis=1),
            radii=radius.radius_holding(
                probabilities,
                partition,
                points[:, 0],
                RADIUS_SHARES,
                spread=self.evenly,
            ),
            sums=Whereabouts(*sums) if sums else None,
        )
        lines = map(_prediction, ids.tolist(), points, shares, tokens)
        return asked, "".join(lines)


def _ranked(
    points: np.ndarray,
    shares: np.ndarray,
    tokens: np.ndarray | None,
    truth: np.ndarray,
) -> Answers:
    """Answers, with the ranks of the photos' cells where they are cells."""
    if tokens is None:
        return Answers(points, shares)
    return Answers(points, shares, photo_parts.cell_rank(tokens, truth))


def _joined(found: Sequence[Asked]) -> Asked:
    """All batches as one."""

    def column(values: Callable[[Asked], np.ndarray | None]) -> np.ndarray:
        return np.concatenate([values(asked) for asked in found])

    def answers(name: str) -> Answers:
        known = found[0].answers[name].cell_rank is not None
        return Answers(
            column(lambda asked: asked.answers[name].points),
            column(lambda asked: asked.answers[name].probabilities),
            column(lambda asked: asked.answers[name].cell_rank)
            if known
            else None,
        )

    sums = [asked.sums for asked in found if asked.sums is not None]
    return Asked(
        ids=column(lambda asked: asked.ids),
        truth=column(lambda asked: asked.truth),
        group=column(lambda asked: asked.group),
        answers={name: answers(name) for name in found[0].answers},
        tempered=column(lambda asked: asked.tempered),
        radii=column(lambda asked: asked.radii),
        sums=Whereabouts(
            np.concatenate([own.country for own in sums]),
            np.concatenate([own.continent for own in sums]),
        )
        if sums
        else None,
    )


def deciders(
    config: EvaluateConfig, partition: Partition
) -> dict[str, Decider]:
    """The ways from probabilities to answers that are evaluated beside OURS."""
    found: dict[str, Decider] = {}
    for text in config.rules:
        rule = answers_lib.parse_rule(text)
        found[way(rule)] = functools.partial(_by_rule, partition, rule)
    if not all(partition.photos):
        return found  # of a published partition
    for cells in config.coarse_cells:
        coarse = coarsening.to_cells(partition, cells)
        count = len(coarse.starts)
        if 1 < count < len(partition.tokens):
            name = f"{OURS}, {count:,} cells"
            found[name] = functools.partial(
                _coarsely, coarse, np.array(coarse.partition.tokens)
            )
    return found


def way(rule: answers_lib.Rule) -> str:
    """What the answers by a rule are called."""
    return f"{OURS}, {rule}"


def _by_rule(
    partition: Partition, rule: answers_lib.Rule, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, None]:
    """Answers that are no cells, or not all of one."""
    return *answers_lib.answer(probabilities, partition, rule), None


def _likeliest(
    partition: Partition, tokens: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest cells; `tokens` (cells,) are the partition's."""
    of_cells = probabilities[:, int(partition.other_class) :]
    cells = metrics.ranked(of_cells, metrics.TOP)
    shares = np.take_along_axis(of_cells, cells, 1)
    return partition.latlng[cells], shares, tokens[cells]


def _coarsely(
    coarse: coarsening.Coarse, tokens: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest of coarser cells, whose probabilities are sums."""
    of_cells = coarse.probabilities(probabilities)
    return _likeliest(coarse.partition, tokens, of_cells)


def fit_temperature(
    config: EvaluateConfig, locator: export.Geolocator, shards: data_dirs.Shards
) -> calibration.TemperatureFit:
    """The temperature that fits the validation split best, 1 without one."""
    fit = calibration.TemperatureFit()
    if not (config.temperature_photos and shards.files.get(VALIDATION)):
        return fit
    say(f"temperature of the probabilities, on {VALIDATION!r}")
    for photos in _batches(config, shards, VALIDATION):
        left = config.temperature_photos - fit.photos
        if left <= 0:
            break
        probabilities = locator.probabilities(photos["image"][:left].tolist())
        fit.add(probabilities, photos["label"][:left])
    return fit


def _batches(
    config: EvaluateConfig, shards: data_dirs.Shards, split: str
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of a split's records, undecoded."""
    names = ("image", "photo_id", "label", "lat", "lng", "owner_id", "album_id")
    return iter(
        tf.data.TFRecordDataset([path for path, _ in shards.split(split)])
        .map(lambda record: decoding.parse(record, names))
        .batch(config.batch_size)
        .prefetch(2)
        .as_numpy_iterator()
    )


def _groups(photos: dict[str, np.ndarray]) -> np.ndarray:
    """Names (n,) of what photos belong to: their owner, else album, else "".

    No owner is taken for an album.
    """
    rows = zip(photos["owner_id"], photos["album_id"], strict=True)
    names = [
        f"owner {owner.decode()}"
        if owner
        else f"album {album.decode()}"
        if album
        else ""
        for owner, album in rows
    ]
    return np.array(names)


def _prediction(
    photo_id: str,
    points: np.ndarray,
    shares: np.ndarray,
    tokens: np.ndarray,
) -> str:
    """A line of predictions.jsonl."""
    rows = zip(tokens, shares, points.tolist(), strict=True)
    answers = [
        {
            "token": str(token),
            "probability": round(float(share), 6),
            "lat": lat,
            "lng": lng,
        }
        for token, share, (lat, lng) in rows
    ]
    return json.dumps({"photo_id": photo_id, "cells": answers}) + "\n"


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)
