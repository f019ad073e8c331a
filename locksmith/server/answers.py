"""What the server answers over HTTP: a status, and a refusal as FleetLock's clients read it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.util.text import cut, printable

RETRY_AFTER: Final = 30
"""Seconds: when to call again if the store, or the hooks, may be ready then."""
_LONGEST = 1000
"""Characters of a sentence."""

_STATUS: Mapping[RefusalKind, int] = {
    RefusalKind.NO_SLOT: 409,
    RefusalKind.QUEUED: 409,
    RefusalKind.FROZEN: 409,
    RefusalKind.HELD: 409,
    RefusalKind.HALTED: 409,
    RefusalKind.WINDOW: 409,
    RefusalKind.NOT_READY: 503,
    RefusalKind.STORE: 503,
    RefusalKind.UNAUTHORIZED: 403,
    RefusalKind.BAD_REQUEST: 400,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers, and the refusal; None: the call succeeded. `closes`: the connection ends after it.

    Any 2xx lets a client reboot, so a refusal never has one.
    """

    status: int
    refusal: Refusal | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    closes: bool = False

    def __post_init__(self) -> None:
        """Refuse an answer that a client would take for another."""
        if (self.refusal is None) != (200 <= self.status < 300):  # noqa: PLR2004 - HTTP's success
            raise ValueError(
                f"an answer with status {self.status} must{'' if self.refusal is None else ' not'} succeed"
            )

    @property
    def body(self) -> bytes:
        """Give the body, in JSON: `{}`, or `kind` and `value`, both not empty."""
        if self.refusal is None:
            return b"{}"
        sentence = cut(printable(self.refusal.sentence), _LONGEST) or self.refusal.kind.value
        return json.dumps({"kind": self.refusal.kind.value, "value": sentence}).encode()


SUCCESS: Final = Answer(200)


def refused(refusal: Refusal) -> Answer:
    """Give the answer for what the rules refuse."""
    status = _STATUS[refusal.kind]
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}  # noqa: PLR2004 - Service Unavailable
    return Answer(status, refusal, headers)


def bad_request(
    sentence: str, status: int = 400, headers: Mapping[str, str] | None = None, *, unread: bool = False
) -> Answer:
    """Give the answer for a request that cannot be read. If the rest of it stays `unread`, its connection ends."""
    return Answer(status, Refusal(RefusalKind.BAD_REQUEST, sentence), headers or {}, closes=unread)


def unauthorized(sentence: str, status: int = 403, headers: Mapping[str, str] | None = None) -> Answer:
    """Give the answer for a client that may not make a call."""
    return Answer(status, Refusal(RefusalKind.UNAUTHORIZED, sentence), headers or {})
