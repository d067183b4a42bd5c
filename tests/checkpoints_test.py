"""Checkpoints of a toy model, and what happens to them on disks."""

import os
import pathlib
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from planet_tf.model import model_dir
from planet_tf.options.train_config import TrainConfig
from planet_tf.training import checkpoints, progress, steps

CELLS = "sha256:cells"


class Run:
    """A run; all numbers of its state are that of the step."""

    def __init__(self, directory, *, cells=CELLS, width=50, write=True):
        inputs = keras.Input((7,))
        normal = keras.layers.BatchNormalization(name="norm")(inputs)
        outputs = keras.layers.Dense(width, name="head")(normal)
        self.model = keras.Model(inputs, outputs)
        self.optimizer = steps.Adagrad(self.model.trainable_variables)
        partition = types.SimpleNamespace(fingerprint=cells)
        self.checkpoints = checkpoints.Checkpoints(
            TrainConfig(shards="shards", model_dir=str(directory)),
            types.SimpleNamespace(partition=partition, directory="shards"),
            self.model,
            self.optimizer,
            write=write,
        )

    @property
    def variables(self):
        own = [variable.value for variable in self.model.variables]
        return [*own, *self.optimizer.variables]

    def set(self, number):
        for variable in self.variables:
            value = tf.cast(number, variable.dtype)
            variable.assign(tf.fill(variable.shape, value))

    def holds(self):
        found = [variable.numpy().ravel() for variable in self.variables]
        values = np.unique(np.concatenate(found))
        assert len(values) == 1, values
        return values[0]

    def save(self, *numbers):
        for number in numbers:
            self.set(number)
            self.checkpoints.save(number)
        return self


def files(directory):
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def of_step(*numbers):
    ends = ("data-00000-of-00001", "index")
    return sorted(f"ckpt-{n}.{end}" for n in numbers for end in ends)


def test_a_run_without_checkpoints_begins_at_step_0(tmp_path):
    run = Run(tmp_path)
    assert run.checkpoints.restore() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_restored_run_is_as_it_was_saved(tmp_path):
    Run(tmp_path).save(10, 20)
    run = Run(tmp_path)
    run.set(5)
    assert run.checkpoints.restore() == 20
    assert run.holds() == 20
    assert run.checkpoints.notes == []


def test_the_newest_are_kept_and_tensorflow_knows_them(tmp_path):
    Run(tmp_path).save(1, 10, 11, 100)
    assert files(tmp_path) == ["checkpoint", *of_step(10, 11, 100)]
    moved = shutil.move(tmp_path / "checkpoints", tmp_path / "moved")
    state = tf.train.get_checkpoint_state(moved)
    assert state.model_checkpoint_path == f"{moved}/ckpt-100"
    assert tf.train.latest_checkpoint(moved) == f"{moved}/ckpt-100"
    assert state.all_model_checkpoint_paths[0] == f"{moved}/ckpt-10"


def test_only_the_chief_writes(tmp_path):
    Run(tmp_path, write=False).save(10)
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_saved_once(tmp_path):
    run = Run(tmp_path).save(10)
    run.set(11)
    run.checkpoints.save(10)
    assert Run(tmp_path).checkpoints.restore() == 10
    again = Run(tmp_path)
    again.checkpoints.restore()
    path = tmp_path / "checkpoints" / "ckpt-10.index"
    before = path.stat().st_mtime_ns
    again.checkpoints.save(10)
    assert path.stat().st_mtime_ns == before
    assert again.holds() == 10


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["head/kernel", "adagrad", "moving_mean"])
@pytest.mark.parametrize("write", [True, False])
def test_numbers_that_are_not_finite_are_never_written(
    tmp_path, bad, which, write
):
    run = Run(tmp_path, write=write).save(10)
    named = {v.path: v.value for v in run.model.variables}
    named |= {"adagrad": run.optimizer.accumulators[-1]}
    variable = next(v for name, v in named.items() if which in name)
    variable.assign(np.where(np.arange(variable.shape[-1]), variable, bad))
    before = files(tmp_path) if write else []
    with pytest.raises(progress.TrainingError) as caught:
        run.checkpoints.save(20)
    message = str(caught.value)
    assert "is not finite at step 20" in message
    assert "ckpt-10" in message
    assert "--learning_rate" in message
    assert (files(tmp_path) if write else []) == before


# --- damaged files


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 0x10
    path.write_bytes(data)


def truncate(path, share):
    os.truncate(path, int(path.stat().st_size * share))


DAMAGES = {
    "flipped": lambda data, index: flip(data, 0.5),
    "flipped at the start": lambda data, index: flip(data, 0),
    "index flipped": lambda data, index: flip(index, 0.3),
    "index flipped at its end": lambda data, index: flip(index, 0.999),
    "truncated": lambda data, index: truncate(data, 0.6),
    "truncated to nothing": lambda data, index: truncate(data, 0),
    "index truncated": lambda data, index: truncate(index, 0.5),
    "index empty": lambda data, index: truncate(index, 0),
    "no data": lambda data, index: data.unlink(),
    "no index": lambda data, index: index.unlink(),
}


def damage(directory, step, how):
    prefix = directory / "checkpoints" / f"ckpt-{step}"
    DAMAGES[how](
        pathlib.Path(f"{prefix}.data-00000-of-00001"),
        pathlib.Path(f"{prefix}.index"),
    )
    return str(prefix)


@pytest.mark.parametrize("how", DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path, how, capfd):
    Run(tmp_path).save(10, 20, 30)
    path = damage(tmp_path, 30, how)
    run = Run(tmp_path)
    run.set(7)
    assert run.checkpoints.restore() == 20
    assert run.holds() == 20
    said = capfd.readouterr().err
    assert said.count("warning:") == 1
    assert f"the checkpoint {path} is damaged and left out: " in said
    # The run goes another way now, so nobody may come upon the old one.
    run.save(25)
    assert files(tmp_path) == ["checkpoint", *of_step(10, 20, 25)]


@pytest.mark.slow
def test_no_flipped_bit_goes_unnoticed(tmp_path):
    Run(tmp_path).save(10, 20)
    good = tmp_path / "good"
    shutil.copytree(tmp_path / "checkpoints", good)
    rng = np.random.default_rng(0)
    for name in of_step(20):
        for at in rng.random(60):
            flip(tmp_path / "checkpoints" / name, at)
            run = Run(tmp_path)
            found = run.checkpoints.restore()
            # Some bytes of an index are padding, or names that are not used.
            assert found == run.holds()
            assert found == 10 or name.endswith("index")
            shutil.copy(good / name, tmp_path / "checkpoints" / name)


@pytest.mark.parametrize("state", [b"", b"\xff\x00 junk", b"model: 3", None])
def test_a_broken_list_of_checkpoints_does_no_harm(tmp_path, state):
    Run(tmp_path).save(10, 20)
    path = tmp_path / "checkpoints" / "checkpoint"
    path.unlink()
    if state is not None:
        path.write_bytes(state)
    run = Run(tmp_path)
    assert run.checkpoints.restore() == 20
    run.save(30)
    latest = tf.train.latest_checkpoint(path.parent)
    assert latest == str(path.parent / "ckpt-30")


def test_if_all_are_damaged_it_says_what_to_do(tmp_path, capfd):
    Run(tmp_path).save(10, 20)
    damage(tmp_path, 20, "no index")
    damage(tmp_path, 10, "flipped")
    with pytest.raises(checkpoints.CheckpointError) as caught:
        Run(tmp_path).checkpoints.restore()
    assert "all checkpoints in" in str(caught.value)
    assert "put back a copy" in str(caught.value)
    assert capfd.readouterr().err.count("is damaged") == 2


def test_leftovers_of_a_killed_save_are_no_checkpoint(tmp_path):
    Run(tmp_path).save(10)
    left = tmp_path / "checkpoints" / "ckpt-20_temp"
    left.mkdir()
    (left / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    run = Run(tmp_path)
    assert run.checkpoints.restore() == 10
    run.save(20, 30)
    assert files(tmp_path) == ["checkpoint", *of_step(10, 20, 30)]


# --- what does not fit


def test_a_checkpoint_of_another_partition_is_refused(tmp_path):
    Run(tmp_path).save(10)
    with pytest.raises(model_dir.ModelDirError) as caught:
        Run(tmp_path, cells="sha256:others").checkpoints.restore()
    assert CELLS in str(caught.value)
    assert "sha256:others" in str(caught.value)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    Run(tmp_path).save(10)
    with pytest.raises(checkpoints.CheckpointError, match="does not fit the"):
        Run(tmp_path, width=51).checkpoints.restore()


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    run = Run(tmp_path)
    tf.train.Checkpoint(model=run.model).write(
        str(tmp_path / "checkpoints" / "ckpt-3")
    )
    with pytest.raises(
        checkpoints.CheckpointError, match="has no partition_fingerprint"
    ):
        run.checkpoints.restore()


def test_another_number_of_replicas_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_replicas", lambda model: 2)
    Run(tmp_path).save(10)
    monkeypatch.undo()
    run = Run(tmp_path)
    assert run.checkpoints.restore() == 10
    assert (
        "2 replica(s) trained until here, 1 go on" in run.checkpoints.notes[0]
    )
    run.save(20)
    again = Run(tmp_path)
    assert again.checkpoints.restore() == 20
    assert again.checkpoints.notes == []


# --- disks


def test_a_disk_that_is_too_full_is_told_before_anything_is_written(
    tmp_path, monkeypatch
):
    run = Run(tmp_path).save(10)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: types.SimpleNamespace(free=5_000)
    )
    with pytest.raises(checkpoints.CheckpointError) as caught:
        run.save(20)
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / "ckpt-20") in message
    assert "5,000 are free" in message
    assert f"the last good checkpoint is {tmp_path}" in message
    assert files(tmp_path) == ["checkpoint", *of_step(10)]


@pytest.mark.slow
def test_a_write_that_fails_midway_leaves_nothing_half_written(tmp_path):
    # By a limit on the size of files: to TensorFlow it is as a full disk.
    code = f"""
import resource, sys
sys.path[:0] = ["tests"]
import checkpoints_test
run = checkpoints_test.Run({str(tmp_path)!r}, width=50_000).save(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    run.save(20)
except checkpoints_test.checkpoints.CheckpointError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert "ckpt-20 cannot be written" in done.stdout, done.stderr
    assert files(tmp_path) == ["checkpoint", *of_step(10)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte and a half."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "planet", str(path)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_fills_up_is_told_with_what_is_needed(
    small_disk, monkeypatch
):
    run = Run(small_disk, width=20_000)
    # Let it think there is room: others write to the disk at the same time.
    monkeypatch.setattr(checkpoints, "_OVERHEAD_BYTES", -(1 << 30))
    run.save(10)
    with pytest.raises(checkpoints.CheckpointError) as caught:
        run.save(20)
    assert "ckpt-20 cannot be written: No space left" in str(caught.value)
    assert "ckpt-10" in str(caught.value)
    assert files(small_disk) == ["checkpoint", *of_step(10)]


@pytest.mark.parametrize("place", ["a file", "nowhere to write"])
def test_a_directory_that_cannot_be_written_to_is_told(tmp_path, place):
    if place == "a file":
        (tmp_path / "checkpoints").write_text("not a directory")
        directory = tmp_path
    else:
        directory = pathlib.Path("/proc/planet")  # no user may write there
    with pytest.raises(checkpoints.CheckpointError) as caught:
        Run(directory).save(10)
    message = str(caught.value)
    assert str(directory / "checkpoints" / "ckpt-10") in message
    assert "there is no checkpoint before it" in message
