"""Workers wait for each other, before TensorFlow does.

TensorFlow waits for missing workers for an hour, in one call that holds
Python's lock: no thread runs, no signal is heeded, and nobody is told who is
missing. So each worker first listens at its own address and calls at all the
others; it goes on once all have answered it and all have called here. What
TensorFlow does then takes a moment.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import re
import socket
import time
from collections.abc import Callable

from planet_tf.workers.clusters import Cluster, ClusterError

_MAGIC = b"planet_tf"
_RETRY_SECONDS = 0.5
_CALL_SECONDS = 5.0  # to connect, and to be answered
_CHECK_SECONDS = 0.1
_FIRST_SAY_SECONDS, _SAY_SECONDS = 3.0, 30.0
_SETTINGS_FRAME = 4  # of HTTP/2; a server of gRPC begins with it


class PeersMissingError(RuntimeError):
    """Workers that did not come in time; they may the next time."""


@dataclasses.dataclass
class _Peer:
    """What is known of another worker."""

    address: str
    answered: bool = False  # it listens, or is past that
    called: bool = False  # it can reach this worker
    trouble: str = "not tried yet"

    @property
    def why(self) -> str:
        """Why it is waited for."""
        if self.answered:
            return "it answers, but has not reached this worker's address"
        return self.trouble


def meet(
    cluster: Cluster,
    *,
    timeout: float,
    say: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    """Returns once all workers of a cluster are there.

    Args:
      cluster: all addresses, and which is this worker's.
      timeout: seconds to wait at most.
      say: called now and then with whom this worker waits for.
      check: called several times a second; may raise to end the wait.

    Raises:
      ClusterError: this worker's port is taken, or another worker has another
        list of workers.
      PeersMissingError: some did not come; says which, where, and why.
    """
    if len(cluster.addresses) > 1:
        asyncio.run(_meet(cluster, timeout, say, check))


async def _meet(
    cluster: Cluster,
    timeout: float,
    say: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    peers = {
        index: _Peer(address)
        for index, address in enumerate(cluster.addresses)
        if index != cluster.index
    }
    hello = _hello(cluster)
    strangers: set[str] = set()

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            heard = await asyncio.wait_for(reader.read(1024), _CALL_SECONDS)
            writer.write(hello)
            await writer.drain()
            index = _index(heard)
            if index in peers and _digest(heard) == _digest(hello):
                peers[index].called = True
            elif index is not None:
                strangers.add(_stranger(index, cluster.index))
        writer.close()

    server = await asyncio.start_server(answer, sock=_listen(cluster))
    calls = [
        asyncio.create_task(_call(i, peer, hello)) for i, peer in peers.items()
    ]
    try:
        await _wait(peers, strangers, calls, timeout, say, check)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def _wait(
    peers: dict[int, _Peer],
    strangers: set[str],
    calls: list[asyncio.Task],
    timeout: float,
    say: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    """Waits until all peers have answered and called."""
    start = time.monotonic()
    next_line = start + _FIRST_SAY_SECONDS
    while True:
        check()
        for call in calls:
            if call.done():
                call.result()  # raises what it raised
        missing = [
            f"worker {index} at {peer.address} ({peer.why})"
            for index, peer in peers.items()
            if not (peer.answered and peer.called)
        ]
        missing += sorted(strangers) if missing else []
        now = time.monotonic()
        if not missing:
            return
        if now - start > timeout:
            raise PeersMissingError(
                f"waited {timeout:g} s (--startup_timeout) in vain for"
                f" {'; '.join(missing)}"
            )
        if now > next_line:
            next_line = now + _SAY_SECONDS
            say(
                f"waiting for {'; '.join(missing)}: {now - start:.0f} of"
                f" {timeout:g} s"
            )
        await asyncio.sleep(_CHECK_SECONDS)


async def _call(index: int, peer: _Peer, hello: bytes) -> None:
    """Calls at a peer's address until it answers."""
    host, port = _place(peer.address)
    while not peer.answered:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                heard = await _ask(host, port, hello)
            _take(index, peer, heard, hello)
        except TimeoutError:
            peer.trouble = "no answer"
        except OSError as error:
            peer.trouble = _cause(error)
        if not peer.answered:
            await asyncio.sleep(_RETRY_SECONDS)


def _cause(error: OSError) -> str:
    """What is wrong in the system's words, not in asyncio's own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


async def _ask(host: str, port: int, hello: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(hello)
        return await reader.read(1024)
    finally:
        writer.close()


def _take(index: int, peer: _Peer, heard: bytes, hello: bytes) -> None:
    """Notes what was heard at a peer's address."""
    if _index(heard) is not None:
        if _digest(heard) != _digest(hello):
            raise ClusterError(
                f"worker {index} at {peer.address} has another list of workers"
                " than this one: give all the same addresses, in the same order"
            )
        if _index(heard) != index:
            raise ClusterError(
                f"at {peer.address}, the address of worker {index}, is one"
                f" that takes itself for worker {_index(heard)}"
            )
        peer.answered = True
    elif heard[3:4] == bytes([_SETTINGS_FRAME]):
        # TensorFlow's own server: this peer has met all already, maybe an
        # earlier start of this worker, and will not call again.
        peer.answered = peer.called = True
    elif heard:
        peer.trouble = f"something else answers there: {heard[:20]!r}"
    else:
        peer.trouble = "it hangs up"


def _listen(cluster: Cluster) -> socket.socket:
    """A socket that listens at this worker's port."""
    _, port = _place(cluster.address)
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(
            ("", port),
            family=family,
            dualstack_ipv6=dual,
            backlog=len(cluster.addresses),
        )
    except OSError as error:
        raise ClusterError(
            f"{cluster.source}: port {port}, of worker {cluster.index}, cannot"
            f" be used here ({_cause(error)}); is a worker of the"
            " same index running on this machine?"
        ) from error


def _stranger(index: int, own: int) -> str:
    """What to say of a caller that is none of this cluster's other workers."""
    if index == own:
        return f"another process takes itself for worker {own} too"
    return f"a worker {index} with another list of workers has called"


def _place(address: str) -> tuple[str, int]:
    """Host and port of an address; that of IPv6 in square brackets."""
    found = re.fullmatch(r"\[?(.+?)\]?:(\d+)", address)
    if not found:
        raise ClusterError(f"{address!r} is no address: it must be HOST:PORT")
    return found[1], int(found[2])


def _hello(cluster: Cluster) -> bytes:
    """What workers tell each other: who they are, and of which cluster."""
    digest = hashlib.sha256("\n".join(cluster.addresses).encode()).hexdigest()
    return b"%s %d %s\n" % (_MAGIC, cluster.index, digest.encode())


def _index(hello: bytes) -> int | None:
    """The number of the worker that says hello; None: it is something else."""
    parts = hello.split()
    if len(parts) != 3 or parts[0] != _MAGIC or not parts[1].isdigit():
        return None
    return int(parts[1])


def _digest(hello: bytes) -> bytes:
    return hello.split()[-1] if hello.split() else b""
