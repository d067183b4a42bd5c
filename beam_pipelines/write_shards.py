r"""Writes photos and their cells as record files for training.

python -m beam_pipelines.write_shards --photos=photos.csv \
    --partition=partition.json --out=shards

Finished shards are not written again while the options and the files of
--photos are the same, by their names, sizes and times. Of a manifest that is
the manifest itself: images that it names are not looked at.
"""

import dataclasses
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines import options
from planet_tf.config_flags import UsageError, option
from planet_tf.geo import partition as partition_lib
from planet_tf.photos import images, records

# Photos of a shard, in all splits: a file with few is slow to open for what
# it holds, and one with many is long to write and leaves workers idle.
_FEW_PHOTOS, _GOOD_PHOTOS, _MANY_PHOTOS = 50, 1_000, 5_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.SourceConfig, options.SplitConfig):
    """Options of write_shards."""

    partition: str = option(help="the partition, made by build_partition")
    out: str = option(help="the directory of the record files")
    shards: int = option(16, help="record files of each split", low=1)
    duplicates: str = option(
        "drop",
        help="photos with the same bytes, metadata aside: drop all but one of"
        " them, so that none is in two splits, or keep them; to find them"
        " every image is read twice",
        choices=("drop", "keep"),
    )
    # Training crops half to all of a photo's area. Of 342 pixels a crop has
    # 242 to 342, in the mean about the 299 that it is scaled to.
    image_size: int = option(
        342,
        help="short side of photos that are larger, in pixels; 342 leaves a"
        " margin for crops of the 299 that InceptionV3 was made for; 0: photos"
        " keep their size, and upright JPEGs their bytes",
        low=0,
    )
    jpeg_quality: int = option(
        images.QUALITY,
        help="of photos that are encoded again; their chroma is 4:2:0",
        low=1,
        high=100,
    )
    min_side: int = option(
        images.Limits.min_side,
        help="photos with a shorter side are left out, in pixels",
        low=1,
    )
    max_pixels: int = option(
        images.Limits.max_pixels,
        help="photos with more pixels are left out",
        low=1,
    )
    threads: int = option(
        4, help="photos that a worker reads and decodes at once", low=1
    )
    overwrite: bool = option(False, help="replace finished shards in --out")

    def __post_init__(self) -> None:
        self.check_split()
        if 0 < self.image_size < self.min_side:
            raise UsageError(
                f"--image_size is {self.image_size}, below --min_side, which"
                f" is {self.min_side}; 0 keeps the photos' size"
            )

    def content(self) -> dict[str, Any]:
        """The options that say what is in the files, for shards.json."""
        return self.content_without("partition", "threads", "overwrite")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines import shards_dir

    return options.run_program(
        lambda: write(config, beam_options), shards_dir.ShardsError
    )


def write(config: Config, beam_options: Any) -> list[str]:
    """Writes the whole directory; returns a summary of it."""
    from beam_pipelines import files, record_jobs, shards_dir, sources, splits

    out = files.full_path(config.out)
    partition_file = files.read(files.full_path(config.partition))
    partition = partition_lib.load(
        io.StringIO(partition_file.decode(errors="replace"))
    )
    sources.check_source(config.source())
    made_of = {
        "partition_fingerprint": partition.fingerprint,
        "source_fingerprint": shards_dir.source_fingerprint(
            config.source(), out
        ),
    }
    check_train_split(config, partition)
    workers_copy = files.join(out, records.PARTITION_FILE)
    if not options.is_dry_run(beam_options):
        if shards_dir.is_finished(
            out, config.content(), made_of, config.overwrite
        ):
            return [
                f"{out} is finished and up to date with the files of --photos:"
                " nothing was done"
            ]
        files.write(workers_copy, partition_file)
    part = splits.PartitionFile(workers_copy, partition.fingerprint)
    layout = make_layout(config)
    result = record_jobs.run(
        out,
        layout.file_names(),
        lambda path: pipeline(config, beam_options, out, part, layout, path),
    )
    check(config, result)
    result |= {
        "image_size": config.image_size,
        "split_rule": config.split_rule(),
    }
    shards_dir.write_descriptions(out, config.content(), made_of, result)
    return [
        *summary_lines(result, out),
        *shards_hint(photos_written(result), config.shards),
    ]


def check_train_split(
    config: Config, partition: partition_lib.Partition
) -> None:
    """Raises an error if the partition's training split is another one."""
    from beam_pipelines import shards_dir

    made_of = partition.made_by.get(partition_lib.TRAIN_SPLIT)
    if made_of not in (None, config.split_rule()):
        raise shards_dir.ShardsError(
            f"the partition was made of the training split by {made_of}, and"
            f" the photos would be split by {config.split_rule()}: photos to"
            " test on would have made cells; give both programs the same"
            " --split_seed and fractions"
        )


def check(config: Config, result: Mapping[str, Any]) -> None:
    """Raises an error if too many photos were bad, or none is left."""
    from beam_pipelines import rejects, shards_dir

    written, counts = photos_written(result), result["rejects"]
    number = written + sum(counts.values())
    rejects.check_fraction(counts, number, config.max_reject_fraction)
    if not written:
        raise shards_dir.ShardsError(
            f"none of {number} photos could be written"
        )


def photos_written(result: Mapping[str, Any]) -> int:
    """Photos in all splits."""
    return sum(split["photos"] for split in result["splits"].values())


def make_layout(config: Config) -> Any:
    """What the content of the record files depends on."""
    from beam_pipelines import shards

    return shards.Layout(
        shards=config.shards,
        fractions=config.fractions(),
        split_seed=config.split_seed,
        image_size=config.image_size,
        jpeg_quality=config.jpeg_quality,
        limits=images.Limits(config.min_side, config.max_pixels),
    )


def pipeline(
    config: Config,
    beam_options: Any,
    out: str,
    partition_file: Any,
    layout: Any,
    result_path: str,
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import duplicates, record_jobs, shards, splits

    p = beam.Pipeline(options=beam_options)
    read, unread = record_jobs.read(p, config.source())
    found = read | beam.ParDo(splits.DropOutside(partition_file)).with_outputs(
        "rejects", main="photos"
    )
    left_out, distinct = [unread, found.rejects], found.photos
    if config.duplicates == "drop":
        found = distinct | duplicates.DropDuplicates(
            config.shards, config.threads
        )
        left_out.append(found["rejects"])
        distinct = found["photos"]
    written = distinct | shards.WriteShards(
        out, partition_file, layout, config.threads
    )
    record_jobs.leave_result(
        written, left_out, shards.summary, out, config.shards, result_path
    )
    return p


def summary_lines(result: Mapping[str, Any], out: str) -> Iterator[str]:
    """What was made, for people."""
    written, counts = photos_written(result), result["rejects"]
    yield f"{written + sum(counts.values()):,} photos read"
    yield f"  {written:,} written"
    for name, split in result["splits"].items():
        megabytes = split["bytes"] / 1e6
        yield f"    {split['photos']:,} {name} ({megabytes:,.1f} MB)"
    yield f"  {sum(counts.values()):,} left out"
    yield from (f"    {n:,} {reason}" for reason, n in counts.items())
    yield f"fingerprint {result['fingerprint']}"
    yield f"written to {out}"


def shards_hint(photos: int, shards: int) -> Iterator[str]:
    """What to do about shards that are too small or too large."""
    fitting = max(1, round(photos / _GOOD_PHOTOS))
    each = photos / shards
    if not _FEW_PHOTOS <= each <= _MANY_PHOTOS and shards != fitting:
        yield (
            f"hint: a shard has some {each:,.0f} photos;"
            f" --shards={fitting} would fit"
        )


if __name__ == "__main__":
    sys.exit(main())
