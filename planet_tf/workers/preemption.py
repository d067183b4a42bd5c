"""Asked to end: SIGTERM from a cluster, Ctrl-C from a person.

A run ends after the step it is in, and leaves a checkpoint. Signals are taken
note of by a thread: while the main one is inside TensorFlow, Python's own
handlers would wait for its return.
"""

import os
import signal
import socket
import threading
import time
from types import TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# Clusters may send the same signal by two ways at once; that is one request.
_ONE_REQUEST_SECONDS = 1.0


class Preempted(RuntimeError):
    """A run that ended early, since it was asked to.

    Attributes:
      exit_code: of the program: 128 and the signal's number, as shells have
        it; that of SIGTERM if another worker was the one that was asked.
    """

    def __init__(self, message: str, number: int | None = None):
        super().__init__(message)
        self.exit_code = 128 + (number or signal.SIGTERM)


class StopSignals:
    """Notes the first SIGTERM or SIGINT; a second one ends the process.

    To be made in the main thread. A SIGINT that is ignored, as in a shell's
    background jobs, stays ignored.

    Attributes:
      number: the signal that came, None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._came = float("-inf")
        self._numbers = [
            n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN
        ]
        self._before = {n: signal.getsignal(n) for n in self._numbers}
        self._read_end, self._write_end = socket.socketpair()
        self._write_end.setblocking(False)  # set_wakeup_fd demands it
        self._wakeup_before = signal.set_wakeup_fd(
            self._write_end.fileno(), warn_on_full_buffer=False
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.install()

    def __enter__(self) -> "StopSignals":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def requested(self) -> bool:
        """Whether the process has been asked to end."""
        return self.number is not None

    def install(self) -> None:
        """Takes the signals, again if need be.

        TensorFlow's coordination service takes SIGTERM for itself whenever a
        MultiWorkerMirroredStrategy is made, and would only log it.
        """
        for number in self._numbers:
            # What it does is up to _listen; without a handler of Python's
            # nothing would be written to the socket.
            signal.signal(number, _nothing)

    def check(self, doing: str) -> None:
        """Raises Preempted, with what was being done, if asked to end."""
        if self.number is not None:
            name = signal.Signals(self.number).name
            raise Preempted(f"{name} came while {doing}", self.number)

    def close(self) -> None:
        """Gives the signals back to whom they belonged before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._write_end.close()
        self._thread.join()
        self._read_end.close()

    def _listen(self) -> None:
        """Takes note of each signal; ends when the socket is closed."""
        while data := self._read_end.recv(1):
            if data[0] in self._numbers:
                self._note(data[0])

    def _note(self, number: int) -> None:
        now = time.monotonic()
        name = signal.Signals(number).name
        if self.number is None:
            self.number, self._came = number, now
            _say(f"{name}: ending after this step; once more ends at once")
        elif now - self._came > _ONE_REQUEST_SECONDS:
            _say(f"{name} again: ending without a checkpoint")
            os._exit(128 + number)


def _nothing(number: int, frame: object) -> None:
    """A handler; see StopSignals.install."""


def _say(text: str) -> None:
    """A line that needs no lock: the main thread may hold that of stderr."""
    os.write(2, f"{text}\n".encode())
