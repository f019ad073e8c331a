"""Messages of a stream of bytes: their heads are read, their bodies are not.

Any local user can send a message of 32 MiB, of which a library makes a gigabyte of objects. The head names the sender,
the kind and the length. If a message is longer than its kind may be, its bytes are skipped and never kept.
"""

import struct
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import NamedTuple

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
"""Kinds of messages (D-Bus' specification, as all numbers here)."""
NO_REPLY_EXPECTED = 1
"""A flag of a call."""

LONGEST = {CALL: 64 << 10, SIGNAL: 64 << 10, RETURN: 8 << 20, ERROR: 64 << 10}
"""Bytes of a message, by kind. Calls and signals are small; an answer may list every unit of the machine."""
LONGEST_HEAD = 16 << 10
LONGEST_OF_ALL = 128 << 20

_FIXED = 16
_LITTLE, _BIG = ord("l"), ord("B")
_SIZES = {_LITTLE: Struct("<4xIII"), _BIG: Struct(">4xIII")}
_NUMBER = {_LITTLE: Struct("<I"), _BIG: Struct(">I")}
_TEXT, _PATH, _UINT, _SIGNATURE = b"\x01s\0", b"\x01o\0", b"\x01u\0", b"\x01g\0"
_FIELDS = {1: _PATH, 2: _TEXT, 3: _TEXT, 4: _TEXT, 5: _UINT, 6: _TEXT, 7: _TEXT, 8: _SIGNATURE, 9: _UINT}


class NoMessageError(Exception):
    """Cannot be read: what came is no message of D-Bus. The connection is of no more use."""


class Head(NamedTuple):
    """The head of a message; `size` is the bytes of the whole message. The bus has written the sender."""

    kind: int
    flags: int
    serial: int
    size: int
    path: str = ""
    interface: str = ""
    member: str = ""
    reply_serial: int = 0
    sender: str = ""
    signature: str = ""


class Frame(NamedTuple):
    """A message; `raw` is the whole message, or None if it was too long to be kept."""

    head: Head
    raw: bytes | None


class Frames:
    """Cuts messages out of a stream. It keeps at most one incomplete message, and no message that is too long."""

    def __init__(self, longest: Mapping[int, int] = LONGEST) -> None:
        self._longest = longest
        self._held = bytearray()
        self._skip = 0

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Give the messages that these bytes complete. `NoMessageError`: they are no messages."""
        self._held += data
        at = min(self._skip, len(self._held))
        self._skip -= at
        try:
            while not self._skip and (found := self._next(at)) is not None:
                frame, size = found
                self._skip = max(0, at + size - len(self._held))
                at = min(at + size, len(self._held))
                if frame is not None:
                    yield frame
        finally:
            del self._held[:at]

    def _next(self, at: int) -> tuple[Frame | None, int] | None:
        """Give the next message and its size; None: it is incomplete. A message whose head is too long is left out."""
        held = self._held
        if len(held) - at < _FIXED:
            return None
        size, head_size = _sizes(held, at)
        if head_size > LONGEST_HEAD:
            return None, size
        if len(held) - at < head_size:
            return None
        head = _head(held, at, size, head_size)
        if head is None:
            return None, size
        if size > self._longest[head.kind]:
            return Frame(head, None), size
        return (Frame(head, bytes(held[at : at + size])), size) if len(held) - at >= size else None


def _sizes(held: bytearray, at: int) -> tuple[int, int]:
    """Give the size of the message that begins here, and of its head."""
    order, kind, _flags, version = held[at : at + 4]
    if order not in _SIZES or version != 1 or kind not in LONGEST:
        raise NoMessageError("what came is no message of D-Bus")
    body, _serial, fields = _SIZES[order].unpack_from(held, at)
    head = _FIXED + fields + -fields % 8
    if head + body > LONGEST_OF_ALL:
        raise NoMessageError("a message is longer than D-Bus allows")
    return head + body, head


def _head(held: bytearray, at: int, size: int, head_size: int) -> Head | None:
    """Read a head; None: it has an unknown field of a type that cannot be skipped."""
    order, kind, flags = held[at : at + 3]
    _body, serial, fields = _SIZES[order].unpack_from(held, at)
    number = _NUMBER[order].unpack_from
    # A copy, so that a head that is cut off ends there, and not in the next message.
    raw = bytes(held[at : at + head_size])
    found: dict[int, str | int] = {}
    here, end = _FIXED, _FIXED + fields
    try:
        while here < end:
            here += -here % 8
            code, of = raw[here], raw[here + 1 : here + 4]
            here += 4
            if _FIELDS.get(code, of) != of:
                raise NoMessageError(f"field {code} of a message's head is of another type")
            if of in (_TEXT, _PATH):
                begin = here + 4
                here = begin + number(raw, here)[0] + 1
                found[code] = raw[begin : here - 1].decode()
            elif of == _UINT:
                found[code] = number(raw, here)[0]
                here += 4
            elif of == _SIGNATURE:
                begin = here + 1
                here = begin + raw[here] + 1
                found[code] = raw[begin : here - 1].decode()
            else:
                return None
            if here > end:
                raise NoMessageError("a message's head is longer than it says")
    except (ValueError, IndexError, struct.error) as error:
        raise NoMessageError(f"a message's head cannot be read ({error})") from None
    text = {code: value for code, value in found.items() if isinstance(value, str)}
    reply = found.get(5, 0)
    return Head(
        kind,
        flags,
        serial,
        size,
        text.get(1, ""),
        text.get(2, ""),
        text.get(3, ""),
        reply if isinstance(reply, int) else 0,
        text.get(7, ""),
        text.get(8, ""),
    )
