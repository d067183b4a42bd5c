"""Starts training as several worker processes on this machine.

launch/train_multiworker.sh --workers=N --shards=DIR --model_dir=DIR [...]

Each worker trains under MultiWorkerMirroredStrategy and logs to a file of its
own; the first one's log is shown here too. If one fails, the others are ended
and the last lines of the one that failed first are shown. Where TF_CONFIG is
already set, as clusters do, this process becomes the one worker it describes.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from planet_tf import config_flags
from planet_tf.config import LaunchConfig, TrainConfig

TRAINER = "planet_tf.train"
_SHOWN_LINES = 30  # of the log of a worker that failed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = [a for a in (sys.argv if argv is None else argv) if a != "--"]
    config, rest = config_flags.parse(
        LaunchConfig, argv, usage=__doc__, pass_through=True
    )
    trainer = [sys.executable, "-m", TRAINER, *rest]
    logs = _default_logs(rest)
    if os.environ.get("TF_CONFIG"):
        return os.execv(sys.executable, trainer)
    return run(config, trainer, config.log_dir or logs)


def run(config: LaunchConfig, command: Sequence[str], log_dir: str) -> int:
    """Runs a command as a gang of workers; returns the gang's exit code.

    0 if all ended well, else the code of the first that did not, with 128 and
    the signal's number for one that a signal ended, as shells have it.
    """
    os.makedirs(log_dir, exist_ok=True)
    addresses = worker_addresses(config.workers, config.base_port)
    logs = [
        os.path.join(log_dir, f"worker-{i}.log") for i in range(config.workers)
    ]
    print(f"{config.workers} workers log to {log_dir}", file=sys.stderr)
    with _stop_signals() as stopped:
        workers = [
            _start(command, addresses, index, logs[index])
            for index in range(config.workers)
        ]
        try:
            failed = _wait(workers, stopped)
        finally:
            _end(workers, config.grace_seconds)
    if stopped:
        print("stopped: all workers have ended", file=sys.stderr)
        return 128 + stopped[0]
    if failed is None:
        return 0
    code = _shell_code(workers[failed].returncode)
    print(
        f"worker {failed} failed first, with exit code {code}; the last lines"
        f" of {logs[failed]}:",
        file=sys.stderr,
    )
    with open(logs[failed], errors="replace") as file:
        for line in file.readlines()[-_SHOWN_LINES:]:
            print(f"[w{failed}] {line}", end="", file=sys.stderr)
    return code


def worker_addresses(workers: int, base_port: int) -> list[str]:
    """Loopback addresses for the workers."""
    if base_port:
        return [f"127.0.0.1:{base_port + i}" for i in range(workers)]
    with contextlib.ExitStack() as stack:
        # All are held until all are known, else one could be given twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]


def worker_environment(
    environment: dict[str, str], addresses: Sequence[str], index: int
) -> dict[str, str]:
    """The environment of one worker: its cluster and its share of the CPUs."""
    task = {"type": "worker", "index": index}
    cluster = {"cluster": {"worker": list(addresses)}, "task": task}
    threads = max(1, len(os.sched_getaffinity(0)) // len(addresses))
    return environment | {
        "TF_CONFIG": json.dumps(cluster),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
    }


def _start(
    command: Sequence[str], addresses: Sequence[str], index: int, log: str
) -> subprocess.Popen:
    """Starts a worker, in a process group of its own."""
    worker = subprocess.Popen(
        command,
        env=worker_environment(dict(os.environ), addresses, index),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    prefix = "[w0] " if index == 0 else None
    copier = threading.Thread(
        target=_copy, args=(worker.stdout, log, prefix), daemon=True
    )
    copier.start()
    worker.copier = copier
    return worker


def _copy(lines: IO[str], log: str, prefix: str | None) -> None:
    with open(log, "a") as file:
        for line in lines:
            file.write(line)
            file.flush()
            if prefix is not None:
                print(prefix + line, end="", file=sys.stderr, flush=True)


def _wait(
    workers: Sequence[subprocess.Popen], stopped: Sequence[int]
) -> int | None:
    """The worker that failed first, or None: all ended well, or a signal."""
    while not stopped:
        codes = [worker.poll() for worker in workers]
        if all(code == 0 for code in codes):
            return None
        failed = [i for i, code in enumerate(codes) if code]
        # One that a signal killed is the cause, its peers are the echo.
        killed = [i for i in failed if codes[i] < 0]
        if failed:
            return (killed or failed)[0]
        time.sleep(0.1)
    return None


def _end(workers: Sequence[subprocess.Popen], grace_seconds: float) -> None:
    """Ends what still runs: TERM, a grace period, KILL."""
    # A worker may ignore TERM: TensorFlow's coordination service catches it.
    deadline = time.monotonic() + grace_seconds
    for worker in workers:
        if worker.poll() is None:
            _signal(worker, signal.SIGTERM)
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(worker, signal.SIGKILL)
            worker.wait()
        worker.copier.join(timeout=5)


def _signal(worker: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, number)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that the signals which ask this program to stop go to."""
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    before = {
        name: signal.signal(name, lambda number, _: received.append(number))
        for name in names
    }
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _shell_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _default_logs(trainer_args: Sequence[str]) -> str:
    """MODEL_DIR/logs, by the trainer's own options, which this checks too."""
    options, _ = config_flags.parse(
        TrainConfig, [TRAINER, *trainer_args], usage=__doc__
    )
    return os.path.join(options.model_dir, "logs")


if __name__ == "__main__":
    sys.exit(main())
