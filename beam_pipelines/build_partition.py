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
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.geo import geometry, quadtree, target_cells
from planet_tf.geo import partition as partition_lib
from planet_tf.reports import partition_report

MAX_PHOTOS, MIN_PHOTOS = 10000, 50  # the paper's t1 and t2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.SourceConfig, options.SplitConfig):
    """Options of build_partition."""

    out: str = option(help="the partition, a JSON file")
    max_photos: int | None = option(
        None,
        help="split a cell with more photos (the paper's t1); default 10000",
        low=1,
    )
    min_photos: int | None = option(
        None,
        help="drop a cell with fewer photos (the paper's t2); default 50, and"
        " with --target_cells a 200th of the t1 that is found, as in the paper",
        low=1,
    )
    target_cells: int | None = option(
        None,
        help="instead of --max_photos: find the t1 whose number of cells is"
        " nearest to this",
        low=1,
    )
    max_level: int = option(
        20, help="never split below this S2 level (20: 8 m)", low=0, high=30
    )
    train_only: bool = option(
        False,
        help="make cells of the photos of the training split alone; give the"
        " same --split_seed and fractions to write_shards. Cells and their"
        " points then know nothing of the photos that a model is tested on",
    )
    other_class: bool = option(
        False, help="make label 0 a class for photos outside all cells"
    )
    coarse_level: int = option(
        6,
        help="S2 level of the pieces that workers handle; changes no result,"
        " 8 spreads billions of photos better",
        low=0,
        high=12,
    )

    def __post_init__(self) -> None:
        self.check_split()
        if self.target_cells and self.max_photos:
            raise config_flags.UsageError(
                "--target_cells finds --max_photos: give only one of them"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines.rejects import TooManyRejects
    from planet_tf.photos.manifests import SourceError

    try:
        lines = build(config, beam_options)
    except (
        SourceError,
        TooManyRejects,
        partition_lib.PartitionError,
        target_cells.TargetError,
        options.RunError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def build(config: Config, beam_options: Any) -> list[str]:
    """Writes the partition and the rejects; returns a summary."""
    from beam_pipelines import files, rejects, sources, transforms

    # Of what photos belong to, only a whole manifest tells.
    sources.check_source(config.source(), with_images=config.train_only)
    out = files.full_path(config.out)
    result_path = out + ".result" + files.INCOMPLETE
    options.run(pipeline(config, beam_options, out, result_path))
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    counts = result["rejects"]
    leaves, hottest = transforms.leaves_from_json(result)
    number = int(leaves.counts.sum()) + sum(counts.values())
    rejects.check_fraction(counts, number, config.max_reject_fraction)
    partition = make_partition(config, leaves, counts)
    text = io.StringIO()
    partition_lib.dump(partition, text)
    files.write(out, text.getvalue().encode())
    return [
        *target_lines(config, partition),
        *summary_lines(partition, counts),
        *hot_spot_lines(partition, hottest),
        f"fingerprint {partition.fingerprint}",
        f"written to {out}",
    ]


def make_partition(
    config: Config, leaves: quadtree.CellTable, rejects: Mapping[str, int]
) -> partition_lib.Partition:
    """The partition of the pipeline's leaves."""
    max_photos, min_photos = thresholds(config, leaves)
    made_by: dict[str, Any] = {
        "program": "planet_tf build_partition",
        "code_version": planet_tf.__version__,
        "rejects": rejects,
    }
    if config.train_only:
        made_by[partition_lib.TRAIN_SPLIT] = config.split_rule()
    if config.target_cells:
        made_by["target_cells"] = config.target_cells
    return partition_lib.from_leaves(
        quadtree.coarsen(leaves, max_photos),
        max_photos=max_photos,
        min_photos=min_photos,
        max_level=config.max_level,
        other_class=config.other_class,
        made_by=made_by,
    )


def thresholds(config: Config, leaves: quadtree.CellTable) -> tuple[int, int]:
    """The paper's t1 and t2, given or found."""
    if not config.target_cells:
        max_photos = config.max_photos or MAX_PHOTOS
        return max_photos, config.min_photos or MIN_PHOTOS
    max_photos = target_cells.choose_max_photos(
        leaves, config.target_cells, config.min_photos, config.max_level
    )
    lowest = target_cells.min_photos_for(max_photos)
    return max_photos, config.min_photos or lowest


def pipeline(
    config: Config, beam_options: Any, out: str, result_path: str
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import files, rejects, sources, splits, transforms

    p = beam.Pipeline(options=beam_options)
    source = p | sources.ReadPhotos(
        config.source(), with_images=config.train_only
    )
    counts = source.rejects | rejects.WriteRejects(rejects_prefix(out))
    photos = source.photos
    if config.train_only:
        photos |= "training split" >> beam.Map(
            splits.only, splits.TRAIN, config.fractions(), config.split_seed
        )  # Photos
    _ = (
        photos
        | transforms.PartitionLeaves(
            config.max_photos or MAX_PHOTOS,
            config.max_level,
            config.coarse_level,
            config.target_cells,
        )  # Leaves
        | beam.Map(transforms.leaves_to_json, beam.pvalue.AsSingleton(counts))
        | beam.Map(files.write_json, result_path)
    )
    return p


def rejects_prefix(out: str) -> str:
    """The path of the rejects, beside the partition."""
    directory, slash, name = out.rpartition("/")
    return f"{directory}{slash}rejects-{name.removesuffix('.json')}"


def target_lines(
    config: Config, partition: partition_lib.Partition
) -> Iterator[str]:
    """What was found for --target_cells."""
    if config.target_cells:
        cells = len(partition.tokens)
        off = cells / config.target_cells - 1
        yield (
            f"nearest to {config.target_cells:,} cells are {cells:,}"
            f" ({off:+.1%}), of --max_photos={partition.max_photos}"
            f" --min_photos={partition.min_photos}"
        )


def summary_lines(
    partition: partition_lib.Partition, counts: Mapping[str, int]
) -> Iterator[str]:
    """What was made, for people."""
    kept, bad = sum(partition.photos), sum(counts.values())
    what = "photos read"
    if partition_lib.TRAIN_SPLIT in partition.made_by:
        what = "photos read in the training split, and bad ones in all"
    yield f"{kept + partition.dropped + bad:,} {what}"
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
    parameters = partition_report.head_parameters(partition.num_classes)
    yield (
        f"a model's head for {partition.num_classes:,} classes has"
        f" {parameters:,} parameters ({parameters * 4 / 1e6:,.1f} MB)"
    )


def hot_spot_lines(
    partition: partition_lib.Partition, hottest: quadtree.CellTable
) -> Iterator[str]:
    """Cells that the level cap kept from being split, and why."""
    over, level = partition.over_max_photos, partition.max_level
    if not over or level is None:
        return
    yield (
        f"{len(over):,} cells have more than {partition.max_photos:,}"
        f" photos, because of --max_level={level}:"
        f" {', '.join(over[:5])}{' ...' if over[5:] else ''}"
    )
    yield "the places (2 m wide) with the most photos there:"
    total = sum(partition.photos) + partition.dropped
    inside = geometry.parents(hottest.ids, level)
    hottest = hottest.take(np.isin(inside, geometry.from_tokens(over)))
    points = geometry.from_vectors(hottest.sums)
    for row in np.argsort(-hottest.counts, kind="stable"):
        n, (lat, lng) = hottest.counts[row], points[row]
        yield f"  {n:,} ({n / total:.2%}) at lat {lat:.5f}, lng {lng:.5f}"


if __name__ == "__main__":
    sys.exit(main())
