"""Bytes that are held of the requests of all clients, within one limit."""

from planet_tf.serving.batching import Overloaded

_RETRY_SECONDS = 5  # what others send has arrived then, or was given up


class Budget:
    """A limit on what all requests hold; for one event loop.

    Attributes:
      most: bytes that are held at once.
      held: bytes that are held now.
    """

    def __init__(self, most: int):
        self.most, self.held = most, 0

    def open(self) -> "Share":
        """What one request holds, to be used in a `with` statement."""
        return Share(self)


class Share:
    """What one request holds, until the `with` statement is left.

    Attributes:
      held: bytes.
    """

    def __init__(self, budget: Budget):
        self._budget, self.held = budget, 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_: object) -> None:
        self.replace(self.held, 0)

    def add(self, count: int) -> None:
        """Holds so many bytes more; Overloaded if all would hold too many."""
        if self._budget.held + count > self._budget.most:
            raise Overloaded(_RETRY_SECONDS)
        self.replace(0, count)

    def replace(self, old: int, new: int) -> None:
        """Holds `new` bytes instead of `old` ones of its own."""
        self.held += new - old
        self._budget.held += new - old
