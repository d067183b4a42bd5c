"""The model directory: all that is known of a model, in one place.

    config.json     options, fingerprints and versions of the run
    partition.json  the classes
    checkpoints/    training state
    events/         for TensorBoard: train, validation
    export/         the SavedModel, once training is done
    photo_model/    of an album model: the photo model below it, as a model
                    directory without checkpoints and events

config.json says too to what size photos were scaled for the shards
(`photo_size`, of the short side); a photo to predict is scaled alike. And by
what rule the photos were split (`split_rule`), so that it can be told of any
photo whether the model was trained on it.
The fingerprints tie it together: of the partition (which cells the classes
are) and of the shards (what it was trained on).
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
from typing import Any

import tensorflow as tf

import planet_tf
from planet_tf import config_flags
from planet_tf.data.data_dirs import RecordFiles
from planet_tf.geo import partition as partition_lib
from planet_tf.options.train_config import RunConfig

CONFIG, PARTITION = "config.json", "partition.json"
CHECKPOINTS, EVENTS, EXPORT = "checkpoints", "events", "export"

# Options of one machine: where things are there, and how long it waits.
_OF_A_MACHINE = {
    "shards",
    "albums",
    "model_dir",
    "strategy",
    "tpu",
    "startup_timeout",
    "cache_dir",
}
# Options that may differ when a run goes on; all others shape its result.
FREE = _OF_A_MACHINE | {
    "steps_per_loop",
    "validate_every",
    "validation_photos",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "example_photos",
    "profile_step",
    "dry_run",
}


class ModelDirError(ValueError):
    """A model directory that is missing or belongs to something else."""


def claim(config: RunConfig, data: RecordFiles, *, write: bool) -> None:
    """Makes the directory for a run, or checks that the run in it is this.

    Args:
      config: options of the run.
      data: what it trains on.
      write: whether this process is the one that writes.

    Raises:
      ModelDirError: the directory has a run of other options or data, or
        cannot be written to.
    """
    path = os.path.join(config.model_dir, CONFIG)
    try:
        if tf.io.gfile.exists(path):
            before = read_config(config.model_dir)
            _check_same(config, data, before)
            if write and before["options"]["steps"] != config.steps:
                _write_config(path, config, data)
        elif write:
            tf.io.gfile.makedirs(config.model_dir)
            target = os.path.join(config.model_dir, PARTITION)
            with tf.io.gfile.GFile(target, "w") as file:
                partition_lib.dump(data.partition, file)
            for name in data.companions():
                copy_tree(
                    os.path.join(data.directory, name),
                    os.path.join(config.model_dir, name),
                )
            _write_config(path, config, data)
    except tf.errors.OpError as error:
        raise ModelDirError(
            f"--model_dir={config.model_dir} cannot be used as a directory to"
            f" write to: {error.message}"
        ) from error


def facts(config: RunConfig, data: RecordFiles) -> dict[str, str]:
    """What all workers of a run must have in common."""
    versions = _versions()
    found = {
        "code": f"planet_tf {planet_tf.__version__} {_code_digest()}",
        "tensorflow": versions["tensorflow"],
        "keras": versions["keras"],
        data.option: data.fingerprint,
        "partition": data.partition.fingerprint,
    }
    for name, value in dataclasses.asdict(config).items():
        if name not in _OF_A_MACHINE:
            found[f"--{name}"] = config_flags.text(value)
    return found


def read_config(directory: str) -> dict[str, Any]:
    """What config.json says; ModelDirError if there is no whole one."""
    path = os.path.join(directory, CONFIG)
    if not tf.io.gfile.exists(path):
        raise ModelDirError(
            f"{path} is missing: {directory} is not a model directory of"
            " python -m planet_tf.train"
        )
    with tf.io.gfile.GFile(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ModelDirError(
            f"{path} is damaged ({error}): put back a copy, or use another"
            " --model_dir"
        ) from error


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


def export_path(directory: str) -> str:
    """Where the SavedModel is; ModelDirError if there is none yet."""
    path = os.path.join(directory, EXPORT)
    if not tf.io.gfile.exists(path):
        raise ModelDirError(
            f"{path} is missing: the training has not ended; run it again"
            " with the same options, it goes on where it stopped"
        )
    return path


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
            plugin = events.SummaryMetadata(run, tag).plugin_data.plugin_name
            if plugin != "scalars":
                continue
            points = {
                event.step: float(tf.make_ndarray(event.tensor_proto))
                for event in events.Tensors(run, tag)
            }
            steps = sorted(points)
            curves[f"{run}/{tag}"] = steps, [points[step] for step in steps]
    return curves


def copy_photo_model(source: str, target: str) -> None:
    """Copies what is needed to ask a photo model: no checkpoints, no events."""
    tf.io.gfile.makedirs(target)
    for name in (CONFIG, PARTITION):
        tf.io.gfile.copy(
            os.path.join(source, name),
            os.path.join(target, name),
            overwrite=True,
        )
    copy_tree(os.path.join(source, EXPORT), os.path.join(target, EXPORT))


def copy_tree(source: str, target: str) -> None:
    """Copies a directory with all that is in it, over what is there."""
    for directory, _, names in tf.io.gfile.walk(source):
        below = os.path.relpath(directory, source)
        there = target if below == "." else os.path.join(target, below)
        tf.io.gfile.makedirs(there)
        for name in names:
            tf.io.gfile.copy(
                os.path.join(directory, name),
                os.path.join(there, name),
                overwrite=True,
            )


def check_partition(found: str, where: str, wanted: str, why: str) -> None:
    """Raises ModelDirError unless two partition fingerprints are the same."""
    if found != wanted:
        raise ModelDirError(
            f"{where} has the partition {found}, but {why} has {wanted}: the"
            " same label would mean another cell. Use what belongs together."
        )


def _check_same(
    config: RunConfig, data: RecordFiles, facts: dict[str, Any]
) -> None:
    place = f"the model in {config.model_dir}"
    check_partition(
        data.partition.fingerprint,
        data.directory,
        facts["partition_fingerprint"],
        place,
    )
    before = facts.get(f"{data.option}_fingerprint")
    if data.fingerprint != before:
        raise ModelDirError(
            f"{data.directory} has the fingerprint {data.fingerprint}, but"
            f" {place} was trained on {before}: a run goes on with its own"
            f" {data.option} only; use another --model_dir"
        )
    before = facts["options"]
    now = json.loads(json.dumps(dataclasses.asdict(config)))  # tuples as lists
    for name, value in now.items():
        old = before.get(name)
        if name in FREE or old == value:
            continue
        if name == "steps" and config.schedule == "constant" and value > old:
            continue  # a step does not depend on how many there will be
        raise ModelDirError(
            f"{place} was started with --{name}={config_flags.text(old)}, this"
            f" run has {config_flags.text(value)}: use the same, or another"
            " --model_dir"
        )


def _write_config(path: str, config: RunConfig, data: RecordFiles) -> None:
    facts = {
        "options": dataclasses.asdict(config),
        "partition_fingerprint": data.partition.fingerprint,
        f"{data.option}_fingerprint": data.fingerprint,
        **data.facts(),
        "versions": _versions(),
    }
    with tf.io.gfile.GFile(path + ".incomplete", "w") as file:
        file.write(json.dumps(facts, indent=1) + "\n")
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)


def _versions() -> dict[str, str]:
    names = ("tensorflow", "keras", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"planet_tf": planet_tf.__version__} | found


def _code_digest() -> str:
    """Of the sources of this package, as far as they are Python's."""
    digest = hashlib.sha256()
    root = pathlib.Path(planet_tf.__file__).parent
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return "sha256:" + digest.hexdigest()
