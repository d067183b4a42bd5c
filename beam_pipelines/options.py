"""Command lines of the Beam programs: their own options, and Beam's.

An option that neither knows is refused; Beam itself would only warn, and a
typing error would go unnoticed. Beam is imported here when it is needed, so
that `--help` is fast.
"""

import argparse
import dataclasses
import difflib
import logging
import re
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from planet_tf import config_flags
from planet_tf.config_flags import UsageError

Config = TypeVar("Config")

# Beam's DirectRunner runs pipelines on this engine, unless it can download
# another one from the network first. Named, it is the same everywhere.
_DIRECT = "FnApiRunner"

_BEAM_HELP = """
All options of Apache Beam are understood too, such as --runner (DirectRunner,
DataflowRunner, FlinkRunner ...; the first by default, on this machine) or
--direct_running_mode=multi_processing --direct_num_workers=8."""


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
        names = [field.name for field in dataclasses.fields(config_class)]
        return config, beam_options(rest, names)
    except UsageError as error:
        config_flags.fail(error)


def beam_options(args: Sequence[str], own_names: Sequence[str] = ()) -> Any:
    """PipelineOptions of arguments that are all Beam's.

    Raises:
      UsageError: if Beam does not know one, or the runner loses data.
    """
    _import_beam()
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = _beam_parser()
    known, unknown = parser.parse_known_args(list(args))
    if unknown:
        name = unknown[0].partition("=")[0].lstrip("-")
        names = [*own_names, *vars(known)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean --{near[0]}?" if near else ""
        raise UsageError(f"unknown: {' '.join(unknown)}{hint}")
    runner = known.runner or "DirectRunner"
    if "dask" in runner.lower():
        raise UsageError(
            f"--runner={runner}: Beam's DaskRunner reports success and loses"
            " the output of all but one branch of a pipeline; take another"
        )
    if runner == "DirectRunner":
        runner = _DIRECT
    options = PipelineOptions(list(args), runner=runner)
    try:
        Pipeline(options=options)  # which checks them
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from error
    return options


def run(pipeline: Any) -> None:
    """Runs a pipeline to its end.

    Raises:
      RunError: with what happened, in a line.
    """
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:
        raise RunError(_cause(error)) from error
    if state != "DONE":
        raise RunError(f"the pipeline ended in state {state}")


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
    text = str(error).split(" [while running")[0].strip()
    # A worker in a process of its own sends its traceback as text.
    last = text.splitlines()[-1] if text else type(error).__name__
    return re.sub(r"^[\w.]*(Error|Exception): ", "", last)
