"""A gang of workers, started again when one fails in a way that may pass.

Exit codes say which ways those are: from 128 on a worker was killed by a
signal, preempted, or lost a peer; below, the same would only happen again.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

from planet_tf.workers import gang, worker_logs

_LONGEST_DELAY_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Policy:
    """How often to start again, and when."""

    most: int = 0  # restarts in a row that get training no further
    delay_seconds: float = 1.0  # before the first in a row; then doubled

    def delay(self, restarts: int) -> float:
        """Seconds to wait after so many restarts in a row."""
        # The exponent is bounded for those who allow thousands of restarts.
        delay = self.delay_seconds * 2.0 ** min(restarts, 32)
        return min(delay, _LONGEST_DELAY_SECONDS)


def run(
    members: Callable[[], Sequence[gang.Member]],
    console: worker_logs.Console,
    policy: Policy,
    grace_seconds: float,
) -> int:
    """Runs a gang until it ends well or starting it again is no use.

    Args:
      members: makes the gang's members, for each start anew.
      console: follows their logs.
      policy: how often to start again.
      grace_seconds: between asking workers to end and killing them.

    Returns:
      0 if all ended well; 128 and the signal's number if one stopped this
      program; else the exit code of the worker that failed first.
    """
    restarts = furthest = 0
    with gang.stop_signals() as signals:
        while True:
            ends = _run_once(members, console, signals, grace_seconds)
            if signals:
                console.say("stopped: all workers have ended")
                return 128 + signals[0] if any(ends.codes) else 0
            if ends.first is None:
                return 0
            _report(ends.first, ends.code, console)
            if console.step > furthest:
                furthest, restarts = console.step, 0
            if ends.code < 128 or restarts == policy.most:
                console.say(_why_not(ends.code, policy.most))
                return ends.code
            _wait(policy, restarts, console, signals)
            if signals:
                return 128 + signals[0]
            restarts += 1


def _run_once(
    members: Callable[[], Sequence[gang.Member]],
    console: worker_logs.Console,
    signals: Sequence[int],
    grace_seconds: float,
) -> gang.Ends:
    console.start()
    return gang.run(
        members(),
        grace_seconds=grace_seconds,
        signals=signals,
        watch=console.follow,
    )


def _report(first: int, code: int, console: worker_logs.Console) -> None:
    """Says who failed first, and shows the end of its log."""
    console.say(
        f"worker {first} failed first, with {gang.describe(code)};"
        f" all have ended; the last lines of {console.paths[first]}:"
    )
    console.tail(first)


def _why_not(code: int, most: int) -> str:
    if code < 128:
        return "no restart: the same would happen again"
    if most:
        return f"no restart: {most} in a row got training no further"
    return (
        "the same command goes on from the last checkpoint; with"
        " --max_restarts=N that happens by itself"
    )


def _wait(
    policy: Policy,
    restarts: int,
    console: worker_logs.Console,
    signals: Sequence[int],
) -> None:
    """Waits before a restart, longer each time in a row."""
    delay = policy.delay(restarts)
    console.restarts += 1
    console.say(
        f"restart {restarts + 1} of {policy.most} in {delay:g} s, from the"
        " last checkpoint"
    )
    until = time.monotonic() + delay
    while time.monotonic() < until and not signals:
        time.sleep(gang.POLL_SECONDS)
