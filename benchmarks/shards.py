r"""What write_shards costs, against Pillow alone on the same photos.

python -m benchmarks.shards --dir=/tmp/collections

For photos of each size, and for a mix of them, a collection is written once as
a tenth and once as a whole: what a photo costs is the difference in CPU
seconds by the difference in photos, which leaves out starting Python and Beam.
The limit is what decoding, resizing and encoding the photos takes in one
process, by Pillow and without anything else. The table goes to stdout.
"""

import csv
import dataclasses
import io
import pathlib
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import collection, measure
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import partition

_SIZES = ("500x375", "1024x768", "4000x3000")
_PHOTOS_FOR_LIMIT = 100
_PASSES_FOR_LIMIT = 3  # of which the fastest counts
# Rows of the table: what is read, and with which options.
_RUNS = {
    "files": ("photos.csv", ()),
    "files, duplicates kept": ("photos.csv", ("--duplicates=keep",)),
    "tars": ("photos-*.tar", ()),
}
_HEADER = (
    *("photos of", "source", "photos", "limit, photos/s/core"),
    *("write_shards, photos/s/core", "ratio"),
    *("peak memory at 1/10, GB", "peak memory, GB"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of benchmarks.shards."""

    dir: str = option(help="a directory to make, removed at the end")
    megabytes: float = option(500, help="of photos of each size", low=0)
    mixed_megabytes: float = option(3_000, help="of mixed photos", low=0)
    image_size: int = option(342, help="as of write_shards", low=16)
    jpeg_quality: int = option(90, help="as of write_shards", low=1, high=100)
    threads: int = option(4, help="as of write_shards", low=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, _ = config_flags.parse(Config, argv or sys.argv, usage=__doc__)
    cases = [((f"{size}=1",), config.megabytes) for size in _SIZES]
    mixed = next(
        field.default
        for field in dataclasses.fields(collection.Config)
        if field.name == "sizes"
    )
    cases.append((mixed, config.mixed_megabytes))
    rows = []
    for sizes, megabytes in cases:
        try:
            rows += measure_case(config, sizes, megabytes)
        except measure.BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            shutil.rmtree(config.dir, ignore_errors=True)
        print(measure.markdown_table(_HEADER, rows), file=sys.stderr)
    print(measure.markdown_table(_HEADER, rows))
    return 0


def measure_case(
    config: Config, sizes: Sequence[str], megabytes: float
) -> list[list[Any]]:
    """Rows of the table for a mix of sizes."""
    where = pathlib.Path(config.dir)
    used: dict[str, list[measure.Usage]] = {name: [] for name in _RUNS}
    photos = []
    for part in (megabytes / 10, megabytes):
        for tar in (True, False):
            make_collection(where, sizes, part, tar)
            for name, (source, options) in _RUNS.items():
                if source.endswith(".tar") == tar:
                    usage = write_shards(config, where, source, options)
                    used[name].append(usage)
        photos.append(len(list((where / "photos").iterdir())))
    limit = 1 / pillow_seconds(config, where)
    rows = []
    for name, (tenth, whole) in used.items():
        seconds = whole.cpu_seconds - tenth.cpu_seconds
        rate = (photos[1] - photos[0]) / seconds
        memory = tenth.peak_bytes / 1e9, whole.peak_bytes / 1e9
        facts = [", ".join(sizes), name, photos[1], limit]
        rows.append([*facts, rate, rate / limit, *memory])
    return rows


def make_collection(
    where: pathlib.Path, sizes: Sequence[str], megabytes: float, tar: bool
) -> None:
    """Makes a collection, with a partition of all its places.

    In a process of its own: the memory it takes for a large picture would be
    counted as that of the next process that is started.
    """
    shutil.rmtree(where, ignore_errors=True)
    measure.run(
        [
            "benchmarks.collection",
            f"--out={where}",
            f"--megabytes={megabytes}",
            f"--sizes={','.join(sizes)}",
            *(["--tar"] if tar else []),
        ]
    )
    write_partition(where)


def write_partition(where: pathlib.Path) -> None:
    """Makes a partition of the places of a collection."""
    with (where / "photos.csv").open() as file:
        places = [
            (float(row["lat"]), float(row["lng"]))
            for row in csv.DictReader(file)
        ]
    cells = partition.build(*np.array(places).T, max_photos=50, min_photos=1)
    with (where / "partition.json").open("w") as file:
        partition.dump(cells, file)


def write_shards(
    config: Config, where: pathlib.Path, photos: str, options: Sequence[str]
) -> measure.Usage:
    """Runs the program on a collection."""
    return measure.run(
        [
            "beam_pipelines.write_shards",
            f"--photos={where / photos}",
            f"--partition={where / 'partition.json'}",
            f"--out={where / 'shards'}",
            "--overwrite",
            f"--image_size={config.image_size}",
            f"--jpeg_quality={config.jpeg_quality}",
            f"--threads={config.threads}",
            "--runner=FnApiRunner",
            *options,
        ]
    )


def pillow_seconds(config: Config, where: pathlib.Path) -> float:
    """CPU seconds that Pillow needs for a photo of the collection."""
    paths = sorted((where / "photos").iterdir())[:_PHOTOS_FOR_LIMIT]
    seconds = []
    for _ in range(_PASSES_FOR_LIMIT):
        start = time.process_time()
        for path in paths:
            resize(path.read_bytes(), config.image_size, config.jpeg_quality)
        seconds.append(time.process_time() - start)
    return min(seconds) / len(paths)


def resize(data: bytes, image_size: int, quality: int) -> bytes:
    """A JPEG with a short side of `image_size`, in the fewest steps."""
    image = Image.open(io.BytesIO(data))
    scale = image_size / min(image.size)
    size = tuple(round(side * scale) for side in image.size)
    image.draft(None, size)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=quality
    )
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
