"""The server under load, against the bare SavedModel.

    python -m benchmarks.serve                            # InceptionV3
    python -m benchmarks.serve --image_size=75 --width=0.25 --requests=5000

In turns, so that a slow minute hits all alike: 32 clients that each send a
photo after the other to `planet_tf.serve`, and one process that asks the same
SavedModel about the same photos in batches of the size that is best, with and
without fitting the files first, as a server has to. Says also how long the
clients waited, and what memory the server had before and after.
"""

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import psutil

from benchmarks import measure, rounds
from planet_tf import config_flags
from planet_tf.config_flags import option

_BARE, _FITTED = "SavedModel, JPEGs as they are", "with images.fit"
_SERVED = "planet_tf.serve"


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    image_size: int = option(299, help="of the network", low=75)
    width: float = option(1.0, help="of InceptionV3", low=0.1)
    cells: int = option(5_000, help="of the partition", low=100)
    clients: int = option(32, help="at once", low=1)
    requests: int = option(500, help="to the server, in all rounds", low=1)
    rounds: int = option(5, help="turns", low=1)
    seconds: float = option(4.0, help="of the bare model's turns", low=0)
    side: int = option(342, help="pixels of the photos' short sides", low=75)
    work: str = option("", help="directory to work in; a new one if not given")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, or the program of one of its cases."""
    argv = list(sys.argv if argv is None else argv)
    config, case = config_flags.parse(
        Config, argv, usage=__doc__, positional="CASE"
    )
    if case:
        from benchmarks import serve_cases

        serve_cases.serve(config)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        config = dataclasses.replace(config, work=config.work or directory)
        print(text(*compare(config)))
    return 0


@dataclasses.dataclass(frozen=True)
class Load:
    """What the clients saw.

    Attributes:
      rates: photos/s of each round.
      seconds: (n,) that each request took.
      memory: bytes of the server before and after.
    """

    rates: Sequence[float]
    seconds: np.ndarray
    memory: tuple[int, int]


def compare(config: Config) -> tuple[Load, dict[str, list[float]], int]:
    """The server's load, the bare model's rates, and its best batch size."""
    flags = [
        f"--{name}={value}"
        for name, value in dataclasses.asdict(config).items()
    ]
    bare = rounds.Program(
        [sys.executable, "-m", "benchmarks.serve", *flags, "bare"], {}
    )
    photos = [
        open(os.path.join(config.work, name), "rb").read()  # noqa: SIM115
        for name in sorted(os.listdir(config.work))
        if name.endswith(".jpg")
    ]
    server, address = start_server(os.path.join(config.work, "model"))
    try:
        return *_in_turns(config, bare, server, address, photos), int(
            bare.facts["batch_size"]
        )
    finally:
        server.kill()
        bare.close()


def _in_turns(
    config: Config,
    bare: rounds.Program,
    server: subprocess.Popen,
    address: tuple[str, int],
    photos: Sequence[bytes],
) -> tuple[Load, dict[str, list[float]]]:
    ask = Clients(address, photos, config.clients)
    asyncio.run(ask.run(2 * config.clients))  # warms up
    memory = psutil.Process(server.pid).memory_info().rss
    rates: list[float] = []
    waited: list[float] = []
    bare_rates: dict[str, list[float]] = {_BARE: [], _FITTED: []}
    for i in range(config.rounds):
        for name, work in ((_BARE, "bare"), (_FITTED, "fitted")):
            bare_rates[name].append(bare.work(work)["rate"])
        begun = time.monotonic()
        count = -(-config.requests // config.rounds)
        waited += asyncio.run(ask.run(count))
        rates.append(count / (time.monotonic() - begun))
        print(f"round {i + 1}/{config.rounds}", file=sys.stderr)
    after = psutil.Process(server.pid).memory_info().rss
    return Load(rates, np.array(waited), (memory, after)), bare_rates


def start_server(model_dir: str) -> tuple[subprocess.Popen, tuple[str, int]]:
    """A server of the model, and where it listens."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "planet_tf.serve",
            f"--model_dir={model_dir}",
            "--port=0",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"ready: http://([\d.]+):(\d+)/", line):
            return process, (found[1], int(found[2]))
    raise measure.BenchmarkError("".join(said)[-2000:])


class Clients:
    """Clients that send a photo after the other, by as little as HTTP needs.

    What they take of the machine is taken from the server.
    """

    def __init__(
        self, address: tuple[str, int], photos: Sequence[bytes], clients: int
    ):
        self._address, self._clients = address, clients
        head = "POST /api/locate HTTP/1.1\r\nHost: {}:{}\r\nContent-Length: {}"
        self._requests = [
            (head.format(*address, len(photo)) + "\r\n\r\n").encode() + photo
            for photo in photos
        ]

    async def run(self, count: int) -> list[float]:
        """Sends so many requests; the seconds that each took."""
        seconds: list[float] = []
        numbers = iter(range(count))
        await asyncio.gather(
            *(self._client(numbers, seconds) for _ in range(self._clients))
        )
        return seconds

    async def _client(self, numbers, seconds: list[float]) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        for number in numbers:
            begun = time.monotonic()
            writer.write(self._requests[number % len(self._requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise measure.BenchmarkError(head.decode())
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]))
            seconds.append(time.monotonic() - begun)
        writer.close()


def text(load: Load, bare: dict[str, list[float]], batch_size: int) -> str:
    """The report."""
    rows = [
        (name, float(np.median(rates)), _ratio(load.rates, rates))
        for name, rates in bare.items()
    ]
    table = measure.markdown_table(
        ("photos/s", "median", f"{_SERVED} by it"),
        [(_SERVED, float(np.median(load.rates)), ""), *rows],
    )
    middle, late = np.quantile(load.seconds, [0.5, 0.99]) * 1e3
    before, after = (size / 1e6 for size in load.memory)
    return (
        f"{table}\n\nBatches of {batch_size} are best for the bare model."
        f" {len(load.seconds):,} requests: half took up to {middle:,.0f} ms,"
        f" 99 % up to {late:,.0f} ms; memory of the server {before:,.0f} MB"
        f" before and {after:,.0f} MB after."
    )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return float(np.median(np.divide(ours, theirs)))


if __name__ == "__main__":
    sys.exit(main())
