"""Starts the training of a model with several workers.

launch/train_multiworker.sh --workers=2 --shards=DIR --model_dir=DIR [...]
launch/train_multiworker.sh --hosts=HOST1,HOST2 --shards=... on each host

On its own it runs the workers on this machine, each with a log of its own;
when one fails the others are ended, and all are started again if that may help
and --max_restarts allows it. On a cluster it becomes the one worker that
TF_CONFIG, --hosts, SLURM or a Kubernetes JobSet says it is: docs/clusters.md.

Options not in the list below, and all after `--`, are those of the trainer:
python -m planet_tf.train --help, or planet_tf.train_albums with --model=album
"""

import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from planet_tf import config_flags
from planet_tf.config_flags import UsageError, option
from planet_tf.options.train_config import (
    RunConfig,
    TrainAlbumsConfig,
    TrainConfig,
)
from planet_tf.workers import clusters, gang, machine, restarts, worker_logs

# By model: the program, and its options.
TRAINERS: dict[str, tuple[str, type[RunConfig]]] = {
    "photo": ("planet_tf.train", TrainConfig),
    "album": ("planet_tf.train_albums", TrainAlbumsConfig),
}
_DEFAULT_WORKERS = 2
_ONE_PROCESS = ("one_device", "mirrored", "tpu")  # strategies of one process


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Options of `planet_tf.launcher`."""

    model: str = option(
        "photo",
        help="what to train: the photo model, or an album model",
        choices=tuple(TRAINERS),
    )
    workers: int | None = option(
        None,
        help="worker processes on this machine (2); on a cluster, how many"
        " there have to be",
        low=1,
    )
    cluster: str = option(
        "auto",
        help="where the workers are; auto: the first that there is of"
        " TF_CONFIG, --hosts, SLURM, JobSet, else local",
        choices=clusters.SOURCES,
    )
    hosts: tuple[str, ...] = option(
        (), help="machines of the workers, each with :PORT or without"
    )
    index: int | None = option(
        None, help="of this machine in --hosts; it finds itself if it can"
    )
    base_port: int = option(
        0,
        help="first port of the workers of a machine; 0: free ones if local,"
        f" {clusters.PORT}, or by SLURM's job id",
        low=0,
        high=65_535,
    )
    log_dir: str = option(
        "", help="directory of local workers' logs (MODEL_DIR/logs)"
    )
    max_restarts: int = option(
        0,
        help="most times in a row that local workers are started again, from"
        " the last checkpoint, without training getting any further",
        low=0,
    )
    restart_delay: float = option(
        1.0,
        help="seconds before a restart, doubled for each further one in a row",
        low=0,
    )
    grace_seconds: float = option(
        60.0,
        help="between asking local workers to end, which leaves a checkpoint,"
        " and killing them",
        low=0,
    )
    status_seconds: float = option(
        60.0, help="between lines on how the local workers are doing", low=1
    )
    bind_cpus: bool = option(
        True,
        help="give each local worker CPUs of its own; turn it off where other"
        " programs use them too",
    )
    dry_run: bool = option(
        False, help="print each worker's TF_CONFIG and command, then end"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    split = argv.index("--") if "--" in argv else len(argv)
    config, rest = config_flags.parse(
        LaunchConfig, argv[:split], usage=__doc__, pass_through=True
    )
    rest += argv[split + 1 :]
    # The trainer's own check, before anything starts.
    trainer, options_class = TRAINERS[config.model]
    options, _ = config_flags.parse(
        options_class, [trainer, *rest], usage=__doc__
    )
    command = [sys.executable, "-m", trainer, *rest]
    try:
        cluster = find_cluster(config, options)
        if cluster:
            return become_worker(cluster, command, config.dry_run)
        return run_local(config, command, options)
    except (clusters.ClusterError, UsageError) as error:
        config_flags.fail(error)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def find_cluster(
    config: LaunchConfig, options: RunConfig
) -> clusters.Cluster | None:
    """The cluster that this process is one worker of, if it is."""
    if options.strategy in _ONE_PROCESS:
        return None
    index = config.index
    if config.hosts and index is None:
        index = machine.own_index(config.hosts)
    cluster = clusters.choose(
        os.environ,
        source=config.cluster,
        hosts=config.hosts,
        index=index,
        base_port=config.base_port,
    )
    if cluster is None:
        return None
    if config.workers not in (None, len(cluster.addresses)):
        raise UsageError(
            f"--workers is {config.workers}, but {cluster.source} has"
            f" {len(cluster.addresses)}; --cluster=local starts local ones"
        )
    if config.max_restarts:
        raise UsageError(
            "--max_restarts is for local workers; this is one of"
            f" {cluster.source}'s, which has to start all again:"
            " docs/clusters.md says how"
        )
    return cluster


def become_worker(
    cluster: clusters.Cluster, command: Sequence[str], dry_run: bool
) -> int:
    """Turns this process into a worker, so that signals reach the trainer."""
    count = len(cluster.addresses)
    environment = {"PYTHONUNBUFFERED": "1"}
    if cluster.source != "TF_CONFIG":
        environment["TF_CONFIG"] = cluster.tf_config
    if dry_run:
        print(_shell_line(cluster.index, count, command, environment))
        return 0
    print(
        f"[launcher] worker {cluster.index} of {count} by {cluster.source}, at"
        f" {cluster.address}",
        file=sys.stderr,
        flush=True,
    )
    environment = dict(os.environ) | environment
    return os.execve(command[0], list(command), environment)


def run_local(
    config: LaunchConfig, command: Sequence[str], options: RunConfig
) -> int:
    """Runs the workers on this machine; returns the gang's exit code."""
    workers = _count(config, options)
    directory = config.log_dir or _log_dir(options)
    logs = [
        os.path.join(directory, f"worker-{index}.log")
        for index in range(workers)
    ]
    cpus = machine.cpus() if config.bind_cpus else []
    gpus = machine.gpus()
    inherited = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}

    def members() -> list[gang.Member]:
        """The workers, on ports that are free now."""
        ports = machine.ports(workers, config.base_port)
        return [
            gang.Member(
                command, inherited | place.environment(), log, place.cpus
            )
            for place, log in zip(
                machine.places(workers, ports, cpus, gpus), logs, strict=True
            )
        ]

    if config.dry_run:
        for index, member in enumerate(members()):
            own = dict(member.environment.items() - os.environ.items())
            print(_shell_line(index, workers, command, own))
        return 0
    members()  # refuses what cannot be before a file is made
    os.makedirs(directory, exist_ok=True)
    console = worker_logs.Console(logs, config.status_seconds)
    console.say(f"{workers} worker(s) log to {directory}")
    policy = restarts.Policy(config.max_restarts, config.restart_delay)
    return restarts.run(members, console, policy, config.grace_seconds)


def _count(config: LaunchConfig, options: RunConfig) -> int:
    """How many workers to run on this machine."""
    alone = options.strategy in _ONE_PROCESS
    workers = config.workers or (1 if alone else _DEFAULT_WORKERS)
    if alone and workers > 1:
        raise UsageError(
            f"--strategy={options.strategy} trains in one process, but"
            f" --workers is {workers}: leave one of them out"
        )
    return workers


def _log_dir(options: RunConfig) -> str:
    if "://" in options.model_dir:
        raise UsageError(
            f"--model_dir is {options.model_dir}: give a directory of this"
            " machine as --log_dir"
        )
    return os.path.join(options.model_dir, "logs")


def _shell_line(
    index: int,
    workers: int,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """A worker's command, with what it sets, as one types it."""
    settings = [f"{k}={shlex.quote(v)}" for k, v in sorted(environment.items())]
    return (
        f"# worker {index} of {workers}\n"
        f"{' '.join(settings)} {shlex.join(command)}"
    )


if __name__ == "__main__":
    sys.exit(main())
