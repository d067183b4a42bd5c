import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from planet_tf.workers import gang

# What members run: bodies of Python, with their own number as `me`.
START = "import os, signal, sys, time; me = int(sys.argv[1])\n"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    monkeypatch.setattr(gang, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(gang, "_SETTLE_SECONDS", 0.1)


def make_members(tmp_path, bodies, **options):
    return [
        gang.Member(
            [sys.executable, "-S", "-c", START + body, str(index)],
            dict(os.environ),
            str(tmp_path / f"{index}.log"),
            **options,
        )
        for index, body in enumerate(bodies)
    ]


def run(tmp_path, *bodies, grace=5.0, signals=(), watch=lambda up: None):
    return gang.run(
        make_members(tmp_path, bodies),
        grace_seconds=grace,
        signals=signals,
        watch=watch,
    )


def is_up(pid):
    """Whether a process runs; one that waits to be reaped does not."""
    with contextlib.suppress(FileNotFoundError):
        return ") Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    return False


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def test_a_gang_that_ends_well(tmp_path):
    seen = []

    def watch(up):
        seen.append(up)
        (tmp_path / f"seen {up}").touch()

    def until(up):
        path = str(tmp_path / f"seen {up}")
        return f"while not os.path.exists({path!r}): time.sleep(0.02)\n"

    ends = run(
        tmp_path,
        until([True, True])
        + "print('out', me, flush=True); print('err', file=sys.stderr)",
        until([False, True]),
        watch=watch,
    )
    assert ends == gang.Ends((0, 0), None)
    assert ends.code == 0
    assert seen[0] == [True, True]
    assert seen[-1] == [False, False]
    lines = (tmp_path / "0.log").read_text().splitlines()
    assert lines[0].startswith("--- start 20")
    assert lines[1:] == ["out 0", "err"]


def test_logs_are_appended_to(tmp_path):
    run(tmp_path, "print('first')")
    run(tmp_path, "print('second')")
    lines = (tmp_path / "0.log").read_text().splitlines()
    assert lines[1::2] == ["first", "second"]


SLEEP = "time.sleep(60)"
TERMED = "signal.signal(15, lambda *_: sys.exit(143)); time.sleep(60)"


@pytest.mark.parametrize(
    ("bodies", "first", "code"),
    [
        ((SLEEP, "sys.exit(1)"), 1, 1),
        ((SLEEP, "os.kill(os.getpid(), 9)", SLEEP), 1, 137),
        # The echo may come first, as the cause takes its time to end.
        (("sys.exit(143)", "time.sleep(0.2); sys.exit(2)"), 1, 2),
        (("sys.exit(1)", "time.sleep(0.2); os.kill(os.getpid(), 9)"), 1, 137),
        # TensorFlow may abort those who lost a peer.
        (("os.abort()", "time.sleep(0.2); sys.exit(1)"), 1, 1),
        # Preempted together; TERM that we send is not taken for the cause.
        (("sys.exit(143)", TERMED), 0, 143),
        ((SLEEP, "sys.exit(143)"), 1, 143),
    ],
)
def test_the_first_cause_ends_all(monkeypatch, tmp_path, bodies, first, code):
    if not {SLEEP, TERMED} & set(bodies):  # they all end, however slowly
        monkeypatch.setattr(gang, "_SETTLE_SECONDS", 20.0)
    ends = run(tmp_path, *bodies)
    assert (ends.first, ends.code) == (first, code)
    assert len(ends.codes) == len(bodies)
    assert all(ends.codes)


@pytest.mark.parametrize(
    ("ended", "first"),
    [
        ({}, None),
        ({1: 0, 0: 0}, None),
        ({2: 143, 0: 143, 1: 0}, 2),  # in the order of their ends
        ({2: 143, 0: 1, 1: 2}, 0),
        ({2: -6, 0: 143}, 2),
        ({2: -6, 0: 1}, 0),
        ({2: 1, 0: -9, 1: -11}, 0),
        ({2: 143, 0: -15}, 0),
        ({2: 137, 0: 3}, 0),
    ],
)
def test_which_failure_is_the_cause(ended, first):
    assert gang.first_cause(ended) == first


DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def test_one_deaf_to_term_is_killed_after_the_grace(tmp_path):
    ends = run(tmp_path, DEAF, "time.sleep(0.2); sys.exit(3)", grace=0.3)
    assert ends == gang.Ends((137, 3), 1)


@pytest.mark.parametrize(
    ("end", "codes"), [("sys.exit(143)", (143, 143)), ("sys.exit(1)", (137, 1))]
)
def test_only_those_who_may_be_saving_get_all_the_grace(
    monkeypatch, tmp_path, end, codes
):
    monkeypatch.setattr(gang, "_FAILED_GRACE_SECONDS", 0.2)
    up = tmp_path / "up"
    slow = (
        "signal.signal(15, lambda *_: (time.sleep(1), sys.exit(143)))\n"
        f"open({str(up)!r}, 'w'); time.sleep(60)"
    )
    wait = f"while not os.path.exists({str(up)!r}): time.sleep(0.02)\n"
    assert run(tmp_path, slow, wait + end, grace=20).codes == codes


def test_what_a_member_has_started_ends_with_it(tmp_path):
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid); sys.exit(me)"
    )
    run(tmp_path, body, body)
    for index in range(2):
        child = (tmp_path / f"{index}.log").read_text().split()[-1]
        wait_for(lambda child=child: not is_up(child))


def test_all_have_ended_if_one_cannot_start(tmp_path):
    members = make_members(tmp_path, ["print(os.getpid()); time.sleep(60)"])
    missing = gang.Member(["/no/such/program"], {}, str(tmp_path / "no.log"))
    with pytest.raises(FileNotFoundError, match="no/such"):
        gang.run(
            [*members, missing],
            grace_seconds=1,
            signals=(),
            watch=lambda up: None,
        )


@pytest.mark.skipif(sys.platform != "linux", reason="affinity of Linux")
def test_members_are_bound_to_their_cpus(tmp_path):
    cpu = max(os.sched_getaffinity(0))
    members = make_members(
        tmp_path, ["print(os.sched_getaffinity(0))"], cpus=(cpu,)
    )
    gang.run(members, grace_seconds=1, signals=(), watch=lambda up: None)
    assert (tmp_path / "0.log").read_text().endswith(f"{{{cpu}}}\n")


# A program that runs a gang of three and writes down how that ended.
LAUNCHER = """
import os, sys
from planet_tf.workers import gang
gang.POLL_SECONDS = 0.02
body = sys.argv[2]
members = [
    gang.Member([sys.executable, "-S", "-c", body, str(i)], dict(os.environ),
                f"{sys.argv[1]}/{i}.log")
    for i in range(3)
]
with gang.stop_signals() as signals:
    ends = gang.run(members, grace_seconds=float(sys.argv[3]),
                    signals=signals, watch=lambda up: None)
print(ends.codes, ends.first, signals)
"""


def start_launcher(tmp_path, body, grace=20.0):
    """A launcher and the processes of its gang, once they are up."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, tmp_path, START + body, str(grace)],
        stdout=subprocess.PIPE,
        text=True,
    )
    logs = [tmp_path / f"{index}.log" for index in range(3)]
    wait_for(lambda: all(x.exists() and "up" in x.read_text() for x in logs))
    return launcher, [int(x.read_text().split()[-1]) for x in logs]


UP = "print('up', os.getpid(), flush=True)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_as_term(tmp_path, number):
    body = "signal.signal(15, lambda *_: sys.exit(143))\n" + UP + SLEEP
    launcher, pids = start_launcher(tmp_path, body)
    launcher.send_signal(number)
    said, _ = launcher.communicate(timeout=15)
    assert said == f"(143, 143, 143) None [{int(number)}]\n"
    assert not any(map(is_up, pids))


def test_a_second_signal_kills_at_once(tmp_path):
    body = "signal.signal(15, signal.SIG_IGN)\n" + UP + SLEEP
    launcher, pids = start_launcher(tmp_path, body, grace=60.0)
    launcher.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert launcher.poll() is None
    launcher.send_signal(signal.SIGINT)
    said, _ = launcher.communicate(timeout=15)
    assert said == "(137, 137, 137) None [15, 2]\n"
    assert not any(map(is_up, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl of Linux")
def test_no_member_outlives_a_killed_launcher(tmp_path):
    body = "signal.signal(15, signal.SIG_IGN)\n" + UP + SLEEP
    launcher, pids = start_launcher(tmp_path, body)
    launcher.kill()
    launcher.communicate()
    wait_for(lambda: not any(map(is_up, pids)))
