"""Measures programs in turns, so that a slow minute hits all of them alike.

Each program is a process that gets ready, then works when it is told to, and
else sleeps. On a machine that is shared, a ratio of two programs' speeds in
the same round tells more than each one's best. Needs only Python itself, so
that a program may run in another environment.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Result = dict[str, Any]


class RoundsError(RuntimeError):
    """A program that failed."""


def serve(works: Mapping[str, Callable[[], Result]], **facts: Any) -> None:
    """What a program does once it is ready, to its end.

    Args:
      works: by name, what it can be told to do.
      **facts: told to whoever started it.
    """
    answer = claim_stdout()
    answer(facts)
    for line in sys.stdin:
        answer(works[line.strip()]())


def claim_stdout() -> Callable[[Result], None]:
    """A function that answers on stdout; what else is printed to it is not."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return lambda result: print(json.dumps(result), file=out, flush=True)


class Program:
    """A running program, started with a command and variables.

    Attributes:
      facts: what it told when it was ready.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._command = command
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        repository = pathlib.Path(__file__).parents[1]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(repository), **environment},
        )
        self.facts = self._read()

    def work(self, name: str) -> Result:
        """Has it do one of its works, and waits for the result."""
        with contextlib.suppress(BrokenPipeError):  # reading tells why
            print(name, file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _read(self) -> Result:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        told = self._errors.read().decode(errors="replace")[-2000:]
        raise RoundsError(
            f"{' '.join(self._command)} ended with {status}:\n{told}"
        )


def run(
    works: Mapping[str, tuple[Program, str]], rounds: int
) -> dict[str, list[Result]]:
    """Every work once in each round; the results in the order of rounds."""
    found: dict[str, list[Result]] = {name: [] for name in works}
    for i in range(rounds):
        for name, (program, work) in works.items():
            found[name].append(program.work(work))
            print(f"round {i + 1}/{rounds}: {name}", file=sys.stderr)
    return found
