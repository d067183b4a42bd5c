"""What there is for a replica to run on: its device's memory, the disk."""

import dataclasses
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where a run is to take place.

    Attributes:
      replicas: of all workers.
      device: what a replica computes on: CPU, GPU, TPU.
      memory: bytes of a replica's device, all that this process may have of
        the machine's if it is a CPU; None: unknown.
      disk: bytes free for the model directory; None: unknown.
    """

    replicas: int = 1
    device: str = "CPU"
    memory: int | None = None
    disk: int | None = None


def hardware(model_dir: str, strategy: tf.distribute.Strategy) -> Hardware:
    """What there is, as this process sees it."""
    kind = device(strategy)
    memory = {"CPU": host_memory, "GPU": _gpu_memory}.get(kind)
    return Hardware(
        replicas=strategy.num_replicas_in_sync,
        device=kind,
        memory=memory() if memory else None,
        disk=_free_disk(model_dir),
    )


def device(strategy: tf.distribute.Strategy) -> str:
    """What a strategy's replicas compute on: CPU, GPU, TPU."""
    devices = strategy.extended.worker_devices
    kinds = [k for k in ("GPU", "TPU") if f":{k}:" in devices[0].upper()]
    return kinds[0] if kinds else "CPU"


def host_memory(root: str = "/") -> int | None:
    """Bytes of RAM that this process may have, what it holds included.

    By /proc and the limits of its control groups, of version 2 or 1.
    """
    facts = _numbers(pathlib.Path(root, "proc/meminfo"))
    own = _numbers(pathlib.Path(root, "proc/self/status")).get("VmRSS:", 0)
    if "MemAvailable:" not in facts:
        return None  # not Linux
    free = [1024 * facts["MemAvailable:"]]
    for limit, used, stat in _control_groups(pathlib.Path(root)):
        cache = _numbers(stat).get("inactive_file", 0)
        free.append(limit - used + cache)
    return max(0, min(free)) + 1024 * own


def _free_disk(directory: str) -> int | None:
    """Bytes free where a directory is or will be; None: not a local one."""
    if "://" in directory:
        return None
    path = pathlib.Path(directory).absolute()
    while not path.is_dir():
        path = path.parent
    return shutil.disk_usage(path).free


def _gpu_memory() -> int | None:
    """Bytes of the smallest GPU, as its driver says; None: it does not."""
    if not shutil.which("nvidia-smi"):
        return None
    found = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,nounits"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    sizes = [int(x) for x in found.stdout.split() if x.isdigit()]
    return min(sizes) * 2**20 if sizes else None


def _control_groups(
    root: pathlib.Path,
) -> Iterator[tuple[int, int, pathlib.Path]]:
    """Limit, use and statistics of the groups that limit this process."""
    path = root / "proc/self/cgroup"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        number, kinds, group = line.split(":", 2)
        if number == "0":
            base, names = "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in kinds.split(","):
            base = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inner = pathlib.PurePosixPath(group.lstrip("/"))
        for part in (inner, *inner.parents):
            place = root / base / part
            limit, used = (_number(place / name) for name in names)
            if limit is not None and used is not None:
                yield limit, used, place / "memory.stat"


def _number(path: pathlib.Path) -> int | None:
    """A file's number; None if it has none, as "max" is."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _numbers(path: pathlib.Path) -> dict[str, int]:
    """The numbers of a file of lines "name number ...", by name."""
    if not path.exists():
        return {}
    rows = [line.split() for line in path.read_text().splitlines()]
    return {r[0]: int(r[1]) for r in rows if len(r) > 1 and r[1].isdigit()}
