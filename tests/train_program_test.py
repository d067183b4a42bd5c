"""The program's exit codes and its last words."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import tensorflow as tf
from conftest import SMALL_MODEL, write_small_shards

from planet_tf import config_flags, train
from planet_tf.data import data_dirs
from planet_tf.model import model_dir
from planet_tf.training import checkpoints, distribution, loop, progress
from planet_tf.workers import machine, preemption, rendezvous


@pytest.mark.parametrize(
    ("error", "code", "wanted"),
    [
        (None, 0, ""),
        (config_flags.UsageError("--x is y"), 2, "error: --x is y"),
        (distribution.ClusterError("bad TF_CONFIG"), 2, "error: bad TF_"),
        (distribution.DisagreementError("differ"), 1, "error: differ"),
        (data_dirs.DataError("no shards"), 1, "error: no shards"),
        (model_dir.ModelDirError("another run"), 1, "error: another run"),
        (progress.TrainingError("loss is nan"), 1, "error: loss is nan"),
        (checkpoints.CheckpointError("full"), 1, "error: full"),
        (preemption.Preempted("step 3"), 143, "step 3: the same command"),
        (preemption.Preempted("step 3", signal.SIGINT), 130, "step 3: the"),
        (rendezvous.PeersMissingError("worker 1"), 143, "error: worker 1"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_end_has_its_exit_code_and_one_line(
    monkeypatch, capsys, error, code, wanted
):
    def end(config, make_task):
        if error:
            raise error

    monkeypatch.setattr(loop, "train", end)
    with contextlib.ExitStack() as stack:
        if code == 2:
            caught = stack.enter_context(pytest.raises(SystemExit))
        found = train.main(["train", "--shards=s", "--model_dir=m"])
    assert (caught.value.code if code == 2 else found) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(wanted)
    assert "Traceback" not in said.err


def test_an_error_of_ours_is_shown_whole(monkeypatch):
    def end(config, make_task):
        raise tf.errors.InvalidArgumentError(None, None, "shapes differ")

    monkeypatch.setattr(loop, "train", end)
    with pytest.raises(tf.errors.InvalidArgumentError):
        train.main(["train", "--shards=s", "--model_dir=m"])


@pytest.mark.usefixtures("short_models")
def test_a_directory_that_cannot_be_made_is_one_line(
    small_shards, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "m"
    assert train.main(command(small_shards, directory)[2:]) == 1
    said = capsys.readouterr().err
    assert f"error: --model_dir={directory} cannot be used as a direc" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("short_models")
def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before(
    small_model, small_shards, tmp_path, capsys
):
    directory = tmp_path / "m"
    shutil.copytree(small_model, directory)
    saved = directory / "checkpoints"
    newest, before = sorted(saved.glob("ckpt-*.index"), reverse=True)[:2]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert train.main(command(small_shards, directory)[2:]) == 0
    said = capsys.readouterr().err
    assert f"warning: the checkpoint {newest.with_suffix('')} is dam" in said
    assert f"going on from step {before.stem.removeprefix('ckpt-')}" in said


# --- the program itself


def command(shards, directory, **options):
    given = SMALL_MODEL | {"shards": shards, "model_dir": directory} | options
    return [
        sys.executable,
        "-m",
        "planet_tf.train",
        *(f"--{name}={value}" for name, value in given.items()),
    ]


@contextlib.contextmanager
def workers(commands, *, only=None, code_of=(None, None)):
    """Starts workers of one cluster; `code_of` are their source trees."""
    addresses = [f"127.0.0.1:{port}" for port in machine.ports(len(commands))]
    started = []
    for index, arguments in enumerate(commands):
        if only is not None and index != only:
            continue
        task = {"type": "worker", "index": index}
        description = {"cluster": {"worker": addresses}, "task": task}
        own = {"TF_CONFIG": json.dumps(description)}
        if len(commands) == 1:
            own = {}
        if code_of[index]:
            own["PYTHONPATH"] = code_of[index]
        started.append(
            subprocess.Popen(
                arguments,
                env=os.environ | own | {"TF_NUM_INTRAOP_THREADS": "1"},
                cwd=code_of[index],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        yield started, addresses
    finally:
        for process in started:
            process.kill()
            process.communicate()


def read_until(process, start):
    for line in process.stderr:
        if line.startswith(start):
            return line
    raise AssertionError(f"{start!r} was never said")


@pytest.mark.slow
def test_a_worker_waits_for_its_peer_no_longer_than_it_should(
    small_shards, tmp_path
):
    commands = [command(small_shards, tmp_path / "m", startup_timeout=2.0)] * 2
    with workers(commands, only=1) as ((worker,), addresses):
        _, said = worker.communicate(timeout=300)
    assert worker.returncode == 143
    assert (
        "error: waited 2 s (--startup_timeout) in vain for worker 0 at" in said
    )
    assert addresses[0] in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_waiting_worker_ends_at_once_when_asked(
    small_shards, tmp_path, number
):
    commands = [command(small_shards, tmp_path / "m")] * 2
    with workers(commands, only=0) as ((worker,), _):
        read_until(worker, "waiting for worker 1 at ")
        worker.send_signal(number)
        _, said = worker.communicate(timeout=300)
    assert worker.returncode == 128 + number
    assert f"{number.name} came while waiting for the other" in said


@pytest.mark.slow
def test_workers_of_other_code_and_other_shards_are_told(
    small_shards, tmp_path
):
    root = pathlib.Path(__file__).parent.parent
    shutil.copytree(root / "planet_tf", tmp_path / "changed" / "planet_tf")
    with (tmp_path / "changed" / "planet_tf" / "draw.py").open("a") as file:
        file.write("# changed")
    write_small_shards(tmp_path / "shards", photos=400, files=2)
    commands = [
        command(shards, tmp_path / "m")
        for shards in (small_shards, tmp_path / "shards")
    ]
    trees = (str(root), str(tmp_path / "changed"))
    with workers(commands, code_of=trees) as (started, _):
        said = [worker.communicate(timeout=300)[1] for worker in started]
    for worker, text in zip(started, said, strict=True):
        assert worker.returncode == 1, text
        assert "error: the workers cannot train together: code is" in text
        assert "shards is sha256:400-2 in worker 1, but sha256:400-3" in text
        assert "Traceback" not in text
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_a_run_that_is_asked_to_end_leaves_a_checkpoint(small_shards, tmp_path):
    arguments = command(
        small_shards, tmp_path / "m", steps=100_000, validate_every=100_000
    )
    with workers([arguments]) as ((worker,), _):
        read_until(worker, "step 5/")
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=300)
    assert worker.returncode == 143, said
    step = said.partition("stopped after step ")[2].partition(":")[0]
    assert step.replace(",", "").isdigit()
    name = f"ckpt-{step.replace(',', '')}.index"
    assert (tmp_path / "m" / "checkpoints" / name).exists()
