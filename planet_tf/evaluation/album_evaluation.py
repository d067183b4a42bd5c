"""Album models beside the single photo and the album's average.

The photo model's answers for each photo are what an album has to improve on;
their average over the album is the baseline that an album model must beat
(PlaNet section 3.3 and its table of albums).
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from planet_tf.answering import metrics
from planet_tf.data import album_input, data_dirs
from planet_tf.evaluation import album_report
from planet_tf.geo import geometry
from planet_tf.geo import partition as partition_lib
from planet_tf.model import export, model_dir
from planet_tf.options.asking_config import EvaluateAlbumsConfig
from planet_tf.photos import records
from planet_tf.reports import report_dir

SINGLE, AVERAGE = "single photo", "album average"
# Of a batch of albums, probabilities (b, t, classes).
System = Callable[[dict[str, np.ndarray]], np.ndarray]


def evaluate(config: EvaluateAlbumsConfig) -> None:
    """Writes the report and prints it."""
    albums = data_dirs.open_albums(config.albums)
    answers = ask(config, albums, systems(config, albums))
    report = album_report.make(
        answers,
        baseline=AVERAGE,
        resamples=config.resamples,
        seed=config.seed,
    )
    report["split"] = config.split
    report["albums_fingerprint"] = albums.fingerprint
    report["partition_fingerprint"] = albums.partition.fingerprint
    text = album_report.markdown(report)
    content = json.dumps(report, indent=1) + "\n"
    report_dir.save(config.out, "report.json", content)
    report_dir.save(config.out, "report.md", text)
    print(text.strip())
    print(f"\nwritten to {config.out}")


def systems(
    config: EvaluateAlbumsConfig, albums: data_dirs.Albums
) -> dict[str, System]:
    """What is compared: the baselines, and each album model by its variant."""
    directory = os.path.join(albums.directory, records.PHOTO_MODEL)
    photo_model = export.load(directory, albums.partition)
    found: dict[str, System] = {
        SINGLE: functools.partial(_single, photo_model),
        AVERAGE: functools.partial(_average, photo_model),
    }
    for directory in config.model_dirs:
        facts = model_dir.read_config(directory)
        module = export.load(directory, albums.partition)
        embedded = module.photo_model.numpy().decode()
        if embedded != albums.model_fingerprint:
            raise model_dir.ModelDirError(
                f"{directory} was trained on embeddings of the photo model"
                f" {embedded}, those in {albums.directory} are of"
                f" {albums.model_fingerprint}: use what belongs together"
            )
        name = facts["options"]["variant"]
        if name in found:
            name = f"{name} ({directory})"
        found[name] = functools.partial(_model, module)
    return found


def _single(photo_model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    embedding = batch["embedding"]
    flat = tf.reshape(embedding, (-1, embedding.shape[-1]))
    found = photo_model.classify(flat)["probabilities"].numpy()
    return found.reshape(*embedding.shape[:2], -1)


def _average(photo_model: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    """The mean over an album's photos, for each of them."""
    single = _single(photo_model, batch)
    photo = np.arange(single.shape[1]) < batch["photos"][:, None]
    mean = (single * photo[..., None]).sum(axis=1, keepdims=True)
    mean /= batch["photos"][:, None, None]
    return np.broadcast_to(mean, single.shape)


def _model(module: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    found = module.distribution(
        tf.constant(batch["embedding"]),
        tf.constant(batch["photos"]),
        tf.constant(batch["gap_hours"]),
    )
    return found["probabilities"].numpy()


def ask(
    config: EvaluateAlbumsConfig,
    albums: data_dirs.Albums,
    asked: dict[str, System],
) -> album_report.Answers:
    """Asks all systems about the photos of a split that have a label."""
    errors: dict[str, list[np.ndarray]] = {name: [] for name in asked}
    known: list[np.ndarray] = []
    done = 0
    for batch in _batches(config, albums):
        albums_of_batch, longest = batch["label"].shape
        photo = np.arange(longest) < batch["photos"][:, None]
        counted = photo & (batch["label"] >= 0)
        answers = {name: asked[name](batch)[counted] for name in asked}
        for name, probabilities in answers.items():
            errors[name].append(
                _errors_km(
                    albums.partition, probabilities, batch["latlng"][counted]
                )
            )
        album, position = np.nonzero(counted)
        about = [batch["photos"][album], _extents_km(batch)[album]]
        about.append(_entropy(answers[SINGLE]))
        known.append(np.stack([album + done, position, *about]))
        done += albums_of_batch
        print(f"{done:,} albums", file=sys.stderr, flush=True)
    album, position, length, extent, entropy = np.concatenate(known, axis=1)
    return album_report.Answers(
        {name: np.concatenate(found) for name, found in errors.items()},
        album.astype(int),
        position.astype(int),
        length.astype(int),
        extent,
        entropy,
    )


def _errors_km(
    partition: partition_lib.Partition,
    probabilities: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    """Errors (n, k) of the k likeliest cells, of classes (n, classes)."""
    of_cells = probabilities[:, int(partition.other_class) :]
    cells = metrics.ranked(of_cells, metrics.TOP)
    return metrics.errors_km(partition.latlng[cells], truth)


def _extents_km(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The farthest that two photos of each album (b,) are apart."""
    return np.array(
        [
            geometry.great_circle_km(
                *places[:photos, None].T, *places[None, :photos].T
            ).max()
            for places, photos in zip(
                batch["latlng"].astype(float), batch["photos"], strict=True
            )
        ]
    )


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Bits (n,) of distributions (n, classes)."""
    logs = np.log2(np.maximum(probabilities, 1e-30))
    return -(probabilities * logs).sum(axis=-1)


def _batches(
    config: EvaluateAlbumsConfig, albums: data_dirs.Albums
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of a split's albums, padded to the longest of each batch."""
    paths = [path for path, _ in albums.split(config.split)]
    examples = tf.data.TFRecordDataset(paths).map(
        lambda record: album_input.parse(record, albums.features)
    )
    return iter(
        examples.padded_batch(config.batch_size).prefetch(2).as_numpy_iterator()
    )
