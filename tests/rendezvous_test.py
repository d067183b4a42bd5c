"""Workers that wait for each other, as threads: no TensorFlow is needed."""

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from planet_tf.workers import machine, rendezvous
from planet_tf.workers.clusters import Cluster, ClusterError


class Stop(Exception):
    pass


class Worker:
    """A worker that waits for the others in a thread of its own."""

    def __init__(self, addresses, index, timeout=20.0):
        self.said, self.error, self.stop = [], None, False
        self.cluster = Cluster(tuple(addresses), index)
        self.timeout = timeout
        self.thread = threading.Thread(target=self._meet, daemon=True)
        self.thread.start()

    def _meet(self):
        try:
            rendezvous.meet(
                self.cluster,
                timeout=self.timeout,
                say=self.said.append,
                check=self._check,
            )
        except Exception as error:
            self.error = error

    def _check(self):
        if self.stop:
            raise Stop

    def end(self):
        self.thread.join(300)
        assert not self.thread.is_alive()
        return self.error


def free(count, host="127.0.0.1"):
    return [f"{host}:{port}" for port in machine.ports(count)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rendezvous, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(rendezvous, "_CHECK_SECONDS", 0.02)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_all_go_on_when_all_are_there(count):
    addresses = free(count)
    workers = [Worker(addresses, index) for index in range(count)]
    assert [worker.end() for worker in workers] == [None] * count
    # The ports are left to TensorFlow.
    for address in addresses:
        with pytest.raises(OSError):
            socket.create_connection(address.split(":"), timeout=5)
        with socket.create_server(("", int(address.split(":")[1]))):
            pass


def test_nobody_goes_on_before_the_last_has_come():
    addresses = free(3)
    early = [Worker(addresses, index) for index in (2, 0)]
    time.sleep(0.5)
    assert all(worker.thread.is_alive() for worker in early)
    late = Worker(addresses, 1)
    assert [worker.end() for worker in (*early, late)] == [None] * 3


def test_each_missing_worker_is_named_with_its_address(monkeypatch):
    monkeypatch.setattr(rendezvous, "_FIRST_SAY_SECONDS", 0.2)
    addresses = [*free(2), "127.0.0.1:1", "no-such-host.invalid:2222"]
    waiting = [Worker(addresses, index, timeout=0.5) for index in range(2)]
    for worker in waiting:
        message = str(worker.end())
        assert isinstance(worker.error, rendezvous.PeersMissingError)
        assert "waited 0.5 s (--startup_timeout) in vain for worker" in message
        assert "worker 2 at 127.0.0.1:1 (" in message
        assert "refused" in message
        assert "worker 3 at no-such-host.invalid:2222 (" in message
        assert "worker 0" not in message
        assert "worker 1" not in message
        assert "worker 2 at 127.0.0.1:1 (" in worker.said[0]
        assert " of 0.5 s" in worker.said[0]


def test_a_worker_that_cannot_call_back_is_told_apart():
    addresses = free(2)
    with socket.create_server(("127.0.0.1", _port(addresses[1]))) as server:

        def answer():
            hello = rendezvous._hello(Cluster(tuple(addresses), 1))
            server.accept()[0].sendall(hello)

        threading.Thread(target=answer, daemon=True).start()
        message = str(Worker(addresses, 0, timeout=0.5).end())
    assert f"worker 1 at {addresses[1]} (it answers, but has not" in message


def test_the_wait_ends_when_asked_to():
    worker = Worker(free(2), 0)
    time.sleep(0.2)
    worker.stop = True
    assert isinstance(worker.end(), Stop)


@pytest.mark.parametrize("host", ["", "::"])
def test_a_port_that_is_taken_is_told_before_any_wait(host):
    addresses = free(2)
    family = socket.AF_INET6 if host else socket.AF_INET
    taken = (host, _port(addresses[0]))
    with socket.create_server(taken, family=family):
        error = Worker(addresses, 0).end()
    assert isinstance(error, ClusterError)
    assert f"port {_port(addresses[0])}, of worker 0, cannot" in str(error)


def test_lists_of_workers_that_differ_are_told():
    addresses = free(3)
    other = [addresses[0], addresses[2], addresses[1]]
    workers = [Worker(addresses, 0, 0.5), Worker(other, 2, 0.5)]
    errors = [worker.end() for worker in workers]
    # Whoever calls first ends at once; the other hears of it in the end.
    assert any(isinstance(error, ClusterError) for error in errors)
    assert all("another list of workers" in str(error) for error in errors)


def test_two_that_take_themselves_for_the_same_worker_are_told():
    addresses = free(3)
    real = Worker(addresses, 1, 0.5)
    with_its_list = rendezvous._hello(Cluster(tuple(addresses), 1))
    time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", _port(addresses[1]))) as c:
        c.sendall(with_its_list)
        c.recv(100)
    assert "another process takes itself for worker 1 too" in str(real.end())


def test_a_worker_at_the_address_of_another_is_refused(monkeypatch):
    addresses = free(2)
    monkeypatch.setattr(
        rendezvous, "_digest", lambda hello: b"the same for all"
    )
    # The second is at the address of worker 1.
    workers = [Worker(a, 0, 0.5) for a in (addresses, addresses[::-1])]
    errors = [worker.end() for worker in workers]
    assert any(isinstance(error, ClusterError) for error in errors)
    assert all("takes itself for worker 0" in str(error) for error in errors)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "something else answers there: b'SSH-2"),
        (b"", "it hangs up"),
        (b"planet_tf x y\n", "something else answers"),
    ],
)
def test_other_services_are_no_workers(answer, wanted):
    addresses = free(2)
    with socket.create_server(("127.0.0.1", _port(addresses[1]))) as server:

        def serve():
            while True:
                connection, _ = server.accept()
                connection.recv(100)
                connection.sendall(answer)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        error = Worker(addresses, 0, timeout=0.5).end()
    assert isinstance(error, rendezvous.PeersMissingError)
    assert wanted in str(error)


def test_strangers_that_call_do_no_harm():
    addresses = free(2)
    first = Worker(addresses, 0)
    time.sleep(0.2)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff" * 2000, b""):
        with socket.create_connection(("127.0.0.1", _port(addresses[0]))) as c:
            c.sendall(data)
    time.sleep(0.1)
    assert first.thread.is_alive()
    assert Worker(addresses, 1).end() is None
    assert first.end() is None


@pytest.mark.parametrize("address", ["nonsense", "host:port", ":"])
def test_an_address_without_a_port_is_refused(address):
    error = Worker([address, *free(1)], 0).end()
    assert isinstance(error, ClusterError)
    assert "must be HOST:PORT" in str(error)


@pytest.mark.parametrize(
    ("address", "place"),
    [("[::1]:80", ("::1", 80)), ("a.b:1", ("a.b", 1))],
)
def test_addresses_of_ipv6_are_read(address, place):
    assert rendezvous._place(address) == place


@pytest.mark.slow
def test_a_worker_that_comes_again_joins_those_who_wait_in_tensorflow():
    addresses = free(2)
    code = """
import json, os, sys
import tensorflow as tf
tf.distribute.MultiWorkerMirroredStrategy()
"""
    task = {"type": "worker", "index": 0}
    description = json.dumps({"cluster": {"worker": addresses}, "task": task})
    peer = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"TF_CONFIG": description},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert Worker(addresses, 1, timeout=300.0).end() is None
    finally:
        peer.kill()
        peer.wait()


def _port(address):
    return int(address.rpartition(":")[2])
