"""What the workers of this machine write, as one readable console.

Each worker's output is in a file of its own. The console has all lines of the
first worker and, of the others, only errors and warnings that no other worker
has given too: they train in step and say the same.
"""

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TextIO

_NOTABLE = re.compile(r"(error|warning):")  # as our programs write them
_TAIL_BYTES = 65_536
_STEP = re.compile(r"step ([\d,]+)(?:/([\d,]+))?")


class Console:
    """Follows the log files of a gang, and says how it is doing."""

    def __init__(
        self,
        paths: Sequence[str],
        status_seconds: float = 60.0,
        out: TextIO | None = None,
    ):
        self.paths = paths
        self.out = sys.stderr if out is None else out
        # On a terminal the status is a last line that is always up to date.
        self.live = self.out.isatty()
        self.status_seconds = 1.0 if self.live else status_seconds
        self.step, self.steps = 0, 0
        self.restarts = 0
        self.start()

    def start(self) -> None:
        """Forgets what the logs hold so far: the workers are about to start."""
        self.begins = [_size(path) for path in self.paths]
        self.read = list(self.begins)
        self.said: set[str] = set()
        self.told = time.monotonic()
        self.shown = ""

    def say(self, text: str) -> None:
        """A line of the launcher's own."""
        self._print(f"[launcher] {text}")

    def follow(self, up: Sequence[bool]) -> None:
        """Shows what is new in the logs; `up` tells which workers run."""
        for index, path in enumerate(self.paths):
            for line in self._new_lines(index, path, last=not any(up)):
                self._take(index, line)
        now = time.monotonic()
        if not any(up):
            self._show_status("")
        elif now - self.told >= self.status_seconds:
            self.told = now
            self._show_status(self.status(up))

    def status(self, up: Sequence[bool]) -> str:
        """One line: who is up, how far they are, how often they restarted."""
        down = [f"w{i}" for i, is_up in enumerate(up) if not is_up]
        text = f"{sum(up)} of {len(up)} workers up"
        text += f" (not {', '.join(down)})" if down else ""
        if self.step:
            text += f", step {self.step:,}"
            text += f" of {self.steps:,}" if self.steps else ""
        return f"{text}, {self.restarts} restart(s)"

    def tail(self, index: int, lines: int = 30) -> None:
        """Shows the end of what a worker has written since it started."""
        path = self.paths[index]
        with open(path, "rb") as file:
            file.seek(max(self.begins[index], _size(path) - _TAIL_BYTES))
            said = file.read().decode(errors="replace").splitlines()
        for line in said[-lines:]:
            self._print(f"[w{index}] {line}")

    def _new_lines(self, index: int, path: str, last: bool) -> list[str]:
        """Whole lines since the last call; the rest of the file at its end."""
        if _size(path) <= self.read[index]:
            return []
        with open(path, "rb") as file:
            file.seek(self.read[index])
            data = file.read()
        if not last:
            data = data[: data.rfind(b"\n") + 1]
        self.read[index] += len(data)
        return data.decode(errors="replace").splitlines()

    def _take(self, index: int, line: str) -> None:
        if index == 0:
            found = _STEP.match(line)
            if found:
                self.step, self.steps = map(_number, found.groups("0"))
            self._print(f"[w0] {line}")
        elif _NOTABLE.match(line) and line not in self.said:
            self._print(f"[w{index}] {line}")
        if _NOTABLE.match(line):
            self.said.add(line)

    def _show_status(self, text: str) -> None:
        if text and not self.live:
            self.say(text)
        elif text != self.shown:
            print(f"\r\x1b[K{text}", end="", file=self.out, flush=True)
            self.shown = text

    def _print(self, text: str) -> None:
        """A line; on a terminal, in the place of the status, which moves."""
        clear = "\r\x1b[K" if self.shown else ""
        print(clear + text, file=self.out, flush=True)
        if self.shown:
            print(self.shown, end="", file=self.out, flush=True)


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _number(text: str) -> int:
    return int(text.replace(",", ""))
