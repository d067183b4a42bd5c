"""Who the workers are: from flags and the environment to a cluster.

A synchronous run is a list of workers' addresses and a place in it, which
TensorFlow reads from TF_CONFIG. The description is taken from the first of:
TF_CONFIG itself, --hosts, SLURM, a Kubernetes JobSet; docs/clusters.md says
which variables are read and why. All here is pure: text in, values out.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

PORT = 2222  # TensorFlow's own in its documentation of clusters
Item = TypeVar("Item")
SOURCES = ("auto", "local", "slurm", "jobset")

# SLURM's job ids count up, so neighbours on a node get ports of their own: 16
# a job, below the ports that Linux gives away (32768 and up).
_SLURM_PORTS = (12_000, 1_250, 16)


class ClusterError(ValueError):
    """A cluster description that cannot be used, and what to do about it."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of all workers and the place of this one among them."""

    addresses: tuple[str, ...]
    index: int
    source: str = "local"

    def __post_init__(self) -> None:
        if not 0 <= self.index < len(self.addresses):
            raise ClusterError(
                f"{self.source}: this is worker {self.index}, of workers 0 to"
                f" {len(self.addresses) - 1}"
            )
        twice = [a for a in self.addresses if self.addresses.count(a) > 1]
        if twice:
            raise ClusterError(
                f"{self.source}: the address {twice[0]} stands there twice;"
                " workers on one machine need ports of their own"
            )

    @property
    def address(self) -> str:
        """Of this worker."""
        return self.addresses[self.index]

    @property
    def tf_config(self) -> str:
        """The description as TensorFlow reads it."""
        task = {"type": "worker", "index": self.index}
        cluster = {"worker": list(self.addresses)}
        return json.dumps({"cluster": cluster, "task": task})


def choose(
    environment: Mapping[str, str],
    *,
    source: str = "auto",
    hosts: Sequence[str] = (),
    index: int | None = None,
    base_port: int = 0,
) -> Cluster | None:
    """The cluster that this process is one worker of; None: it is on its own.

    `index` is this machine's place among `hosts`, or None.
    """
    if source == "auto" and environment.get("TF_CONFIG"):
        return from_tf_config(environment["TF_CONFIG"])
    if hosts:
        return from_hosts(hosts, index, base_port or PORT)
    if source == "slurm" or (source == "auto" and _in_slurm(environment)):
        return from_slurm(environment, base_port)
    if source == "jobset" or (
        source == "auto" and "JOB_COMPLETION_INDEX" in environment
    ):
        return from_jobset(environment, base_port or PORT)
    return None


def from_tf_config(text: str) -> Cluster:
    """Checks a TF_CONFIG that is set already; all that it says is kept."""
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        workers = [*jobs.get("chief", ()), *jobs.get("worker", ())]
        kind, index = task["type"], int(task["index"])
        own = len(jobs[kind])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(
            'TF_CONFIG must be like {"cluster": {"worker": ["host:port",'
            ' ...]}, "task": {"type": "worker", "index": 0}}, but'
            f" {error!r} in: {text}"
        ) from error
    others = sorted(set(jobs) - {"chief", "worker"})
    if others or len(jobs.get("chief", ())) > 1:
        raise ClusterError(
            f"TF_CONFIG has {', '.join(others) or 'more than one chief'}: all"
            " train in step here, as workers, of which one may be the chief"
        )
    if not 0 <= index < own:
        raise ClusterError(f"TF_CONFIG says this is {kind} {index} of {own}")
    before = len(jobs.get("chief", ())) if kind == "worker" else 0
    return Cluster(tuple(workers), before + index, "TF_CONFIG")


def from_hosts(
    hosts: Sequence[str], index: int | None, port: int = PORT
) -> Cluster:
    """A cluster of machines that were named, each with or without a port."""
    addresses = tuple(with_port(host.strip(), port) for host in hosts)
    if index is None:
        raise ClusterError(
            f"--hosts={','.join(hosts)}: none of them, or more than one, is"
            " this machine; say which worker this is by --index"
        )
    return Cluster(addresses, index, "--hosts")


def from_slurm(environment: Mapping[str, str], base_port: int = 0) -> Cluster:
    """The cluster of the tasks of one srun."""
    if "SLURM_STEP_NODELIST" not in environment:
        raise ClusterError(
            "this is SLURM's batch script or a shell, not a task: start the"
            " workers by srun, as launch/slurm/train.sbatch does, or have"
            " local ones by --cluster=local"
        )
    nodes = expand_nodes(environment["SLURM_STEP_NODELIST"])
    counts = _tasks_per_node(_needed(environment, "SLURM_STEP_TASKS_PER_NODE"))
    if len(nodes) != len(counts):
        raise ClusterError(
            f"SLURM names {len(nodes)} nodes and tasks for {len(counts)}"
        )
    first, jobs, ports = _SLURM_PORTS
    job = _number(environment, "SLURM_JOB_ID")
    base_port = base_port or first + job % jobs * ports
    # Tasks are numbered node by node, unless srun was told otherwise.
    places = [
        (node, local)
        for node, count in enumerate(counts)
        for local in range(count)
    ]
    addresses = (f"{nodes[n]}:{base_port + local}" for n, local in places)
    index = _number(environment, "SLURM_PROCID")
    cluster = Cluster(tuple(addresses), index, "SLURM")
    names = ("SLURM_NODEID", "SLURM_LOCALID")
    if places[index] != tuple(_number(environment, name) for name in names):
        raise ClusterError(
            "SLURM deals the tasks to the nodes in another order than node by"
            " node: give srun --distribution=block"
        )
    return cluster


def from_jobset(environment: Mapping[str, str], port: int = PORT) -> Cluster:
    """The cluster of the pods of a JobSet's one Indexed Job."""
    jobset = _needed(environment, "JOBSET_NAME")
    job = _needed(environment, "REPLICATED_JOB_NAME")
    workers = _number(environment, "PLANET_WORKERS")
    addresses = (
        f"{jobset}-{job}-0-{i}.{jobset}:{port}" for i in range(workers)
    )
    index = _number(environment, "JOB_COMPLETION_INDEX")
    return Cluster(tuple(addresses), index, "JobSet")


def expand_nodes(text: str) -> list[str]:
    """SLURM's short form of names written out: `n[08-10,12],m` and such.

    As `scontrol show hostnames`, which containers seldom have.
    """
    nodes = []
    for name in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text):
        parts = re.split(r"\[([^\[\]]*)\]", name)  # text, ranges, text, ...
        choices = [
            _numbers(part, text) if i % 2 else [part]
            for i, part in enumerate(parts)
        ]
        nodes += ["".join(chosen) for chosen in itertools.product(*choices)]
    if not nodes:
        raise ClusterError(f"SLURM names no nodes: {text!r}")
    return nodes


def with_port(host: str, port: int) -> str:
    """host:port for a host that may have a port of its own."""
    if not host or (host.count(":") > 1 and not host.startswith("[")):
        raise ClusterError(
            f"--hosts has {host!r}: a name, or an address, of IPv6 in square"
            " brackets, each with :PORT or without"
        )
    return host if re.search(r"[^:]:\d+$", host) else f"{host}:{port}"


def on_this_machine(ports: Sequence[int]) -> list[Cluster]:
    """The places of workers that all run on this machine."""
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    return [Cluster(addresses, index) for index in range(len(ports))]


def share(items: Sequence[Item], workers: int, index: int) -> tuple[Item, ...]:
    """A worker's share of CPUs or GPUs: neighbours, as evenly as can be.

    None are dealt if there are fewer than workers.
    """
    if len(items) < workers:
        return ()
    first, end = (len(items) * i // workers for i in (index, index + 1))
    return tuple(items[first:end])


def _in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether this is a task of srun, or a batch script that should use it."""
    nodes = environment.get("SLURM_JOB_NUM_NODES", "1")
    return "SLURM_STEP_NODELIST" in environment or nodes != "1"


def _needed(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise ClusterError(
            f"the environment has no {name}, which launch/slurm/train.sbatch"
            " and launch/k8s/jobset.yaml see to; docs/clusters.md explains it"
        )
    return environment[name]


def _number(environment: Mapping[str, str], name: str) -> int:
    text = _needed(environment, name)
    if not text.isdecimal():
        raise ClusterError(f"{name} is {text!r}; it must be a number")
    return int(text)


def _numbers(ranges: str, text: str) -> list[str]:
    """`08-10,12` as 08, 09, 10, 12: the zeros in front count."""
    found = []
    for item in ranges.split(","):
        first, _, last = item.partition("-")
        last = last or first
        if not (first.isdecimal() and last.isdecimal()):
            raise ClusterError(f"not a list of nodes: {text!r}")
        numbers = range(int(first), int(last) + 1)
        found += [f"{number:0{len(first)}}" for number in numbers]
    return found


def _tasks_per_node(text: str) -> list[int]:
    """`2(x3),1` as 2, 2, 2, 1."""
    counts: list[int] = []
    for item in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", item)
        if not found:
            raise ClusterError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts
