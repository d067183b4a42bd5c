"""Command lines of the Beam programs: their own options, and Beam's.

An option that neither knows is refused; Beam itself would only warn, and a
typing error would go unnoticed. Beam is imported here when it is needed, so
that `--help` is fast.
"""

import argparse
import dataclasses
import difflib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from planet_tf import config_flags
from planet_tf.config_flags import Config, UsageError, option

# Beam's DirectRunner runs pipelines on this engine, unless it can download
# another one from the network first. Named, it is the same everywhere.
_DIRECT = "FnApiRunner"

_BEAM_HELP = """
All options of Apache Beam are understood too, such as --runner (DirectRunner,
DataflowRunner, FlinkRunner ...; the first by default, on this machine) or
--direct_running_mode=multi_processing --direct_num_workers=8; and
--max_minutes=N, after which a service that runs the pipeline is given up."""

# That workers see.
_PATHS = ("photos", "table", "held_out", "shards", "model_dir", "out")

# What a manifest tells of a photo, as in `manifests.COLUMNS`, which imports
# Beam.
COLUMN_FIELDS = (
    *("photo_id", "path", "lat", "lng"),
    *("owner_id", "album_id", "taken_at"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Options of all programs that read photos."""

    photos: str = option(
        help="where the photos are: CSV or Parquet with columns path, lat,"
        " lng; a directory or glob of images with a position in their EXIF;"
        " a glob of tar files (WebDataset) or msgpack files (*.msg);"
        " tfds:NAME/SPLIT"
    )
    columns: tuple[str, ...] = option(
        (),
        help="names of columns that are not found by themselves, as in"
        " lat=breite,lng=laenge",
    )
    table: str = option(
        "",
        help="CSV or Parquet with columns photo_id, lat, lng, for photos that"
        " do not say where they were taken",
    )
    keep_null_island: bool = option(
        False, help="take lat 0, lng 0 for a place; else it is a missing value"
    )
    max_reject_fraction: float = option(
        0.05, help="fail if more of the photos are bad", low=0, high=1
    )

    def content_without(self, *names: str) -> dict[str, Any]:
        """The options that say what is in files, as they are read again.

        Args:
          *names: of options that change nothing in them.
        """
        values = dataclasses.asdict(self)
        for name in ("out", "max_reject_fraction", *names):
            del values[name]
        return json.loads(json.dumps(values))

    def source(self) -> Any:
        """Where the photos come from: a photos.Source."""
        from beam_pipelines import photos

        return photos.Source(
            self.photos,
            column_names(self.columns),
            self.table,
            self.keep_null_island,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Options of all programs that split photos."""

    validation_fraction: float = option(
        0.05, help="share of the groups of photos", low=0, high=1
    )
    test_fraction: float = option(
        0.05, help="share of the groups of photos", low=0, high=1
    )
    albums_fraction: float = option(
        0.0,
        help="share of the groups of photos that the photo model is not"
        " trained on, so that their albums can train the album model; 0.2 for"
        " one",
        low=0,
        high=1,
    )
    split_seed: int = option(0, help="another seed is another split")

    def check_split(self) -> None:
        """UsageError if nothing is left to train on."""
        held_out = sum(self.fractions().values())
        if held_out >= 1:
            raise UsageError(
                "--validation_fraction, --test_fraction and --albums_fraction"
                f" add up to {held_out}; they must leave something to train on"
            )

    def fractions(self) -> dict[str, float]:
        """Share of the groups of photos in each split but "train"."""
        return {
            "validation": self.validation_fraction,
            "test": self.test_fraction,
            "albums": self.albums_fraction,
        }

    def split_rule(self) -> dict[str, Any]:
        """By what photos are split, for what is made of them."""
        return {"seed": self.split_seed, "fractions": self.fractions()}


class RunError(RuntimeError):
    """A pipeline that failed."""


def parse(
    config_class: type[Config], argv: Sequence[str], usage: str
) -> tuple[Config, Any]:
    """The program's options and Beam's PipelineOptions; exits on errors."""
    config, rest = config_flags.parse(
        config_class,
        argv,
        usage=usage.strip() + "\n" + _BEAM_HELP,
        pass_through=True,
    )
    try:
        column_names(getattr(config, "columns", ()))
        names = [field.name for field in dataclasses.fields(config_class)]
        options = beam_options(rest, names)
        _check_paths(config, options)
        _check_by_beam(options)
    except UsageError as error:
        config_flags.fail(error)
    return config, options


def column_names(pairs: Sequence[str]) -> dict[str, str]:
    """Names of columns by ours for them, of `--columns`.

    Raises:
      UsageError: if it is no list of field=name.
    """
    names = dict(pair.partition("=")[::2] for pair in pairs)
    for pair in pairs:
        field, equals, name = pair.partition("=")
        if not equals or not name or field not in COLUMN_FIELDS:
            raise UsageError(
                f"--columns has {pair!r}; needed is field=name, where field is"
                f" one of {', '.join(COLUMN_FIELDS)}"
            )
    if len(names) < len(pairs):
        raise UsageError(
            f"--columns={','.join(pairs)} names a field more than once"
        )
    return names


def beam_options(args: Sequence[str], own_names: Sequence[str] = ()) -> Any:
    """PipelineOptions of arguments that are all Beam's.

    Raises:
      UsageError: if Beam does not know one, or the runner loses data.
    """
    _import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipelines import running  # which has an option, too

    parser = _beam_parser()
    known, unknown = parser.parse_known_args(list(args))
    if unknown:
        name = unknown[0].partition("=")[0].lstrip("-")
        names = [*own_names, *vars(known)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean --{near[0]}?" if near else ""
        raise UsageError(f"unknown: {' '.join(unknown)}{hint}")
    runner = known.runner or "DirectRunner"
    options = PipelineOptions(
        list(args), runner=_DIRECT if runner == "DirectRunner" else runner
    )
    _check_runner(runner, known, running.is_dataflow(options))
    return options


def _check_runner(
    runner: str, known: argparse.Namespace, is_dataflow: bool
) -> None:
    """Raises UsageError for what would end with a loss, or with a surprise."""
    if "dask" in runner.lower():
        raise UsageError(
            f"--runner={runner}: Beam's DaskRunner reports success and loses"
            " the output of all but one branch of a pipeline; take another"
        )
    if known.no_wait_until_finish:
        raise UsageError(
            "--no_wait_until_finish: the last steps are done here when the"
            " pipeline has ended; leave the program running"
        )
    if not is_dataflow and known.dry_run:
        raise UsageError(f"--dry_run: {runner} has none and would run it all")
    if is_dataflow and not (known.temp_location or known.staging_location):
        # Beam would look for a bucket, for minutes without credentials.
        raise UsageError(
            f"--runner={runner} needs --temp_location=gs://BUCKET/DIRECTORY"
        )


def run(pipeline: Any) -> None:
    """Runs a pipeline to its end, or exits the program if it was only made.

    Raises:
      RunError: with what happened, in a line.
    """
    from beam_pipelines import running

    try:
        state = running.run(pipeline)
    except Exception as error:
        raise RunError(_cause(error)) from error
    if state != "DONE":
        raise RunError(f"the pipeline ended in state {state}")
    nothing = running.why_nothing_runs(pipeline.options)
    if nothing:
        print(nothing)
        sys.exit(0)


def is_dry_run(beam_options: Any) -> bool:
    """Whether nothing will be run, so that nothing must be changed."""
    from beam_pipelines import running

    return running.is_dry_run(beam_options)


def run_program(
    body: Callable[[], Iterable[str]], *errors: type[Exception]
) -> int:
    """Prints the lines that `body` gives; returns the program's exit code.

    What goes wrong through no fault of the program is told in a line.

    Args:
      body: does the work.
      errors: of the program that are its user's business, too.
    """
    from beam_pipelines.rejects import TooManyRejects
    from planet_tf.geo.partition import PartitionError
    from planet_tf.photos.manifests import SourceError

    expected: tuple[type[Exception], ...] = (
        *(SourceError, TooManyRejects, PartitionError, RunError, OSError),
        *errors,
    )
    try:
        lines = body()
    except expected as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _check_by_beam(options: Any) -> None:
    """Raises UsageError for options that a pipeline is refused with."""
    from apache_beam import Pipeline

    try:
        Pipeline(options=options)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error


def _check_paths(config: Any, beam_options: Any) -> None:
    """Raises UsageError for paths that cannot be read from where they are."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    from beam_pipelines import running

    endpoint = beam_options.view_as(GoogleCloudOptions).dataflow_endpoint or ""
    elsewhere = (
        running.is_dataflow(beam_options)
        and not running.is_dry_run(beam_options)
        and "localhost" not in endpoint
    )
    for name, path in _paths(config):
        if "://" in path:
            try:
                FileSystems.get_filesystem(path)
            except ValueError as error:
                raise UsageError(
                    f"--{name}={path}: Beam knows no such files; for gs://"
                    " install apache-beam[gcp]"
                ) from error
        elif elsewhere and path and not path.startswith("tfds:"):
            raise UsageError(
                f"--{name}={path} is on this machine, but Dataflow's workers"
                " are not; needed is gs://BUCKET/..."
            )


def _paths(config: Any) -> Iterator[tuple[str, str]]:
    """Names of options that are paths, and each path."""
    for name in _PATHS:
        value = getattr(config, name, "")
        if isinstance(value, tuple):
            yield from ((name, path) for path in value)
        elif isinstance(value, str):  # and not a number of shards
            yield name, value


def _import_beam() -> None:
    """Imports Beam without its warnings about packages nobody asked for."""
    logging.disable(logging.WARNING)
    try:
        import apache_beam  # noqa: F401
    finally:
        logging.disable(logging.NOTSET)


def _beam_parser() -> argparse.ArgumentParser:
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(message)

    parser = Parser(allow_abbrev=False, add_help=False)
    for options in pipeline_options.PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser


def _cause(error: BaseException) -> str:
    """What happened, without the steps of the pipeline it went through."""
    from beam_pipelines import running

    text = str(error).split(" [while running")[0].strip()
    if "Channel closed prematurely" in text:  # Beam's words, by a job service
        return running.WORKER_DIED
    # A worker in a process of its own sends its traceback as text.
    last = text.splitlines()[-1] if text else type(error).__name__
    return re.sub(r"^[\w.]*(Error|Exception): ", "", last)
