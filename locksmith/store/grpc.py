"""The meaning of an answer of etcd's HTTP gateway: a message, or an error with its gRPC code.

The text decides, then the code. The HTTP status of the same error differs between 3.4 and 3.5, a code between 3.5 and
3.6. Codes and texts are those of etcd's api/v3rpc/rpctypes/error.go. What an error says of a write follows from
server/etcdserver/v3_server.go and apply.go.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from locksmith.errors import StoreRefusedError
from locksmith.store.exchange import MaybeDoneError, NotDoneError
from locksmith.util.jsonread import BadJsonError, load_object, read, shown

T = TypeVar("T")
Message = dict[str, Any]

OK = 200
_ETCD = "etcdserver: "

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
    "etcdserver: no leader",  # only the answer to `hasleader`, which etcd checks first
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
}

OUTDATED = {
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
    "auth: revision in header is old",  # the same in 3.5.1; it too is said before anything is done
}
"""What is said of a token that was right when it was given."""
# What a watch says to a token that is not valid any more, and every call to no token at all.
TOKEN_FAILURE = {*OUTDATED, "etcdserver: permission denied"}

_FULL = "etcdserver: mvcc: database space exceeded"
"""The space quota is reached. The write that fills the store may be applied, and gets this answer too.
A member whose own file is over the quota refuses every transaction, also a transaction that only reads."""

NO_AUTHENTICATION = "etcdserver: authentication is not enabled"


class TokenRefusedError(StoreRefusedError):
    """Refused: the token is not valid, or lacks the rights. A new token may do.

    `outdated`: after another change of etcd's users a new token may be refused too.
    """

    def __init__(self, text: str, *, outdated: bool) -> None:
        super().__init__(text)
        self.outdated = outdated


class FullError(MaybeDoneError):
    """May be done: the write that fills the store took effect. No member takes writes until an operator makes space."""

    def __init__(self) -> None:
        way_out = "compact and defragment all members, then say `etcdctl alarm disarm`"
        super().__init__(f"its database is full ({_FULL}): {way_out}")


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An error of etcd's: its gRPC code and its text."""

    code: int
    text: str


def decode(raw: bytes, status: int, *, quotable: bool = True) -> Message:
    """Give the message of an answer. `MaybeDoneError`: it is no answer of etcd's. For an error, see `fail`.

    If an answer may repeat a secret of the request, it is not `quotable` in the error.
    """
    try:
        message = load_object(raw)
        failure = find_failure(message, status)
        if failure is None:
            message = read(message, "result", dict, message)  # streams wrap each message in it
            read(message, "header", dict)
    except BadJsonError as error:
        said = f" {raw[:80].decode(errors='replace').strip()!r}" if quotable else ""
        raise MaybeDoneError(f"no answer of etcd's v3 API, HTTP {status}{said}: {error}") from None
    if failure is not None:
        fail(failure)
    return message


def find_failure(message: Message, status: int) -> FailedAttempt | None:
    """Give the error in an answer, in the shape of either gateway; None: it is no error.

    The gateway of 3.4 and of upstream's 3.5 writes the text twice, and in streams `grpc_code`:
    `{"error":TEXT,"code":16,"message":TEXT}`, `{"error":{"grpc_code":16,"message":TEXT,...}}`. That of 3.6, and of
    Debian's 3.5: `{"code":16,"message":TEXT}`, `{"error":{"code":16,"message":TEXT}}`. `BadJsonError`: any other shape,
    which another server wrote.
    """
    marks = [name for name in ("error", "code") if name in message]
    if "header" in message or "result" in message:
        if marks:
            raise BadJsonError(f"an answer has no field {marks[0]!r}")
        if status != OK:
            raise BadJsonError("an answer comes with HTTP 200 alone")
        return None
    if not marks:
        return None
    if isinstance(nested := message.get("error"), dict):
        return FailedAttempt(_agreed(nested, "grpc_code", "code", int), read(nested, "message", str))
    if status == OK:
        raise BadJsonError("an error does not come with HTTP 200")
    return FailedAttempt(read(message, "code", int), _agreed(message, "error", "message", str))


def _agreed(fields: Message, one: str, other: str, kind: type[T]) -> T:
    """Give a field that has one of two names; if it has both, they must agree."""
    found = {read(fields, name, kind) for name in (one, other) if name in fields}
    if len(found) != 1:
        raise BadJsonError(f"the fields {one!r} and {other!r} must agree, or be one of them")
    return found.pop()


def fail(failure: FailedAttempt) -> NoReturn:
    """Raise the error that an error answer means for the caller.

    Only etcd's own word is a refusal: the text of a proxy or of the gateway lacks etcd's prefix.
    """
    text = failure.text
    if text in _NOT_HERE:
        raise NotDoneError(text)
    if text in TOKEN_FAILURE:
        raise TokenRefusedError(text, outdated=text in OUTDATED)
    if text == _FULL:
        raise FullError
    if failure.code in _REFUSALS and text.startswith(_ETCD):
        raise StoreRefusedError(text)
    raise MaybeDoneError(text or f"gRPC code {failure.code}")


def number(message: Message, name: str) -> int:
    """Read a whole number: the gateway writes 64 bits as a string, and leaves a zero out."""
    value = message.get(name, 0)
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    raise BadJsonError(f"the field {name!r} must be a whole number, not {shown(value)}")
