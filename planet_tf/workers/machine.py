"""What this machine has for its workers: CPUs, GPUs, ports, its addresses."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence

from planet_tf.workers import clusters

_CPUINFO = pathlib.Path("/proc/cpuinfo")
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/{}"


@dataclasses.dataclass(frozen=True)
class Place:
    """What one of the workers on this machine gets of it."""

    cluster: clusters.Cluster | None  # None: it is alone
    cpus: tuple[int, ...]  # (): all
    gpus: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The variables that tell the worker so."""
        found = {"PYTHONUNBUFFERED": "1"}
        if self.cluster:
            found["TF_CONFIG"] = self.cluster.tf_config
        if self.gpus:
            found["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return found


def places(
    workers: int, ports: Sequence[int], cpus: Sequence[int], gpus: Sequence[str]
) -> list[Place]:
    """The machine dealt to its workers; one alone needs no cluster."""
    if gpus and len(gpus) < workers:
        raise clusters.ClusterError(
            f"{workers} workers, and there are GPUs for {len(gpus)}: ask for"
            " fewer --workers, or for no GPUs by CUDA_VISIBLE_DEVICES=-1"
        )
    if workers == 1:
        return [Place(None, (), tuple(gpus))]
    return [
        Place(
            cluster,
            clusters.share(cpus, workers, index),
            clusters.share(gpus, workers, index),
        )
        for index, cluster in enumerate(clusters.on_this_machine(ports))
    ]


def ports(count: int, first: int = 0) -> list[int]:
    """Ports from `first` on, or, if it is 0, ones that are free now."""
    if first:
        return [first + i for i in range(count)]
    with contextlib.ExitStack() as stack:
        # All are held until all are known, else one could be given twice.
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in held:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in held]


def cpus() -> list[int]:
    """The CPUs that this process may use; those of a core, a chip together."""
    if not hasattr(os, "sched_getaffinity"):
        return []

    def place(cpu: int) -> tuple[int, ...]:
        numbers = []
        for name in ("physical_package_id", "core_id"):
            path = pathlib.Path(_TOPOLOGY.format(cpu, name))
            numbers.append(int(path.read_text()) if path.exists() else 0)
        return (*numbers, cpu)

    return sorted(os.sched_getaffinity(0), key=place)


def bfloat16_is_native() -> bool:
    """Whether the CPU multiplies in bfloat16 itself (Linux on x86)."""
    text = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    return bool({"avx512_bf16", "amx_bf16"} & set(text.split()))


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [name.strip() for name in visible.split(",")]
        return [name for name in named if name and name != "-1"]
    if not shutil.which("nvidia-smi"):
        return []
    found = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60
    )
    return re.findall(r"^GPU (\d+):", found.stdout, re.MULTILINE)


def own_index(hosts: Sequence[str]) -> int | None:
    """Which of the hosts this machine is, if it is just one of them."""
    own = [i for i, host in enumerate(hosts) if _is_own(host)]
    return own[0] if len(own) == 1 else None


def _is_own(host: str) -> bool:
    """Whether a host's address is one of this machine: one can bind to it."""
    name = clusters.with_port(host.strip(), 1).rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with (
            contextlib.suppress(OSError),
            socket.socket(family, kind, protocol) as trial,
        ):
            trial.bind((address[0], 0, *address[2:]))
            return True
    return False
