"""A trained photo model on a split of photos, beside baselines."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from planet_tf.answering import answers, metrics
from planet_tf.data import data_dirs, decoding
from planet_tf.drawing import maps, pictures
from planet_tf.evaluation import asking, baselines, neighbors
from planet_tf.geo.partition import TRAIN_SPLIT, Partition
from planet_tf.model import export, model_dir
from planet_tf.options.asking_config import EvaluateConfig
from planet_tf.reports import (
    calibration,
    photo_parts,
    report,
    report_dir,
    report_text,
)
from planet_tf.reports.scores import Answers, Whereabouts

_SYSTEMS = (
    "The neighbours answer the places of the training photos most alike: on 8x8"
    " pixels, in a histogram of colours, in histograms of gradients, each with"
    " brightness, contrast and tint taken out, and in the network's own"
    " penultimate layer. The prior always answers the places that most training"
    " photos are within 750 km of. The perfect classifier always finds the"
    " right cell: no model that answers these cells' points can do better. The"
    " network with fewer cells adds up what it gives the fine ones."
)
_PARTITION_OF_ALL = (
    "The partition does not say that it was made of training photos alone"
    " (build_partition --train_only). If it was made of all, the means of its"
    " cells know these photos' places, and short distances flatter whoever"
    " answers the means."
)
_EXAMPLES = 4  # of the best, of typical and of the worst answers


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
    temperature = asking.fit_temperature(config, locator, shards)
    asked = asking.ask(config, locator, shards, temperature.best())
    evaluated = _evaluated(config, locator, shards, asked)
    facts: dict[str, Any] = {
        "what": f"{len(asked.ids):,} photos of {config.split!r}",
        "split": config.split,
        "cells": len(shards.partition.tokens),
        "step": locator.config["options"]["steps"],
        "partition_fingerprint": shards.partition.fingerprint,
        "shards_fingerprint": shards.fingerprint,
    }
    rank = asked.answers[asking.OURS].cell_rank
    if temperature.photos and rank is not None:
        bins = calibration.reliability(
            asked.tempered, rank < 1, evaluated.bootstrap
        )
        facts["temperature"] = _temperature_facts(temperature, bins)
    found = report_dir.write(
        config.out,
        evaluated,
        asked.ids,
        facts,
        pictures=_pictures(config, locator, shards, asked),
        notes=_notes(shards.partition),
    )
    print(report_text.summary(found))
    print(f"\nwritten to {config.out}")


def _notes(partition: Partition) -> list[str]:
    """What there is to know of the systems."""
    if TRAIN_SPLIT in partition.made_by:
        return [_SYSTEMS]
    return [_SYSTEMS, _PARTITION_OF_ALL]


def _evaluated(
    config: EvaluateConfig,
    locator: export.Geolocator,
    shards: data_dirs.Shards,
    asked: asking.Asked,
) -> report.Evaluated:
    """The model's answers beside those of the baselines."""
    asking.say("baselines")
    systems = asked.answers | _baselines(config, locator, shards)
    places = photo_parts.places(asked.truth, systems, shards.partition)
    systems[asking.OURS] = dataclasses.replace(
        systems[asking.OURS], extra=_extra(asked, places.get("whereabouts"))
    )
    resampling = report.bootstrap_of(config, asked.group, len(asked.ids))
    return report.Evaluated(
        asked.truth, systems, resampling, ways=_ways(config), **places
    )


def _ways(config: EvaluateConfig) -> list[str]:
    """The rules to compare, the cell's centre first, if it is asked for."""
    rules = [answers.parse_rule(text) for text in config.rules]
    centre = answers.parse_rule("centre")
    if centre not in rules:
        return []
    others = (asking.way(rule) for rule in rules if rule != centre)
    return [asking.way(centre), asking.OURS, *others]


def _extra(
    asked: asking.Asked, whereabouts: Mapping[str, Whereabouts] | None
) -> dict[str, np.ndarray]:
    """Scores that only a whole distribution gives."""
    first = asked.answers[asking.OURS].points[:, :1]
    errors = metrics.errors_km(first, asked.truth)
    inside = errors <= asked.radii
    found = {
        f"within_radius_{100 * share:.0f}": own.astype(float)
        for share, own in zip(asking.RADIUS_SHARES, inside.T, strict=True)
    }
    if whereabouts:
        for name in ("country", "continent"):
            true = getattr(whereabouts[report.TRUTH], name)
            hits = true == getattr(asked.sums, name)
            found[f"{name}_by_sum"] = np.where(true < 0, np.nan, hits)
    return found


def _temperature_facts(
    fit: calibration.TemperatureFit, bins: calibration.Reliability
) -> dict[str, Any]:
    """What the temperature does to the calibration."""
    return {
        "temperature": fit.best(),
        "photos": fit.photos,
        "split": asking.VALIDATION,
        "expected_calibration_error": bins.error,
        "interval": bins.interval,
    }


def _baselines(
    config: EvaluateConfig, locator: export.Geolocator, shards: data_dirs.Shards
) -> dict[str, Answers]:
    vote = neighbors.Vote(
        config.neighbors, config.neighbor_weights, config.neighbor_km
    )
    found = baselines.answers(
        shards,
        config.split,
        most=config.neighbor_photos,
        vote=vote,
        embed=locator.module.embed,
    )
    return {name: Answers(points) for name, points in found.items()}


def _pictures(
    config: EvaluateConfig,
    locator: export.Geolocator,
    shards: data_dirs.Shards,
    asked: asking.Asked,
) -> dict[str, bytes]:
    """The report's own pictures; writes the examples' photos."""
    asking.say("pictures")
    chosen = _choose_examples(asked)
    jpegs = _read_images(config, shards, set(chosen))
    probabilities = locator.probabilities([jpegs[i] for i in chosen])
    rows = []
    for number, (i, kind) in enumerate(chosen.items(), 1):
        # Not named by its id, which could be any text.
        report_dir.save(config.out, f"examples/{number}.jpg", jpegs[i])
        image = np.asarray(Image.open(io.BytesIO(jpegs[i])).convert("RGB"))
        truth = tuple(asked.truth[i].tolist())
        rows.append(
            pictures.Example(image, probabilities[number - 1], truth, kind)
        )
    curves = model_dir.read_scalars(config.model_dir)
    figures = {
        "examples.png": pictures.examples_figure(locator.partition, rows),
        "learning_curves.png": pictures.learning_curves(_panels(curves)),
    }
    return {name: maps.encode(figure) for name, figure in figures.items()}


def _choose_examples(asked: asking.Asked) -> dict[int, str]:
    """Photos of the best, the middle and the worst answers, and which."""
    points = asked.answers[asking.OURS].points[:, :1]
    order = np.argsort(metrics.errors_km(points, asked.truth)[:, 0])
    middle = max(0, len(order) // 2 - _EXAMPLES // 2)
    kinds = {
        "typical": order[middle : middle + _EXAMPLES],
        "best": order[:_EXAMPLES],
        "worst": order[-_EXAMPLES:],
    }
    # Few photos are several of these; the first one names them.
    found: dict[int, str] = {}
    for kind, photos in kinds.items():
        for photo in photos.tolist():
            found.setdefault(photo, kind)
    return found


def _read_images(
    config: EvaluateConfig, shards: data_dirs.Shards, wanted: set[int]
) -> dict[int, bytes]:
    """JPEGs of photos by their position in the split."""
    found = {}
    paths = [path for path, _ in shards.split(config.split)]
    for i, record in enumerate(tf.data.TFRecordDataset(paths)):
        if i in wanted:
            found[i] = decoding.parse(record, ("image",))["image"].numpy()
        if len(found) == len(wanted):
            break
    return found


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
