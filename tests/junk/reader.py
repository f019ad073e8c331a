"""What reads something, what it reads when all is well, and how that is broken."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

SECRET = "hush-0123456789"
"""A secret of this process: whatever has it in it, no error does."""

TOKENS = [
    *(f"https://ops:{SECRET}@h".encode(), SECRET.encode(), f'"{SECRET}"'.encode()),
    *(b"null", b"true", b"-1", b"1e999", b"9" * 40, b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\ud800", b"\\u0000"),
    *(b"\xff", b"\xc3", b"\x00", b"..", b"/", b"~", b"*", b"for", b"2nd", b"last", b"Sun", b"99", b"%", b"+-", b"\n"),
    *(b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59-23:59", b"2199-12-31", b"UTC", b"Europe/../Berlin", b"[" * 2000),
    *(b'{"a":' * 40, b"A" * 70_000, b"9" * 5000, b"*:*:0/0.000001", b"\\u202e\\u0007\\n"),
]


def mutate(good: bytes, rng: Random) -> bytes:
    """Break something, once or a few times."""
    raw = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, end = sorted((rng.randint(0, len(raw)), rng.randint(0, len(raw))))
        match rng.randrange(5):
            case 0:
                raw[at:end] = b""
            case 1:
                raw[at:at] = rng.choice(TOKENS)
            case 2:
                raw[at : at + rng.randint(1, 12)] = rng.choice(TOKENS)
            case 3:
                raw[at:at] = raw[at : min(end, at + 60)]
            case _ if raw:
                raw[at % len(raw)] = rng.randrange(256)
    return bytes(raw)


@dataclass(frozen=True)
class Reader:
    """What reads something. `share`: how often, beside the others; `refuses`: whether it says no by an error."""

    read: Callable[[Any], object]
    good: tuple[Any, ...]
    mutate: Callable[[Any, Random], Any] = mutate
    share: int = 12
    refuses: bool = True


def of_text(read: Callable[[str], object], *good: str, share: int = 12, refuses: bool = True) -> Reader:
    """Make one of what reads text."""
    raw = tuple(text.encode() for text in good)
    return Reader(lambda found: read(found.decode(errors="surrogateescape")), raw, share=share, refuses=refuses)
