"""What an answer of etcd's HTTP gateway means: the message, or the error with its gRPC code.

The code is in the body; the HTTP status of one and the same error differs between 3.4 and 3.5. Codes and texts are
those of etcd's api/v3rpc/rpctypes/error.go; on what an error says of a write, server/etcdserver/v3_server.go and
apply.go decide.
"""

from contextlib import suppress
from typing import Any, NoReturn

from locksmith.errors import StoreRefusedError
from locksmith.jsonread import BadJsonError, load_object, read, shown
from locksmith.kv.exchange import DoubtError, NotDoneError

Message = dict[str, Any]

_REFUSALS = {
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    9: "FAILED_PRECONDITION",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    16: "UNAUTHENTICATED",
}
"""Codes that etcd gives before it applies anything. RESOURCE_EXHAUSTED is not among them: see `_FULL`."""

_NOT_HERE = {
    "etcdserver: no leader",  # only ever the answer to `hasleader`, looked at before anything else
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
}

_TOKEN_TROUBLE = {
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
    # What a watch says to a token that is not valid any more, and every call to no token at all.
    "etcdserver: permission denied",
}

_FULL = "etcdserver: mvcc: database space exceeded"
"""The space quota is reached. The write that fills it may be applied, and is answered with this too. A member whose own
file is over the quota refuses every transaction so, also one that only reads."""

NO_AUTHENTICATION = "etcdserver: authentication is not enabled"


class TokenRefusedError(StoreRefusedError):
    """The token was refused, or has not the rights: a new one may do."""


class FullError(DoubtError):
    """There is no space for writes, on no member, until an operator has made some."""

    def __init__(self) -> None:
        way_out = "compact and defragment all members, then say `etcdctl alarm disarm`"
        super().__init__(f"its database is full ({_FULL}): {way_out}")


def decode(raw: bytes, status: int, *, quotable: bool = True) -> Message:
    """Read one message; what is no answer of etcd's is a `DoubtError`, and an error answer what `check` says.

    An answer that may repeat a secret of the request is not `quotable` in the error.
    """
    try:
        message = load_object(raw)
        check(message)
        message = read(message, "result", dict, message)  # streams wrap each message in it
        read(message, "header", dict)
    except BadJsonError as error:
        said = f" {raw[:80].decode(errors='replace').strip()!r}" if quotable else ""
        raise DoubtError(f"no answer of etcd's v3 API, HTTP {status}{said}: {error}") from None
    return message


def check(message: Message) -> None:
    """Raise what an error answer means: flat in unary calls, nested in streams."""
    if "error" not in message:
        return
    nested = message["error"]
    if isinstance(nested, dict):
        fail(read(nested, "grpc_code", int, 2), read(nested, "message", str, ""))
    fail(read(message, "code", int, 2), read(message, "error", str))


def fail(code: int, text: str) -> NoReturn:
    """Raise what a gRPC error means for the one who asked."""
    if text in _NOT_HERE:
        raise NotDoneError(text)
    if text in _TOKEN_TROUBLE:
        raise TokenRefusedError(text)
    if text == _FULL:
        raise FullError
    if code in _REFUSALS:
        raise StoreRefusedError(text)
    raise DoubtError(text or f"gRPC code {code}")


def number(message: Message, name: str) -> int:
    """Read a whole number: the gateway writes 64 bits as a string, and leaves a zero out."""
    value = message.get(name, 0)
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    raise BadJsonError(f"the field {name!r} must be a whole number, not {shown(value)}")
