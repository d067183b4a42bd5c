"""Answers for a directory of photos, against the bare forward pass.

    python -m benchmarks.predict                          # InceptionV3
    python -m benchmarks.predict --image_size=75 --width=0.25 --photos=4096

In turns, so that a slow minute hits all alike: what planet_tf.predict does
between the model that is loaded and the file that is written, for photo files
of `--sizes`, and the same network on images that are there already, in batches
of the size that is best. The bare pass reads, decodes, scales and writes
nothing: it is the limit.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from benchmarks import measure, rounds
from planet_tf import config_flags
from planet_tf.config_flags import option

_BARE, _PREDICT = "bare forward pass", "planet_tf.predict"


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    image_size: int = option(299, help="of the network", low=75)
    width: float = option(1.0, help="of InceptionV3", low=0.1)
    cells: int = option(5_000, help="of the partition", low=100)
    photos: int = option(256, help="of a turn", low=1)
    sizes: tuple[str, ...] = option(
        ("500x375",), help="widths and heights of the photos' files"
    )
    rounds: int = option(5, help="turns", low=1)
    seconds: float = option(8.0, help="of the bare pass' turns", low=0)
    work: str = option("", help="directory to work in; a new one if not given")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, or the program of its cases."""
    argv = list(sys.argv if argv is None else argv)
    config, case = config_flags.parse(
        Config, argv, usage=__doc__, positional="CASE"
    )
    if case:
        from benchmarks import predict_cases

        predict_cases.serve(config)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        config = dataclasses.replace(config, work=config.work or directory)
        print(text(*compare(config)))
    return 0


def compare(config: Config) -> tuple[dict[str, list[rounds.Result]], int]:
    """Each case's results by round, and the best batch size."""
    flags = [
        f"--{name}={config_flags.text(value)}"
        for name, value in dataclasses.asdict(config).items()
    ]
    program = rounds.Program(
        [sys.executable, "-m", "benchmarks.predict", *flags, "cases"], {}
    )
    try:
        works = {_BARE: (program, "bare"), _PREDICT: (program, "predict")}
        found = rounds.run(works, config.rounds)
        return found, int(program.facts["batch_size"])
    finally:
        program.close()


def text(results: dict[str, list[rounds.Result]], batch_size: int) -> str:
    """The report: medians, and the median of the rounds' ratios."""
    rates = {
        name: {
            clock: np.array([result[clock] for result in found])
            for clock in ("photos_per_second", "photos_per_cpu_second")
        }
        for name, found in results.items()
    }
    rows = [
        (
            name,
            *(float(np.median(own[clock])) for clock in own),
            *(float(np.median(own[c] / rates[_BARE][c])) for c in own),
        )
        for name, own in rates.items()
    ]
    header = (
        *("", "photos/s", "photos/CPU s"),
        *("by the bare pass", "by CPU time"),
    )
    return (
        f"{measure.markdown_table(header, rows)}\n\nBatches of {batch_size} are"
        " best for the bare pass."
    )


if __name__ == "__main__":
    sys.exit(main())
