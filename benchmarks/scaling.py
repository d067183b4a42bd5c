r"""What several workers reach of one process, and what a network takes.

python -m benchmarks.scaling

The same training with the same global batch, in turns: by one process that
has all CPUs, and by workers of launch/train_multiworker.sh that share them.
Start-up is left out. The first table says what the workers reach, and what
went over the loopback device against what the arithmetic of a ring says. The
second says what the ring takes on real networks. Some twenty minutes; nothing
else should run meanwhile.
"""

import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

import psutil

from benchmarks import measure, train_step
from planet_tf import config_flags
from planet_tf.config_flags import UsageError, option
from planet_tf.options.train_config import PRECISIONS
from planet_tf.sizing import roofline, traffic

# Steps that are not counted. In the first dozen workers fetch memory that they
# keep, and take up to a quarter longer.
_WARM = 14
_EVERY = 2  # steps between the lines that are timed
_START_SECONDS = 900.0  # at most, to the first of these lines
_NEVER = 1_000_000_000
_LINE = re.compile(r"(?:\[w0\] )?step ([\d,]+)/")
_BITS = 8
_TRUNK_PARAMETERS = 21_802_784  # of InceptionV3 without its last layer
_FEATURES = 2_048  # that go into that
_HOP_BYTES = 8 * 2**20  # of a piece of the gradients, from worker to worker
_HEADER = (
    *("classes", "precision", "1 process, photos/s", "workers, photos/s"),
    *("ratio", "CPU s/photo, 1 process", "workers", "ratio of CPU"),
    *("MB/step by the ring", "MB/step over lo", "ratio of bytes"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the benchmark."""

    workers: int = option(2, help="workers to start", low=2)
    classes: tuple[int, ...] = option(
        (354, 26_263), help="classes of the partitions to train on", low=2
    )
    precisions: tuple[str, ...] = option(
        ("float32", "bfloat16"), help="to train in", choices=PRECISIONS
    )
    batch_size: int = option(32, help="photos a step, of all together", low=2)
    image_size: int = option(299, help="side of the model's images", low=75)
    rounds: int = option(2, help="turns of every case", low=1)
    steps: int = option(6, help="steps of a turn, an even number", low=2)
    photos: int = option(512, help="in the shards", low=16)
    # --- the second table
    plan_classes: int = option(26_263, help="of the model that is planned")
    cluster: tuple[int, ...] = option(
        (8, 64, 200), help="how many workers to plan for", low=2
    )
    gigabits: tuple[float, ...] = option(
        (1, 10, 25, 100), help="networks to plan for, Gbit/s of a worker"
    )
    latency: float = option(
        500e-6, help="seconds that a message takes besides its bytes", low=0
    )
    worker_batch: int = option(32, help="photos a step of a worker", low=1)
    worker_speeds: tuple[float, ...] = option(
        (4, 100, 1_000), help="photos/s of a worker when it is alone"
    )
    train: bool = option(True, help="measure; else the second table only")

    def __post_init__(self):
        if self.batch_size % self.workers or self.steps % _EVERY:
            raise UsageError(
                f"--batch_size={self.batch_size} must be a multiple of"
                f" --workers={self.workers}, and --steps={self.steps} of"
                f" {_EVERY}"
            )


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one turn of training cost."""

    photos_per_second: float
    cpu_seconds: float  # a photo
    lo_bytes: float  # a step


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    try:
        rows = list(measured(config)) if config.train else []
    except measure.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if rows:
        print(measure.markdown_table(_HEADER, rows), end="\n\n")
    shares = [f"share at {x:,.0f} photos/s" for x in config.worker_speeds]
    header = ["workers", "Gbit/s", "MB sent", "seconds", *shares]
    print(measure.markdown_table(header, planned(config)))
    return 0


def measured(config: Config) -> Iterator[list]:
    """Rows of the first table."""
    for classes in config.classes:
        with tempfile.TemporaryDirectory() as work:
            shards = pathlib.Path(work) / "shards"
            train_step.write_shards(
                train_step.Config(classes=classes, photos=config.photos),
                shards,
            )
            for precision in config.precisions:
                yield measure_case(config, classes, precision, shards)


def planned(config: Config) -> list[list]:
    """Rows of the second table."""
    rows = []
    for workers, gigabits in itertools.product(config.cluster, config.gigabits):
        photos = workers * config.worker_batch
        found = expected(config.plan_classes, photos, workers)
        ring = workers, gigabits * roofline.GIGA / _BITS
        pieces = math.ceil(found.summed / (_HOP_BYTES * workers))
        seconds = traffic.all_reduce_seconds(
            found.summed, *ring, config.latency * pieces
        )
        if found.gathered:
            # The sizes go round first.
            seconds += traffic.all_gather_seconds(
                found.gathered, *ring, config.latency * 2
            )
        alone = [config.worker_batch / x for x in config.worker_speeds]
        shares = [f"{seconds / (seconds + x):.1%}" for x in alone]
        rows.append([workers, gigabits, found.sent / 1e6, seconds, *shares])
    return rows


def expected(classes: int, photos: int, workers: int) -> traffic.Traffic:
    """What workers that train InceptionV3 with a global batch should send."""
    return traffic.of_step(
        parameters=_TRUNK_PARAMETERS + (_FEATURES + 1) * classes,
        features=_FEATURES,
        classes=classes,
        photos=photos,
        replicas=workers,
    )


def measure_case(
    config: Config, classes: int, precision: str, shards: pathlib.Path
) -> list:
    """A row of the first table; its ratios are of neighbours in time."""
    turns = []
    for i in range(config.rounds):
        turns.append([run(config, precision, shards, n) for n in (False, True)])
        speeds = [f"{x.photos_per_second:.2f}" for x in turns[-1]]
        print(
            f"{classes} classes, {precision}, round {i + 1}:"
            f" {' and '.join(speeds)} photos/s",
            file=sys.stderr,
        )
    one, many = zip(*turns, strict=True)

    def ratio(name: str, above: Sequence, below: Sequence) -> float:
        pairs = zip(above, below, strict=True)
        return statistics.median(
            getattr(a, name) / getattr(b, name) for a, b in pairs
        )

    ring = (
        config.workers
        * expected(classes, config.batch_size, config.workers).sent
    )
    sent = statistics.median(x.lo_bytes for x in many)
    return [
        classes,
        precision,
        max(x.photos_per_second for x in one),
        max(x.photos_per_second for x in many),
        ratio("photos_per_second", many, one),
        min(x.cpu_seconds for x in one),
        min(x.cpu_seconds for x in many),
        ratio("cpu_seconds", one, many),
        ring / 1e6,
        sent / 1e6,
        sent / ring,
    ]


def run(
    config: Config, precision: str, shards: pathlib.Path, several: bool
) -> Sample:
    """One turn of training, by one process or by several workers."""
    program = ["planet_tf.train", "--strategy=one_device"]
    if several:
        program = ["planet_tf.launcher", f"--workers={config.workers}"]
    with tempfile.TemporaryDirectory() as work:
        flags = {
            "shards": shards,
            "model_dir": os.path.join(work, "model"),
            "image_size": config.image_size,
            "batch_size": config.batch_size,
            "precision": precision,
            "lanes": config.workers,
            "learning_rate": 0.001,  # a loss that grows would end the run
            "log_every": _EVERY,
            **dict.fromkeys(
                ("steps", "validate_every", "checkpoint_every"), _NEVER
            ),
        }
        options = [f"--{name}={value}" for name, value in flags.items()]
        return follow(
            [sys.executable, "-m", *program, *options],
            config.batch_size,
            config.steps,
        )


def follow(command: Sequence[str], batch: int, steps: int) -> Sample:
    """Starts a training, measures some steps of it, and ends it."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    process = subprocess.Popen(
        command,
        env=environment | {"PYTHONPATH": os.pathsep.join(["", *sys.path])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    family = psutil.Process(process.pid)
    overdue = threading.Timer(_START_SECONDS, process.kill)
    overdue.start()
    marks: list[tuple[int, float, float, int]] = []
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        found = _LINE.match(line)
        if not found:
            continue
        overdue.cancel()
        step = int(found[1].replace(",", ""))
        if step >= _WARM:
            marks.append((step, time.monotonic(), *_used(family)))
        if step >= _WARM + steps:
            break
    overdue.cancel()
    _end(family)
    process.stderr.close()
    if not marks or marks[-1][0] < _WARM + steps:
        raise measure.BenchmarkError(
            f"{' '.join(command)} ended early:\n{''.join(lines)[-2000:]}"
        )
    ends = zip(marks[0], marks[-1], strict=True)
    many, seconds, cpu, sent = (b - a for a, b in ends)
    photos = many * batch
    return Sample(photos / seconds, cpu / photos, sent / many)


def _used(family: psutil.Process) -> tuple[float, int]:
    """CPU seconds of a process and those it started; bytes over loopback."""
    members = (family, *family.children(recursive=True))
    times = [member.cpu_times() for member in members]
    sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    return sum(t.user + t.system for t in times), sent


def _end(family: psutil.Process) -> None:
    """Ends a training at once, without a checkpoint."""
    members = [*family.children(recursive=True), family]
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=60)  # the directory is removed next


if __name__ == "__main__":
    sys.exit(main())
