import io

import pytest

from planet_tf.workers import worker_logs


@pytest.fixture
def logs(tmp_path):
    paths = [tmp_path / f"{index}.log" for index in range(3)]
    paths[0].write_text("of a run before\n")
    return paths


class Terminal(io.StringIO):
    def isatty(self):
        return True


def console(logs, out=None, **options):
    out = out or io.StringIO()
    return worker_logs.Console([str(x) for x in logs], out=out, **options), out


def append(path, text):
    with path.open("a") as file:
        file.write(text)


UP = [True, True, True]
ENDED = [False, False, False]


def test_whole_lines_of_the_first_worker_are_shown(logs):
    shown, out = console(logs)
    append(logs[0], "one\nt")
    shown.follow(UP)
    append(logs[0], "wo\nthr")
    shown.follow(UP)
    assert out.getvalue() == "[w0] one\n[w0] two\n"
    shown.follow(ENDED)  # no more will come
    assert out.getvalue().endswith("[w0] thr\n")


def test_others_show_what_went_wrong_and_nobody_else_said(logs):
    shown, out = console(logs)
    append(logs[0], "error: all\n")
    append(logs[1], "step 1\nerror: all\nwarning: one\n")
    append(logs[2], "warning: one\nerror: two\nno error: three\n")
    append(logs[2], "WARNING: All log messages before ... to STDERR\n")
    shown.follow(UP)
    assert out.getvalue().splitlines() == [
        "[w0] error: all",
        "[w1] warning: one",
        "[w2] error: two",
    ]


def test_bytes_that_are_no_text_do_no_harm(logs):
    shown, out = console(logs)
    with logs[0].open("ab") as file:
        file.write(b"caf\xe9\n")
    shown.follow(UP)
    assert out.getvalue() == "[w0] caf\ufffd\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("", "3 of 3 workers up, 0 restart(s)"),
        (
            "step 1,200/5,000  epoch 0.31  loss 2.1\n",
            "3 of 3 workers up, step 1,200 of 5,000, 0 restart(s)",
        ),
        ("step 7\n", "3 of 3 workers up, step 7, 0 restart(s)"),
        ("validation  step 7\n", "3 of 3 workers up, 0 restart(s)"),
    ],
)
def test_the_status_has_the_last_step(logs, line, status):
    shown, _ = console(logs)
    append(logs[0], line)
    shown.follow(UP)
    assert shown.status(UP) == status


def test_the_status_names_who_is_down(logs):
    shown, _ = console(logs)
    shown.restarts = 2
    assert shown.status([False, True, False]) == (
        "1 of 3 workers up (not w0, w2), 2 restart(s)"
    )


def test_the_status_comes_now_and_then(logs, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(worker_logs.time, "monotonic", lambda: now[0])
    shown, out = console(logs, status_seconds=60)
    for _ in range(13):  # two minutes, and the start
        shown.follow(UP)
        now[0] += 10
    assert out.getvalue().count("[launcher] 3 of 3 workers up") == 2


def test_on_a_terminal_the_status_is_the_last_line(logs, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(worker_logs.time, "monotonic", lambda: now[0])
    shown, out = console(logs, Terminal())
    now[0] += 2
    shown.follow(UP)
    append(logs[0], "one\n")
    shown.follow(UP)
    shown.follow(ENDED)
    clear, status = "\r\x1b[K", "3 of 3 workers up, 0 restart(s)"
    assert out.getvalue() == (
        f"{clear}{status}{clear}[w0] one\n{status}{clear}"
    )


def test_the_tail_is_of_this_start(logs):
    append(logs[1], "before\n")
    shown, out = console(logs)
    append(logs[1], "".join(f"{i}\n" for i in range(40)))
    shown.tail(1, lines=3)
    assert out.getvalue() == "[w1] 37\n[w1] 38\n[w1] 39\n"
    append(logs[0], "new\n")
    shown.tail(0)
    assert out.getvalue().endswith("39\n[w0] new\n")
