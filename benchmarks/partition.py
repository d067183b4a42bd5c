r"""Measures the partition of many points, by all the ways to make it.

python -m benchmarks.partition --points=1000000,10000000,91000000

Points are drawn around real photo coordinates and written as Parquet files;
every case reads them in a fresh process. The two yardsticks do the same for
fewer points: a loop over s2geometry, one point at a time, and the pipeline
one would write first, an element a photo.
"""

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks import measure
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import geometry, quadtree
from planet_tf.geo import partition as partition_lib

_CASES = ("draw", "direct", "leaf_ids", "per_element")
_HEADER = ("case", "points", "CPU s", "CPU us/point", "wall s", "peak GB")
_PER_POINT = 3
_FILES = 8
_ROWS_PER_BATCH = 1 << 16
_THRESHOLDS = {"max_photos": 10000, "min_photos": 50, "max_level": 20}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the benchmark."""

    points: tuple[int, ...] = option(
        (1_000_000, 10_000_000, 91_000_000), help="how many points", low=1
    )
    slow_points: int = option(
        1_000_000, help="how many points for the yardsticks", low=1
    )
    coordinates: str = option(
        "",
        help="CSV with columns LAT, LON to draw points around; by default the"
        " 100,000 of the package geoclip",
    )
    work: str = option("", help="directory for the points; default temporary")
    case: str = option(
        "", help="used by the benchmark itself", choices=("", *_CASES)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    if config.case:
        run_case(config)
        return 0
    try:
        with contextlib.ExitStack() as stack:
            work = config.work or stack.enter_context(
                tempfile.TemporaryDirectory()
            )
            return report(config, pathlib.Path(work))
    except (measure.BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def report(config: Config, work: pathlib.Path) -> int:
    """Measures everything and prints it; 1 if results differ."""
    coordinates = config.coordinates or str(geoclip_coordinates())
    rows, equal = [], []
    for points in config.points:
        folder = work / f"points-{points}"
        direct, beam = _measure(points, coordinates, folder)
        rows += [
            _row("direct", points, direct),
            _row("Beam, batches", points, beam),
        ]
        equal.append(_same(folder / "direct.json", folder / "beam.json"))
    points, folder = config.slow_points, work / "yardsticks"
    _run_case("draw", points, coordinates, folder)
    _run_case("direct", points, coordinates, folder)
    naive = _run_case("per_element", points, coordinates, folder)
    rows.append(_row("Beam, an element a photo", points, naive))
    equal.append(_same(folder / "direct.json", folder / "per_element.json"))
    leaves = _run_case("leaf_ids", points, coordinates, folder)
    ids = json.loads(leaves.output)
    print("\n".join(_lines(rows, ids, points, all(equal))))
    return 0 if ids["equal"] and all(equal) else 1


def _measure(
    points: int, coordinates: str, folder: pathlib.Path
) -> tuple[measure.Usage, measure.Usage]:
    """The direct path and the Beam path on the same points."""
    _run_case("draw", points, coordinates, folder)
    direct = _run_case("direct", points, coordinates, folder)
    beam = measure.run(
        [
            "beam_pipelines.build_partition",
            f"--photos={folder}/*.parquet",
            f"--out={folder}/beam.json",
            "--runner=FnApiRunner",
        ]
    )
    return direct, beam


def _lines(
    rows: list[list], ids: dict[str, float], points: int, equal: bool
) -> Iterator[str]:
    """The table, and what follows from it."""
    yield measure.markdown_table(_HEADER, rows)
    yield ""
    times = rows[-1][_PER_POINT] / rows[-2][_PER_POINT]
    yield f"- Beam, batches: {times:.0f} times less CPU a point than elements"
    yield (
        f"- leaf ids: {ids['loop'] / ids['numpy']:.1f} times less CPU than the"
        f" loop over s2geometry ({1e9 * ids['numpy'] / points:.0f} and"
        f" {1e9 * ids['loop'] / points:.0f} ns a point)"
    )
    yield f"- leaf ids are bit-exact: {_yes(ids['equal'])}"
    yield f"- all ways give one partition: {_yes(equal)}"


def _run_case(
    case: str, points: int, coordinates: str, folder: pathlib.Path
) -> measure.Usage:
    return measure.run(
        [
            "benchmarks.partition",
            f"--case={case}",
            f"--points={points}",
            f"--coordinates={coordinates}",
            f"--work={folder}",
        ]
    )


def _row(case: str, points: int, used: measure.Usage) -> list:
    return [
        case,
        points,
        used.cpu_seconds,
        1e6 * used.cpu_seconds / points,
        used.wall_seconds,
        used.peak_bytes / 1e9,
    ]


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two files hold the same partition, whoever made it."""
    partitions = []
    for path in (one, other):
        with path.open() as file:
            partition = partition_lib.load(file)
        partitions.append(dataclasses.replace(partition, made_by={}))
    return partitions[0] == partitions[1]


def _yes(fact: bool) -> str:
    return "yes" if fact else "NO"


def geoclip_coordinates() -> pathlib.Path:
    """The package's file of 100,000 photo coordinates; it is not imported."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        raise FileNotFoundError(
            "no package geoclip: give a CSV file with columns LAT, LON by"
            " --coordinates, or pip install --no-deps geoclip"
        )
    folder = pathlib.Path(spec.submodule_search_locations[0])
    return folder / "model" / "gps_gallery" / "coordinates_100K.csv"


def run_case(config: Config) -> None:
    """What one of the measured processes does."""
    folder = pathlib.Path(config.work)
    if config.case == "draw":
        draw(config.points[0], config.coordinates, folder)
    elif config.case == "direct":
        _write(
            partition_lib.build_from_batches(read(folder), **_THRESHOLDS),
            folder / "direct.json",
        )
    elif config.case == "leaf_ids":
        print(json.dumps(compare_leaf_ids(folder)))
    else:
        _write(per_element(folder), folder / "per_element.json")


def draw(points: int, coordinates: str, folder: pathlib.Path) -> None:
    """Writes points around real coordinates, from metres to 10 km off."""
    table = pa.csv.read_csv(coordinates)
    centres = np.stack([table["LAT"].to_numpy(), table["LON"].to_numpy()], -1)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for file in range(_FILES):
        end = points * (file + 1) // _FILES
        count = end - points * file // _FILES
        schema = pa.schema([("lat", pa.float64()), ("lng", pa.float64())])
        path = folder / f"points-{file}.parquet"
        with pa.parquet.ParquetWriter(path, schema) as writer:
            for start in range(0, count, 1 << 20):
                rows = min(1 << 20, count - start)
                lat, lng = around(centres, rows, rng).T
                writer.write_table(pa.table([lat, lng], schema))


def around(
    centres: np.ndarray, rows: int, rng: np.random.Generator
) -> np.ndarray:
    """Points (rows, 2) from metres to 10 km off centres (n, 2)."""
    degrees = 10 ** rng.uniform(-5, -1, (rows, 1))
    found = centres[rng.integers(0, len(centres), rows)]
    found += rng.normal(size=(rows, 2)) * degrees
    found[:, 0] = np.clip(found[:, 0], -90, 90)
    found[:, 1] = geometry.wrap_lng(found[:, 1])
    return found


def read(folder: pathlib.Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of lat, lng."""
    for path in sorted(folder.glob("*.parquet")):
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_PER_BATCH, use_threads=False):
                yield batch["lat"].to_numpy(), batch["lng"].to_numpy()


def _write(partition: partition_lib.Partition, path: pathlib.Path) -> None:
    with path.open("w") as file:
        partition_lib.dump(partition, file)


def compare_leaf_ids(folder: pathlib.Path) -> dict[str, float | bool]:
    """CPU seconds of the loop and of ours, and whether the ids are equal."""
    import s2geometry as s2

    lat, lng = map(np.concatenate, zip(*read(folder), strict=True))
    pairs = list(zip(lat.tolist(), lng.tolist(), strict=True))
    start = time.process_time()
    loop = [s2.S2CellId(s2.S2LatLng.FromDegrees(*p)).id() for p in pairs]
    middle = time.process_time()
    ids = geometry.leaf_ids(lat, lng)
    return {
        "loop": middle - start,
        "numpy": time.process_time() - middle,
        "equal": bool((ids == np.array(loop, np.uint64)).all()),
    }


def per_element(folder: pathlib.Path) -> partition_lib.Partition:
    """The partition by the pipeline that one would write first."""
    import apache_beam as beam
    import s2geometry as s2

    level = quadtree.histogram_level(_THRESHOLDS["max_level"])

    def token(row: dict[str, float]) -> tuple[str, int]:
        point = s2.S2LatLng.FromDegrees(row["lat"], row["lng"])
        return s2.S2CellId(point).parent(level).ToToken(), 1

    prefix = str(folder / "counts")
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromParquet(f"{folder}/*.parquet")
            | beam.Map(token)
            | beam.CombinePerKey(sum)
            | beam.MapTuple(lambda cell, photos: f"{cell} {photos}")
            | beam.io.WriteToText(prefix, num_shards=1)
        )
    [path] = folder.glob("counts-*")
    pairs = sorted(line.split() for line in path.read_text().splitlines())
    tokens, counts = zip(*pairs, strict=True)
    cells = np.array([int(t.ljust(16, "0"), 16) for t in tokens], np.uint64)
    leaves = quadtree.grow(
        cells,
        np.array(counts, np.int64),
        _THRESHOLDS["max_photos"],
        _THRESHOLDS["max_level"],
    )
    return partition_lib.from_leaves(leaves, **_THRESHOLDS)


if __name__ == "__main__":
    sys.exit(main())
