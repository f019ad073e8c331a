"""Whether a client has sent what is worth a place inside: a whole head, or the first record of TLS. Pure.

What is neither, and cannot become one, is called whole too: it is refused inside.
"""

from typing import Final

LARGEST_HEAD: Final = 16 * 1024
"""Bytes."""
_RECORD: Final = 5
"""Bytes of the head of a record of TLS (RFC 8446, 5.1)."""
_HANDSHAKE: Final = 0x16
_LONGEST_RECORD: Final = 16 * 1024


def is_whole_head(seen: bytes) -> bool:
    """Tell whether a request's head has ended."""
    return not seen[:1].isalpha() or b"\n\r\n" in seen or b"\n\n" in seen or len(seen) >= LARGEST_HEAD


def is_whole_hello(seen: bytes) -> bool:
    """Tell whether the first record of TLS has come, which has the client's hello."""
    if seen[0] != _HANDSHAKE:
        return True
    if len(seen) < _RECORD:
        return False
    length = int.from_bytes(seen[3:_RECORD])
    return length > _LONGEST_RECORD or len(seen) >= min(_RECORD + length, LARGEST_HEAD)
