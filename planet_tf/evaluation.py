"""A trained photo model on a split of photos, beside baselines."""

import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from planet_tf import (
    baselines,
    data_dirs,
    decoding,
    export,
    maps,
    metrics,
    model_dir,
    pictures,
)
from planet_tf import report as report_lib
from planet_tf.config import EvaluateConfig

OURS = "network"  # what the report calls the model
_EXAMPLES = 8
_PROGRESS_SECONDS = 5.0


def evaluate(config: EvaluateConfig) -> None:
    """Writes the report and prints it."""
    shards = data_dirs.open_shards(config.shards)
    model_dir.check_partition(
        shards.partition.fingerprint,
        config.shards,
        model_dir.read_partition(config.model_dir).fingerprint,
        config.model_dir,
    )
    locator = export.Geolocator(config.model_dir)
    tf.io.gfile.makedirs(config.out)
    truth, points, own_points, examples = _ask(config, locator, shards)

    _say("baselines")
    train, places = baselines.thumbnails(
        shards, "train", config.neighbor_photos
    )
    test, _ = baselines.thumbnails(shards, config.split, len(truth))
    answers = {
        OURS: points,
        "nearest neighbour": baselines.nearest_points(train, places, test),
        "prior": baselines.prior_points(shards.partition, len(truth)),
    }

    def figures(found: np.ndarray) -> dict[str, Any]:
        return report_lib.system_figures(
            metrics.errors_km(found, truth),
            resamples=config.resamples,
            seed=config.seed,
        )

    systems = {name: figures(found) for name, found in answers.items()}
    report = {
        "split": config.split,
        "photos": len(truth),
        "cells": len(shards.partition.tokens),
        "step": locator.config["options"]["steps"],
        "partition_fingerprint": shards.partition.fingerprint,
        "shards_fingerprint": shards.fingerprint,
        "systems": systems,
        "ceiling": figures(own_points),
        "verdicts": report_lib.verdicts(systems, OURS),
    }
    drawn = _draw(config, locator, examples)
    text = report_lib.markdown(report, drawn)
    _write(config, "report.json", json.dumps(report, indent=1) + "\n")
    _write(config, "report.md", text)
    print(text.partition("\n![")[0].strip())
    print(f"\nwritten to {config.out}")


def _ask(
    config: EvaluateConfig,
    locator: export.Geolocator,
    shards: data_dirs.Shards,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Any]]:
    """Asks the model about a split, and writes predictions.jsonl.

    Returns:
      The truth (n, 2), the answers' points (n, k, 2), those of the photos'
      own cells (n, 1, 2), and examples to draw.
    """
    partition = locator.partition
    count = shards.count(config.split)
    wanted = set(range(0, count, max(1, count // _EXAMPLES)))
    columns: list[tuple] = []
    examples: list[Any] = []
    lines: list[str] = []
    begun = told = time.monotonic()
    for photos in _batches(config, shards):
        probabilities = locator.probabilities(photos["image"].tolist())
        cells = locator.answers(probabilities, metrics.TOP)
        latlng = np.stack([photos["lat"], photos["lng"]], -1)
        own = photos["label"] - int(partition.other_class)
        columns.append((latlng, partition.latlng[cells], own))
        for i, photo_id in enumerate(photos["photo_id"]):
            shares = probabilities[i, cells[i] + int(partition.other_class)]
            lines.append(
                _prediction(photo_id.decode(), partition, cells[i], shares)
            )
            if len(lines) - 1 in wanted and len(examples) < _EXAMPLES:
                examples.append(
                    (photos["image"][i], probabilities[i], latlng[i])
                )
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            speed = len(lines) / (told - begun)
            _say(f"{len(lines):,}/{count:,} photos, {speed:.0f} photos/s")
    _write(config, "predictions.jsonl", "".join(lines))
    truth, points, own = (np.concatenate(c) for c in zip(*columns, strict=True))
    # Photos of "other" have no cell: the perfect classifier has no answer.
    own_points = np.where(
        own[:, None] >= 0, partition.latlng[np.maximum(own, 0)], np.nan
    )
    return truth, points, own_points[:, None], examples


def _batches(
    config: EvaluateConfig, shards: data_dirs.Shards
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of a split's records, undecoded."""
    names = ("image", "photo_id", "label", "lat", "lng")
    return iter(
        tf.data.TFRecordDataset(
            [path for path, _ in shards.split(config.split)]
        )
        .map(lambda record: decoding.parse(record, names))
        .batch(config.batch_size)
        .prefetch(2)
        .as_numpy_iterator()
    )


def _prediction(
    photo_id: str, partition: Any, cells: Sequence[int], shares: Sequence[float]
) -> str:
    """A line of predictions.jsonl."""
    answers = []
    for cell, share in zip(cells, shares, strict=True):
        lat, lng = partition.points[cell]
        answers.append(
            {
                "token": partition.tokens[cell],
                "probability": round(float(share), 6),
                "lat": lat,
                "lng": lng,
            }
        )
    return json.dumps({"photo_id": photo_id, "cells": answers}) + "\n"


def _draw(
    config: EvaluateConfig, locator: export.Geolocator, examples: list[Any]
) -> list[str]:
    """Writes the examples' photos and the report's pictures; their names."""
    _say("pictures")
    tf.io.gfile.makedirs(os.path.join(config.out, "examples"))
    rows = []
    for number, (jpeg, probabilities, latlng) in enumerate(examples, 1):
        # Not named by its id, which could be any text.
        _write(config, f"examples/{number}.jpg", jpeg)
        image = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        truth = tuple(latlng.tolist())
        rows.append(pictures.Example(image, probabilities, truth))
    curves = model_dir.read_scalars(config.model_dir)
    drawn = {
        "examples.png": pictures.examples_figure(locator.partition, rows),
        "learning_curves.png": pictures.learning_curves(_panels(curves)),
    }
    for name, figure in drawn.items():
        _write(config, name, maps.encode(figure, "png"))
    return list(drawn)


def _panels(curves: dict[str, Any]) -> dict[str, Any]:
    """Curves by panel: loss, accuracy, median error, share within."""
    chosen = {
        f"{name}/{run}": f"{run}/{name}"
        for name in ("loss", "accuracy")
        for run in ("train", "validation")
    }
    chosen["median error, km/"] = "validation/median_km"
    for km in metrics.RADII_KM:
        chosen[f"share of photos within/{km} km"] = (
            f"validation/top1/within_{km}km"
        )
    return {new: curves[old] for new, old in chosen.items() if old in curves}


def _write(config: EvaluateConfig, name: str, content: str | bytes) -> None:
    """Writes a whole file of the report, text or bytes."""
    path = os.path.join(config.out, name)
    with tf.io.gfile.GFile(path + ".incomplete", "wb") as file:
        file.write(content)
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
