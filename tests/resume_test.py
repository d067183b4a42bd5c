"""Runs that stop and go on, with a model so small that it is all fast."""

import os
import shutil
import signal
import time
import unittest.mock

import numpy as np
import pytest
import replicas
import tensorflow as tf
from conftest import SMALL_MODEL

from planet_tf.data import data_dirs, decoding
from planet_tf.model import export
from planet_tf.options.train_config import TrainConfig
from planet_tf.sizing import planning
from planet_tf.training import (
    distribution,
    loop,
    photo_steps,
    photo_task,
    progress,
    steps,
)
from planet_tf.workers import preemption

EPOCH = 20  # steps: 320 photos in batches of 16
HARD = {
    "dropout": 0.4,
    "clip_norm": 0.5,
    "soft_labels_km": 500.0,
    "coarse_cells": (3,),  # of four
}


class Signals(preemption.StopSignals):
    """Notes itself, so that `terminate` can wait for it."""

    latest = None

    def __init__(self):
        super().__init__()
        Signals.latest = self


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    while not Signals.latest.requested:
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The tiny model, no plan of the large one, and no export."""
    monkeypatch.setattr(
        planning, "photos", lambda *_: unittest.mock.Mock(hints=())
    )
    monkeypatch.setattr(preemption, "StopSignals", Signals)
    monkeypatch.setattr(photo_task, "build_model", replicas.tiny_model)
    monkeypatch.setattr(export, "save", lambda module, directory: None)


@pytest.fixture
def run(small_shards, tmp_path, monkeypatch):
    """Trains in a directory, until the end or what stops it at a step."""

    def go(name, *, count=1, stop_at=None, by=None, **options):
        def hook(log, step):
            if step == stop_at:
                by()

        monkeypatch.setattr(progress.Log, "before_steps", hook)
        monkeypatch.setattr(
            distribution,
            "make_strategy",
            lambda config, stop: replicas.strategy(count),
        )
        known = SMALL_MODEL | {
            "log_every": 10,
            "validate_every": 100,
            "example_photos": 0,
        }
        loop.train(
            TrainConfig(
                shards=str(small_shards),
                model_dir=str(tmp_path / name),
                **(known | options),
            ),
            photo_task.PhotoTask,
        )

    return go


class Crash(Exception):
    pass


def crash():
    raise Crash


def checkpoint(directory, step):
    reader = tf.train.load_checkpoint(f"{directory}/checkpoints/ckpt-{step}")
    values = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
    }
    return {
        n: v
        for n, v in values.items()
        if "OBJECT_GRAPH" not in n and "save_counter" not in n
    }


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_stopped_anywhere_goes_on_to_the_same_weights(
    run, tmp_path, capfd, count
):
    options = {"count": count, "steps": 2 * EPOCH + 5, **HARD}
    run("calm", **options)
    # In the middle of an epoch, at its turn, just after it, and at the end.
    ends = (6, EPOCH - 1, EPOCH, 2 * EPOCH + 4) if count > 1 else (EPOCH,)
    for step in ends:
        with pytest.raises(preemption.Preempted):
            run("stopped", stop_at=step, by=terminate, **options)
    run("stopped", **options)
    said = capfd.readouterr().err
    assert f"going on from step {EPOCH + 1}" in said
    first = checkpoint(tmp_path / "stopped", EPOCH + 1)
    left, right = (
        checkpoint(tmp_path / name, options["steps"])
        for name in ("calm", "stopped")
    )
    assert_same(left, right)
    assert any((left[n] != first[n]).any() for n in left)


@pytest.mark.slow
def test_a_crash_goes_back_to_the_last_checkpoint(run, tmp_path):
    options = {"steps": EPOCH + 5, "checkpoint_every": 4, **HARD}
    run("calm", **options)
    for step in (7, EPOCH + 3):
        with pytest.raises(Crash):
            run("crashed", stop_at=step, by=crash, **options)
    run("crashed", **options)
    assert_same(
        *(
            checkpoint(tmp_path / name, EPOCH + 5)
            for name in ("calm", "crashed")
        )
    )


@pytest.mark.slow
def test_steps_may_be_grouped_in_any_way(run, tmp_path):
    options = {"steps": 12, "log_every": 5, **HARD}
    for name, grouped in (("one", 1), ("many", 100)):
        run(name, steps_per_loop=grouped, **options)
    assert_same(*(checkpoint(tmp_path / name, 12) for name in ("one", "many")))


def test_a_stop_while_validating_leaves_the_step_before_it(
    run, tmp_path, monkeypatch
):
    calls = []

    def make(*args):
        def step(batch, stop):
            calls.append(stop)
            if not stop:
                terminate()
            return {"stop": np.array([int(stop)])}

        return step

    monkeypatch.setattr(steps, "make_validation_step", make)
    with pytest.raises(preemption.Preempted):
        run("m", steps=8, validate_every=4)
    assert calls == [False, True]
    assert checkpoint(tmp_path / "m", 4)


@pytest.fixture
def seen(monkeypatch):
    """Places of the photos that steps were given; nothing is trained."""
    found = []

    def make(strategy, optimizer):
        def loop(batches, many, stop):
            for _ in range(many):
                parts = strategy.experimental_local_results(
                    next(batches)["latlng"]
                )
                found.append(np.concatenate([x.numpy() for x in parts]))
                optimizer.iterations.assign_add(1)
            return np.ones(many), np.ones(many), int(stop)

        return loop

    monkeypatch.setattr(
        photo_steps, "replica_step", lambda _, optimizer, *__: optimizer
    )
    monkeypatch.setattr(steps, "make_train_loop", make)
    return found


@pytest.mark.slow  # input_pipeline_test has it of workers
@pytest.mark.parametrize(
    ("before", "after", "stop_at"),
    [(1, 2, 6), (2, 1, 6), (1, 2, EPOCH + 2), (2, 1, EPOCH - 1)],
)
def test_other_replicas_go_on_with_the_photos_that_are_left(
    run, seen, small_shards, capfd, before, after, stop_at
):
    options = {"steps": 2 * EPOCH, "lanes": 2}
    with pytest.raises(preemption.Preempted):
        run("m", count=before, stop_at=stop_at, by=terminate, **options)
    assert len(seen) == stop_at + 1
    run("m", count=after, **options)
    said = capfd.readouterr().err
    assert f"{before} replica(s) trained until here, {after} go on" in said
    photos = train_photos(small_shards)
    for epoch in range(2):
        given = np.concatenate(seen[epoch * EPOCH : (epoch + 1) * EPOCH])
        assert sorted(map(tuple, given)) == photos
    # Step by step what one number of replicas alone would have been given.
    interrupted, seen[:] = list(seen), []
    run("calm", count=before, **options)
    np.testing.assert_array_equal(interrupted, seen)


def train_photos(directory):
    shards = data_dirs.open_shards(str(directory))
    paths = [path for path, _ in shards.split("train")]
    found = [
        decoding.parse(record, ("lat", "lng"))
        for record in tf.data.TFRecordDataset(paths)
    ]
    return sorted((float(x["lat"]), float(x["lng"])) for x in found)


@pytest.mark.slow
def test_a_finished_run_may_be_given_more_steps(run, tmp_path, monkeypatch):
    exported = []
    monkeypatch.setattr(
        export,
        "save",
        lambda module, directory: exported.append(
            (int(module.step), module.model.get_weights())
        ),
    )
    run("m", steps=8)
    run("m", steps=14)
    run("calm", steps=14)
    assert [step for step, _ in exported] == [8, 14, 14]
    for left, right in zip(exported[1][1], exported[2][1], strict=True):
        np.testing.assert_array_equal(left, right)
    assert_same(*(checkpoint(tmp_path / name, 14) for name in ("m", "calm")))


def test_what_is_exported_says_its_step(run, tmp_path, monkeypatch):
    saved = []

    def save(module, directory):
        saved.append(int(module.step))
        shutil.rmtree(directory, ignore_errors=True)
        plain = tf.train.Checkpoint(step=module.step)
        plain.write(f"{directory}/variables/variables")

    monkeypatch.setattr(export, "save", save)
    run("m", steps=4)
    run("m", steps=4)
    assert saved == [4]
    run("m", steps=6)
    assert saved == [4, 6]
