"""From flags and the environment to a tf.distribute strategy."""

import json
import os

import tensorflow as tf


class ClusterError(ValueError):
    """A cluster description that cannot be used."""


def make_strategy(name: str, tpu: str = "") -> tf.distribute.Strategy:
    """The strategy of a `--strategy` option; see TrainConfig for the names.

    Must be called before any other use of TensorFlow in a worker process.
    """
    if name == "auto":
        name = _choose()
    if name == "multi_worker":
        _check_cluster()
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
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
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return 0
    if resolver.task_type == "chief":
        return 0
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_id + has_chief


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Number of worker processes."""
    resolver = strategy.cluster_resolver
    if resolver is None:
        return 1
    spec = resolver.cluster_spec()
    if not spec:
        return 1
    return sum(spec.num_tasks(job) for job in spec.jobs if job != "ps")


def barrier(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers are here.

    A worker that ends while another still works is taken for a crashed one.
    """

    @tf.function
    def meet() -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(tf.ones, ((),)), axis=None)

    if num_workers(strategy) > 1:
        meet().numpy()


def _choose() -> str:
    if os.environ.get("TF_CONFIG"):
        return "multi_worker"
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return "mirrored"
    return "one_device"


def _check_cluster() -> None:
    """Refuses a TF_CONFIG that would only fail later, by hanging."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise ClusterError(
            "--strategy=multi_worker needs TF_CONFIG in the environment;"
            " launch/train_multiworker.sh sets it for local workers"
        )
    try:
        config = json.loads(text)
        jobs = config["cluster"]
        task = config["task"]
        addresses = [a for tasks in jobs.values() for a in tasks]
        count = len(jobs[task["type"]])
        index = int(task["index"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(
            f"TF_CONFIG is not a cluster description ({error!r}): {text}"
        ) from error
    if len(set(addresses)) != len(addresses):
        raise ClusterError(f"TF_CONFIG names an address twice: {text}")
    if not 0 <= index < count:
        raise ClusterError(
            f"TF_CONFIG says this is {task['type']} {index} of {count}"
        )
