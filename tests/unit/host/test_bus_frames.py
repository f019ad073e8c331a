"""Messages cut out of a stream: the same heads as the library reads, and nothing kept that is too long."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.host.dbus.frames import CALL, ERROR, RETURN, SIGNAL, Frames, NoMessageError
from tests.harness.dbus import Message, MessageFlag, MessageType, Variant, written

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
LIMITS = {CALL: 500, SIGNAL: 500, RETURN: 5000, ERROR: 500}


def signal(text: str = "x", serial: int = 7) -> bytes:
    message = Message.new_signal("/a/b", "a.b", "C", "sv", [text, Variant("s", text)])
    message.serial = serial
    return written(message)


def a_call(text: str, serial: int) -> bytes:
    flags = MessageFlag.NO_REPLY_EXPECTED
    message = Message("x.y", "/p", "i.j", "M", signature="s", body=[text], flags=flags, serial=serial)
    return written(message)


def an_answer(text: str, serial: int) -> bytes:
    message = Message(
        message_type=MessageType.METHOD_RETURN, reply_serial=serial, serial=1, signature="as", body=[[text]]
    )
    return written(message)


MADE = st.builds(
    lambda make, text, serial: make(text, serial),
    st.sampled_from([signal, a_call, an_answer]),
    TEXT,
    st.integers(1, 99),
)


@given(st.lists(MADE, max_size=6), st.lists(st.integers(1, 60), max_size=40))
def test_however_a_stream_is_cut_the_messages_come_whole(messages, cuts):
    stream, frames, found = b"".join(messages), Frames(), []
    for cut in [*cuts, len(stream)]:
        found += list(frames.feed(stream[:cut]))
        stream = stream[cut:]
    assert [frame.raw for frame in found] == messages


def test_a_head_says_what_the_message_is():
    [frame] = Frames().feed(a_call("hello", 12))
    head = frame.head
    assert (head.kind, head.path, head.interface, head.member) == (CALL, "/p", "i.j", "M")
    assert (head.flags, head.serial, head.signature, head.size) == (1, 12, "s", len(frame.raw or b""))
    [frame] = Frames().feed(an_answer("x", 33))
    assert (frame.head.kind, frame.head.reply_serial) == (RETURN, 33)


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_a_message_that_is_too_long_is_skipped_and_the_next_is_read(size):
    frames, found = Frames(LIMITS), []
    stream = signal("x" * 10_000) + an_answer("y" * 4000, 3) + signal("z")
    for at in range(0, len(stream), size):
        found += list(frames.feed(stream[at : at + size]))
        assert len(frames._held) < 6000
    assert [(frame.head.kind, frame.raw is None) for frame in found] == [
        (SIGNAL, True),
        (RETURN, False),
        (SIGNAL, False),
    ]


def test_a_head_that_is_too_long_is_skipped_with_its_message():
    long = Message("x.y", "/" + "p" * 50_000, "i.j", "M", serial=1)
    assert [frame.raw for frame in Frames().feed(written(long) + signal())] == [signal()]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_rubbish_is_no_message_or_waits_for_more(rubbish, at):
    good = signal()
    for stream in (rubbish, good[:at] + rubbish + good[at:]):
        with contextlib.suppress(NoMessageError):
            list(Frames().feed(stream))
