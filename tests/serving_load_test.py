"""The server under many clients at once, over sockets."""

import base64
import contextlib
import json
import re
import socket
import threading

import httpx
import pytest
import uvicorn

from planet_tf import serve
from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import asgi, loaded_model

LOCATE, PREDICT = "/api/locate", "/v1/models/planet:predict"


@pytest.fixture(scope="module")
def model(small_model):
    return loaded_model.Model(str(small_model), 0.0)


@contextlib.contextmanager
def serving(model, **options):
    """A client of a server that runs beside the test."""
    config = ServeConfig(model_dir="", **options)
    listening = serve.listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(asgi.make(model, config), log_level="critical")
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        url = "http://{}:{}".format(*listening.getsockname())
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()


def figure(client, name):
    text = client.get("/metrics").text
    return float(re.search(rf"^planet_{name} (.*)$", text, re.M)[1])


def wait_for(client, name, is_reached):
    while not is_reached(figure(client, name)):
        pass


class Slow:
    """A client that sends its body in pieces."""

    def __init__(self, client, path, body):
        host, port = client.base_url.host, client.base_url.port
        self.own = socket.create_connection((host, port), timeout=60)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        self.own.sendall(head.encode())
        self.rest = body

    def send(self, count=None):
        self.own.sendall(self.rest[:count])
        self.rest = self.rest[count:] if count else b""
        return self

    def refused(self):
        """Whether there is an answer already."""
        self.own.setblocking(False)
        try:
            return bool(self.own.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self.own.settimeout(60)

    def answer(self):
        """The answer's status, headers and JSON."""
        with self.own, self.own.makefile("rb") as file:
            status = int(file.readline().split()[1])
            headers = {}
            while line := file.readline().strip().decode():
                name, _, value = line.partition(": ")
                headers[name] = value
            body = file.read(int(headers["content-length"]))
        return status, headers, json.loads(body)


def body_of(path, photo):
    if path == LOCATE:
        return photo
    encoded = {"b64": base64.b64encode(photo).decode()}
    return json.dumps({"instances": [{"image_bytes": encoded}]}).encode()


@pytest.mark.parametrize("path", [LOCATE, PREDICT])
def test_what_uploads_hold_is_limited_over_all_clients(model, make_jpeg, path):
    body = body_of(path, make_jpeg(256, 256, format="PNG", compress_level=0))
    room = 4 * len(body)
    limits = {"max_request_bytes": len(body), "max_waiting_bytes": room}
    with serving(model, **limits) as client:
        clients = [Slow(client, path, body) for _ in range(12)]
        threads = [
            threading.Thread(target=own.send, args=(len(body) - 100,))
            for own in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        # Who is refused makes room for others: when all is still, four hold
        # all but the last hundred bytes of theirs.
        wait_for(client, "waiting_bytes", lambda b: b == room - 400)
        refused = [own for own in clients if own.refused()]
        assert len(refused) == 8
        for own in refused:
            status, headers, answer = own.answer()
            assert status == 429 and int(headers["retry-after"]) >= 1
            assert "come again" in str(answer["error"])
        for own in set(clients) - set(refused):
            assert own.send().answer()[0] == 200
        assert client.post(path, content=body).status_code == 200
        assert figure(client, "waiting_bytes") == 0


def test_clients_that_go_while_they_send_hold_nothing(model, make_jpeg):
    with serving(model) as client:
        clients = [Slow(client, LOCATE, b"x" * 2000) for _ in range(5)]
        for own in clients:
            own.send(1000)
        wait_for(client, "waiting_bytes", lambda b: b == 5000)
        for own in clients:
            own.own.close()
        wait_for(client, "waiting_bytes", lambda b: b == 0)
        assert client.post(LOCATE, content=make_jpeg()).status_code == 200


def test_a_request_that_is_refused_holds_nothing(model):
    with serving(model, max_bytes=1000) as client:
        for body in (b"no photo", b"x" * 2000):
            assert client.post(LOCATE, content=body).status_code in (413, 415)
        assert figure(client, "waiting_bytes") == 0


def test_slow_uploads_shut_nobody_out_until_their_photos_are_there(
    model, make_jpeg
):
    jpeg = make_jpeg()
    with serving(model, queue=2, max_photos=2) as client:
        slow = [Slow(client, LOCATE, jpeg).send(100) for _ in range(8)]
        wait_for(client, "waiting_bytes", lambda b: b == 800)
        assert figure(client, "accepted_photos") == 0
        assert client.post(LOCATE, content=jpeg).status_code == 200
        assert not any(own.refused() for own in slow)
        for own in slow:  # one after the other: two have room
            assert own.send().answer()[0] == 200


class Blocked:
    """A model that answers when it may."""

    def __init__(self, model):
        self.photos, self.partition = model.photos, model.partition
        self.answerer, self._model = model.answerer, model
        self.go_on = threading.Event()

    def ask(self, jpegs):
        assert self.go_on.wait(60)
        return self._model.ask(jpegs)


def test_a_full_queue_refuses_photos_at_once_and_those_that_arrive(
    model, make_jpeg
):
    jpeg, blocked = make_jpeg(), Blocked(model)
    with serving(blocked, queue=2, max_photos=2) as client:
        late = Slow(client, LOCATE, jpeg).send(100)
        wait_for(client, "waiting_bytes", lambda b: b == 100)
        first = [Slow(client, LOCATE, jpeg).send() for _ in range(2)]
        wait_for(client, "accepted_photos", lambda n: n == 2)
        at_once = Slow(client, LOCATE, jpeg)  # has sent nothing of its photo
        for own in (at_once, late.send()):
            status, headers, _ = own.answer()
            assert status == 429 and int(headers["retry-after"]) >= 1
        blocked.go_on.set()
        assert [own.answer()[0] for own in first] == [200, 200]
        assert client.post(LOCATE, content=jpeg).status_code == 200


@pytest.mark.parametrize("path", [LOCATE, PREDICT])
def test_who_sends_too_slowly_is_told_so_and_hung_up_on(model, path):
    with serving(model, upload_seconds=0.3) as client:
        own = Slow(client, path, b"x" * 1000).send(10)
        status, headers, answer = own.answer()
        assert status == 408 and headers["connection"] == "close"
        assert "too slowly" in str(answer["error"])
        assert figure(client, "waiting_bytes") == 0
