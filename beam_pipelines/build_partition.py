r"""Builds PlaNet's adaptive partition of the Earth from geotagged photos.

python -m beam_pipelines.build_partition --photos=photos.csv \
    --out=partition.json --max_photos=10000 --min_photos=50
"""

import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import planet_tf
from beam_pipelines import options
from planet_tf import geometry
from planet_tf import partition as partition_lib
from planet_tf.config_flags import option


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of build_partition."""

    photos: str = option(
        help="CSV or Parquet with columns lat, lng; or a directory or glob of"
        " JPEG files with a position in their EXIF"
    )
    out: str = option(help="the partition, a JSON file")
    max_photos: int = option(
        10000, help="split a cell with more photos (the paper's t1)", low=1
    )
    min_photos: int = option(
        50, help="drop a cell with fewer photos (the paper's t2)", low=1
    )
    max_level: int = option(
        20, help="never split below this S2 level (20: 8 m)", low=0, high=30
    )
    other_class: bool = option(
        False, help="make label 0 a class for photos outside all cells"
    )
    coarse_level: int = option(
        4,
        help="S2 level of the pieces that workers handle; changes no result,"
        " 6 to 8 spreads billions of photos better",
        low=0,
        high=12,
    )
    max_reject_fraction: float = option(
        0.05, help="fail if more of the photos are bad", low=0, high=1
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines.manifests import SourceError
    from beam_pipelines.rejects import TooManyRejects

    try:
        lines = build(config, beam_options)
    except (
        SourceError,
        TooManyRejects,
        partition_lib.PartitionError,
        options.RunError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def build(config: Config, beam_options: Any) -> list[str]:
    """Writes the partition and the rejects; returns a summary."""
    from beam_pipelines import files, photos, rejects, transforms

    photos.check_source(config.photos, with_images=False)
    out = files.full_path(config.out)
    result_path = out + ".result" + files.INCOMPLETE
    options.run(pipeline(config, beam_options, out, result_path))
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    counts = result["rejects"]
    number = sum(result["photos"]) + sum(counts.values())
    rejects.check_fraction(counts, number, config.max_reject_fraction)
    partition = partition_lib.from_leaves(
        transforms.leaves_from_json(result),
        max_photos=config.max_photos,
        min_photos=config.min_photos,
        max_level=config.max_level,
        other_class=config.other_class,
        made_by={
            "program": "planet_tf build_partition",
            "code_version": planet_tf.__version__,
            "rejects": counts,
        },
    )
    text = io.StringIO()
    partition_lib.dump(partition, text)
    files.write(out, text.getvalue().encode())
    return list(summary_lines(partition, counts, out))


def pipeline(
    config: Config, beam_options: Any, out: str, result_path: str
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import files, photos, rejects, transforms

    p = beam.Pipeline(options=beam_options)
    source = p | photos.ReadPhotos(config.photos, with_images=False)
    counts = source.rejects | rejects.WriteRejects(rejects_prefix(out))
    _ = (
        source.photos
        | transforms.PartitionLeaves(
            config.max_photos, config.max_level, config.coarse_level
        )  # CellTable
        | beam.Map(transforms.leaves_to_json, beam.pvalue.AsSingleton(counts))
        | beam.Map(files.write_json, result_path)
    )
    return p


def rejects_prefix(out: str) -> str:
    """The path of the rejects, beside the partition."""
    directory, slash, name = out.rpartition("/")
    return f"{directory}{slash}rejects-{name.removesuffix('.json')}"


def summary_lines(
    partition: partition_lib.Partition, counts: Mapping[str, int], out: str
) -> Iterator[str]:
    """What was made, for people."""
    kept, bad = sum(partition.photos), sum(counts.values())
    yield f"{kept + partition.dropped + bad:,} photos read"
    yield f"  {kept:,} kept in {len(partition.tokens):,} cells"
    yield (
        f"  {partition.dropped:,} dropped, in cells with fewer than"
        f" {partition.min_photos}"
    )
    yield f"  {bad:,} rejected"
    yield from (f"    {n:,} {reason}" for reason, n in counts.items())
    levels, cells = np.unique(
        geometry.levels(partition.ids), return_counts=True
    )
    pairs = zip(levels.tolist(), cells.tolist(), strict=True)
    yield "cells by level: " + ", ".join(f"{n:,} at {k}" for k, n in pairs)
    over = partition.over_max_photos
    if over:
        yield (
            f"{len(over):,} cells have more than {partition.max_photos:,}"
            f" photos, because of --max_level={partition.max_level}:"
            f" {', '.join(over[:5])}{' ...' if over[5:] else ''}"
        )
    yield f"fingerprint {partition.fingerprint}"
    yield f"written to {out}"


if __name__ == "__main__":
    sys.exit(main())
