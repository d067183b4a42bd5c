"""The server as a process: what clients and clusters do to it."""

import concurrent.futures
import pathlib
import signal
import socket

import httpx
import psutil
import pytest
from servers import server

from planet_tf import serve

ROOT = pathlib.Path(__file__).parent.parent


def open_files(process):
    """Regular files that a process writes to."""
    files = psutil.Process(process.pid).open_files()
    return {file.path for file in files if file.mode != "r"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_as_soon_as_it_is_ready_it_ends_in_order(
    small_model, number
):
    with server(small_model) as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_it_finishes_what_it_accepted_and_keeps_nothing(
    small_model, make_jpeg, tmp_path
):
    jpeg = make_jpeg(600, 400)
    large = make_jpeg(1500, 1500, format="PNG", compress_level=0)
    wait = "--batch_wait_ms=1500"
    spool = {"TMPDIR": str(tmp_path)}
    with (
        server(small_model, wait, "--batch_size=8", **spool) as (own, url),
        concurrent.futures.ThreadPoolExecutor(1) as threads,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        files = [("photo", ("secret-name.png", large))] * 3
        assert client.post("/api/locate", files=files).status_code == 200
        assert not open_files(own)
        assert not list(tmp_path.iterdir())  # nor were large parts spooled

        waiting = threads.submit(
            httpx.post, f"{url}/api/locate", content=jpeg, timeout=60
        )
        while "accepted_photos 1.0" not in client.get("/metrics").text:
            pass
        own.send_signal(signal.SIGTERM)
        found = waiting.result(60)
        assert found.status_code == 200
        assert found.json()["photos"][0]["answer"]["cells"]
        assert own.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/healthz")
        assert "secret-name" not in "".join(own.said)


@pytest.mark.slow
def test_a_server_that_dies_leaves_an_error_and_no_answer(
    small_model, make_jpeg
):
    with (
        server(small_model, "--batch_wait_ms=30000") as (own, url),
        concurrent.futures.ThreadPoolExecutor(1) as threads,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        waiting = threads.submit(
            httpx.post, f"{url}/api/locate", content=make_jpeg(), timeout=60
        )
        while "accepted_photos 1.0" not in client.get("/metrics").text:
            pass
        own.kill()
        with pytest.raises(httpx.TransportError):
            waiting.result(60)


def leave_while_sending(url, path):
    """Connects, sends a part of a body, and goes away."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as own:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99"
        own.sendall(f"{head}\r\n\r\nsome".encode())


@pytest.mark.slow
def test_a_client_that_goes_away_makes_room(small_model, make_jpeg):
    with server(small_model, "--batch_wait_ms=30000") as (own, url):
        for path in ("/api/locate", "/v1/models/planet:predict"):
            leave_while_sending(url, path)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/api/locate", content=make_jpeg(), timeout=0.5)
        with httpx.Client(base_url=url, timeout=60) as client:
            while "accepted_photos 0.0" not in client.get("/metrics").text:
                pass
            while client.get("/metrics").text.count('code="499"') < 4:
                pass  # of each route, and of one with its time of creation
            assert not any("Traceback" in line for line in own.said)
            # Its photo was not asked about.
            assert "planet_batch_size_sum 0.0" in client.get("/metrics").text


def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = serve.main(["serve", "--model_dir=m", f"--port={port}"])
    assert code == 1
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in said and "--port=0" in said


def test_a_directory_without_a_model_is_named(tmp_path, capsys):
    code = serve.main(["serve", f"--model_dir={tmp_path}", "--port=0"])
    assert code == 1
    assert "is not a model directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--queue=8", "--max_photos is 60, more than --queue"),
        (
            "--max_waiting_bytes=99999999",
            "--max_waiting_bytes is 99999999, less than --max_request_bytes",
        ),
    ],
)
def test_limits_that_no_album_fits_in_are_usage_errors(capsys, option, said):
    with pytest.raises(SystemExit) as stopped:
        serve.main(["serve", "--model_dir=m", option])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
