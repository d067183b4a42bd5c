"""The launcher with the real trainer: what clusters do to workers."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf.options.train_config import TrainConfig
from planet_tf.sizing import traffic
from planet_tf.training import loop, photo_task
from planet_tf.workers import machine

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
# Checkpoints are neither at the end of an epoch, 20 steps, nor at validations,
# and so far apart that a signal arrives before the next one.
OPTIONS = {
    "steps": 120,
    "validate_every": 110,
    "checkpoint_every": 59,
    "log_every": 1,
    "dropout": 0.1,
}


def make_config(shards, directory, **options):
    return TrainConfig(
        shards=str(shards),
        model_dir=str(directory),
        **(SMALL_MODEL | options),
    )


@pytest.fixture(scope="module")
def start():
    """Starts the launcher; what it says goes to a pipe. None stays behind."""
    runs = []

    def run(config, *options):
        trainer = [
            f"--{name}={value}"
            for name, value in dataclasses.asdict(config).items()
            if value not in ("", ())
        ]
        runs.append(
            subprocess.Popen(
                [
                    ROOT / "launch/train_multiworker.sh",
                    *options,
                    "--",
                    *trainer,
                ],
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PLANET_VENV": sys.prefix},
            )
        )
        return runs[-1]

    yield run
    for started in runs:
        started.kill()  # the workers die with it
        started.wait()


def workers_of(run):
    """Process ids of the workers, by index."""
    found = subprocess.run(
        ["pgrep", "-P", str(run.pid)], capture_output=True, text=True
    )
    pids = {}
    for pid in found.stdout.split():
        environment = pathlib.Path(f"/proc/{pid}/environ").read_text()
        settings = dict(x.split("=", 1) for x in environment.split("\0") if x)
        task = json.loads(settings["TF_CONFIG"])["task"]
        pids[task["index"]] = int(pid)
    assert sorted(pids) == [0, 1]
    return pids


def wait_for(run, text):
    """Reads what a launcher says up to a line with a text; returns that."""
    said = []
    for line in run.stderr:
        said.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} is missing in:\n{''.join(said)}")


def wait_for_step(run, step):
    wait_for(run, f"[w0] step {step}/")


def is_up(pid):
    with contextlib.suppress(FileNotFoundError):
        return ") Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    return False


def digests(directory, workers=2):
    """What the workers say of their weights in the end."""
    found = []
    for index in range(workers):
        log = (directory / "logs" / f"worker-{index}.log").read_text()
        found += [x for x in log.splitlines() if x.startswith("weights ")]
    return found


def newest_step(directory):
    path = tf.train.latest_checkpoint(str(directory / "checkpoints"))
    return int(path.rpartition("-")[2]) if path else 0


def checkpoint(directory, step):
    reader = tf.train.load_checkpoint(f"{directory}/checkpoints/ckpt-{step}")
    names = set(reader.get_variable_to_shape_map())
    names -= {"replicas/.ATTRIBUTES/VARIABLE_VALUE"}  # which differ
    values = {name: np.asarray(reader.get_tensor(name)) for name in names}
    return {n: v for n, v in values.items() if v.dtype.kind in "fiu" and v.size}


def largest_difference(left, right):
    """Of all variables, each in units of its own largest value."""
    assert left.keys() == right.keys()
    return max(
        np.abs(left[n] - right[n]).max() / max(np.abs(left[n]).max(), 1e-9)
        for n in left
    )


@pytest.fixture(scope="module")
def undisturbed(start, small_shards, tmp_path_factory):
    """The digest of the weights of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("gang") / "calm"
    run = start(make_config(small_shards, directory, **OPTIONS))
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    first, second = digests(directory)
    assert first == second
    return first


def test_a_killed_worker_and_a_preempted_one_change_no_weights(
    start, small_shards, tmp_path, undisturbed
):
    config = make_config(small_shards, tmp_path / "m", **OPTIONS)
    # Two, because the second start may be stopped before it gets further than
    # the first one was when it was killed.
    run = start(config, "--max_restarts=2", "--restart_delay=0.1")
    wait_for_step(run, 60)  # the last checkpoint is of step 59
    begun = time.monotonic()
    os.kill(workers_of(run)[1], signal.SIGKILL)
    named = wait_for(run, "failed first")
    assert "worker 1 failed first, with exit code 137 (SIGKILL)" in named
    # What was promised, and far more than it takes.
    assert time.monotonic() - begun < 30
    wait_for(run, "restart 1 of 2")
    wait_for(run, "going on from step 59")

    wait_for_step(run, 61)
    os.kill(workers_of(run)[1], signal.SIGTERM)
    named = wait_for(run, "failed first")
    assert "with exit code 143 (preempted" in named
    wait_for(run, " of 2 in 0.")
    at = int(wait_for(run, "going on from step").split()[-1])
    assert 61 <= at < 120
    assert at % OPTIONS["checkpoint_every"]  # one that TERM made them leave
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert digests(tmp_path / "m") == [undisturbed] * 2


def test_term_leaves_a_checkpoint_and_no_process(start, small_shards, tmp_path):
    config = make_config(
        small_shards, tmp_path / "m", **OPTIONS | {"checkpoint_every": 120}
    )
    run = start(config)
    wait_for_step(run, 12)
    workers = workers_of(run).values()
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=180)
    assert run.returncode == 143, said
    assert not any(map(is_up, workers))
    assert 12 <= newest_step(tmp_path / "m") < 120


def test_a_wrong_option_of_the_data_is_no_reason_to_restart(
    start, small_shards, tmp_path
):
    config = make_config(tmp_path / "no_shards", tmp_path / "m")
    run = start(config, "--max_restarts=3")
    _, said = run.communicate(timeout=180)
    assert run.returncode in (1, 2), said
    assert "no_shards" in said
    assert "no restart: the same would happen again" in said


def test_a_missing_peer_is_named_in_time(start, small_shards, tmp_path):
    here, missing = machine.ports(2)
    hosts = f"--hosts=127.0.0.1:{here},127.0.0.1:{missing}"
    config = make_config(small_shards, tmp_path / "m", startup_timeout=2)
    run = start(config, hosts, "--index=0")
    _, said = run.communicate(timeout=180)
    assert run.returncode == 143, said
    assert f"127.0.0.1:{missing}" in said


@pytest.mark.parametrize(("batch_size", "factors"), [(4, True), (16, False)])
def test_two_launched_workers_equal_one_process(
    start, tmp_path, batch_size, factors
):
    # With enough cells for a few photos' factors of the head to be small.
    places = [
        (lat, lng) for lat in (-50, 0, 50) for lng in (-120, -30, 40, 130)
    ]
    shards = tmp_path / "shards"
    partition = write_small_shards(
        shards, photos=300, files=2, places=places, max_photos=30
    )
    # In float64, because each early step magnifies rounding some tenfold to
    # hundredfold: after two it is still below what float32 can tell.
    options = {
        "steps": 2,
        "validate_every": 2,
        "checkpoint_every": 1,
        "log_every": 1,
        "precision": "float64",
        "synchronized_batch_norm": True,
        "batch_size": batch_size,
    }
    run = start(make_config(shards, tmp_path / "two", **options))
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    first, second = digests(tmp_path / "two")
    assert first == second

    loop.train(
        make_config(shards, tmp_path / "one", **options), photo_task.PhotoTask
    )
    before, one, two = (
        checkpoint(tmp_path / "one", 1),
        checkpoint(tmp_path / "one", 2),
        checkpoint(tmp_path / "two", 2),
    )
    assert largest_difference(before, one) > 1e-3
    assert largest_difference(one, two) < 1e-7
    [features] = {len(v) for v in one.values() if v.ndim == 2}
    assert factors == traffic.head_factors_are_sent(
        batch_size, features, partition.num_classes, replicas=2, device="CPU"
    )
