"""From what a client sent to what the model says of it."""

import asyncio
import concurrent.futures
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import batching, counters, intake
from planet_tf.serving.budget import Budget, Share
from planet_tf.serving.intake import Photo, Refused, Upload
from planet_tf.serving.loaded_model import Asked, Model

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5  # between looks whether a client is still there

Value = TypeVar("Value")


class Gone(Exception):
    """The client did not wait for its answer."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reply:
    """A photo and what the model makes of it, or why it was refused."""

    name: str
    photo: Photo | None = None
    asked: Asked | None = None
    error: Refused | None = None


class Desk:
    """Decodes photos, asks the model, and does so for many clients at once.

    Attributes:
      model: that is asked.
      batcher: that asks it.
      budget: of what is held of requests.
    """

    def __init__(
        self,
        model: Model,
        config: ServeConfig,
        metrics: counters.Metrics,
    ):
        self.model, self.config, self._metrics = model, config, metrics
        self.batcher = batching.Batcher(
            model.ask,
            size=config.batch_size,
            wait_seconds=config.batch_wait_ms / 1e3,
            room=config.queue,
            observe=metrics.observe_batch,
        )
        self.budget = Budget(config.max_waiting_bytes)
        metrics.accepted.set_function(lambda: self.batcher.accepted)
        metrics.waiting_bytes.set_function(lambda: self.budget.held)
        self._threads = concurrent.futures.ThreadPoolExecutor(
            config.decoders or os.cpu_count(), thread_name_prefix="decode"
        )

    async def ask(
        self,
        read: Callable[[Share], Awaitable[Sequence[Upload]]],
        gone: Callable[[], Awaitable[bool]],
    ) -> list[Reply]:
        """What the model makes of the photos of a request, in their order.

        Args:
          read: reads them; what it holds of them, it adds to the share.
          gone: whether the client has gone.

        Raises:
          Refused, Gone, batching.Overloaded, batching.Stopping,
          TimeoutError.
        """
        self.batcher.check(1)  # before anything is read for nothing
        with self.budget.open() as share:
            async with asyncio.timeout(self.config.request_seconds):
                uploads = dict(enumerate(await read(share)))
                # Not before: who sends slowly shall not keep others out.
                with self.batcher.accept(len(uploads)) as place:
                    prepared = await self._prepare(uploads, share)
                    good = [reply.photo for reply in prepared if reply.photo]
                    futures = place.ask([photo.jpeg for photo in good])
                    found = await _all(futures, gone)
        answered = iter(found)
        replies = [
            self._with_answer(reply, next(answered)) if reply.photo else reply
            for reply in prepared
        ]
        for reply in replies:
            result = reply.error.code if reply.error else "answered"
            self._metrics.photos.labels(result).inc()
        return replies

    async def ask_one(
        self, jpeg: bytes, gone: Callable[[], Awaitable[bool]]
    ) -> Asked:
        """What the model makes of a photo that needs no fitting.

        Raises:
          Refused, Gone, batching.Overloaded, batching.Stopping, TimeoutError.
        """
        with self.batcher.accept(1) as place:
            async with asyncio.timeout(self.config.request_seconds):
                [asked] = await _all(place.ask([jpeg]), gone)
        if asked is None:
            raise Refused(500, "failed", "The photo is damaged: our fault.")
        return asked

    async def run(self, call: Callable[..., Value], *args: object) -> Value:
        """The value of a function that takes a while."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, call, *args)

    def stop(self) -> None:
        """Answers what was accepted; accepts nothing more."""
        self.batcher.stop(self.config.shutdown_seconds)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _prepare(
        self, uploads: dict[int, Upload], share: Share
    ) -> list[Reply]:
        """Fits photos; those that were sent are not held any longer.

        Args:
          uploads: by their numbers; nothing is left of it.
          share: holds what was sent, and then what is asked about.
        """
        sent = [len(upload.data) for upload in uploads.values()]
        share.replace(share.held, sum(sent))  # of a form, there was more

        async def fitted(i: int) -> Reply:
            reply = await self.run(self._fit, uploads, i)
            share.replace(sent[i], len(reply.photo.jpeg) if reply.photo else 0)
            return reply

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fitted(i)) for i in uploads]
        finally:  # threads have not come to all of it if it takes too long
            uploads.clear()
        return [task.result() for task in tasks]

    def _fit(self, uploads: dict[int, Upload], i: int) -> Reply:
        upload = uploads.pop(i)
        size = self.model.photos.photo_size
        try:
            photo = intake.prepare(upload, size, self.config)
        except Refused as error:
            # Another one: the traceback of this one holds on to the photo.
            error = Refused(error.status, error.code, error.message)
            return Reply(upload.name, error=error)
        return Reply(upload.name, photo)

    def _with_answer(self, reply: Reply, asked: Asked | None) -> Reply:
        if asked is None:
            error = intake.unreadable()
            return dataclasses.replace(reply, error=error, photo=None)
        return dataclasses.replace(reply, asked=asked)


async def _all(
    futures: Sequence[Future], gone: Callable[[], Awaitable[bool]]
) -> list[Asked | None]:
    """The values of all; Gone if nobody waits for them any more."""
    waiting = [asyncio.wrap_future(future) for future in futures]
    pending = set(waiting)
    try:
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_LOOK_SECONDS)
            if pending and await gone():
                raise Gone
    finally:  # what is not begun is not asked about for nobody
        for future in futures:
            future.cancel()
    try:
        return [future.result() for future in waiting]
    except Exception as error:
        _LOG.exception("the model failed")
        raise Refused(
            500, "failed", "The model could not answer; it is our fault."
        ) from error
