import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from planet_tf.options.train_config import TrainConfig
from planet_tf.training import distribution
from planet_tf.workers import machine, preemption, rendezvous


def cluster(task, **jobs):
    return json.dumps({"cluster": jobs, "task": task})


def options(**given):
    return TrainConfig(shards="unused", model_dir="unused", **given)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "needs TF_CONFIG"),
        ("not json", "TF_CONFIG must be like"),
        ("[]", "TF_CONFIG must be like"),
        (cluster({"type": "worker"}, worker=["a:1"]), "must be like"),
        (cluster({"type": "chief", "index": 0}, worker=["a:1"]), "be like"),
        (
            cluster({"type": "worker", "index": 2}, worker=["a:1", "b:1"]),
            "this is worker 2 of 2",
        ),
        (
            cluster({"type": "worker", "index": 0}, worker=["a:1", "a:1"]),
            "stands there twice",
        ),
        (
            cluster({"type": "ps", "index": 0}, worker=["a:1"], ps=["b:1"]),
            "TF_CONFIG has ps: all train in step here",
        ),
        (
            cluster(
                {"type": "worker", "index": 0},
                worker=["a:1"],
                evaluator=["b:1"],
            ),
            "TF_CONFIG has evaluator",
        ),
    ],
)
def test_a_bad_tf_config_is_refused_before_anyone_waits(
    monkeypatch, text, wanted
):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(distribution.ClusterError, match=wanted):
        distribution.make_strategy(options(strategy="multi_worker"))


def test_one_device_is_the_default_without_a_cluster_or_gpus(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = distribution.make_strategy(options())
    assert strategy.num_replicas_in_sync == 1
    assert distribution.is_chief(strategy)
    assert distribution.num_workers(strategy) == 1
    distribution.agree(strategy, {"step": "3"})


def test_a_port_that_is_taken_is_told_before_any_wait(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv(
            "TF_CONFIG",
            cluster(
                {"type": "worker", "index": 0},
                worker=[f"127.0.0.1:{port}", "127.0.0.1:1"],
            ),
        )
        with pytest.raises(distribution.ClusterError, match=f"port {port}"):
            distribution.make_strategy(options())


def test_missing_workers_end_the_wait(monkeypatch):
    (port,) = machine.ports(1)
    monkeypatch.setenv(
        "TF_CONFIG",
        cluster(
            {"type": "worker", "index": 0},
            chief=["127.0.0.1:1"],
            worker=[f"127.0.0.1:{port}", "no-such-host.invalid:80"],
        ),
    )
    with pytest.raises(rendezvous.PeersMissingError) as caught:
        distribution.make_strategy(options(startup_timeout=1.0))
    assert "worker 0 at 127.0.0.1:1 (Connection refused)" in str(caught.value)
    assert "worker 2 at no-such-host.invalid:80 (" in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(monkeypatch, number):
    (port,) = machine.ports(1)
    monkeypatch.setenv(
        "TF_CONFIG",
        cluster(
            {"type": "worker", "index": 0},
            worker=[f"127.0.0.1:{port}", "127.0.0.1:1"],
        ),
    )
    with preemption.StopSignals() as stop:
        os.kill(os.getpid(), number)
        with pytest.raises(preemption.Preempted) as caught:
            distribution.make_strategy(options(), stop)
    assert caught.value.exit_code == 128 + number
    assert "waiting for the other workers" in str(caught.value)


@pytest.mark.slow
def test_an_alarm_ends_a_process_that_hangs_with_pythons_lock():
    code = """
import ctypes
from planet_tf.training import distribution
distribution._JOIN_SECONDS = 1
with distribution._alarm():
    pass
lock = ctypes.create_string_buffer(256)
with distribution._alarm():
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(lock)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGALRM


def everyone(monkeypatch, facts):
    """Has `agree` find these facts, of all workers."""
    texts = [json.dumps(found).encode() for found in facts]
    monkeypatch.setattr(distribution, "num_workers", lambda strategy: 3)
    monkeypatch.setattr(distribution, "_exchange", lambda strategy, own: texts)


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (
            [{"step": "7"}, {"step": "7"}, {"step": "0"}],
            r"step is 0 in worker 2, but 7 in worker 0 \(is --model_dir in",
        ),
        (
            [{"code": "b"}, {"code": "a"}, {"code": "a"}],
            "code is b in worker 0, but a in worker 1 ",
        ),
        (
            [{"--rotate": "True", "shards": "x"}, {"shards": "y"}] * 2,
            "--rotate is nothing in worker 1, but True in worker 0; .*shards"
            " is y in worker 1, but x in worker 0",
        ),
    ],
)
def test_workers_that_differ_are_named_with_both_values(
    monkeypatch, facts, wanted
):
    everyone(monkeypatch, facts)
    with pytest.raises(distribution.DisagreementError, match=wanted):
        distribution.agree(None, {})


def test_workers_that_agree_go_on(monkeypatch):
    everyone(monkeypatch, [{"step": "7", "code": "a"}] * 3)
    distribution.agree(None, {})


# What TensorFlow 2.21 said when a peer was killed, stopped, or ended.
RESET = """{{function_node __wrapped__X_device_/job:chief/replica:0/task:0}}
Detected at node CollectiveReduceV2 defined at (most recent call last):
Collective ops is aborted by: recvmsg:Connection reset by peer
Additional GRPC error information from remote target \
/job:worker/replica:0/task:1 while calling /tensorflow.WorkerService/RecvBuf:
The error could be from a previous operation. Restart your program to reset."""
SILENT = """Collective ops is aborted by: Error reported from \
/job:worker/task:1: The following tasks are unhealthy (stopped sending \
heartbeats):
/job:worker/replica:0/task:1
The tasks have crashed."""
LEADER_SILENT = """Collective ops is aborted by: Deadline Exceeded

RPC: /tensorflow.CoordinationService/Heartbeat"""


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            tf.errors.UnavailableError(None, None, RESET),
            r"worker 2 at c:1 has ended, .*\(UnavailableError: recvmsg:Conn",
        ),
        (
            tf.errors.UnavailableError(None, None, SILENT),
            "worker 2 at c:1 has ended, or cannot be reached any more",
        ),
        (
            tf.errors.DeadlineExceededError(None, None, LEADER_SILENT),
            r"another worker has ended.*\(DeadlineExceededError: Deadline",
        ),
    ],
)
def test_the_end_of_a_peer_is_told_from_other_errors(
    monkeypatch, error, wanted
):
    monkeypatch.setenv(
        "TF_CONFIG",
        cluster(
            {"type": "chief", "index": 0}, chief=["a:1"], worker=["b:1", "c:1"]
        ),
    )
    with pytest.raises(ValueError, match=wanted):
        raise ValueError(distribution.lost_peer(error))
    monkeypatch.delenv("TF_CONFIG")
    assert distribution.lost_peer(error) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Connection reset by peer"),
        tf.errors.InvalidArgumentError(None, None, RESET),
        tf.errors.InternalError(
            None, None, "/job:worker/replica:0/task:1/device:GPU:0: cuDNN"
        ),
        tf.errors.UnavailableError(None, None, "disk quota"),
        tf.errors.DataLossError(None, None, "corrupted record at 12"),
    ],
)
def test_other_errors_are_not_taken_for_the_end_of_a_peer(monkeypatch, error):
    monkeypatch.setenv(
        "TF_CONFIG",
        cluster({"type": "worker", "index": 0}, worker=["b:1", "c:1"]),
    )
    assert distribution.lost_peer(error) is None


# --- two processes


WORKER = """
import os, sys
from planet_tf.options import train_config
from planet_tf.training import distribution
from planet_tf.workers import preemption, rendezvous
index = int(sys.argv[1])
options = train_config.TrainConfig(
    shards="s", model_dir="m", startup_timeout=300.0)
stop = preemption.StopSignals()
strategy = distribution.make_strategy(options, stop)
import tensorflow as tf

def report(*facts):
    print(*facts, flush=True)

report("place", distribution.worker_index(strategy),
       distribution.num_workers(strategy), distribution.is_chief(strategy))
distribution.agree(strategy, {"code": "a" * 5000})
report("agreed")
try:
    distribution.agree(strategy, {"code": "a" if index == 0 else "b" * 300})
except distribution.DisagreementError as error:
    report("differ", str(error)[:70])
@tf.function
def step():
    def replica():
        context = tf.distribute.get_replica_context()
        return context.all_reduce("SUM", tf.ones(1000))
    return strategy.reduce("SUM", strategy.run(replica), axis=None)

report("sum", float(step()[0]))
try:
    while not stop.requested:
        step()
except Exception as error:
    report("lost", distribution.lost_peer(error))
    os._exit(143)
"""


@contextlib.contextmanager
def two_workers():
    addresses = [f"127.0.0.1:{port}" for port in machine.ports(2)]
    tasks = [{"type": "chief", "index": 0}, {"type": "worker", "index": 0}]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(index)],
            env=os.environ
            | {
                "TF_CONFIG": cluster(
                    task, chief=addresses[:1], worker=addresses[1:]
                ),
                "TF_NUM_INTRAOP_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for index, task in enumerate(tasks)
    ]
    try:
        yield workers, addresses
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_two_workers_meet_agree_differ_and_lose_each_other(killed):
    with two_workers() as (workers, addresses):
        said = [[w.stdout.readline() for _ in range(4)] for w in workers]
        differ = "differ the workers cannot train together: code is "
        for index in range(2):
            place, agreed, differs, total = said[index]
            assert place == f"place {index} 2 {index == 0}\n"
            assert agreed == "agreed\n"
            assert differs.startswith(f"{differ}bbbbb")
            assert total == "sum 4.0\n"
        workers[killed].kill()
        other = workers[1 - killed]
        assert other.stdout.readline().startswith(
            f"lost worker {killed} at {addresses[killed]} has ended"
        )
        assert other.wait(300) == 143
