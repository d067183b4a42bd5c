import importlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from planet_tf import config_flags, launcher, quickstart
from planet_tf.options import album_variants
from planet_tf.quickstart import QuickstartConfig, Stage

ROOT = pathlib.Path(__file__).parent.parent

# What the quickstart ran when it was a shell script: README.md's figures are
# of these very commands.
FULL = """
beam_pipelines.make_satellite_views --out=quickstart/views --count=34000
 --trips=4000 --validation_fraction=0.05 --test_fraction=0.1
 --albums_fraction=0.3
beam_pipelines.build_partition --out=quickstart/partition.json
 --photos=quickstart/views/manifest.csv --train_only --validation_fraction=0.05
 --test_fraction=0.1 --albums_fraction=0.3 --max_photos=220 --min_photos=33
planet_tf.draw quickstart/partition.json --out=quickstart/partition.png
beam_pipelines.report_partition --out=quickstart/partition_report
 --partition=quickstart/partition.json --photos=quickstart/views/manifest.csv
beam_pipelines.write_shards --photos=quickstart/views/manifest.csv
 --partition=quickstart/partition.json --out=quickstart/shards
 --validation_fraction=0.05 --test_fraction=0.1 --albums_fraction=0.3
planet_tf.train --flagfile=planet_tf/presets/quickstart_full.flags
 --shards=quickstart/shards --model_dir=quickstart/model
planet_tf.evaluate --model_dir=quickstart/model --shards=quickstart/shards
 --out=quickstart/report
planet_tf.predict --model_dir=quickstart/model --out=quickstart/maps
 quickstart/report/examples/1.jpg quickstart/report/examples/2.jpg
 quickstart/report/examples/3.jpg
beam_pipelines.write_albums --photos=quickstart/views/trips.csv
 --model_dir=quickstart/model --out=quickstart/albums --shards=4
planet_tf.train_albums --albums=quickstart/albums
 --flagfile=planet_tf/presets/quickstart_albums_full.flags --variant=lstm
 --model_dir=quickstart/album_models/lstm
planet_tf.train_albums --albums=quickstart/albums
 --flagfile=planet_tf/presets/quickstart_albums_full.flags
 --variant=bidirectional --model_dir=quickstart/album_models/bidirectional
planet_tf.evaluate_albums --albums=quickstart/albums
 --model_dirs=quickstart/album_models/lstm,quickstart/album_models/bidirectional
 --out=quickstart/album_report
planet_tf.predict_album --albums=quickstart/albums --split=test --limit=3
 --model_dir=quickstart/album_models/bidirectional --out=quickstart/tracks
"""

# A program that makes its result; or fails, or waits, as it is told: with a
# child that hears no signal.
MAKER = """
import os, pathlib, subprocess, sys, time
result, what = sys.argv[1:]
if what == "wait":
    deaf = subprocess.Popen(["bash", "-c", "trap '' INT TERM; echo; sleep 600"],
                            stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    deaf.stdout.readline()
    pathlib.Path("up").write_text(f"{os.getpid()} {deaf.pid} .")
    time.sleep(600)
if what != "make":
    sys.exit(int(what))
pathlib.Path(result).write_text(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def commands(text):
    """Command lines in a text, in which further lines of one are indented."""
    return [
        tuple(x.split()) for x in text.strip().replace("\n ", " ").split("\n")
    ]


def parsed(*args):
    config, _ = config_flags.parse(
        QuickstartConfig, ["quickstart", *args], usage=""
    )
    return config


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def maker(monkeypatch, tmp_path):
    """A function for stages of the program above, in an empty directory."""
    (tmp_path / "maker.py").write_text(MAKER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)

    def stage(result, what="make"):
        return Stage(f"making {result}", result, ("maker", result, what))

    return stage


def run(*stages):
    return quickstart.run(stages, time.monotonic(), [])


def runs(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_full_quickstart_runs_what_the_readmes_figures_are_of(at_root):
    stages = quickstart.plan(parsed())
    assert [stage.command for stage in stages] == commands(FULL)


def test_the_small_one_has_fewer_views_larger_shares_and_other_presets(at_root):
    small = (
        FULL.replace("quickstart/", "quickstart-small/")
        .replace("_full", "_small")
        .replace("--count=34000", "--count=3200")
        .replace("--trips=4000", "--trips=150")
        .replace(
            "--max_photos=220 --min_photos=33",
            "--max_photos=140 --min_photos=28",
        )
    )
    for args in (["--size=small"], ["--size", "small"]):
        stages = quickstart.plan(parsed(*args))
        assert [stage.command for stage in stages] == commands(small)


def test_results_are_below_out_and_each_is_written_by_its_own_command():
    stages = quickstart.plan(
        parsed("--out=/some where/{out}", "--variants=all")
    )
    results = [stage.result for stage in stages]
    assert len(set(results)) == len(results) == 18
    for stage in stages:
        assert stage.result.startswith("/some where/{out}/")
        values = [word.partition("=")[2] for word in stage.command]
        values = [x for x in values if x and stage.result.startswith(x)]
        assert values, stage
        assert all(
            "{" not in word.replace("/{out}/", "") for word in stage.command
        )


def test_all_album_models_are_trained_and_the_last_one_answers():
    stages = quickstart.plan(parsed("--variants=all"))
    trained = [
        stage.command[3].removeprefix("--variant=")
        for stage in stages
        if stage.command[0] == "planet_tf.train_albums"
    ]
    assert trained == [
        "alone",
        "lstm",
        "offset1",
        "offset2",
        "repeated",
        "bidirectional_repeated",
        "bidirectional",
    ]
    assert set(trained) == set(album_variants.VARIANTS)
    assert "--model_dir=quickstart/album_models/bidirectional" in (
        stages[-1].command
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--size=tiny"], "--size is 'tiny'; it must be one of full, small"),
        (["--variants=all,lstm"], "all goes alone"),
        (["--variants="], "--variants is empty"),
        (["--variants=gru"], "--variants is 'gru'"),
        (["--sise=small"], "Unknown command line flag 'sise'"),
        (["small"], "unexpected arguments: small"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_made(
    args, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        quickstart.main(["quickstart", *args])
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", quickstart.SIZES)
def test_each_program_understands_its_stages_options(size, monkeypatch):
    class Parsed(Exception):
        """The options are understood; nothing is to run."""

    parse = config_flags.parse
    for stage in quickstart.plan(parsed(f"--size={size}", "--variants=all")):
        module, *args = stage.command

        def stop(*given, positional="", args=args, **options):
            _, rest = parse(*given, positional=positional, **options)
            # Else an option of Beam's, which would not say that it is unknown.
            assert not rest or positional, rest
            raise Parsed(given)

        monkeypatch.setattr(config_flags, "parse", stop)
        with pytest.raises(Parsed):
            importlib.import_module(module).main([module, *args])


def test_what_is_there_is_not_made_again(maker, capsys):
    pathlib.Path("first").write_text("of before")
    assert run(maker("first"), maker("second")) == 0
    assert pathlib.Path("first").read_text() == "of before"
    assert pathlib.Path("second").read_text() == "3"
    said = capsys.readouterr().err
    assert "== making first (0 s)\nthere already: first\n" in said
    assert "== making second (" in said
    assert "$ python -m maker second make\n" in said


def test_a_failed_stage_names_its_command_and_ends_the_run(maker, capsys):
    assert run(maker("a b", "7"), maker("second")) == 7
    assert not pathlib.Path("second").exists()
    command = shlex.join([sys.executable, "-m", "maker", "a b", "7"])
    said = capsys.readouterr().err
    assert f"error: making a b failed, exit code 7:\n  {command}\n" in said
    done = subprocess.run(command, shell=True)  # as one would paste it
    assert done.returncode == 7
    assert run(maker("a b"), maker("second")) == 0  # goes on there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_that_runs_and_what_it_started(
    number, maker, tmp_path
):
    program = (
        "import sys, time\n"
        "from planet_tf import quickstart\n"
        "from planet_tf.workers import gang\n"
        f"stages = {[maker('first', 'wait'), maker('second')]}\n"
        "with gang.stop_signals() as signals:\n"
        "    sys.exit(quickstart.run(stages, time.monotonic(), signals))\n"
    ).replace("Stage(", "quickstart.Stage(")
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True
    )
    up = tmp_path / "up"
    while not (up.exists() and up.read_text().endswith(".")):
        assert process.poll() is None
        time.sleep(0.02)
    started = [int(pid) for pid in up.read_text().split()[:-1]]
    assert all(map(runs, started))
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number
    assert "stopped in making first; call it again to go on there" in said
    for _ in range(1000):  # they may be there for a moment after the kill
        if not any(map(runs, started)):
            break
        time.sleep(0.02)
    assert not any(map(runs, started))
    assert not (tmp_path / "second").exists()


def test_the_end_names_figures_files_and_commands_that_are_understood(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for stage in quickstart.plan(parsed("--out=q")):
        path = tmp_path / stage.result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("| network |\n\n## Other figures\n\n| prior |\n")
    albums = tmp_path / "q/album_report/report.md"
    albums.write_text("| album average |\n\n## Other figures of albums\n")
    assert quickstart.main(["quickstart", "--out=q"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("| network |\n\n| album average |\n\n## Other")
    assert "| prior |" not in said
    assert f"export PATH={pathlib.Path(sys.executable).parent}:" in said
    line = said.replace("\\\n", "").split("python -m planet_tf.launcher")[1]
    assert launcher.main(["launcher", *line.split(), "--dry_run"]) == 0
    assert "--steps=4500" in capsys.readouterr().out


@pytest.mark.slow
def test_the_small_quickstart_runs_whole_and_then_has_nothing_to_do(tmp_path):
    command = [sys.executable, "-m", "planet_tf.quickstart"]
    command += ["--size=small", "--out=q", "--variants=lstm"]
    run = {"cwd": tmp_path, "capture_output": True, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, **run)
    assert done.returncode == 0, done.stderr
    stages = quickstart.plan(
        parsed("--size=small", "--out=q", "--variants=lstm")
    )
    for stage in stages:
        assert f"== {stage.title} (" in done.stderr
        assert (tmp_path / stage.result).exists()
    for line in done.stdout.partition("Files:\n")[2].splitlines():
        path = line.split()[0] if line.startswith("  q/") else "q"
        assert (tmp_path / path).exists(), line
    assert re.search(r"^\| network +\|", done.stdout, re.M)
    assert re.search(r"^\| album average +\|", done.stdout, re.M)
    again = subprocess.run(command, env=environment, **run)
    assert again.returncode == 0
    assert again.stderr.count("there already: ") == len(stages)
    # The end of the first one's: the programs have had their say before.
    assert "Files:\n" in again.stdout
    assert done.stdout.endswith(again.stdout)
