r"""Writes albums of photos as record files, for models that read them in order.

python -m beam_pipelines.write_albums --photos=photos.csv --model_dir=model \
    --out=albums

An album is what the column album_id says; else the photos of an owner without
a pause of --gap_hours; else those of a directory. A photo is in it by what the
photo model of --model_dir makes of it, before that says a place: an embedding.

Finished albums are not written again while the options, the model and the
files of --photos are the same, as write_shards does it.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines import options
from planet_tf.config_flags import UsageError, option
from planet_tf.photos import records

_SEED = 0  # of the splits of a collection that the photo model has not seen


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.SourceConfig):
    """Options of write_albums."""

    model_dir: str = option(
        help="the photo model, made by planet_tf.train; its partition says the"
        " labels"
    )
    out: str = option(help="the directory of the record files")
    shards: int = option(16, help="record files of each split", low=1)
    max_photos: int = option(
        100, help="longer albums are cut into runs of one length", low=1
    )
    min_photos: int = option(
        1, help="photos of an album with fewer are left out", low=1
    )
    gap_hours: float = option(
        8.0,
        help="of an owner without albums, a longer time without a photo ends"
        " an album",
        low=0,
    )
    seen_photos: str = option(
        "drop",
        help="photos that the photo model was trained on, by the split of"
        " their group: drop them; use them to train on, for comparison; or"
        " none, if --photos is another collection, which is then split here",
        choices=("drop", "none", "use"),
    )
    validation_fraction: float = option(
        0.05, help="share of the albums, with --seen_photos=none", low=0, high=1
    )
    test_fraction: float = option(
        0.05, help="share of the albums, with --seen_photos=none", low=0, high=1
    )
    batch_size: int = option(
        32, help="photos that the model is asked about at once", low=1
    )
    threads: int = option(
        4, help="photos that a worker reads and decodes at once", low=1
    )
    overwrite: bool = option(False, help="replace finished albums in --out")

    def __post_init__(self) -> None:
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1:
            raise UsageError(
                "--validation_fraction and --test_fraction add up to"
                f" {held_out}; they must leave something to train on"
            )
        if self.min_photos > self.max_photos:
            raise UsageError(
                f"--min_photos is {self.min_photos}, above --max_photos, which"
                f" is {self.max_photos}"
            )

    def content(self) -> dict[str, Any]:
        """The options that say what is in the files, for albums.json."""
        return self.content_without("model_dir", "threads", "overwrite")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    from beam_pipelines import embedding, shards_dir
    from planet_tf.model import model_dir

    return options.run_program(
        lambda: write(config, beam_options),
        shards_dir.ShardsError,
        embedding.ModelError,
        model_dir.ModelDirError,
    )


def write(config: Config, beam_options: Any) -> list[str]:
    """Writes the whole directory; returns a summary of it."""
    from beam_pipelines import files, record_jobs, shards_dir, sources, splits
    from planet_tf.model import model_dir

    out = files.full_path(config.out)
    facts = model_dir.read_config(config.model_dir)
    partition = model_dir.read_partition(config.model_dir)
    model = model_file(config, facts, out)
    layout = make_layout(config, facts)
    sources.check_source(config.source())
    made_of = {
        "partition_fingerprint": partition.fingerprint,
        "model_fingerprint": model.weights,
        "source_fingerprint": shards_dir.source_fingerprint(
            config.source(), out
        ),
    }
    workers_copy = files.join(out, records.PARTITION_FILE)
    if not options.is_dry_run(beam_options):
        if shards_dir.is_finished(
            out,
            config.content(),
            made_of,
            config.overwrite,
            shards_dir.ALBUMS,
        ):
            return [
                f"{out} is finished and up to date with the model and the files"
                " of --photos: nothing was done"
            ]
        copy_model(config, out, workers_copy)
    part = splits.PartitionFile(workers_copy, partition.fingerprint)
    result = record_jobs.run(
        out,
        layout.file_names(),
        lambda path: pipeline(
            config, beam_options, out, part, model, layout, path
        ),
    )
    check(config, result)
    features = records.album_features(result["features"])
    shards_dir.write_descriptions(
        out, config.content(), made_of, result, shards_dir.ALBUMS, features
    )
    return list(summary_lines(result, out))


def copy_model(config: Config, out: str, partition_path: str) -> None:
    """Brings what workers need of the photo model to where they look."""
    from beam_pipelines import files
    from planet_tf.model import model_dir

    original = files.join(config.model_dir, model_dir.PARTITION)
    files.write(partition_path, files.read(files.full_path(original)))
    model_dir.copy_photo_model(
        config.model_dir, files.join(out, records.PHOTO_MODEL)
    )


def model_file(config: Config, facts: Mapping[str, Any], out: str) -> Any:
    """The photo model's copy in `out`, for workers: an embedding.ModelFile.

    Raises:
      ModelDirError: if its training has not ended.
    """
    from beam_pipelines import embedding, files
    from planet_tf.model import model_dir

    path = files.full_path(model_dir.export_path(config.model_dir))
    copy = files.join(out, records.PHOTO_MODEL)
    return embedding.ModelFile(
        path=files.join(copy, model_dir.EXPORT),
        weights=embedding.weights_fingerprint(path),
        photo_size=facts["photo_size"],
        batch_size=config.batch_size,
    )


def make_layout(config: Config, facts: Mapping[str, Any]) -> Any:
    """What the content of the record files depends on: an albums.Layout."""
    from beam_pipelines import albums, grouping, sources

    split_rule: dict[str, Any] = {
        "seed": _SEED,
        "fractions": {
            "validation": config.validation_fraction,
            "test": config.test_fraction,
        },
    }
    if config.seen_photos != grouping.NONE:
        split_rule = facts.get("split_rule") or {}
        check_split_rule(config, split_rule)
    rule = grouping.Rule(
        root=sources.root(config.photos),
        seen=config.seen_photos,
        fractions=split_rule["fractions"],
        split_seed=split_rule["seed"],
        gap_seconds=3600 * config.gap_hours,
        max_photos=config.max_photos,
        min_photos=config.min_photos,
    )
    return albums.Layout(config.shards, rule)


def check_split_rule(config: Config, rule: Mapping[str, Any]) -> None:
    """Raises an error if the model's splits leave no album to train on."""
    from beam_pipelines import grouping, shards_dir

    if not rule:
        raise shards_dir.ShardsError(
            f"{config.model_dir} does not say how its photos were split, so"
            " that it is not known which of them the model was trained on:"
            " write its shards again and train it again; or, if it was trained"
            " on none of --photos, --seen_photos=none"
        )
    nothing = not rule["fractions"].get(grouping.ALBUMS)
    if config.seen_photos == grouping.DROP and nothing:
        raise no_albums("its photos have no share for albums")


def no_albums(why: str) -> Exception:
    """The error that there is no album to train on."""
    from beam_pipelines import shards_dir

    return shards_dir.ShardsError(
        "no album is left to train on: the photo model must not have been"
        f" trained on their photos, and {why}. Give write_shards an"
        " --albums_fraction and train the photo model again; or say here"
        " --seen_photos=none, if it was trained on none of --photos, or"
        " --seen_photos=use, to compare"
    )


def check(config: Config, result: Mapping[str, Any]) -> None:
    """Raises an error if too many photos were bad, or no album is left."""
    from beam_pipelines import grouping, rejects, shards_dir

    written, counts = total(result, "photos"), result["rejects"]
    number = written + sum(counts.values())
    rejects.check_fraction(counts, number, config.max_reject_fraction)
    if result["splits"][grouping.TRAIN]["albums"]:
        return
    if config.seen_photos == grouping.DROP:
        raise no_albums(f"it was on all but {written} of {number}")
    raise shards_dir.ShardsError(
        f"no album is left to train on of {number} photos; {written} are in"
        " other splits"
    )


def total(result: Mapping[str, Any], what: str) -> int:
    """A count in all splits."""
    return sum(split[what] for split in result["splits"].values())


def pipeline(
    config: Config,
    beam_options: Any,
    out: str,
    partition_file: Any,
    model: Any,
    layout: Any,
    result_path: str,
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import albums, embedding, grouping, record_jobs

    p = beam.Pipeline(options=beam_options)
    photos, unread = record_jobs.read(p, config.source())
    left_out = [unread]
    if config.seen_photos == grouping.DROP:
        rule = layout.rule
        found = photos | beam.ParDo(
            albums.DropSeen(rule.fractions, rule.split_seed)
        ).with_outputs("rejects", main="photos")
        left_out.append(found.rejects)
        photos = found.photos
    shared = embedding.SharedModel(model)
    written = photos | albums.WriteAlbums(
        out, partition_file, shared, layout, config.threads
    )
    record_jobs.leave_result(
        written, left_out, albums.summary, out, config.shards, result_path
    )
    return p


def summary_lines(result: Mapping[str, Any], out: str) -> Iterator[str]:
    """What was made, for people."""
    written, counts = total(result, "photos"), result["rejects"]
    yield f"{written + sum(counts.values()):,} photos read"
    yield f"  {written:,} written in {total(result, 'albums'):,} albums"
    for name, split in result["splits"].items():
        megabytes = split["bytes"] / 1e6
        yield (
            f"    {split['photos']:,} {name} in {split['albums']:,} albums"
            f" ({megabytes:,.1f} MB)"
        )
    yield f"  {sum(counts.values()):,} left out"
    yield from (f"    {n:,} {reason}" for reason, n in counts.items())
    yield (
        f"an embedding has {result['features']:,} numbers, the longest album"
        f" {result['max_photos']:,} photos"
    )
    untimed = total(result, "albums_without_times")
    if untimed:
        yield (
            f"warning: {untimed:,} albums are in the order of their photos'"
            " names, since not all their times are known"
        )
    yield f"fingerprint {result['fingerprint']}"
    yield f"written to {out}"


if __name__ == "__main__":
    sys.exit(main())
