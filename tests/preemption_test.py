"""Signals, sent for real: to processes that do what a run does."""

import os
import signal
import subprocess
import sys
import time

import pytest

from planet_tf.workers import preemption


def wait_for(condition, seconds=100.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_nothing_else_happens(number, capfd):
    with preemption.StopSignals() as stop:
        stop.check("testing")
        assert not stop.requested
        os.kill(os.getpid(), number)
        wait_for(lambda: stop.requested)
        assert stop.number == number
        with pytest.raises(preemption.Preempted) as caught:
            stop.check("testing")
        assert caught.value.exit_code == 128 + number
        assert f"{number.name} came while testing" in str(caught.value)
    assert f"{number.name}: ending after this step" in capfd.readouterr().err


def test_the_same_signal_by_two_ways_is_one_request():
    with preemption.StopSignals() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: stop.requested)
        time.sleep(0.1)  # it would have ended this very process


def test_signals_are_given_back():
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    for _ in range(2):
        with preemption.StopSignals():
            now = [signal.getsignal(number) for number in preemption.SIGNALS]
            assert all(a != b for a, b in zip(before, now, strict=True))
    assert before == [signal.getsignal(n) for n in preemption.SIGNALS]
    assert signal.set_wakeup_fd(-1) == -1


def test_without_a_signal_of_its_own_a_stop_counts_as_terminated():
    assert preemption.Preempted("a peer was asked to end").exit_code == 143


PROGRAM = """
import os, signal, sys, time
from planet_tf.workers import preemption
{before}
stop = preemption.StopSignals()
{after}
print("ready", flush=True)
{work}
"""


def start(work, before="", after=""):
    program = PROGRAM.format(work=work, before=before, after=after)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


# No Python runs in the main thread: it waits for a lock of C's.
IN_C = """
import ctypes
lock = ctypes.create_string_buffer(256)
for _ in range(2):
    ctypes.CDLL(None).pthread_mutex_lock(lock)
"""

UNTIL_ASKED = """
while not stop.requested:
    time.sleep(0.01)
print("asked by", stop.number, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_even_in_foreign_code(number):
    process = start(IN_C)
    process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None
    time.sleep(preemption._ONE_REQUEST_SECONDS)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    assert "ending without a checkpoint" in said


def test_install_takes_signals_back_that_others_have_taken():
    steal = """
import ctypes
SIGNAL = ctypes.CFUNCTYPE(None, ctypes.c_int)
def steal(n): pass
keep = SIGNAL(steal)
ctypes.CDLL(None).signal(15, keep)
"""
    deaf = start("time.sleep(1); print(stop.requested)", after=steal)
    deaf.send_signal(signal.SIGTERM)
    assert deaf.communicate(timeout=300)[0] == "False\n"
    process = start(UNTIL_ASKED, after=steal + "\nstop.install()")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=300)[0] == "asked by 15\n"


def test_an_ignored_interrupt_stays_ignored():
    process = start(
        UNTIL_ASKED, before="signal.signal(signal.SIGINT, signal.SIG_IGN)"
    )
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=300)[0] == "asked by 15\n"


@pytest.mark.slow
def test_tensorflow_takes_sigterm_and_it_is_taken_back():
    work = """
import json, tensorflow as tf
from planet_tf.options import train_config
from planet_tf.training import distribution
from planet_tf.workers import machine
address = f"127.0.0.1:{machine.ports(1)[0]}"
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}})
options = train_config.TrainConfig(shards="s", model_dir="m")
distribution.make_strategy(options, stop if sys.argv[1:] == ["back"] else None)
print("made", flush=True)
time.sleep(3)
print(stop.requested)
"""
    for arguments, wanted in ((["back"], "True\n"), ([], "False\n")):
        program = PROGRAM.format(work=work, before="", after="")
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines = iter(process.stdout)
        assert [next(lines), next(lines)] == ["ready\n", "made\n"]
        process.send_signal(signal.SIGTERM)
        assert next(lines) == wanted
        process.communicate()
