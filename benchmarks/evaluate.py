r"""What evaluating a file of predictions costs: time and memory.

python -m benchmarks.evaluate --dir=/tmp/predictions \
    --coordinates=places.csv --photos=1000000

Makes a truth of places around real coordinates, a partition of them and five
ranked cells for each photo, some of them right, as predictions.jsonl and as a
wide CSV. Each is evaluated by `python -m planet_tf.evaluate` in a process of
its own, with intervals, countries, calibration and the ceiling. Beside it is
what pyarrow takes to read the same file and do nothing with it.
"""

import dataclasses
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from benchmarks import measure
from benchmarks.partition import around
from planet_tf import config_flags
from planet_tf.answering import metrics
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib

_FILES = ("predictions.jsonl", "predictions.csv")
_HEADER = (
    *("file", "MB", "photos", "cells", "seconds", "CPU seconds"),
    *("photos/s", "peak memory, GB", "reading alone, CPU seconds"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of benchmarks.evaluate."""

    dir: str = option(help="a directory to make, removed at the end")
    coordinates: str = option(
        help="CSV of real places with columns LAT and LON"
    )
    photos: int = option(1_000_000, help="predictions", low=100)
    cells: int = option(26_263, help="about, of the partition", low=10)
    read: str = option("", help="only read this file: what the limit is")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    if config.read:
        read(config.read)
        return 0
    where = pathlib.Path(config.dir)
    where.mkdir(parents=True)
    try:
        partition = make(config, where)
        rows = [_row(config, where, name, partition) for name in _FILES]
    except measure.BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(where, ignore_errors=True)
    print(measure.markdown_table(_HEADER, rows))
    return 0


def make(config: Config, where: pathlib.Path) -> partition_lib.Partition:
    """Writes the truth, the partition and both files of predictions."""
    rng = np.random.default_rng(0)
    table = pa.csv.read_csv(config.coordinates)
    centres = np.stack([table["LAT"].to_numpy(), table["LON"].to_numpy()], -1)
    truth = around(centres, config.photos, rng)
    partition = partition_lib.build(
        *truth.T,
        # Splitting leaves cells about a third full.
        max_photos=max(2, round(2.8 * config.photos / config.cells)),
        min_photos=1,
    )
    with (where / "partition.json").open("w") as file:
        partition_lib.dump(partition, file)
    ids = [f"{i:08x}.jpg" for i in range(config.photos)]
    columns = {"id": ids, "lat": truth[:, 0], "lng": truth[:, 1]}
    pa.csv.write_csv(pa.table(columns), where / "truth.csv")
    own = partition.labels(*truth.T)
    cells, shares = _answers(own, len(partition.tokens), rng)
    _write_jsonl(where / _FILES[0], partition, ids, cells, shares)
    for k in range(metrics.TOP):
        points = partition.latlng[cells[:, k]]
        tokens = np.array(partition.tokens)[cells[:, k]]
        found = (*points.T, shares[:, k], tokens)
        names = ("lat", "lng", "probability", "token")
        columns |= {
            f"{name}_{k + 1}": values
            for name, values in zip(names, found, strict=True)
        }
    del columns["lat"], columns["lng"]
    pa.csv.write_csv(pa.table(columns), where / _FILES[1])
    return partition


def _answers(
    own: np.ndarray, cells: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Five different cells of each photo with falling probabilities.

    Four in five photos have their own among them, or one near it in S2 order.
    """
    near = own + rng.integers(-3, 4, len(own))
    first = np.where(rng.random(len(own)) < 0.8, near, rng.integers(cells))
    step = rng.integers(1, max(2, cells // 8), len(own))
    found = (first[:, None] + step[:, None] * np.arange(metrics.TOP)) % cells
    found = rng.permuted(found, axis=1)
    shares = np.sort(rng.dirichlet(np.full(8, 0.5), len(own)), axis=1)
    return found, shares[:, ::-1][:, : metrics.TOP].round(6)


def _write_jsonl(
    path: pathlib.Path,
    partition: partition_lib.Partition,
    ids: Sequence[str],
    cells: np.ndarray,
    shares: np.ndarray,
) -> None:
    """As planet_tf.evaluate writes its predictions."""
    with path.open("w") as file:
        for photo_id, own, of_own in zip(ids, cells, shares, strict=True):
            answers = [
                {
                    "token": partition.tokens[cell],
                    "probability": float(share),
                    "lat": partition.points[cell][0],
                    "lng": partition.points[cell][1],
                }
                for cell, share in zip(own, of_own, strict=True)
            ]
            line = {"photo_id": photo_id, "cells": answers}
            file.write(json.dumps(line) + "\n")


def _row(
    config: Config,
    where: pathlib.Path,
    name: str,
    partition: partition_lib.Partition,
) -> list:
    path = where / name
    used = measure.run(
        [
            "planet_tf.evaluate",
            f"--predictions={path}",
            f"--truth={where / 'truth.csv'}",
            f"--partition={where / 'partition.json'}",
            f"--out={where / 'report'}",
        ]
    )
    report = json.loads((where / "report" / "report.json").read_text())
    if report["photos"] != config.photos:
        raise measure.BenchmarkError(f"{report['photos']} photos evaluated")
    limit = measure.run(
        [
            "benchmarks.evaluate",
            f"--dir={where}",
            f"--coordinates={config.coordinates}",
            f"--read={path}",
        ]
    )
    return [
        *(name, path.stat().st_size / 1e6, config.photos),
        *(len(partition.tokens), used.wall_seconds, used.cpu_seconds),
        *(config.photos / used.wall_seconds, used.peak_bytes / 1e9),
        limit.cpu_seconds,
    ]


def read(path: str) -> None:
    """Reads a file into memory."""
    if path.endswith(".csv"):
        pa.csv.read_csv(path)
    else:
        pa.json.read_json(path)


if __name__ == "__main__":
    sys.exit(main())
