"""Photos of all clients, asked about together.

One thread asks the model about what waits, oldest first, in batches whose sizes
are powers of two: so there are few shapes to compile or to tune for, and
nothing is filled up.
"""

import collections
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

_MEMORY = 0.8  # of the speed so far, when a batch says a new one
_LEAST_SPEED = 1.0  # photos/s, before any was measured


class Overloaded(Exception):
    """No room for more photos.

    Attributes:
      retry_after: whole seconds until there should be some.
    """

    def __init__(self, retry_after: int):
        super().__init__(f"come again in {retry_after} s")
        self.retry_after = retry_after


class Stopping(Exception):
    """Nothing new is accepted any more."""


class Batcher:
    """Asks a model about items in batches.

    Attributes:
      size: of the largest batch.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        size: int,
        wait_seconds: float,
        room: int,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ):
        """Starts the thread.

        Args:
          ask: gives an answer for each item of a batch.
          size: the largest batch; a power of two is taken for it.
          wait_seconds: that an item waits for others.
          room: items that are accepted and not answered, at most.
          observe: told each batch's size and how many seconds it took.
        """
        self.size = 1 << (size.bit_length() - 1)
        self._ask, self._observe = ask, observe
        self._wait_seconds, self._room = wait_seconds, room
        self._items: collections.deque[tuple[Any, Future, float]] = (
            collections.deque()
        )
        self._accepted = 0
        self._speed = 0.0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, name="model", daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether items will be answered."""
        return self._thread.is_alive() and not self._stopping

    @property
    def accepted(self) -> int:
        """Items that are accepted and not answered."""
        return self._accepted

    def check(self, count: int) -> None:
        """Whether there is room for so many items.

        Raises:
          Overloaded: if there is none.
          Stopping: after `stop`.
        """
        with self._changed:
            self._check(count)

    def accept(self, count: int) -> "Place":
        """Room for so many items, to be used in a `with` statement.

        Raises:
          Overloaded, Stopping: as `check` does.
        """
        with self._changed:
            self._check(count)
            self._accepted += count
        return Place(self, count)

    def stop(self, seconds: float | None = None) -> None:
        """Answers what was accepted, and ends the thread.

        Args:
          seconds: to wait for that at most; None to wait for it.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _check(self, count: int) -> None:
        if not self.alive:
            raise Stopping
        if self._accepted + count > self._room:
            waiting = self._accepted + count - self._room
            speed = max(self._speed, _LEAST_SPEED)
            raise Overloaded(max(1, math.ceil(waiting / speed)))

    def _submit(self, items: Sequence[Any]) -> list[Future]:
        now = time.monotonic()
        futures: list[Future] = [Future() for _ in items]
        with self._changed:
            self._items.extend(
                (item, future, now)
                for item, future in zip(items, futures, strict=True)
            )
            self._changed.notify()
        return futures

    def _release(self, count: int) -> None:
        with self._changed:
            self._accepted -= count
            self._changed.notify()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            # Those whose client has gone are not asked about.
            batch = [
                (item, future)
                for item, future in batch
                if future.set_running_or_notify_cancel()
            ]
            if batch:
                self._answer(*zip(*batch, strict=True))

    def _next(self) -> list[tuple[Any, Future]] | None:
        """The next batch; None when all is answered and `stop` was called."""
        with self._changed:
            while not self._items:
                if self._stopping and not self._accepted:
                    return None
                self._changed.wait()
            until = self._items[0][2] + self._wait_seconds
            while len(self._items) < self.size:
                left = until - time.monotonic()
                if left <= 0 or self._stopping:
                    break
                self._changed.wait(left)
            count = min(self.size, 1 << (len(self._items).bit_length() - 1))
            taken = [self._items.popleft() for _ in range(count)]
        return [(item, future) for item, future, _ in taken]

    def _answer(self, items: Sequence[Any], futures: Sequence[Future]) -> None:
        begun = time.monotonic()
        try:
            answers = self._ask(items)
            seconds = time.monotonic() - begun
            self._observe(len(items), seconds)
        except Exception as error:  # of this batch only
            for future in futures:
                future.set_exception(error)
            return
        speed = len(items) / max(seconds, 1e-6)
        self._speed += (1 - _MEMORY) * (speed - self._speed)
        for future, answer in zip(futures, answers, strict=True):
            future.set_result(answer)


class Place:
    """Room for items in a Batcher, until the `with` statement is left."""

    def __init__(self, batcher: Batcher, count: int):
        self._batcher, self._count = batcher, count

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        self._batcher._release(self._count)

    def ask(self, items: Sequence[Any]) -> list[Future]:
        """The answers to come for items."""
        return self._batcher._submit(items)
