import json
import os
import signal
import subprocess
import sys
import time

import pytest

from planet_tf import local_workers
from planet_tf.config import LaunchConfig


def gang(tmp_path, code, workers=2, grace_seconds=2.0):
    config = LaunchConfig(workers=workers, grace_seconds=grace_seconds)
    command = [sys.executable, "-c", code]
    return local_workers.run(config, command, str(tmp_path / "logs"))


def log(tmp_path, index):
    return (tmp_path / "logs" / f"worker-{index}.log").read_text()


PRINT = "import os; print(os.environ['TF_CONFIG'])"
BY_INDEX = "import json, os, time; i = json.loads(os.environ['TF_CONFIG'])"
BY_INDEX += "['task']['index']; print('worker', i, flush=True); "


def test_workers_get_one_cluster_and_their_own_index(tmp_path, capfd):
    assert gang(tmp_path, PRINT, workers=3) == 0
    found = [json.loads(log(tmp_path, i)) for i in range(3)]
    assert [f["task"]["index"] for f in found] == [0, 1, 2]
    assert len({str(f["cluster"]) for f in found}) == 1
    assert len(set(found[0]["cluster"]["worker"])) == 3
    shown = capfd.readouterr().err
    assert "[w0] " in shown
    assert "[w1] " not in shown


def test_base_port_gives_consecutive_ports():
    assert local_workers.worker_addresses(2, 7000) == [
        "127.0.0.1:7000",
        "127.0.0.1:7001",
    ]


@pytest.mark.parametrize(
    ("death", "code"),
    [("raise SystemExit(3)", 3), ("os.kill(os.getpid(), 9)", 137)],
)
def test_the_first_failure_ends_all_and_is_shown(tmp_path, capfd, death, code):
    body = f"\nif i == 1: {death}\ntime.sleep(60)"
    begun = time.monotonic()
    assert gang(tmp_path, BY_INDEX + body, workers=3) == code
    assert time.monotonic() - begun < 30  # not the 60 s of the others
    shown = capfd.readouterr().err
    assert f"worker 1 failed first, with exit code {code}" in shown
    assert "[w1] worker 1" in shown


def test_a_worker_deaf_to_term_is_killed(tmp_path):
    deaf = (
        "\nimport signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        "\nopen(f'{os.environ[\"MARK\"]}{i}', 'w').write(str(os.getpid()))"
        "\nif i == 0: time.sleep(1); raise SystemExit(1)"
        "\ntime.sleep(60)"
    )
    os.environ["MARK"] = str(tmp_path / "pid")
    assert gang(tmp_path, BY_INDEX + deaf, grace_seconds=0.5) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid1").read_text()), 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_ends_all_workers(tmp_path, number):
    body = (
        "import os, sys, time\n"
        "open(sys.argv[1] + str(os.getpid()), 'w'); time.sleep(60)"
    )
    code = (
        "import sys; from planet_tf import local_workers, config\n"
        f"command = [sys.executable, '-c', {body!r}, sys.argv[1]]\n"
        "sys.exit(local_workers.run(config.LaunchConfig(grace_seconds=2),"
        " command, sys.argv[2]))"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, f"{tmp_path}/pid-", str(tmp_path / "logs")]
    )
    for _ in range(300):
        pids = [int(p.name[4:]) for p in tmp_path.glob("pid-*")]
        if len(pids) == 2:
            break
        time.sleep(0.1)
    launcher.send_signal(number)
    assert launcher.wait(30) == 128 + number
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_with_tf_config_it_becomes_that_one_worker(monkeypatch):
    called = []
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setattr(os, "execv", lambda *command: called.append(command))
    monkeypatch.setattr(local_workers, "run", lambda *_: pytest.fail("ran"))
    options = ["--shards=s", "--model_dir=m"]
    local_workers.main(["train_multiworker", "--workers=4", "--", *options])
    module = ["-m", "planet_tf.train"]
    assert called[0] == (sys.executable, [sys.executable, *module, *options])


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--workers=0"], "it must be >= 1"),
        (["--workers=2"], "--shards, --model_dir"),
        (["--shards=a", "--model_dir=b", "--stepz=3"], "stepz"),
    ],
)
def test_mistakes_are_found_before_workers_start(
    capsys, monkeypatch, arguments, wanted
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        local_workers.main(["train_multiworker", *arguments])
    assert stopped.value.code == 2
    assert wanted in capsys.readouterr().err
