r"""Checks photos before anything is made of them, and reports what it found.

python -m beam_pipelines.check_photos --photos=photos.csv --out=check

Writes report.md, report.json and rejects-*.jsonl; the same photos are left out
as by write_shards, for the same reasons. Ends with 1 if more of them are bad
than --max_reject_fraction allows.
"""

import dataclasses
import io
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import planet_tf
from beam_pipelines import options
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib

FORMAT, VERSION = "planet_tf.photo_check", 1
# More files of one source are judged as one: they are pieces of one export,
# and each takes some ten steps of the pipeline.
_FILES_APART = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.SourceConfig):
    """Options of check_photos."""

    out: str = option(help="the directory of the report")
    partition: str = option(
        "", help="count the photos inside this partition's cells"
    )
    images: str = option(
        "decode",
        help="how images are looked at: decode them as write_shards does, read"
        " the header (faster; misses images that are cut off further on), or"
        " none, which opens no image",
        choices=("decode", "header", "none"),
    )
    image_size: int = option(
        342, help="short side in write_shards, in pixels", low=0
    )
    min_side: int = option(
        16, help="photos with a shorter side are bad, in pixels", low=1
    )
    max_pixels: int = option(
        89_478_485, help="photos with more pixels are bad", low=1
    )
    latest_time: int | None = option(
        None, help="Unix seconds; what is later is in the future; default: now"
    )
    min_points: int = option(
        200,
        help="a file with fewer photos is not judged by where they are",
        low=1,
    )
    min_sea_share: float = option(
        0.05,
        help="share of a file's photos at sea, or of lats beyond 90, from which"
        " on swapped columns and lost signs are suspected; a good file's is"
        " below 0.001",
        low=0.001,
        high=1,
    )
    hot_share: float = option(
        0.01,
        help="warn of a place or a time with more of the photos",
        low=0,
        high=1,
    )
    owner_share: float = option(
        0.2, help="warn of an owner with more of the photos", low=0, high=1
    )
    threads: int = option(
        4, help="photos that a worker reads and decodes at once", low=1
    )
    buckets: int = option(
        16,
        help="groups of photos compared by one worker each, in its memory;"
        " one for each 100,000 photos is good",
        low=1,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    return options.run_program(lambda: check(config, beam_options))


def check(config: Config, beam_options: Any) -> list[str]:
    """Writes the report; returns a summary of it.

    Raises:
      TooManyRejects: when it is written, and shown.
    """
    from beam_pipelines import doctor_report, files, rejects

    out = files.full_path(config.out)
    settings = make_settings(config)
    result_path = files.join(out, "result" + files.INCOMPLETE)
    options.run(pipeline(config, beam_options, settings, out, result_path))
    result = json.loads(files.read(result_path))
    files.delete([result_path])
    report, findings = make_report(config, result, settings.mask is not None)
    files.write(
        files.join(out, "report.md"),
        doctor_report.markdown(report, findings).encode(),
    )
    files.write_json(report, files.join(out, "report.json"))
    counts, photos_read = report["rejects"], report["photos_read"]
    lines = [
        f"{photos_read:,} photos read, {sum(counts.values()):,} left out",
        *doctor_report.finding_lines(findings),
        f"written to {out}",
    ]
    try:
        rejects.check_fraction(counts, photos_read, config.max_reject_fraction)
    except rejects.TooManyRejects:
        print("\n".join(lines))
        raise
    return lines


def make_settings(config: Config) -> Any:
    """How the photos are examined: a doctor.Settings."""
    from beam_pipelines import doctor, files, splits
    from planet_tf.geo import land
    from planet_tf.photos import images

    partition_file = None
    if config.partition:
        path = files.full_path(config.partition)
        text = io.StringIO(files.read(path).decode(errors="replace"))
        fingerprint = partition_lib.load(text).fingerprint
        partition_file = splits.PartitionFile(path, fingerprint)
    now = int(time.time())
    return doctor.Settings(
        images=config.images if has_ids(config) else "coordinates",
        image_size=config.image_size,
        limits=images.Limits(config.min_side, config.max_pixels),
        latest_time=now if config.latest_time is None else config.latest_time,
        mask=land.read_mask(),
        threads=config.threads,
        buckets=config.buckets,
        partition=partition_file,
    )


def has_ids(config: Config) -> bool:
    """Whether more is known of the photos than coordinates.

    Raises:
      SourceError: if there are no photos, or no images to look at.
    """
    from beam_pipelines import sources
    from planet_tf.photos import manifests

    try:
        sources.check_source(config.source())
    except manifests.SourceError:
        if config.images != "none":
            raise
        sources.check_source(config.source(), with_images=False)
        return False
    return True


def parts(source: Any) -> dict[str, Any]:
    """The files of a source that are judged apart, by their names."""
    from beam_pipelines import sources
    from planet_tf.photos import manifests

    whole = {source.photos.rstrip("/").rpartition("/")[2]: source}
    if source.table or not manifests.is_manifest(source.photos):
        return whole
    paths = [
        path for some in sources.list_files(source.photos) for path in some
    ]
    names = [path.rpartition("/")[2] for path in paths]
    if not 1 < len(set(names)) == len(paths) <= _FILES_APART:
        return whole
    if set("*?[") & set("".join(paths)):
        return whole  # which would be taken for globs
    return {
        name: dataclasses.replace(source, photos=path)
        for name, path in zip(names, paths, strict=True)
    }


def _read(p: Any, config: Config, with_images: bool) -> dict[str, Any]:
    """PCollections `photos` and `rejects` of pairs with the source's name."""
    import apache_beam as beam

    from beam_pipelines import batches, sources

    read: dict[str, list] = {"photos": [], "rejects": []}
    for name, source in parts(config.source()).items():
        found = p | f"Read {name}" >> sources.ReadPhotos(
            source, with_images=with_images
        )
        for what, part in read.items():
            # (str, Photos | Reject)
            part.append(
                getattr(found, what)
                | f"Count {what} of {name}" >> beam.Map(batches.count_read)
                | f"Name {what} of {name}" >> beam.Map(_named, name)
            )
    return {
        what: part | f"All {what}" >> beam.Flatten()
        for what, part in read.items()
    }


def pipeline(
    config: Config, beam_options: Any, settings: Any, out: str, result_path: str
) -> Any:
    """The Beam pipeline, which leaves its result as a JSON file."""
    import apache_beam as beam

    from beam_pipelines import doctor, files, rejects

    p = beam.Pipeline(options=beam_options)
    named = _read(p, config, settings.images != "coordinates")
    examined = named | doctor.ExaminePhotos(settings)
    counts = examined["rejects"] | rejects.WriteRejects(
        files.join(out, "rejects")
    )
    number = (
        (*named.values(),)
        | beam.Flatten()
        | "Size" >> beam.MapTuple(_size)
        | "Photos read" >> beam.CombineGlobally(sum)
    )
    _ = (
        examined["statistics"]
        | beam.Map(
            _result,
            beam.pvalue.AsSingleton(counts),
            beam.pvalue.AsSingleton(number),
        )
        | beam.Map(files.write_json, result_path)
    )
    return p


def _named(found: Any, name: str) -> tuple[str, Any]:
    return name, found


def _size(name: str, found: Any) -> int:
    from planet_tf.photos.rejects import Reject

    return 1 if isinstance(found, Reject) else len(found)


def _result(statistics: dict, counts: dict, photos_read: int) -> dict[str, Any]:
    return {
        "statistics": statistics,
        "rejects": counts,
        "photos_read": photos_read,
    }


def make_report(
    config: Config, result: dict[str, Any], has_mask: bool
) -> tuple[dict[str, Any], list]:
    """The content of report.json, and its findings."""
    from beam_pipelines import findings as findings_lib
    from beam_pipelines import rejects

    findings = findings_lib.diagnose(
        result["statistics"],
        result["photos_read"],
        sum(rejects.faults(result["rejects"]).values()),
        has_mask,
        findings_lib.Thresholds(
            min_points=config.min_points,
            sea_share=config.min_sea_share,
            hot_share=config.hot_share,
            owner_share=config.owner_share,
            max_reject_fraction=config.max_reject_fraction,
        ),
    )
    own = dataclasses.asdict(config)
    how = ("out", "threads", "buckets")
    report = {
        "format": FORMAT,
        "version": VERSION,
        "code_version": planet_tf.__version__,
        "config": {name: v for name, v in own.items() if name not in how},
        "findings": [dataclasses.asdict(f) for f in findings],
        **result,
    }
    return report, findings


if __name__ == "__main__":
    sys.exit(main())
