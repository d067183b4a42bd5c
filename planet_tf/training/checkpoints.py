"""A run's checkpoints: written whole, or not at all; verified when read.

A checkpoint `checkpoints/ckpt-STEP` holds the model, the optimizer, the step,
the partition's fingerprint and the number of replicas. With the options in
config.json that is all that a run's next step depends on: data and random
numbers are functions of the step.
"""

import os
import re
import shutil
import sys
from typing import Any

import keras
import tensorflow as tf

from planet_tf.data.data_dirs import RecordFiles
from planet_tf.model import model_dir
from planet_tf.options.train_config import RunConfig
from planet_tf.training import progress

# Beyond the tensors themselves: names, shapes and the graph of objects.
_OVERHEAD_BYTES = 4 << 20


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read."""


class _DamagedError(Exception):
    """A checkpoint that is not what was written."""


class Checkpoints:
    """Saves and restores a run's state.

    Attributes:
      notes: what whoever reads the log should know of the restored state.
    """

    def __init__(
        self,
        config: RunConfig,
        data: RecordFiles,
        model: keras.Model,
        optimizer: tf.Module,
        *,
        write: bool,
    ):
        self.config = config
        self.data = data
        self.fingerprint = data.partition.fingerprint
        self.write = write
        self.directory = os.path.join(config.model_dir, model_dir.CHECKPOINTS)
        self.notes: list[str] = []
        self._last: int | None = None  # step of the newest good one
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            step=self._step,
            partition_fingerprint=tf.Variable(
                self.fingerprint, trainable=False
            ),
            replicas=tf.Variable(_replicas(model), trainable=False),
        )
        self._variables = {
            **{f"model: {v.path}": v.value for v in model.variables},
            **{f"optimizer: {v.name}": v for v in optimizer.variables},
        }

    def restore(self) -> int:
        """Restores the newest whole checkpoint; returns its step, 0 if none.

        Raises:
          CheckpointError: none is whole, or it is of another model.
          ModelDirError: it is of another partition.
        """
        steps = saved_steps(self.directory)
        for step in reversed(steps):
            path = self._path(step)
            try:
                _verify(path)
            except _DamagedError as error:
                print(
                    f"warning: the checkpoint {path} is damaged and left out:"
                    f" {error}",
                    file=sys.stderr,
                    flush=True,
                )
                continue
            self._load(path)
            self._last = step
            return step
        if steps:
            raise CheckpointError(
                f"all checkpoints in {self.directory} are damaged, so that the"
                " run cannot go on: put back a copy of one, or remove the"
                " directory to start from step 0"
            )
        return 0

    def save(self, step: int) -> None:
        """Writes a checkpoint after a step, unless it is there already.

        To be called in all workers, as all refuse to go on together.

        Raises:
          TrainingError: a weight is not finite; nothing is written.
          CheckpointError: it cannot be written; nothing half-written is left.
        """
        if step == self._last:
            return
        self._check_finite(step)
        if self.write:
            try:
                tf.io.gfile.makedirs(self.directory)
                self._check_space()
                self._step.assign(step)
                self._checkpoint.write(self._path(step))
                self._tidy(step)
            except (tf.errors.OpError, OSError) as error:
                self._remove(step)
                raise CheckpointError(self._trouble(step, error)) from error
        self._last = step

    def _path(self, step: int) -> str:
        return os.path.join(self.directory, f"ckpt-{step}")

    def _load(self, path: str) -> None:
        """Restores from a checkpoint that is whole."""
        reader = tf.train.load_checkpoint(path)
        written = _value(reader, "partition_fingerprint", path).decode()
        model_dir.check_partition(
            written, f"checkpoint {path}", self.fingerprint, self.data.directory
        )
        replicas = int(_value(reader, "replicas", path))
        now = int(self._checkpoint.replicas.numpy())
        try:
            self._checkpoint.read(path).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{path} does not fit the model of these options, or another"
                f" version of planet_tf wrote it: {_reason(error)}"
            ) from error
        self._checkpoint.replicas.assign(now)
        if replicas != now:
            self.notes.append(
                f"{replicas} replica(s) trained until here, {now} go on: on"
                " the same photos at the same steps, but batches are"
                " normalised in other parts, and sums are rounded otherwise"
            )

    def _check_finite(self, step: int) -> None:
        for name, variable in self._variables.items():
            if variable.dtype.is_floating and not bool(
                tf.reduce_all(tf.math.is_finite(variable.read_value()))
            ):
                raise progress.TrainingError(
                    f"{name} is not finite at step {step}, so no checkpoint is"
                    f" written ({self._last_good()}): lower --learning_rate,"
                    " or add --warmup_steps or --clip_norm"
                )

    def _check_space(self) -> None:
        """Raises OSError if the disk has no room; of local disks only."""
        if "://" in self.directory:
            return
        free = shutil.disk_usage(self.directory).free
        if free < self._bytes():
            raise OSError("the disk is too full")

    def _bytes(self) -> int:
        """About what a checkpoint takes."""
        return _OVERHEAD_BYTES + sum(
            variable.dtype.size * variable.shape.num_elements()
            for variable in self._variables.values()
        )

    def _trouble(self, step: int, error: Exception) -> str:
        """What to say of a checkpoint that could not be written."""
        text = (
            f"the checkpoint {self._path(step)} cannot be written:"
            f" {_reason(error)}. It needs {self._bytes():,} bytes"
        )
        if "://" not in self.directory and os.path.isdir(self.directory):
            free = shutil.disk_usage(self.directory).free
            text += f"; {free:,} are free"
        return f"{text}; {self._last_good()}"

    def _last_good(self) -> str:
        if self._last is None:
            return "there is no checkpoint before it"
        return f"the last good checkpoint is {self._path(self._last)}"

    def _tidy(self, step: int) -> None:
        """Tells TensorFlow of the newest; removes what is too old or damaged.

        Of later steps there are only damaged ones, which the run left.
        """
        steps = saved_steps(self.directory)
        kept = [s for s in steps if s <= step][-self.config.keep_checkpoints :]
        _write_state(self.directory, kept)
        for old in set(steps) - set(kept):
            self._remove(old)

    def _remove(self, step: int) -> None:
        """Removes a step's files, half-written ones too."""
        pattern = re.compile(rf"ckpt-{step}(\.|_temp)")
        try:
            for name in tf.io.gfile.listdir(self.directory):
                if pattern.match(name):
                    path = os.path.join(self.directory, name.rstrip("/"))
                    if tf.io.gfile.isdir(path):
                        tf.io.gfile.rmtree(path)
                    else:
                        tf.io.gfile.remove(path)
        except tf.errors.OpError:
            pass  # the directory cannot be written to, so nothing was


def saved_steps(directory: str) -> list[int]:
    """Steps with a checkpoint, whole or not, in order; by their files."""
    if not tf.io.gfile.isdir(directory):
        return []
    found = (
        re.match(r"ckpt-(\d+)\.(?:index|data-)", name)
        for name in tf.io.gfile.listdir(directory)
    )
    return sorted({int(match[1]) for match in found if match})


def _verify(path: str) -> None:
    """Raises _DamagedError unless all of a checkpoint can be read.

    TensorFlow compares each tensor's checksum when it reads it.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # of TensorFlow's kinds and of Python's own
        raise _DamagedError(_reason(error)) from error


def _value(reader: Any, name: str, path: str) -> Any:
    key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
    if not reader.has_tensor(key):
        raise CheckpointError(
            f"{path} has no {name}: it is none of this program's, or of"
            " another version; use another --model_dir"
        )
    return reader.get_tensor(key)


def _replicas(model: keras.Model) -> int:
    """How many replicas a model's variables are for."""
    variable = model.variables[0].value
    if isinstance(variable, tf.distribute.DistributedValues):
        return variable.distribute_strategy.num_replicas_in_sync
    return 1


def _write_state(directory: str, steps: list[int]) -> None:
    """Writes the file that tells TensorFlow which checkpoints there are."""
    names = [f'"ckpt-{step}"' for step in steps]
    lines = [
        f"model_checkpoint_path: {names[-1]}",
        *(f"all_model_checkpoint_paths: {name}" for name in names),
    ]
    path = os.path.join(directory, "checkpoint")
    with tf.io.gfile.GFile(path + ".incomplete", "w") as file:
        file.write("\n".join(lines) + "\n")
    tf.io.gfile.rename(path + ".incomplete", path, overwrite=True)


def _reason(error: Exception) -> str:
    """Why, without TensorFlow's names of nodes and of temporary files."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"\{\{.*?\}\} *| *\[Op:\w+\]", "", lines[0])
    return text.rpartition("; ")[2]
