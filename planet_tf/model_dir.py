"""The model directory: all that is known of a model, in one place.

    config.json     options, fingerprints and versions of the run
    partition.json  the classes
    checkpoints/    training state
    events/         for TensorBoard: train, validation
    export/         the SavedModel, once training is done

config.json says too to what size photos were scaled for the shards
(`photo_size`, of the short side); a photo to predict is scaled alike.
The fingerprints tie it together: of the partition (which cells the classes
are) and of the shards (what it was trained on).
"""

import dataclasses
import importlib.metadata
import json
import os
from typing import Any

import tensorflow as tf

from planet_tf import partition as partition_lib
from planet_tf.config import TrainConfig
from planet_tf.input_pipeline import Shards

CONFIG, PARTITION = "config.json", "partition.json"
CHECKPOINTS, EVENTS, EXPORT = "checkpoints", "events", "export"

# Options that may differ when a run goes on; all others shape its result.
_FREE = {
    "shards",
    "model_dir",
    "strategy",
    "tpu",
    "validate_every",
    "log_every",
    "keep_checkpoints",
}


class ModelDirError(ValueError):
    """A model directory that is missing or belongs to something else."""


def claim(config: TrainConfig, shards: Shards, *, write: bool) -> None:
    """Makes the directory for a run, or checks that the run in it is this.

    Args:
      config: options of the run.
      shards: what it trains on.
      write: whether this process is the one that writes.

    Raises:
      ModelDirError: the directory has a run of other options or shards.
    """
    if tf.io.gfile.exists(os.path.join(config.model_dir, CONFIG)):
        _check_same(config, shards, read_config(config.model_dir))
        return
    if not write:
        return
    tf.io.gfile.makedirs(config.model_dir)
    with tf.io.gfile.GFile(
        os.path.join(config.model_dir, PARTITION), "w"
    ) as file:
        partition_lib.dump(shards.partition, file)
    facts = {
        "options": dataclasses.asdict(config),
        "partition_fingerprint": shards.partition.fingerprint,
        "shards_fingerprint": shards.fingerprint,
        "photo_size": shards.image_size,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tensorflow", "keras", "numpy")
        },
    }
    path = os.path.join(config.model_dir, CONFIG)
    with tf.io.gfile.GFile(path + ".incomplete", "w") as file:
        file.write(json.dumps(facts, indent=1) + "\n")
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)


def read_config(directory: str) -> dict[str, Any]:
    """What config.json says; ModelDirError if there is none."""
    path = os.path.join(directory, CONFIG)
    if not tf.io.gfile.exists(path):
        raise ModelDirError(
            f"{path} is missing: {directory} is not a model directory of"
            " python -m planet_tf.train"
        )
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)


def read_partition(directory: str) -> partition_lib.Partition:
    """The model's partition, checked against its config."""
    facts = read_config(directory)
    with tf.io.gfile.GFile(os.path.join(directory, PARTITION)) as file:
        partition = partition_lib.load(file)
    check_partition(
        partition.fingerprint,
        f"{PARTITION} in {directory}",
        facts["partition_fingerprint"],
        f"{CONFIG} beside it",
    )
    return partition


def read_scalars(directory: str) -> dict[str, tuple[list[int], list[float]]]:
    """Curves of a run, `split/name` to steps and values, from its events.

    Of a step that was run twice, after a stop, the later value counts.
    """
    from tensorboard.backend.event_processing import (
        plugin_event_multiplexer as multiplexer,
    )

    path = os.path.join(directory, EVENTS)
    events = multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 0})
    events.AddRunsFromDirectory(path)
    events.Reload()
    curves = {}
    for run, tags in events.Runs().items():
        for tag in tags["tensors"]:
            points = {
                event.step: float(tf.make_ndarray(event.tensor_proto))
                for event in events.Tensors(run, tag)
            }
            steps = sorted(points)
            curves[f"{run}/{tag}"] = steps, [points[step] for step in steps]
    return curves


def check_partition(found: str, where: str, wanted: str, why: str) -> None:
    """Raises ModelDirError unless two partition fingerprints are the same."""
    if found != wanted:
        raise ModelDirError(
            f"{where} has the partition {found}, but {why} has {wanted}: the"
            " same label would mean another cell. Use what belongs together."
        )


def _check_same(
    config: TrainConfig, shards: Shards, facts: dict[str, Any]
) -> None:
    place = f"the model in {config.model_dir}"
    check_partition(
        shards.partition.fingerprint,
        f"{config.shards}",
        facts["partition_fingerprint"],
        place,
    )
    if shards.fingerprint != facts["shards_fingerprint"]:
        raise ModelDirError(
            f"{config.shards} has the fingerprint {shards.fingerprint}, but"
            f" {place} was trained on {facts['shards_fingerprint']}: a run"
            " goes on with its own shards only; use another --model_dir"
        )
    before = facts["options"]
    for name, value in dataclasses.asdict(config).items():
        if name not in _FREE and before.get(name) != value:
            raise ModelDirError(
                f"{place} was started with --{name}={before.get(name)}, this"
                f" run has {value}: use the same, or another --model_dir"
            )
