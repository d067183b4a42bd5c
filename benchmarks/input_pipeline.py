r"""How fast photos become batches, against the fastest libraries.

python -m benchmarks.input_pipeline

Shards of photos are made, and planet_tf.data.input_pipeline.training_batches
decodes, randomly crops and scales them to float32 batches, in turns with two
others on the same JPEG files, with as many threads as there are CPUs:
simplejpeg and OpenCV, which do the same to files held in memory, and
libjpeg-turbo through simplejpeg, which only decodes them. Needs the extra
`bench`. The table goes to stdout; two minutes.
"""

import dataclasses
import importlib.util
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import collection, measure, rounds
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.options.train_config import TrainConfig
from planet_tf.photos import records

_OURS = "training_batches"
_LIBRARY = "simplejpeg, OpenCV"
_DECODE = "decoding alone"
# What each row of the table is, and the process that does it.
_CASES = {
    _OURS: "ours",
    f"{_OURS}, --color_jitter=0.2": "jitter",
    _LIBRARY: "library",
    f"{_LIBRARY}, fast decoding": "library",
    _DECODE: "library",
    f"{_DECODE}, fast decoding": "library",
}
# Least share of each one's speed, by CPU time.
_GOALS = {_LIBRARY: 0.8, _DECODE: 0.6}
_HEADER = (
    *("photos", "case", "images/s, best", "images/s per core"),
    *("of simplejpeg and OpenCV", "of decoding alone"),
)
_IMAGE_SIZE = 299
_BATCH = 32
_FILES = 2
# Batches at the start of a turn that are not counted: some were made while
# others had theirs.
_WARM = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the benchmark."""

    sizes: tuple[str, ...] = option(
        ("640x480", "456x342"), help="widths and heights of the photos"
    )
    photos: int = option(512, help="of each size", low=_BATCH)
    batches: int = option(16, help="of 32 images, in a turn", low=1)
    rounds: int = option(7, help="turns of every case", low=1)
    case: str = option("", help="used by the benchmark itself")
    work: str = option("", help="directory for shards; default: temporary")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    if config.case:
        serve(config)
        return 0
    for module in ("simplejpeg", "cv2"):
        if not importlib.util.find_spec(module):
            print(
                f"error: {module} is missing: pip install 'planet-tf[bench]'",
                file=sys.stderr,
            )
            return 1
    rows: list[list] = []
    verdicts: list[str] = []
    with tempfile.TemporaryDirectory(dir=config.work or None) as work:
        for size in config.sizes:
            try:
                results = measure_size(config, size, f"{work}/{size}")
            except rounds.RoundsError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            rows += table_rows(size, results)
            verdicts += table_verdicts(size, results)
    print(measure.markdown_table(_HEADER, rows))
    print("", *verdicts, sep="\n")
    return 0


def measure_size(
    config: Config, size: str, directory: str
) -> dict[str, list[rounds.Result]]:
    """Results of every case, for photos of a size."""
    write_shards(pathlib.Path(directory), size, config.photos)
    programs: dict[str, rounds.Program] = {}
    try:
        for name in dict.fromkeys(_CASES.values()):
            command = [
                *(sys.executable, "-m", "benchmarks.input_pipeline"),
                *(f"--case={name}", f"--work={directory}"),
                f"--batches={config.batches}",
            ]
            programs[name] = rounds.Program(command, {})
        works = {case: (programs[name], case) for case, name in _CASES.items()}
        return rounds.run(works, config.rounds)
    finally:
        for program in programs.values():
            program.close()


def write_shards(directory: pathlib.Path, size: str, photos: int) -> None:
    """Writes record files of photos."""
    directory.mkdir()
    pictures = collection.jpegs([size], np.random.default_rng(0))
    for file in range(_FILES):
        found = []
        for i in range(photos * file // _FILES, photos * (file + 1) // _FILES):
            photo = records.Photo(next(pictures), str(i), 0.0, 0.0, "1", 0)
            found.append(records.frame(records.encode_photo(photo)))
        name = f"{records.file_name('train', file, _FILES)}-{len(found)}"
        (directory / name).write_bytes(b"".join(found))


def read_shards(directory: str) -> Any:
    """The shards that `write_shards` wrote, without a partition."""
    from planet_tf.data import data_dirs

    files = [
        (str(path), int(path.name.rpartition("-")[2]))
        for path in sorted(pathlib.Path(directory).iterdir())
    ]
    size = min(map(int, pathlib.Path(directory).name.split("x")))
    return data_dirs.Shards(
        directory=directory,
        partition=None,
        fingerprint="",
        files={"train": tuple(files)},
        image_size=size,
        split_rule=None,
    )


def table_rows(
    size: str, results: Mapping[str, Sequence[rounds.Result]]
) -> Iterator[list]:
    """A row for each case."""
    for case, found in results.items():
        yield [
            size,
            case,
            max(x["images"] / x["seconds"] for x in found),
            max(x["images"] / x["cpu_seconds"] for x in found),
            *(share(results, case, other) for other in _GOALS),
        ]


def table_verdicts(
    size: str, results: Mapping[str, Sequence[rounds.Result]]
) -> Iterator[str]:
    """Whether the goals are met."""
    for other, goal in _GOALS.items():
        found = share(results, _OURS, other)
        verdict = "met" if found >= goal else "missed"
        yield (
            f"{size}: {_OURS} at {found:.2f} of {other}; goal {goal}: {verdict}"
        )


def share(
    results: Mapping[str, Sequence[rounds.Result]], case: str, other: str
) -> float:
    """Speed of a case by another one's, by CPU time, median of the rounds."""
    return statistics.median(
        theirs["cpu_seconds"] / ours["cpu_seconds"]
        for ours, theirs in zip(results[case], results[other], strict=True)
    )


def serve(config: Config) -> None:
    """One of the processes."""
    if config.case == "library":
        rounds.serve(library_works(config))
    else:
        rounds.serve(our_works(config))


def our_works(config: Config) -> dict[str, Callable[[], rounds.Result]]:
    """What the processes with TensorFlow do."""
    import tensorflow as tf

    from planet_tf.data import input_pipeline

    options = TrainConfig(
        shards=config.work,
        model_dir="",
        image_size=_IMAGE_SIZE,
        batch_size=_BATCH,
        color_jitter=0.2 if config.case == "jitter" else 0,
        shuffle_buffer=16 * _BATCH,
    )
    batches = iter(
        input_pipeline.training_batches(
            read_shards(config.work),
            options,
            first_step=0,
            context=tf.distribute.InputContext(1, 0, 1),
        )
    )
    turn = timed(lambda: next(batches), config.batches)
    return {case: turn for case, name in _CASES.items() if name == config.case}


def library_works(config: Config) -> dict[str, Callable[[], rounds.Result]]:
    """What the process with simplejpeg and OpenCV does."""
    from benchmarks import input_pipeline_library as library

    makers = library.makers(
        library.read_jpegs(read_shards(config.work)), _IMAGE_SIZE, _BATCH
    )
    cases = [case for case, name in _CASES.items() if name == "library"]
    return {
        case: timed(make, config.batches)
        for case, make in zip(cases, makers, strict=True)
    }


def timed(
    make: Callable[[], object], batches: int
) -> Callable[[], rounds.Result]:
    """A turn of some batches, of which the first are not counted."""

    def turn() -> rounds.Result:
        for _ in range(_WARM):
            make()
        start, cpu = time.monotonic(), cpu_seconds()
        for _ in range(batches):
            make()
        return {
            "images": batches * _BATCH,
            "seconds": time.monotonic() - start,
            "cpu_seconds": cpu_seconds() - cpu,
        }

    return turn


def cpu_seconds() -> float:
    """Of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
