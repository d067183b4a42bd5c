r"""Writes photos and their cells as record files for training.

python -m beam_pipelines.write_shards --photos=photos.csv \
    --partition=partition.json --out=shards
"""

import contextlib
import dataclasses
import io
import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import planet_tf
from beam_pipelines import options
from planet_tf import partition as partition_lib
from planet_tf import records
from planet_tf.config_flags import UsageError, option

_SECONDS_PER_LINE = 5
_SHARDS_PER_REJECTS = 64  # each file of rejects is sorted by one worker
# What this program writes, whole or not.
_OURS = re.compile(
    records.DATASET + r"-[a-z]+\.tfrecord-\d+-of-\d+|rejects-\d+-of-\d+\.jsonl"
    r"|(partition|features|dataset_info|shards)\.json|.*\.incomplete"
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of write_shards."""

    photos: str = option(
        help="CSV or Parquet with columns path, lat, lng; or a directory or"
        " glob of JPEG files with a position in their EXIF"
    )
    partition: str = option(help="the partition, made by build_partition")
    out: str = option(help="the directory of the record files")
    shards: int = option(16, help="record files of each split", low=1)
    validation_fraction: float = option(
        0.05, help="share of the groups of photos", low=0, high=1
    )
    test_fraction: float = option(
        0.05, help="share of the groups of photos", low=0, high=1
    )
    split_seed: int = option(0, help="another seed is another split")
    image_size: int = option(
        299,
        help="short side of photos that are larger, in pixels; 299 is what"
        " InceptionV3 was made for",
        low=16,
    )
    threads: int = option(
        4, help="photos that a worker reads and decodes at once", low=1
    )
    max_reject_fraction: float = option(
        0.05, help="fail if more of the photos are bad", low=0, high=1
    )
    overwrite: bool = option(False, help="replace finished shards in --out")

    def __post_init__(self):
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1:
            raise UsageError(
                "--validation_fraction and --test_fraction add up to"
                f" {held_out}; they must leave something to train on"
            )

    def content(self) -> dict[str, Any]:
        """The options that say what is in the files, for shards.json."""
        own = (
            "out",
            "partition",
            "threads",
            "max_reject_fraction",
            "overwrite",
        )
        values = dataclasses.asdict(self)
        return {name: v for name, v in values.items() if name not in own}


class ShardsError(ValueError):
    """An output directory that cannot be written, and what to do about it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines.manifests import SourceError
    from beam_pipelines.rejects import TooManyRejects

    try:
        lines = write(config, beam_options)
    except (
        SourceError,
        ShardsError,
        TooManyRejects,
        partition_lib.PartitionError,
        options.RunError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def write(config: Config, beam_options: Any) -> list[str]:
    """Writes the whole directory; returns a summary of it."""
    from beam_pipelines import files, photos, rejects

    out = files.full_path(config.out)
    partition_file = files.read(files.full_path(config.partition))
    partition = partition_lib.load(
        io.StringIO(partition_file.decode(errors="replace"))
    )
    changed = photos.check_source(config.photos)
    if is_finished(out, config, partition.fingerprint, changed):
        return [f"{out} is finished and up to date: nothing was done"]
    layout = make_layout(config)
    result_path = files.join(out, "result" + files.INCOMPLETE)
    with progress(out, layout.file_names()):
        options.run(
            pipeline(config, beam_options, out, partition, layout, result_path)
        )
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    written = sum(split["photos"] for split in result["splits"].values())
    photos_read = written + sum(result["rejects"].values())
    rejects.check_fraction(
        result["rejects"], photos_read, config.max_reject_fraction
    )
    if not written:
        raise ShardsError(f"none of {photos_read} photos could be written")
    write_descriptions(out, config, partition_file, partition, result)
    return list(summary_lines(photos_read, written, result, out))


def make_layout(config: Config) -> Any:
    """What the content of the record files depends on."""
    from beam_pipelines import shards

    return shards.Layout(
        shards=config.shards,
        fractions={
            "validation": config.validation_fraction,
            "test": config.test_fraction,
        },
        split_seed=config.split_seed,
        image_size=config.image_size,
    )


def pipeline(
    config: Config,
    beam_options: Any,
    out: str,
    partition: partition_lib.Partition,
    layout: Any,
    result_path: str,
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import files, photos, rejects, shards, transforms

    p = beam.Pipeline(options=beam_options)
    source = p | photos.ReadPhotos(config.photos)
    # Photos, rejects: Reject
    inside = source.photos | beam.ParDo(
        transforms.DropOutside(partition)
    ).with_outputs("rejects", main="photos")
    written = inside.photos | shards.WriteShards(
        out, partition, layout, config.threads
    )
    counts = (
        (source.rejects, inside.rejects, written.rejects)
        | beam.Flatten()
        | rejects.WriteRejects(
            files.join(out, "rejects"), 1 + config.shards // _SHARDS_PER_REJECTS
        )
    )  # dict[str, int]
    _ = (
        written.files
        | beam.combiners.ToList()
        | beam.Map(shards.summary, beam.pvalue.AsSingleton(counts))
        | beam.Map(files.write_json, result_path)
    )
    return p


def is_finished(
    out: str, config: Config, partition_fingerprint: str, photos_changed: float
) -> bool:
    """Whether there is nothing to do; else makes room in the directory.

    Raises:
      ShardsError: if it holds something that must not be replaced.
    """
    from beam_pipelines import files

    names = files.names(out)
    ours = [name for name in names if _OURS.fullmatch(name)]
    if records.SHARDS_FILE in names and not config.overwrite:
        path = files.join(out, records.SHARDS_FILE)
        old = json.loads(files.read(path))
        made = {
            **old.get("config", {}),
            "partition": old.get("partition_fingerprint"),
        }
        wanted = {**config.content(), "partition": partition_fingerprint}
        if made == wanted and files.changed(path) >= photos_changed:
            return True
        other = [k for k, v in wanted.items() if made.get(k) != v]
        raise ShardsError(
            f"{out} holds finished shards, made from other"
            f" {', '.join(other) or 'photos'}; --overwrite replaces them"
        )
    if records.SHARDS_FILE not in names and len(ours) < len(names):
        foreign = next(name for name in names if name not in ours)
        raise ShardsError(
            f"{out} is no directory of shards: it holds {foreign}. Choose a"
            " new or empty directory for --out"
        )
    # shards.json first: what it describes is going to go.
    ours.sort(key=lambda name: name != records.SHARDS_FILE)
    files.delete([files.join(out, name) for name in ours])
    return False


def write_descriptions(
    out: str,
    config: Config,
    partition_file: bytes,
    partition: partition_lib.Partition,
    result: Mapping[str, Any],
) -> None:
    """Writes all but the record files; shards.json, the last, says "done"."""
    from beam_pipelines import files

    photos: dict[str, list[int]] = {split: [] for split in result["splits"]}
    for name, file in sorted(result["files"].items()):
        photos[records.split_of(name)].append(file["photos"])
    num_bytes = {name: s["bytes"] for name, s in result["splits"].items()}
    records.write_metadata(out, photos, num_bytes)
    files.write(files.join(out, records.PARTITION_FILE), partition_file)
    head = {
        "format": records.SHARDS_FORMAT,
        "version": records.SHARDS_VERSION,
        "code_version": planet_tf.__version__,
        "partition_fingerprint": partition.fingerprint,
        "image_size": config.image_size,
        "config": config.content(),
    }
    files.write_json({**head, **result}, files.join(out, records.SHARDS_FILE))


def summary_lines(
    photos_read: int, written: int, result: Mapping[str, Any], out: str
) -> Iterator[str]:
    """What was made, for people."""
    yield f"{photos_read:,} photos read"
    yield f"  {written:,} written"
    for name, split in result["splits"].items():
        megabytes = split["bytes"] / 1e6
        yield f"    {split['photos']:,} {name} ({megabytes:,.1f} MB)"
    counts = result["rejects"]
    yield f"  {sum(counts.values()):,} left out"
    yield from (f"    {n:,} {reason}" for reason, n in counts.items())
    yield f"fingerprint {result['fingerprint']}"
    yield f"written to {out}"


@contextlib.contextmanager
def progress(out: str, expected: Sequence[str]) -> Iterator[None]:
    """Tells now and then how many of the expected files are there."""
    from beam_pipelines import files

    done = threading.Event()

    def watch() -> None:
        start = time.monotonic()
        while not done.wait(_SECONDS_PER_LINE):
            there = len(set(expected).intersection(files.names(out)))
            seconds = time.monotonic() - start
            print(
                f"{there} of {len(expected)} files after {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


if __name__ == "__main__":
    sys.exit(main())
