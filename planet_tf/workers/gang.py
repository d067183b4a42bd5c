"""Processes that start together, are watched, and end together.

Each runs in a process group of its own and dies with the process that started
it, whatever kills that one. When one fails, the others can only wait for it:
they are ended too, and the one that failed first is told from its echoes.
"""

import contextlib
import ctypes
import dataclasses
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

PREEMPTED = 143  # the exit code of "start me again": 128 + SIGTERM
POLL_SECONDS = 0.1
_STOPPED = (PREEMPTED, 130)  # asked to end, with a checkpoint

# Peers of a worker that died notice within a second or so.
_SETTLE_SECONDS = 1.0
# After a failure there is no checkpoint to wait for: a step needs all workers.
_FAILED_GRACE_SECONDS = 10.0
# How TensorFlow aborts, and how the trainer ends a wait for it, when a peer is
# lost: not causes.
_ECHOES = (signal.SIGABRT, signal.SIGALRM)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclasses.dataclass(frozen=True)
class Member:
    """What one process of a gang runs."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: str  # file that its output is appended to
    cpus: Sequence[int] = ()  # that it may use; (): all


@dataclasses.dataclass(frozen=True)
class Ends:
    """How a gang ended: exit codes as shells have them, by member."""

    codes: tuple[int, ...]
    first: int | None  # the member that failed first

    @property
    def code(self) -> int:
        """Of the gang: that of the member that failed first, else 0."""
        return 0 if self.first is None else self.codes[self.first]


def run(
    members: Sequence[Member],
    *,
    grace_seconds: float,
    signals: Sequence[int],
    watch: Callable[[list[bool]], None],
) -> Ends:
    """Runs a gang to its end.

    Args:
      members: what to run.
      grace_seconds: between TERM and KILL.
      signals: what `stop_signals` yields; one ends the gang, a second at once.
      watch: called several times a second with who is up.
    """
    processes: list[subprocess.Popen] = []
    ended: dict[int, int] = {}  # in the order of their ends
    try:
        for member in members:
            processes.append(_start(member))
        first = _until_one_fails(processes, ended, signals, watch)
        if first is not None and shell_code(ended[first]) not in _STOPPED:
            grace_seconds = min(grace_seconds, _FAILED_GRACE_SECONDS)
        _end(processes, ended, grace_seconds, signals, watch)
    finally:
        for process in processes:  # and what a member has left behind
            _signal(process, signal.SIGKILL)
            process.wait()
    watch([False] * len(members))
    codes = tuple(shell_code(process.returncode) for process in processes)
    return Ends(codes, first)


def first_cause(ended: Mapping[int, int]) -> int | None:
    """The member whose failure the others' are the echo of.

    Args:
      ended: exit codes as subprocess has them, in the order of the ends.
    """
    failed = [index for index, code in ended.items() if code]
    # Sorting keeps the order of the ends within a rank.
    return min(failed, key=lambda index: _rank(ended[index]), default=None)


def shell_code(code: int) -> int:
    """128 and the number of the signal for what a signal ended."""
    return 128 - code if code < 0 else code


def describe(code: int) -> str:
    """An exit code in words."""
    if code == PREEMPTED:
        return f"exit code {code} (preempted, or it lost a peer)"
    with contextlib.suppress(ValueError):
        return f"exit code {code} ({signal.Signals(code - 128).name})"
    return f"exit code {code}"


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the signals which ask this program to stop go to."""
    received: list[int] = []
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else: nohup
        names.append(signal.SIGHUP)
    before = {
        name: signal.signal(name, lambda number, _: received.append(number))
        for name in names
    }
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _start(member: Member) -> subprocess.Popen:
    parent = os.getpid()

    # Runs in the child. Safe because this program has but one thread.
    def prepare() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)
        if member.cpus:
            os.sched_setaffinity(0, member.cpus)

    with open(member.log, "ab") as log:
        log.write(f"--- start {datetime.datetime.now():%F %T}\n".encode())
        log.flush()
        return subprocess.Popen(
            member.command,
            env=dict(member.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare,
        )


def _poll(
    processes: Sequence[subprocess.Popen],
    ended: dict[int, int],
    watch: Callable[[list[bool]], None],
) -> bool:
    """Notes who has ended; returns whether all have."""
    for index, process in enumerate(processes):
        if index not in ended and process.poll() is not None:
            ended[index] = process.returncode
    watch([index not in ended for index in range(len(processes))])
    return len(ended) == len(processes)


def _until_one_fails(
    processes: Sequence[subprocess.Popen],
    ended: dict[int, int],
    signals: Sequence[int],
    watch: Callable[[list[bool]], None],
) -> int | None:
    """Waits for all to end, for a failure, or for a signal."""
    deadline = float("inf")
    while not _poll(processes, ended, watch):
        if signals and deadline == float("inf"):
            return None  # what fails from now on was asked to
        if time.monotonic() > deadline:
            break
        if any(ended.values()):
            deadline = min(deadline, time.monotonic() + _SETTLE_SECONDS)
        time.sleep(POLL_SECONDS)
    return first_cause(ended)


def _end(
    processes: Sequence[subprocess.Popen],
    ended: dict[int, int],
    grace_seconds: float,
    signals: Sequence[int],
    watch: Callable[[list[bool]], None],
) -> None:
    """Asks those still up to end, and waits for it as long as is granted."""
    for index, process in enumerate(processes):
        if index not in ended:
            _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while (
        not _poll(processes, ended, watch)
        and time.monotonic() < deadline
        and len(signals) < 2
    ):
        time.sleep(POLL_SECONDS)


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _rank(code: int) -> int:
    """How likely a failure is a cause rather than an echo: 0 is likeliest."""
    if code < 0:
        return 2 if -code in _ECHOES else 0
    return 1 if code < 128 else 2
