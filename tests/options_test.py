import dataclasses

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from beam_pipelines import options, running
from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.photos import manifests


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photos(options.SourceConfig):
    out: str = option("", help="a path")


_DATAFLOW = (
    "--runner=DataflowRunner",
    "--project=test-project",
    "--region=us-central1",
    "--no_auth",
)
_BUCKET = "--temp_location=gs://bucket/temp"


def test_columns_are_named_by_field():
    names = options.column_names(["lat=breite", "photo_id=a=b"])
    assert names == {"lat": "breite", "photo_id": "a=b"}
    assert tuple(manifests.COLUMNS) == options.COLUMN_FIELDS


@pytest.mark.parametrize(
    "args, message",
    [
        (["--columns=breite"], "--columns has 'breite'; needed is field=name"),
        (["--columns=lat="], "--columns has 'lat='"),
        (["--columns=latitude=lat"], "one of photo_id, path, lat, lng"),
        (["--columns=lat=a,lat=b"], "more than once"),
        (["--dry_run=True"], "DirectRunner has none and would run it all"),
        (["--no_wait_until_finish"], "leave the program running"),
        (["--out=s3x://b/c"], "--out=s3x://b/c: Beam knows no such files"),
        (_DATAFLOW, "--temp_location=gs://BUCKET/DIRECTORY"),
    ],
)
def test_a_wrong_way_to_read_photos_ends_with_exit_2(args, message, capsys):
    with pytest.raises(SystemExit) as error:
        options.parse(Photos, ["program", "--photos=p.csv", *args], "usage")
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--photos=p.csv", "--table=t.csv", "--out=shards"]
)
def test_dataflow_needs_paths_that_workers_see(flag, capsys):
    pytest.importorskip("apitools", reason="needs apache-beam[gcp]")
    args = ["--photos=tfds:name/train", flag, *_DATAFLOW, _BUCKET]
    with pytest.raises(SystemExit) as error:
        options.parse(Photos, ["program", *args], "usage")
    assert error.value.code == 2
    assert f"{flag} is on this machine" in capsys.readouterr().err
    # A dry run needs none, and other paths are all right.
    args.append("--dry_run=True")
    _, beam = options.parse(Photos, ["program", *args], "usage")
    assert options.is_dry_run(beam)


def test_counters_of_all_steps_are_added_up(capsys):
    import apache_beam as beam
    from apache_beam.metrics import Metrics

    def count(x, name):
        Metrics.counter(running.NAMESPACE, name).inc(x)
        Metrics.counter("another", "unseen").inc(1)
        return x

    pipeline = beam.Pipeline("FnApiRunner")
    _ = (
        pipeline
        | beam.Create([500, 700])
        | "one" >> beam.Map(count, "photos")
        | "two" >> beam.Map(count, "photos")
        | "three" >> beam.Map(count, "rejected")
    )
    options.run(pipeline)
    printed = capsys.readouterr().err
    assert "counted: 2,400 photos, 1,200 rejected\n" in printed
    assert "unseen" not in printed


def test_a_runner_without_counters_loses_no_run(capsys):
    class Result:
        def metrics(self):
            raise NotImplementedError("not here")

    assert running.counters(Result()) == {}
    assert "tells no counters: not here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, code",
    [
        (None, 0),
        (options.RunError("it failed"), 1),
        (manifests.SourceError("it failed"), 1),
        (OSError("it failed"), 1),
        (LookupError("it failed"), 1),
    ],
)
def test_expected_errors_are_told_in_a_line(error, code, capsys):
    def body():
        if error:
            raise error
        return ["one", "two"]

    assert options.run_program(body, LookupError) == code
    printed = capsys.readouterr()
    assert printed.out == ("" if error else "one\ntwo\n")
    assert printed.err == ("error: it failed\n" if error else "")


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        options.run_program(lambda: [1 / 0])
