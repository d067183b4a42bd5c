"""What a process costs: CPU seconds, wall seconds and peak memory.

A benchmark measures each of its cases in a fresh interpreter, so that none of
them inherits another one's memory, caches or imports. On a machine that is
shared, CPU seconds can be trusted and wall seconds cannot.
"""

import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import BinaryIO

import psutil

_SECONDS_BETWEEN_SAMPLES = 0.05


class BenchmarkError(RuntimeError):
    """A measured process that failed."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a process and the processes it started cost.

    Attributes:
      cpu_seconds: of all of them, in user and in kernel mode.
      wall_seconds: from start to end.
      peak_bytes: the most resident memory that all held at one time.
      output: what it wrote to stdout.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    output: str


def run(args: Sequence[str]) -> Usage:
    """Runs a module in a fresh interpreter, as `python -m` with `args`.

    Raises:
      BenchmarkError: with the end of its stderr, if it fails.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        # What this interpreter can import, that one can.
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-m", *args],
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": path},
        )
        peak, status, used = _watch(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        if process.returncode:
            raise BenchmarkError(
                f"python -m {' '.join(args)} ended with"
                f" {process.returncode}:\n{_text(err)[-2000:]}"
            )
        cpu = used.ru_utime + used.ru_stime
        return Usage(cpu, wall, peak, _text(out))


def _watch(pid: int) -> tuple[int, int, "os.struct_rusage"]:
    """Follows a process to its end: peak of memory, exit status, usage."""
    peak = 0
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            # Of the largest process alone, but no sample missed it. A process
            # starts as a copy of this one, whose memory counts for its own.
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            largest = used.ru_maxrss if used.ru_maxrss > own else 0
            return max(peak, largest * 1024), status, used
        peak = max(peak, _resident_bytes(pid))
        time.sleep(_SECONDS_BETWEEN_SAMPLES)


def _resident_bytes(pid: int) -> int:
    """Memory of a process and its descendants; the ended ones have none."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A Markdown table; numbers keep three digits that count."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(_cell(value) for value in line) + " |"
        for line in lines
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
