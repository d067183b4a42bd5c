import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys

import pytest

from planet_tf import launcher
from planet_tf.options import train_config
from planet_tf.workers import gang, machine

ROOT = pathlib.Path(__file__).parent.parent
OF_CLUSTERS = ("TF_CONFIG", "SLURM_", "JOB_COMPLETION_INDEX", "CUDA_VISIBLE")
OPTIONS = ["--shards=s", "--model_dir=m"]

# Stands in for the trainer: runs $BODY as worker `me`, started `starts` times
# before.
TRAINER = """
import json, os, pathlib, signal, sys, time
task = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))
me = task["task"]["index"]
counter = pathlib.Path(f"starts-{me}")
starts = int(counter.read_text()) if counter.exists() else 0
counter.write_text(str(starts + 1))
exec(os.environ["BODY"])
"""


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch, tmp_path):
    """An environment of no cluster, in an empty directory."""
    for name in list(os.environ):
        if name.startswith(OF_CLUSTERS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(gang, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(gang, "_SETTLE_SECONDS", 0.1)


@pytest.fixture
def launch(monkeypatch, tmp_path):
    """Launches the stand-in; returns the exit code."""
    (tmp_path / "trainer_stub.py").write_text(TRAINER)
    stub = "trainer_stub", train_config.TrainConfig
    monkeypatch.setitem(launcher.TRAINERS, "photo", stub)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    def run(body, *options):
        monkeypatch.setenv("BODY", body)
        options = [*OPTIONS, "--restart_delay=0.05", *options]
        return launcher.main(["launcher", *options])

    return run


def fails(*arguments):
    with pytest.raises(SystemExit) as stopped:
        launcher.main(["launcher", *arguments])
    return stopped.value.code


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--workers=0"], "it must be >= 1"),
        (["--workers=2"], "--model_dir, --shards"),
        (["--model=album", "--model_dir=m"], "--albums"),
        ([*OPTIONS, "--model=album"], "shards"),
        ([*OPTIONS, "--model=trip"], "must be one of photo, album"),
        ([*OPTIONS, "--stepz=3"], "stepz"),
        ([*OPTIONS, "--", "--workers=3"], "workers"),
        ([*OPTIONS, "--batch_size=0"], "it must be >= 1"),
        ([*OPTIONS, "extra"], "unexpected arguments: extra"),
        (["--shards=s", "--model_dir=gs://b/m"], "--log_dir"),
        ([*OPTIONS, "--hosts=no.such.host,h2"], "--index"),
        ([*OPTIONS, "--hosts=h1,h2", "--index=2"], "worker 2"),
        ([*OPTIONS, "--hosts=h1,h2", "--index=0", "--workers=3"], "has 2"),
        (
            [*OPTIONS, "--hosts=h1,h2", "--index=0", "--max_restarts=1"],
            "docs/clusters.md",
        ),
        ([*OPTIONS, "--strategy=mirrored", "--workers=2"], "one process"),
        ([*OPTIONS, "--cluster=slurm"], "srun"),
        ([*OPTIONS, "--cluster=jobset"], "JOBSET_NAME"),
    ],
)
def test_mistakes_are_found_before_anything_starts(capsys, arguments, wanted):
    assert fails(*arguments) == 2
    assert wanted in capsys.readouterr().err
    assert not os.path.exists("m")


def test_more_workers_than_gpus_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(machine, "gpus", lambda: ["0"])
    assert fails(*OPTIONS) == 2
    assert "there are GPUs for 1" in capsys.readouterr().err


def test_help_lists_the_launchers_options(capsys):
    with pytest.raises(SystemExit) as stopped:
        launcher.main(["launcher", "--help"])
    assert stopped.value.code == 0
    assert "--max_restarts=0" in capsys.readouterr().out


def dry_run(capsys, *options):
    """What the lines of a dry run set, and their commands, by worker."""
    assert launcher.main(["l", *OPTIONS, *options, "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = []
    for line in lines[1::2]:
        words = shlex.split(line)
        split = words.index(sys.executable)
        settings = dict(word.split("=", 1) for word in words[:split])
        found.append((settings, words[split:]))
    assert [x[:10] for x in lines[::2]] == [
        f"# worker {i}" for i in range(len(found))
    ]
    assert not os.path.exists("m")
    return found


def test_a_dry_run_prints_what_each_worker_would_be(capsys):
    options = ["--workers=3", "--base_port=7000", "--", "--steps", "5"]
    found = dry_run(capsys, *options[:2], "--steps", "5")
    addresses = ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002"]
    for index, (settings, command) in enumerate(found):
        assert json.loads(settings["TF_CONFIG"]) == {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        assert command[1:3] == ["-m", "planet_tf.train"]
        assert command[3:] == [*OPTIONS, "--steps", "5"]


def test_what_stands_after_two_dashes_is_the_trainers(capsys):
    arguments = ["l", "--workers=1", "--dry_run", "--", *OPTIONS, "--dry_run"]
    assert launcher.main(arguments) == 0
    assert capsys.readouterr().out.rstrip().endswith("--model_dir=m --dry_run")


@pytest.mark.parametrize(
    "options",
    [
        ["--workers=1"],
        ["--strategy=tpu", "--tpu=v5e"],
        ["--strategy=mirrored"],
        ["--strategy=tpu", "--hosts=h1,h2"],
    ],
)
def test_one_process_needs_no_cluster(monkeypatch, capsys, options):
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n1")
    if options == ["--workers=1"]:
        options = [*options, "--cluster=local"]
    ((settings, _),) = dry_run(capsys, *options)
    assert "TF_CONFIG" not in settings


def test_gpus_and_cpus_are_dealt_to_the_workers():
    first, second = machine.places(2, [1, 2], [0, 2, 1, 3], ["4", "5", "6"])
    assert (first.cpus, second.cpus) == ((0, 2), (1, 3))
    assert first.environment()["CUDA_VISIBLE_DEVICES"] == "4"
    assert second.environment()["CUDA_VISIBLE_DEVICES"] == "5,6"
    (alone,) = machine.places(1, [1], [0, 1], [])
    assert (alone.cpus, "CUDA_VISIBLE_DEVICES" in alone.environment()) == (
        (),
        False,
    )


@pytest.mark.parametrize(
    ("options", "bound"), [([], [{1}, {2}]), (["--nobind_cpus"], [set()] * 2)]
)
def test_workers_have_cpus_of_their_own(launch, monkeypatch, options, bound):
    monkeypatch.setattr(machine, "cpus", lambda: [1, 2])
    found = []

    def run(members, **_):
        found.extend(set(member.cpus) for member in members)
        return gang.Ends((0, 0), None)

    monkeypatch.setattr(gang, "run", run)
    assert launch("pass", *options) == 0
    assert found == bound


def test_free_ports_differ():
    assert len(set(machine.ports(20))) == 20
    assert machine.ports(2, 7000) == [7000, 7001]


@pytest.mark.parametrize(
    ("hosts", "index"),
    [
        (["h1.invalid", "localhost"], 1),
        (["127.0.0.1:80", "h1.invalid"], 0),
        (["192.0.2.1", socket.gethostname()], 1),
        (["192.0.2.1", "h1.invalid"], None),
        (["localhost:1", "127.0.0.1:2"], None),
    ],
)
def test_a_machine_finds_itself_among_the_hosts(hosts, index):
    assert machine.own_index(hosts) == index


def become(monkeypatch, *options):
    called = []
    monkeypatch.setattr(os, "execve", lambda *args: called.append(args))
    launcher.main(["launcher", *OPTIONS, *options])
    ((program, command, environment),) = called
    assert program == sys.executable
    assert command == [sys.executable, "-m", "planet_tf.train", *OPTIONS]
    return environment


def test_a_tf_config_that_is_set_is_used_untouched(monkeypatch):
    text = '{"cluster":{"worker":["a:1","b:1"]},"task":{"type":"worker",'
    text += '"index":1},  "environment": "cloud"}'
    monkeypatch.setenv("TF_CONFIG", text)
    assert become(monkeypatch)["TF_CONFIG"] == text


def test_among_hosts_it_becomes_the_one_worker_it_is(monkeypatch):
    environment = become(monkeypatch, "--hosts=h1.invalid,localhost:80")
    config = json.loads(environment["TF_CONFIG"])
    assert config["task"]["index"] == 1
    assert config["cluster"]["worker"][0] == "h1.invalid:2222"


def test_a_tf_config_that_cannot_be_used_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert fails(*OPTIONS) == 2
    assert "TF_CONFIG must be like" in capsys.readouterr().err


def test_the_first_workers_log_is_on_the_console(launch, capfd):
    code = launch("print(me, len(task['cluster']['worker']))", "--workers=3")
    assert code == 0
    said = capfd.readouterr().err
    assert "3 worker(s) log to m/logs" in said
    assert "[w0] 0 3\n" in said
    assert "[w1]" not in said
    assert pathlib.Path("m/logs/worker-2.log").read_text().endswith("2 3\n")


def test_a_worker_with_an_error_ends_all_and_is_shown(
    launch, capfd, monkeypatch
):
    monkeypatch.setattr(gang, "_SETTLE_SECONDS", 20.0)  # until all have ended
    body = (
        "for i in range(40): print('line', i, flush=True)\n"
        "if me == 1: sys.exit(1)\n"
        "time.sleep(0.1); sys.exit(143)"
    )
    assert launch(body, "--max_restarts=5") == 1
    said = capfd.readouterr().err
    assert "worker 1 failed first, with exit code 1; all have ended" in said
    assert "[w1] line 10\n" in said
    assert "[w1] line 9\n" not in said
    assert "no restart: the same would happen again" in said
    assert pathlib.Path("starts-0").read_text() == "1"


@pytest.mark.parametrize(
    ("death", "code", "how"),
    [
        ("sys.exit(143)", 143, "(preempted, or it lost a peer)"),
        ("os.kill(os.getpid(), 9)", 137, "(SIGKILL)"),
    ],
)
def test_a_failure_that_may_pass_restarts_all(launch, capfd, death, code, how):
    body = (
        f"if me == 1 and starts < 2: {death}\n"
        "other = pathlib.Path('starts-1')\n"
        "while not other.exists() or other.read_text() != '3':\n"
        "    time.sleep(0.02)"
    )
    assert launch(body, "--max_restarts=2") == 0
    said = capfd.readouterr().err
    assert f"worker 1 failed first, with exit code {code} {how}" in said
    assert "restart 1 of 2 in 0.05 s" in said
    assert "restart 2 of 2 in 0.1 s" in said
    assert pathlib.Path("m/logs/worker-0.log").read_text().count("---") == 3


def test_a_restart_is_on_new_ports(launch):
    body = "print(task['cluster'])\nif starts == 0: sys.exit(143)"
    assert launch(body, "--max_restarts=1") == 0
    log = pathlib.Path("m/logs/worker-0.log").read_text().splitlines()
    assert log[1] != log[3]


def test_restarts_that_do_not_help_end(launch, capfd):
    assert launch("sys.exit(143)", "--max_restarts=2") == 143
    said = capfd.readouterr().err
    assert "no restart: 2 in a row got training no further" in said
    assert pathlib.Path("starts-0").read_text() == "3"


def test_restarts_are_counted_since_training_got_further(launch, capfd):
    # Two starts reach each step: one restart in a row is too few, two are
    # enough for any number of them.
    body = (
        "if me == 0: print(f'step {(starts // 2 + 1) * 1000:,}/9,000')\n"
        "sys.exit(143 if starts < 5 else 0)"
    )
    assert launch(body, "--workers=1", "--max_restarts=1") == 143
    assert pathlib.Path("starts-0").read_text() == "2"
    pathlib.Path("starts-0").unlink()
    assert launch(body, "--workers=1", "--max_restarts=2") == 0
    assert pathlib.Path("starts-0").read_text() == "6"
    assert "restart 3" not in capfd.readouterr().err


def test_without_restarts_it_says_how_to_go_on(launch, capfd):
    assert launch("sys.exit(143)") == 143
    assert "goes on from the last checkpoint" in capfd.readouterr().err


def test_a_log_that_cannot_be_written_is_an_error(launch, capfd):
    pathlib.Path("m").write_text("in the way")
    assert launch("pass") == 1
    assert "error: [Errno 20]" in capfd.readouterr().err


def test_the_script_passes_all_on(tmp_path):
    done = subprocess.run(
        [ROOT / "launch/train_multiworker.sh", *OPTIONS, "--dry_run"],
        env=os.environ | {"PLANET_VENV": sys.prefix},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TF_CONFIG=") == 2
