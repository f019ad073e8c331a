"""What systemd hears."""

import os
import socket
import time
from contextlib import suppress

import pytest

from locksmith.host.notify import SEND_LIMIT, Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A socket as systemd's, and the name it passes."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(1)
        listener.bind(name if request.param == "path" else f"\0{name}")
        yield listener, name if request.param == "path" else f"@{name}"


def test_each_word_arrives(systemd):
    listener, name = systemd
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("waiting for the window\nuntil 02:00")
    notifier.watchdog()
    notifier.stopping()
    heard = [listener.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1", "STATUS=waiting for the window until 02:00", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize("name", [None, "", "@", "/no/such/socket", "x" * 200, "a\0b", "vsock:2:1"])
def test_without_a_socket_that_works_nothing_is_raised(name):
    Notifier.from_environment({} if name is None else {"NOTIFY_SOCKET": name}).ready()


@pytest.mark.slow
def test_a_queue_that_is_full_is_not_waited_for_long(systemd):
    listener, name = systemd
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"noise", listener.getsockname())
    began = time.monotonic()
    Notifier(name).watchdog()
    assert time.monotonic() - began < 10 * SEND_LIMIT


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_needed(environment, seconds):
    assert Notifier.from_environment(environment).watchdog_interval == seconds
