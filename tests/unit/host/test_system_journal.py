"""Records on their way to journald: a real socket in its place, which reads, hangs or is away."""

import array
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from locksmith.host.system_journal import SystemJournal, stderr_is_journal

RECORD = {"MESSAGE": "this machine has a slot", "PRIORITY": "6", "LOCKSMITH_EVENT": "slot-taken"}


@pytest.fixture
def journald(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "socket"))
        reader.settimeout(5)
        yield reader


@contextmanager
def sender(tmp_path):
    """Give a journal, and what reads its standard error."""
    stream, reader = socket.socketpair()
    with stream, reader:
        reader.setblocking(False)
        journal = SystemJournal(tmp_path / "socket", stream.fileno())
        yield journal, reader
        journal.close()


def read(stream: socket.socket) -> str:
    try:
        return stream.recv(1 << 20).decode()
    except BlockingIOError:
        return ""


def test_a_record_is_a_line_for_each_field(journald, tmp_path):
    with sender(tmp_path) as (journal, stderr):
        journal.send(RECORD, "<6>unused")
        assert read(stderr) == ""
    assert journald.recv(4096).decode().splitlines() == [f"{name}={value}" for name, value in RECORD.items()]


def test_a_value_of_two_lines_makes_no_field(journald, tmp_path):
    with sender(tmp_path) as (journal, _):
        journal.send({"MESSAGE": "a\nPRIORITY=0"}, "unused")
    assert journald.recv(4096) == b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"


def test_what_is_too_large_for_a_datagram_comes_as_a_sealed_file(journald, tmp_path):
    with sender(tmp_path) as (journal, stderr):
        journal.send({"MESSAGE": "x" * 10**6}, "unused")
        assert read(stderr) == ""
    data, control, _, _ = journald.recvmsg(10, socket.CMSG_SPACE(4))
    assert data == b""
    [(_, _, passed)] = control
    [descriptor] = array.array("i", passed)
    with os.fdopen(descriptor, "rb") as file:
        assert os.pread(file.fileno(), 2 * 10**6, 0) == b"MESSAGE=" + b"x" * 10**6 + b"\n"
        with open(f"/proc/self/fd/{file.fileno()}", "r+b", buffering=0) as again, pytest.raises(PermissionError):  # noqa: PTH123 - no path
            again.write(b"y")


def test_without_journald_the_line_goes_to_standard_error(tmp_path):
    with sender(tmp_path) as (journal, stderr):
        journal.send(RECORD, "<6>this machine has a slot")
        assert read(stderr) == "<6>this machine has a slot\n"


def test_a_standard_error_that_is_no_socket_costs_no_descriptor(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        journal = SystemJournal(tmp_path / "socket", file.fileno())
        journal.send(RECORD, "<6>the first")
        before = set(Path("/proc/self/fd").iterdir())
        for _ in range(10):
            journal.send(RECORD, "<6>lost")
        assert set(Path("/proc/self/fd").iterdir()) <= before
        journal.close()


@pytest.mark.slow
def test_a_journald_that_hangs_delays_nothing_and_what_is_lost_is_counted(journald, tmp_path):  # noqa: ARG001 - it never reads
    with sender(tmp_path) as (journal, stderr):
        began = time.monotonic()
        for number in range(3000):
            journal.send(RECORD, f"<6>line {number}")
        assert time.monotonic() - began < 5
        written = read(stderr).splitlines()
        journal.send(RECORD, "<6>the last")
        [lost, last] = read(stderr).splitlines()[-2:]
    assert written[0].startswith("<6>line ")
    assert last == "<6>the last"
    assert "lines before this one are lost" in lost
    assert int(lost[3:].split()[0]) > 1000


def test_a_busy_journald_gets_each_record_with_its_fields(journald, tmp_path):
    """The kernel keeps about ten records; the reader is a moment late."""

    def read_late() -> None:
        time.sleep(0.02)
        for _ in range(40):
            journald.recv(4096)

    reader = threading.Thread(target=read_late)
    with sender(tmp_path) as (journal, stderr):
        reader.start()
        for _ in range(40):
            journal.send(RECORD, "<6>without fields")
        assert read(stderr) == ""
    reader.join(timeout=5)
    assert not reader.is_alive()


@pytest.mark.slow
def test_a_journald_that_reads_again_gets_records_again(journald, tmp_path):
    with sender(tmp_path) as (journal, stderr):
        while not read(stderr):
            journal.send(RECORD, "<6>too many")
        journald.setblocking(False)
        while True:
            try:
                journald.recv(4096)
            except BlockingIOError:
                break
        journal.send({"MESSAGE": "again"}, "unused")
    assert journald.recv(4096) == b"MESSAGE=again\n"


def test_a_journald_that_was_replaced_gets_the_next_record(tmp_path):
    with sender(tmp_path) as (journal, stderr):
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
                reader.bind(str(tmp_path / "socket"))
                journal.send({"MESSAGE": "hello"}, "unused")
                assert reader.recv(100) == b"MESSAGE=hello\n"
            journal.send(RECORD, "<6>in between")
            assert read(stderr) == "<6>in between\n"
            (tmp_path / "socket").unlink()


def test_standard_error_is_the_journal_only_if_it_is_the_stream_that_systemd_names():
    one, other = socket.socketpair()
    with one, other:
        found = os.fstat(one.fileno())
        named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert stderr_is_journal(named, one.fileno())
        assert not stderr_is_journal(named, other.fileno()), "redirected elsewhere, the variable was inherited"
        for wrong in ({}, {"JOURNAL_STREAM": ""}, {"JOURNAL_STREAM": "1"}, {"JOURNAL_STREAM": "a:b"}):
            assert not stderr_is_journal(wrong, one.fileno())
