import dataclasses

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from beam_pipelines import options
from planet_tf import config_flags
from planet_tf.config_flags import option


@dataclasses.dataclass(frozen=True)
class Config:
    max_photos: int = option(5, help="a number")


def parse(*args):
    return options.parse(Config, ["program", *args], "usage")


def test_options_go_to_the_one_who_knows_them():
    config, beam = parse(
        "--direct_running_mode=multi_processing",
        "--max_photos=7",
        "--direct_num_workers",
        "2",
    )
    assert config == Config(7)
    direct = beam.view_as(DirectOptions)
    assert direct.direct_num_workers == 2
    assert direct.direct_running_mode == "multi_processing"


@pytest.mark.parametrize(
    "args, runner",
    [
        ([], "FnApiRunner"),  # never one that is downloaded
        (["--runner=DirectRunner"], "FnApiRunner"),
        (["--runner", "BundleBasedDirectRunner"], "BundleBasedDirectRunner"),
    ],
)
def test_the_runner_is_the_named_one(args, runner):
    _, beam = parse(*args)
    assert beam.view_as(StandardOptions).runner == runner


@pytest.mark.parametrize(
    "args, message",
    [
        (["--max_photo=7"], "did you mean --max_photos?"),
        (["--runer=FnApiRunner"], "did you mean --runner?"),
        (["--nonsense"], "unknown: --nonsense"),
        (["photos.csv"], "unknown: photos.csv"),
        (["--", "--max_photos=7"], "unknown: --"),
        (["--max_photos=many"], "--max_photos"),
        (["--direct_num_workers=many"], "--direct_num_workers"),
        (["--runner=DaskRunner"], "loses"),
        (["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"], "loses"),
        (["--runner=NoSuchRunner"], "NoSuchRunner"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_2(args, message, capsys):
    with pytest.raises(SystemExit) as error:
        parse(*args)
    assert error.value.code == config_flags.USAGE_ERROR == 2
    assert message in capsys.readouterr().err


def test_a_failed_pipeline_says_why_in_a_line():
    import apache_beam as beam

    def fail(_):
        raise ValueError("the disk is full")

    pipeline = beam.Pipeline("FnApiRunner")
    _ = pipeline | beam.Create([1]) | beam.Map(fail)
    with pytest.raises(options.RunError, match="^the disk is full$"):
        options.run(pipeline)
