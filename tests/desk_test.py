import asyncio
import threading
import types
import weakref

import numpy as np
import pytest
from starlette import testclient

from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import asgi, counters, desk
from planet_tf.serving.batching import Overloaded
from planet_tf.serving.intake import Upload
from planet_tf.serving.loaded_model import Asked

LIMITS = {"max_request_bytes": 1_000_000, "max_waiting_bytes": 1_000_000}


class Mark:
    """Of bytes, to see by a weak reference whether they are still held."""


class File(bytes):
    """Bytes with a mark."""

    def __init__(self, _):
        self.mark = Mark()


class Model:
    """Waits until it may answer; `asked` is set as soon as it waits."""

    photos = types.SimpleNamespace(photo_size=75)

    def __init__(self):
        self.asked, self.go_on = threading.Event(), threading.Event()

    def ask(self, jpegs):
        self.asked.set()
        assert self.go_on.wait(30)
        return [Asked(np.zeros(3), np.ones(2) / 2) for _ in jpegs]


@pytest.fixture
def make():
    made = []

    def opened(**options):
        config = ServeConfig(model_dir="", **LIMITS | options)
        made.append(desk.Desk(Model(), config, counters.Metrics()))
        return made[-1]

    yield opened
    for own in made:
        own.model.go_on.set()
        own.stop()


async def never():
    return False


def reading(*files, then=None):
    """Reads uploads, which nobody else holds; `then` happens after that."""

    async def read(share):
        share.add(sum(map(len, files)))
        if then:
            await then()
        return [Upload(f"{i}", File(data)) for i, data in enumerate(files)]

    return read


def test_what_was_sent_is_dropped_before_the_model_is_asked(make, make_jpeg):
    desk = make()
    png = make_jpeg(400, 300, format="PNG", compress_level=0)
    files = [png, png[:-100], b"no photo" * 1000, png]
    watched = []

    async def read(share):
        share.add(900_000)  # of which not all were photos
        uploads = [Upload("", File(data)) for data in files]
        watched.extend(weakref.ref(upload.data.mark) for upload in uploads)
        return uploads

    async def ask():
        asking = asyncio.create_task(desk.ask(read, never))
        await asyncio.to_thread(desk.model.asked.wait, 30)
        held, left = desk.budget.held, [ref() is not None for ref in watched]
        desk.model.go_on.set()
        return await asking, held, left

    replies, held, left = asyncio.run(ask())
    codes = [reply.error and reply.error.code for reply in replies]
    assert codes == [None, "truncated_image", "not_an_image", None]
    assert held == sum(len(r.photo.jpeg) for r in replies if r.photo)
    assert 0 < held < 20_000
    assert left == [False] * 4
    assert desk.budget.held == 0


def test_requests_share_one_budget(make, make_jpeg):
    desk = make()
    jpeg = make_jpeg(800, 600, quality=95)
    fit = LIMITS["max_waiting_bytes"] // len(jpeg)
    assert 2 < fit < 20

    async def ask():
        everyone_is_here = asyncio.Barrier(fit + 1)
        desk.model.go_on.set()
        good = [
            asyncio.create_task(
                desk.ask(reading(jpeg, then=everyone_is_here.wait), never)
            )
            for _ in range(fit)
        ]
        await asyncio.sleep(0)
        assert desk.budget.held == fit * len(jpeg)
        with pytest.raises(Overloaded) as caught:
            await desk.ask(reading(jpeg), never)
        assert caught.value.retry_after >= 1
        assert desk.budget.held == fit * len(jpeg)
        await everyone_is_here.wait()
        found = await asyncio.gather(*good)
        found.append(await desk.ask(reading(jpeg), never))
        return found

    found = asyncio.run(ask())
    assert all(reply.asked for [reply] in found)
    assert desk.budget.held == 0


async def hangs():
    await asyncio.sleep(60)


async def fails():
    raise ValueError


async def is_gone():
    return True


@pytest.mark.parametrize(
    ("then", "gone", "error"),
    [
        (hangs, never, TimeoutError),
        (fails, never, ValueError),
        (None, is_gone, desk.Gone),
        (None, never, TimeoutError),  # the model never answers
    ],
)
def test_nothing_is_held_of_who_is_not_answered(
    make, make_jpeg, then, gone, error
):
    desk = make(request_seconds=1.0)
    with pytest.raises(error):
        asyncio.run(desk.ask(reading(make_jpeg(), then=then), gone))
    assert desk.budget.held == desk.batcher.accepted == 0


def test_photos_that_no_thread_came_to_are_dropped_too(make, make_jpeg):
    desk = make(request_seconds=0.2, decoders=1)
    watched, busy = [], threading.Event()

    async def read(share):
        data = File(make_jpeg())
        watched.append(weakref.ref(data.mark))
        desk._threads.submit(busy.wait, 30)
        return [Upload("", data)]

    async def ask():
        with pytest.raises(TimeoutError):
            await desk.ask(read, never)

    asyncio.run(ask())
    assert watched[0]() is None
    busy.set()


def test_the_server_stops_when_what_was_given_up_has_made_room():
    config = ServeConfig(model_dir="", shutdown_seconds=5.0, **LIMITS)

    async def stop():
        guard = asgi.make(Model(), config)

        async def given_up():
            with guard.desk.batcher.accept(1):
                await asyncio.sleep(0.1)

        async with guard.app.router.lifespan_context(guard.app):
            task = asyncio.create_task(given_up())
            await asyncio.sleep(0)
            assert guard.desk.batcher.accepted == 1
        stopped = not guard.desk.batcher._thread.is_alive()
        await task
        return stopped

    assert asyncio.run(stop())


def test_a_fault_of_ours_is_told_as_all_errors_are(make_jpeg):
    class Odd(Model):
        def ask(self, jpegs):
            return [Asked(np.zeros(3), None) for _ in jpegs]

    config = ServeConfig(model_dir="", **LIMITS)
    client = testclient.TestClient(
        asgi.make(Odd(), config),
        base_url="http://localhost",
        raise_server_exceptions=False,
    )
    with client:
        found = client.post("/api/locate", content=make_jpeg())
    assert found.status_code == 500
    assert found.json()["error"]["code"] == "failed"
