"""launch/slurm/train.sbatch, run with stand-ins for SLURM's commands."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "launch/slurm/train.sbatch"

# Runs two tasks; one that fails ends the other; the highest code is its own.
SRUN = """
import os, signal, subprocess, sys, time
assert sys.argv[1:3] == ["--kill-on-bad-exit=1", "--label"], sys.argv
command = sys.argv[sys.argv.index("bash"):]
tasks = [
    subprocess.Popen(command, start_new_session=True,
                     env=os.environ | {"SLURM_PROCID": str(rank)})
    for rank in range(2)
]
open("tasks", "w").write(" ".join(str(task.pid) for task in tasks))
def kill(*_):  # what srun does on TERM
    for task in tasks:
        os.killpg(task.pid, signal.SIGKILL)
signal.signal(signal.SIGTERM, kill)
while None in (codes := [task.poll() for task in tasks]):
    for task in tasks:
        if any(codes) and task.poll() is None:
            os.killpg(task.pid, signal.SIGTERM)
            task.wait()
    time.sleep(0.02)
sys.exit(max(code if code >= 0 else 128 - code for code in codes))
"""

# TERM to all processes of all tasks.
SCANCEL = """
import os, signal, sys
assert sys.argv[1:] == ["--signal=TERM", "77"]
for pid in open("tasks").read().split():
    os.killpg(int(pid), signal.SIGTERM)
"""
SQUEUE = "import os; print(os.environ.get('STATE', 'RUNNING'))"
SCONTROL = """
import glob, sys
saved = len(glob.glob("saved-*"))
open("requeued", "w").write(f"{' '.join(sys.argv[1:])}, {saved} saved")
"""

TRAINER = """
trap 'sleep 0.6; echo saved >saved-$SLURM_PROCID; exit 143' TERM
"""
WAIT = "touch up-$SLURM_PROCID; for _ in {1..600}; do sleep 0.05; done"


@pytest.fixture
def start(tmp_path):
    """Starts the batch script with a body of the trainer."""
    commands = {
        "srun": SRUN,
        "scancel": SCANCEL,
        "squeue": SQUEUE,
        "scontrol": SCONTROL,
    }
    (tmp_path / "launch").mkdir()
    for name, code in commands.items():
        write(tmp_path / "bin" / name, f"#!{sys.executable}\n{code}")

    def run(body, **environment):
        write(
            tmp_path / "launch/train_multiworker.sh",
            f"#!/usr/bin/env bash\n{TRAINER}\n{body}",
        )
        return subprocess.Popen(
            ["bash", SCRIPT, "--shards=my shards"],
            env=os.environ
            | {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "77"}
            | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
            | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def requeued(tmp_path):
    path = tmp_path / "requeued"
    return path.read_text() if path.exists() else None


def test_arguments_reach_the_trainer_and_a_good_end_is_the_end(start, tmp_path):
    run = start('echo "$@" >args-$SLURM_PROCID')
    _, said = run.communicate(timeout=20)
    assert run.returncode == 0, said
    for rank in range(2):
        path = tmp_path / f"args-{rank}"
        assert path.read_text() == "--shards=my shards\n"
    assert requeued(tmp_path) is None


@pytest.mark.parametrize(
    ("body", "environment", "requeue"),
    [
        ("exit 143", {}, True),
        ("exit 137", {}, True),
        ("exit 143", {"SLURM_RESTART_COUNT": "99"}, True),
        ("exit 143", {"SLURM_RESTART_COUNT": "100"}, False),
        ("exit 143", {"MAX_REQUEUES": "0"}, False),
        # A job that is being cancelled.
        ("exit 143", {"STATE": "COMPLETING"}, False),
        ("exit 1", {}, False),
        # The peer of a worker with an error ends with a higher code.
        (f"((SLURM_PROCID)) && exit 2; {WAIT}", {}, False),
    ],
)
def test_only_what_may_pass_is_queued_again(
    start, tmp_path, body, environment, requeue
):
    run = start(body, **environment)
    _, said = run.communicate(timeout=20)
    assert run.returncode != 0, said
    assert requeued(tmp_path) == ("requeue 77, 0 saved" if requeue else None)


def test_term_makes_all_workers_save_and_queues_the_job_again(start, tmp_path):
    run = start(WAIT)
    up = [tmp_path / f"up-{rank}" for rank in range(2)]
    while not all(path.exists() for path in up):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 143, said
    assert requeued(tmp_path) == "requeue 77, 2 saved"


def test_the_time_limits_signal_leaves_time_for_a_checkpoint():
    text = SCRIPT.read_text()
    assert int(re.search(r"--signal=B:TERM@(\d+)", text)[1]) >= 60
    assert "#SBATCH --requeue" in text
