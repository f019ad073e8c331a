"""A host with several addresses, of which some are dead: real sockets on loopback."""

import asyncio
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from locksmith.store import dial as dialling
from locksmith.store.dial import dial
from tests.contract.stories import within
from tests.harness.ports import free_ports


@contextmanager
def deaf():
    """A port whose queue is full: it neither takes a connection nor refuses."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def alive():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def address(port):
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))


def resolves_to(monkeypatch, *ports):
    """The name `etcd.example` has these addresses; asking for them takes a moment."""
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **more):
        if host != "etcd.example" or more.get("flags"):
            return real(host, port, *rest, **more)
        threads.append(threading.current_thread())
        return [address(one) for one in ports]

    threads: list[threading.Thread] = []
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return threads


async def connected(host, limit=5.0):
    async with asyncio.timeout(limit):
        with await dial(host, 1) as made:
            port = made.getpeername()[1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return port


def test_an_address_that_refuses_is_followed_by_the_next_at_once(monkeypatch):
    monkeypatch.setattr(dialling, "HEAD_START", 30.0)
    with alive() as port:
        resolves_to(monkeypatch, *free_ports(1), port)
        assert asyncio.run(connected("etcd.example")) == port


def test_an_address_that_says_nothing_holds_up_no_other(monkeypatch):
    with deaf() as silent, alive() as port, within(dialling.HEAD_START):
        resolves_to(monkeypatch, silent, port)
        assert asyncio.run(connected("etcd.example")) == port


def test_of_addresses_that_all_refuse_the_system_says_why(monkeypatch):
    resolves_to(monkeypatch, *free_ports(2))
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connected("etcd.example"))


def test_a_limit_ends_all_attempts(monkeypatch):
    with deaf() as first, deaf() as second:
        resolves_to(monkeypatch, first, second)
        with pytest.raises(TimeoutError), within(0.5):
            asyncio.run(connected("etcd.example", limit=0.4))


def test_a_name_is_looked_up_in_a_daemon_thread_and_an_address_in_none(monkeypatch):
    with alive() as port:
        threads = resolves_to(monkeypatch, port)
        asyncio.run(connected("etcd.example"))
        assert [thread.daemon for thread in threads] == [True]
        before = threading.active_count()

        async def numeric():
            (await dial("127.0.0.1", port)).close()
            assert threading.active_count() == before

        asyncio.run(numeric())
