r"""How fast training is, against what the machine and others can do.

python -m benchmarks.train_step --torch_python=/path/to/python

planet_tf.train itself trains on shards made here, in turns with a bare step
of the same model on constant data, keras.Model.fit in float32, PyTorch's
training of the same network (by the Python of an environment that has torch
and torchvision) and a product of large matrices, all with as many threads.
The table goes to stdout; some minutes, and some 3 GB of memory a case.
"""

import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from benchmarks import collection, rounds, train_step_table
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib
from planet_tf.options.train_config import MIN_IMAGE_SIZE, TrainConfig
from planet_tf.photos import records
from planet_tf.workers import machine

_WARM = 2  # steps of a turn that are not counted: what was read ahead is used
_PHOTO_SIZE = "456x342"  # as write_shards leaves them
_CASES = tuple(train_step_table.NAMES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the benchmark."""

    image_size: int = option(
        299, help="side of the model's images", low=MIN_IMAGE_SIZE
    )
    classes: int = option(354, help="cells of the partition", low=2)
    batch_size: int = option(16, help="photos a step", low=2)
    precision: str = option(
        "",
        help="of planet_tf.train; by default bfloat16 if the CPU has it",
        choices=("", "float32", "bfloat16"),
    )
    cases: tuple[str, ...] = option(
        ("loop", "bare", "fit", "torch"),
        help=f"what to measure, of {', '.join(_CASES)}",
    )
    rounds: int = option(5, help="turns of every case", low=1)
    steps: int = option(4, help="steps of a turn, an even number", low=2)
    threads: int = option(0, help="of every case; 0: one a CPU", low=0)
    photos: int = option(1_024, help="in the shards", low=16)
    torch_python: str = option("", help="a Python with torch and torchvision")
    case: str = option("", help="used by the benchmark itself")
    work: str = option("", help="directory for shards; default temporary")

    def __post_init__(self):
        if self.steps % _WARM:
            raise config_flags.UsageError(f"--steps is odd: {self.steps}")
        if unknown := set(self.cases) - set(_CASES):
            raise config_flags.UsageError(
                f"--cases: no case {', '.join(sorted(unknown))}; there are"
                f" {', '.join(_CASES)}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    native = machine.bfloat16_is_native()
    config = dataclasses.replace(
        config,
        precision=config.precision or ("bfloat16" if native else "float32"),
        threads=config.threads or len(os.sched_getaffinity(0)),
    )
    if config.case:
        serve(config)
        return 0
    with tempfile.TemporaryDirectory(dir=config.work or None) as work:
        config = dataclasses.replace(config, work=work)
        write_shards(config, pathlib.Path(work) / "shards")
        try:
            lines = report(config, native)
        except rounds.RoundsError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("\n".join(lines))
    return 0


def train_config(config: Config) -> TrainConfig:
    """The run that is measured; it never ends, validates or saves."""
    never = 1_000_000_000
    return TrainConfig(
        shards=os.path.join(config.work, "shards"),
        model_dir=os.path.join(config.work, "model"),
        image_size=config.image_size,
        batch_size=config.batch_size,
        precision=config.precision,
        learning_rate=0.001,  # a loss that grows would end the run
        steps=never,
        validate_every=never,
        checkpoint_every=never,
        log_every=_WARM,
        strategy="one_device",
    )


def write_shards(config: Config, directory: pathlib.Path) -> None:
    """Photos with a spectrum like real ones, a cell of its own for each."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    partition = random_partition(config.classes, rng)
    pictures = collection.jpegs([_PHOTO_SIZE], rng)
    files = {}
    for split, photos in (("train", config.photos), ("validation", 16)):
        found = []
        for i in range(photos):
            label = i % partition.num_classes
            at = partition.points[label]
            photo = records.Photo(
                image=next(pictures),
                photo_id=f"{split}-{i}",
                lat=at[0],
                lng=at[1],
                token=partition.token(label),
                label=label,
            )
            found.append(records.frame(records.encode_photo(photo)))
        name = records.file_name(split, 0, 1)
        (directory / name).write_bytes(b"".join(found))
        files[name] = {"photos": photos}
    with (directory / records.PARTITION_FILE).open("w") as file:
        partition_lib.dump(partition, file)
    facts = {
        "format": records.SHARDS_FORMAT,
        "version": records.SHARDS_VERSION,
        "partition_fingerprint": partition.fingerprint,
        "fingerprint": "sha256:benchmark",
        "image_size": 342,
        "files": files,
    }
    (directory / records.SHARDS_FILE).write_text(json.dumps(facts))


def random_partition(
    classes: int, rng: np.random.Generator
) -> partition_lib.Partition:
    """Cells of random places all over the world, one each."""
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, classes)))
    lng = rng.uniform(-180, 180, classes)
    return partition_lib.build(lat, lng, max_photos=1, min_photos=1)


def serve(config: Config) -> None:
    """What one of the measured processes does."""
    from benchmarks import train_step_cases as cases

    train, steps = train_config(config), config.steps
    if config.case == "loop":
        from planet_tf.training import photo_task

        cases.serve_loop(train, photo_task.PhotoTask, _WARM, steps)
    elif config.case == "machine":
        cases.serve_machine(train, config.classes, _precisions(config), steps)
    else:
        if config.case == "fit":
            train = dataclasses.replace(train, precision="float32")
        program = getattr(cases, f"serve_{config.case}")
        program(train, config.classes, _WARM, steps)


def start(config: Config, case: str) -> rounds.Program:
    """Starts one of the measured processes."""
    threads = str(config.threads)
    environment = {
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    print(f"starting {case}", file=sys.stderr)
    if case == "torch":
        options = json.dumps(
            {
                **dataclasses.asdict(config),
                "warm_steps": _WARM,
                "precisions": _precisions(config),
            }
        )
        module = "benchmarks.train_step_torch"
        command = [config.torch_python, "-m", module, options]
    else:
        flags = [
            f"--{name}={getattr(config, name)}"
            for name in (
                *("image_size", "classes", "batch_size", "precision"),
                *("steps", "work"),
            )
        ]
        module = "benchmarks.train_step"
        command = [sys.executable, "-m", module, f"--case={case}", *flags]
    return rounds.Program(command, environment)


def _precisions(config: Config) -> list[str]:
    """What is measured in float32, and in the precision of the loop."""
    return sorted({"float32", config.precision}, reverse=True)


def report(config: Config, native: bool) -> list[str]:
    """Measures everything; the table, and what follows from it."""
    wanted = [c for c in _CASES if c in config.cases]
    if "torch" in wanted and not config.torch_python:
        wanted.remove("torch")
    programs = {}
    try:
        for case in (*wanted, "machine"):
            programs[case] = start(config, case)
        results = rounds.run(_works(config, programs), config.rounds)
    finally:
        for program in programs.values():
            program.close()
    lines = train_step_table.lines(
        results,
        images=config.steps * config.batch_size,
        gflop=programs["machine"].facts["gflop"],
        bfloat16=native and config.precision == "bfloat16",
    )
    lines += [
        f"- batch {config.batch_size}, {config.image_size} pixels,"
        f" {config.classes:,} classes, {config.threads} threads,"
        f" {config.rounds} rounds of {config.steps} steps"
    ]
    if "torch" in config.cases and not config.torch_python:
        lines += ["- no PyTorch: --torch_python=PATH names a Python with it"]
    return lines


def _works(
    config: Config, programs: dict[str, rounds.Program]
) -> dict[str, tuple[rounds.Program, str]]:
    """By case and precision, the program that does it and its name there."""
    works = {}
    for case, program in programs.items():
        if case in ("torch", "machine"):
            for precision in _precisions(config):
                works[f"{case} {precision}"] = program, precision
        else:
            own = "float32" if case == "fit" else config.precision
            works[f"{case} {own}"] = program, "step"
    return works | {"input": (programs["machine"], "input")}


if __name__ == "__main__":
    sys.exit(main())
