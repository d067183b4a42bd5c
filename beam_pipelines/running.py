"""Runs a pipeline to its end, says what it counts, and never waits in vain."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.runners.runner import PipelineState

NAMESPACE = "planet_tf"  # of the counters
WORKER_DIED = "a worker process died; was it killed, for want of memory?"
_SECONDS_PER_REPORT = 60
_SECONDS_TO_NOTICE = 10  # for Beam, that a worker process has died
_THREAD_OF_WORKER = "run_worker"  # the name of Beam's threads, one a process


class RunOptions(PipelineOptions):
    """An option beside Beam's own, of all programs with a pipeline."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            "--max_minutes",
            type=float,
            default=0,
            help="fail if a service takes longer for the pipeline; 0: wait",
        )


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether the pipeline goes to Google's Dataflow."""
    runner = options.view_as(StandardOptions).runner or ""
    return runner.lower().endswith("dataflowrunner")


def is_dry_run(options: PipelineOptions) -> bool:
    """Whether the pipeline is only translated: no byte may be written."""
    return bool(options.view_as(TestOptions).dry_run)


def why_nothing_runs(options: PipelineOptions) -> str:
    """What was done instead of running the pipeline; "" if it is run."""
    template = options.view_as(GoogleCloudOptions).template_location
    if is_dry_run(options):
        return "dry run: the pipeline was translated, and nothing was run"
    if is_dataflow(options) and template:
        return (
            f"template written to {template}, and nothing was run; a job made"
            " from it leaves out the last steps, which this program does when"
            " its own job has ended"
        )
    return ""


def run(pipeline: Any) -> str:
    """Runs a pipeline to its end, or for --max_minutes; returns its state.

    Prints its counters to stderr. Exceptions are the runner's.
    """
    options = pipeline.options
    minutes = options.view_as(RunOptions).max_minutes
    with fail_if_workers_die():
        result = pipeline.run()
        if why_nothing_runs(options):
            return PipelineState.DONE
        with report_counters(result, is_dataflow(options)):
            state = result.wait_until_finish(
                duration=round(60_000 * minutes) or None
            )
    if not PipelineState.is_terminal(state):
        result.cancel()
        raise TimeoutError(
            f"the pipeline was {state} after --max_minutes={minutes:g} and was"
            " cancelled"
        )
    return state


@contextlib.contextmanager
def fail_if_workers_die() -> Iterator[None]:
    """Ends the wait for worker processes of this one that were killed.

    Beam's runner notices when a worker goes away while it works, and waits
    forever for one that does so earlier. Its thread that waits for the
    process's end fails in both cases, which is seen here.
    """
    ended, died = threading.Event(), threading.Event()
    original, main = threading.excepthook, threading.main_thread().ident

    def interrupt() -> None:
        if not ended.wait(_SECONDS_TO_NOTICE) and main is not None:
            # A lock that the main thread waits for lets a signal through.
            signal.pthread_kill(main, signal.SIGINT)

    def excepthook(args: Any) -> None:
        original(args)
        if args.thread and args.thread.name == _THREAD_OF_WORKER:
            if not died.is_set():
                threading.Thread(target=interrupt, daemon=True).start()
            died.set()

    threading.excepthook = excepthook
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if died.is_set():
            raise RuntimeError(WORKER_DIED) from error
        raise
    finally:
        ended.set()
        threading.excepthook = original


@contextlib.contextmanager
def report_counters(result: Any, meanwhile: bool) -> Iterator[None]:
    """Prints the counters of a run at its end, and now and then before it.

    Args:
      result: of the run.
      meanwhile: whether the runner counts while it runs. Dataflow does; the
        others have no numbers before the end, or keep the first they gave.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_PER_REPORT):
            _print("so far: ", counters(result))

    if meanwhile:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    _print("counted: ", counters(result))


def counters(result: Any) -> dict[str, int]:
    """Our counters of a run by name, over all steps; {} if there are none."""
    wanted = MetricsFilter().with_namespace(NAMESPACE)
    try:
        found = result.metrics().query(wanted)["counters"]
    except Exception as error:  # counts are no reason to lose a run
        print(f"the runner tells no counters: {error}", file=sys.stderr)
        return {}
    total: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        total[name] = total.get(name, 0) + (counter.result or 0)
    return dict(sorted(total.items()))


def _print(title: str, counts: dict[str, int]) -> None:
    if counts:
        text = ", ".join(f"{n:,} {name}" for name, n in counts.items())
        print(title + text, file=sys.stderr, flush=True)
