"""Runs the commands of documents, in a directory and without a network."""

import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Self

import psutil
from doc_commands import ADDRESS, SERVER, SMALLER, Block, calls
from modules import ROOT

_PATIENCE = 900  # seconds until a block or a server counts as stuck


class CommandError(Exception):
    """A block that failed: where, which command, and what it said."""


class Shell:
    """Runs the blocks of a document, one after the other.

    A server that a block starts goes on while the blocks after it are run.
    """

    def __init__(self, directory: pathlib.Path, tools: pathlib.Path) -> None:
        """Blocks run in one directory; `tools` gets what is beside them."""
        self._directory, self._tools = directory, tools
        self._server: tuple[Block, subprocess.Popen] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._write_tools()

    def _write_tools(self) -> None:
        """A python that adds options, and a curl that asks our server."""
        added = SMALLER | {SERVER: (f"--port={self._port}",)}
        python = ['case "${2-}" in']
        for program, options in added.items():
            python.append(f'{program}) set -- "$@" {shlex.join(options)} ;;')
        python += ["esac", f'exec {shlex.quote(sys.executable)} "$@"']
        asked = f"${{@/{ADDRESS}/127.0.0.1:{self._port}}}"
        curl = f'exec {shutil.which("curl")} -sS --fail-with-body "{asked}"'
        tools = {"python": python, "python3": python, "curl": [curl]}
        for name, lines in tools.items():
            path = self._tools / name
            path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
            path.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Ends the server as a user does; it has to end with 0."""
        if self._server is None:
            return
        block, process = self._server
        for own in psutil.Process(process.pid).children():
            own.terminate()
        code = process.wait(_PATIENCE)
        if kind is None:
            self._check(block, code)

    def run(self, block: Block) -> None:
        """Runs a block to its end, or until its server is ready.

        Raises:
          CommandError: a command failed.
        """
        process = self._start(block)
        if SERVER not in [call.name for call in calls(block)]:
            self._check(block, process.wait(_PATIENCE))
            return
        assert self._server is None, f"{block.place}: one server a document"
        self._server = block, process
        while not self._is_ready():
            if process.poll() is not None:
                self._check(block, process.returncode or 1)
            time.sleep(0.1)

    def _start(self, block: Block) -> subprocess.Popen:
        """Starts bash on a block; its line numbers are the document's."""
        # Of its own: bash goes on reading the file while a server runs.
        script = self._tools / f"{block.line}-{block.path.name}"
        trap = "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR"
        script.write_text(trap + "\n" * (block.line - 1) + block.text)
        environment = os.environ | {
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        with self._log(block).open("w") as log:
            return subprocess.Popen(
                ["bash", "-euo", "pipefail", str(script)],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _log(self, block: Block) -> pathlib.Path:
        return self._tools / f"{block.line}.log"

    def _check(self, block: Block, code: int) -> None:
        if code:
            said = self._log(block).read_text().splitlines()[-40:]
            raise CommandError(
                "\n".join(
                    [f"{block.place}: exit code {code}", block.text, *said]
                )
            )

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._port}/healthz"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False
