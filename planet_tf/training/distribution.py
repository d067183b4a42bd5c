"""From options and the environment to a tf.distribute strategy.

With several workers, each is a process of its own that runs the same program
in step with the others; what they have to have in common is compared before
they train.
"""

import collections
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping

import tensorflow as tf

from planet_tf.options.train_config import RunConfig
from planet_tf.workers import clusters, preemption, rendezvous
from planet_tf.workers.clusters import ClusterError

# TensorFlow's own joining of a cluster whose workers are all there. It took
# 0.1 s for two.
_JOIN_SECONDS = 120

_HINTS = {
    "code": "install the same planet_tf everywhere",
    "tensorflow": "install the same versions everywhere",
    "keras": "install the same versions everywhere",
    "shards": "give all workers the same shards",
    "partition": "give all workers the same shards",
    "first weights": "give all workers the same --init_from",
    "step": "is --model_dir in a file system that all workers share?",
}

# What TensorFlow says when a peer has died, or does not answer any more.
_LOST = re.compile(
    r"Collective ops is aborted by|Connection reset|Connection refused|"
    r"Socket closed|Broken pipe|Heartbeat|stopped sending heartbeats|"
    r"failed to connect|different incarnation"
)
_REASON = re.compile(r"(?:Collective ops is aborted by: )+(.*)")
_TASK = re.compile(r"/job:(chief|worker)/(?:replica:\d+/)?task:(\d+)")


class DisagreementError(ClusterError):
    """Workers that cannot train together."""


def make_strategy(
    config: RunConfig, stop: preemption.StopSignals | None = None
) -> tf.distribute.Strategy:
    """The strategy that a run's options ask for.

    Must be called before any other use of TensorFlow in a worker process. It
    waits for the other workers, as long as `config.startup_timeout` grants.

    Args:
      config: options of the run.
      stop: ends the wait, by Preempted, and has its signals back after it.
    """
    name = config.strategy if config.strategy != "auto" else _choose()
    if name == "multi_worker":
        return _join(config.startup_timeout, stop)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=config.tpu
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.OneDeviceStrategy(
        "/gpu:0" if tf.config.list_physical_devices("GPU") else "/cpu:0"
    )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes checkpoints, events and the export."""
    return worker_index(strategy) == 0


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Position of this process among the workers."""
    cluster = _cluster(strategy)
    return cluster.index if cluster else 0


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Number of worker processes; one drives all of a TPU's hosts."""
    cluster = _cluster(strategy)
    return len(cluster.addresses) if cluster else 1


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers are here.

    A worker that ends while another still works is taken for a crashed one.
    """

    @tf.function
    def meet() -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(tf.ones, ((),)), axis=None)

    if num_workers(strategy) > 1:
        meet().numpy()


def agree(strategy: tf.distribute.Strategy, facts: Mapping[str, str]) -> None:
    """Makes sure that all workers have the same facts, by their names.

    Raises:
      DisagreementError: in all workers, naming those that differ from most.
    """
    if num_workers(strategy) == 1:
        return
    everyone = [
        json.loads(text)
        for text in _exchange(strategy, json.dumps(dict(facts)).encode())
    ]
    problems = []
    for name in sorted(set().union(*everyone)):
        values = [theirs.get(name, "nothing") for theirs in everyone]
        usual = collections.Counter(values).most_common(1)[0][0]
        odd = [i for i, value in enumerate(values) if value != usual]
        problems += [
            f"{name} is {values[i]} in worker {i}, but {usual} in worker"
            f" {values.index(usual)}" + _hint(name)
            for i in odd
        ]
    if problems:
        raise DisagreementError(
            "the workers cannot train together: " + "; ".join(problems)
        )


def lost_peer(error: Exception) -> str | None:
    """What to say of an error that comes from a peer's end; None: it is ours.

    Must be asked where TF_CONFIG is that of the strategy.
    """
    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    text = str(error)
    description = os.environ.get("TF_CONFIG")
    if not (description and isinstance(error, kinds) and _LOST.search(text)):
        return None
    cluster = clusters.from_tf_config(description)
    named = (_index_of(*found) for found in _TASK.findall(text))
    index = next((i for i in named if i != cluster.index), None)
    if index is None:
        who = "another worker"
    else:
        who = f"worker {index} at {cluster.addresses[index]}"
    aborted = _REASON.search(text)
    reason = aborted[1] if aborted else text.strip().splitlines()[0]
    return (
        f"{who} has ended, or cannot be reached any more"
        f" ({type(error).__name__}: {reason})"
    )


def _index_of(job: str, task: str) -> int:
    """The number of a task among the workers: the chief comes first."""
    jobs = json.loads(os.environ["TF_CONFIG"])["cluster"]
    before = len(jobs.get("chief", ())) if job == "worker" else 0
    return before + int(task)


def _hint(name: str) -> str:
    hint = _HINTS.get(name)
    return f" ({hint})" if hint else ""


def _choose() -> str:
    if os.environ.get("TF_CONFIG"):
        return "multi_worker"
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return "mirrored"
    return "one_device"


def _join(
    timeout: float, stop: preemption.StopSignals | None
) -> tf.distribute.Strategy:
    """Waits for the peers, then joins them."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise ClusterError(
            "--strategy=multi_worker needs TF_CONFIG in the environment;"
            " launch/train_multiworker.sh sets it"
        )

    def check() -> None:
        if stop:
            stop.check("waiting for the other workers")

    cluster = clusters.from_tf_config(text)
    rendezvous.meet(cluster, timeout=timeout, say=_say, check=check)
    with _alarm():
        # Communication as TensorFlow chooses it: rings over CPUs, NCCL over
        # GPUs.
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if stop:
        stop.install()
        check()
    return strategy


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Ends this process, by SIGALRM, if joining hangs.

    It holds Python's lock, so that nothing else could; and should a worker
    die just then, it would hang for an hour.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_JOIN_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _cluster(strategy: tf.distribute.Strategy) -> clusters.Cluster | None:
    """The workers that train in step; None: this process is alone."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    return clusters.from_tf_config(os.environ["TF_CONFIG"])


def _exchange(strategy: tf.distribute.Strategy, own: bytes) -> list[bytes]:
    """All workers' bytes, in the order of the workers."""

    @tf.function(reduce_retracing=True)
    def gather(row: tf.Tensor) -> tf.Tensor:
        rows = strategy.run(lambda: tf.identity(row))
        return strategy.gather(rows, axis=0)

    lengths = gather(tf.constant([[len(own)]])).numpy()[:, 0]
    # As numbers of a type that all devices' communication knows.
    padded = own.ljust(max(lengths), b"\0")
    rows = gather(tf.constant([list(padded)])).numpy()
    replicas = len(rows) // num_workers(strategy)
    return [
        bytes(row[:length].tolist())
        for row, length in zip(
            rows[::replicas], lengths[::replicas], strict=True
        )
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
