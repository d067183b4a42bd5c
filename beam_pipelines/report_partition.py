r"""Reports on a partition: figures, ceiling, and a map for the browser.

python -m beam_pipelines.report_partition --partition=partition.json \
    --out=report --photos=photos.csv --held_out=other_photos.csv

Writes report.json, report.md and map.html, which needs no network. The photos
are read for what only they tell: which regions were dropped, and how well a
perfect classifier would do on photos that the partition was not made of.
"""

import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines import options
from planet_tf import config_flags
from planet_tf.answering import metrics
from planet_tf.config_flags import option
from planet_tf.geo import partition as partition_lib
from planet_tf.geo import place_names
from planet_tf.reports import partition_markdown, partition_report

_PLACES = 1500  # towns on the map


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.SourceConfig):
    """Options of report_partition."""

    partition: str = option(help="a partition.json")
    out: str = option(help="directory of the report")
    photos: str = option(
        "", help="the photos the partition was made of, as of build_partition"
    )
    held_out: str = option(
        "", help="photos to take the ceiling of, which it was not made of"
    )

    def __post_init__(self) -> None:
        if (self.columns or self.table) and not (self.photos or self.held_out):
            raise config_flags.UsageError(
                "--columns and --table are of --photos and --held_out, of"
                " which neither is given"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    config, beam_options = options.parse(Config, argv or sys.argv, __doc__)
    return options.run_program(lambda: report(config, beam_options))


def report(config: Config, beam_options: Any) -> list[str]:
    """Writes the report; returns a summary."""
    from beam_pipelines import files, splits

    out = files.full_path(config.out)
    data = files.read(files.full_path(config.partition))
    text = io.StringIO(data.decode(errors="replace"))
    partition = partition_lib.load(text)
    counts = {}
    if wanted := sources_of(config):
        copy = files.join(out, "partition.json")  # where workers find it
        if not options.is_dry_run(beam_options):
            files.write(copy, data)
        file = splits.PartitionFile(copy, partition.fingerprint)
        counts = count(config, beam_options, wanted, file, out)
    cells = partition_report.cells_of(partition)
    found = partition_report.figures(
        partition, cells, counts.get("photos"), counts.get("held_out")
    )
    name = config.partition.rpartition("/")[2]
    files.write_json(found, files.join(out, "report.json"))
    markdown = partition_markdown.markdown(found, name)
    files.write(files.join(out, "report.md"), markdown.encode())
    page = map_page(name, partition, cells)
    files.write(files.join(out, "map.html"), page.encode())
    return [*summary_lines(found), f"written to {out}"]


def sources_of(config: Config) -> dict[str, Any]:
    """The sources that are given, a photos.Source by the option's name.

    Raises:
      SourceError: if there is something wrong with one.
    """
    given = {"photos": config.photos, "held_out": config.held_out}
    if not any(given.values()):
        return {}
    from beam_pipelines import sources

    found = {
        name: dataclasses.replace(config.source(), photos=photos)
        for name, photos in given.items()
        if photos
    }
    for source in found.values():
        sources.check_source(source, with_images=False)
    return found


def count(
    config: Config,
    beam_options: Any,
    wanted: Mapping[str, Any],
    partition_file: Any,
    out: str,
) -> dict[str, dict[str, int]]:
    """Counts of partition_report, of the sources that are wanted.

    Raises:
      TooManyRejects: if too many of one's photos are bad.
      RunError: if the pipeline fails, or a source has no photos.
    """
    from beam_pipelines import files, rejects

    results = {
        name: files.join(out, f"{name}.result{files.INCOMPLETE}")
        for name in wanted
    }
    options.run(pipeline(beam_options, wanted, results, partition_file, out))
    counts = {}
    for name, path in results.items():
        result = json.loads(files.read(path))
        files.delete([path])
        bad, counts[name] = result["rejects"], result["counts"]
        number = result["photos"] + sum(bad.values())
        rejects.check_fraction(bad, number, config.max_reject_fraction)
        if not result["photos"]:
            raise options.RunError(f"--{name}={wanted[name].photos}: no photos")
    return counts


def pipeline(
    beam_options: Any,
    wanted: Mapping[str, Any],
    results: Mapping[str, str],
    partition_file: Any,
    out: str,
) -> Any:
    """The Beam pipeline, which leaves the counts of each source as a file."""
    import apache_beam as beam

    from beam_pipelines import files, rejects, sources

    counters = {
        "photos": partition_report.count_regions,
        "held_out": partition_report.count_within,
    }
    p = beam.Pipeline(options=beam_options)
    for name, source in wanted.items():
        found = p | f"Read {name}" >> sources.ReadPhotos(
            source, with_images=False
        )
        bad = found.rejects | f"Rejects of {name}" >> rejects.WriteRejects(
            files.join(out, f"rejects-{name}")
        )
        _ = _counted(
            name, found.photos, bad, counters[name], partition_file
        ) | f"Write {name}" >> beam.Map(files.write_json, results[name])
    return p


def _counted(
    name: str, photos: Any, bad: Any, counter: Any, partition_file: Any
) -> Any:
    """A PCollection of one dict: the counts of a source's photos.

    Args:
      name: of the source.
      photos: its batches.
      bad: a dict of its rejects' counts.
      counter: counts a batch's photos, as `count_batch` takes it.
      partition_file: whose cells are counted in.
    """
    import apache_beam as beam

    from beam_pipelines import rejects

    number = (
        photos
        | f"Batches of {name}" >> beam.Map(len)
        | f"Number of {name}" >> beam.CombineGlobally(sum)
    )
    return (
        photos
        | f"Count {name}" >> beam.Map(count_batch, counter, partition_file)
        # dict[str, int] of a batch
        | f"Add up {name}" >> beam.CombineGlobally(rejects.add_counts)
        | f"Result of {name}"
        >> beam.Map(
            _result,
            beam.pvalue.AsSingleton(number),
            beam.pvalue.AsSingleton(bad),
        )
    )


def count_batch(
    places: Any,
    counter: Callable[..., dict[str, int]],
    partition_file: Any,
) -> dict[str, int]:
    """Counts of a batch of Places, by a function of partition_report."""
    return counter(places.lat, places.lng, partition_file.load())


def _result(
    counts: dict[str, int], photos: int, bad: dict[str, int]
) -> dict[str, Any]:
    return {"counts": counts, "photos": photos, "rejects": bad}


def map_columns(cells: partition_report.Cells) -> list[Any]:
    """What the map colours cells by: a list of web_map.Column."""
    from planet_tf.drawing import web_map

    columns = [
        web_map.Column("Area", cells.km2, "km²"),
        web_map.Column("Level", cells.levels, log=False),
    ]
    if cells.photos is None or cells.density is None:
        return columns
    return [
        web_map.Column("Photos per km²", cells.density, "per km²"),
        web_map.Column("Photos", cells.photos, "photos"),
        *columns,
    ]


def map_page(
    name: str,
    partition: partition_lib.Partition,
    cells: partition_report.Cells,
) -> str:
    """The HTML map of the cells."""
    from planet_tf.drawing import web_map
    from planet_tf.geo import outlines

    subtitle = f"{len(partition.tokens):,} cells"
    if cells.photos is not None:
        subtitle += f", {cells.photos.sum():,} photos"
    places, credits = [], ["Land: GSHHG"]
    if cells.names:
        towns = place_names.towns()
        rows = zip(
            towns.names[:_PLACES], *towns.latlng[:_PLACES].T, strict=True
        )
        places = [(town, float(lat), float(lng)) for town, lat, lng in rows]
        credits.append(place_names.CREDIT)
    return web_map.page(
        name,
        subtitle,
        web_map.Cells(
            partition.tokens,
            map_columns(cells),
            partition.latlng,
            "Photo mean" if cells.photos is not None else "Point",
            [str(name) for name in cells.names],
        ),
        outlines.land("l", web_map.LEAST_LAND_KM2),
        places,
        ". ".join(credits),
    )


def summary_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found, for people."""
    head = found["head"]
    yield f"{found['cells']:,} cells, {found['classes']:,} classes"
    yield (
        f"a model's head has {head['parameters']:,} parameters"
        f" ({head['megabytes']:,.1f} MB)"
    )
    pairs = found["levels"].items()
    yield "cells by level: " + ", ".join(f"{n:,} at {k}" for k, n in pairs)
    if found["over_max_photos"]:
        yield (
            f"{len(found['over_max_photos']):,} cells have more than"
            f" {found['max_photos']:,} photos at level {found['max_level']}"
        )
    source, ceiling = found["source"], found["ceiling"]
    if source:
        yield (
            f"of the photos {source['kept']:,} are in cells,"
            f" {source['dropped']:,} outside"
        )
    if ceiling:
        yield (
            f"ceiling on {ceiling['photos']:,} held-out photos,"
            f" {ceiling['outside_share']:.2%} of them outside all cells:"
        )
        for name in partition_report.ANSWERS:
            shares = zip(metrics.RADII_KM, ceiling[name].values(), strict=True)
            text = ", ".join(f"{share:.1%} @{km} km" for km, share in shares)
            yield f"  {name}: {text}"
    if not found["place_names"]:
        yield place_names.MISSING


if __name__ == "__main__":
    sys.exit(main())
