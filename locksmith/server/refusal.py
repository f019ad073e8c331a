"""Why a FleetLock client is refused: few kinds, which clients make labels of their metrics. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class RefusalKind(StrEnum):
    """The kinds of refusals: FleetLock's `kind`."""

    NO_SLOT = "no_slot"
    """No slot is free for this client now: others have them, or a pause after a reboot is not over."""
    QUEUED = "queued"
    """Others wait before this client. It keeps its place until its next call."""
    FROZEN = "frozen"
    HELD = "held"
    """An operator holds this client back."""
    HALTED = "halted"
    WINDOW = "window"
    """The group's window is closed."""
    NOT_READY = "not_ready"
    """The hooks for this client run, or have failed."""
    UNAUTHORIZED = "unauthorized"
    BAD_REQUEST = "bad_request"
    STORE = "store"
    """The store does not answer, or has something that cannot be read."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind, and a sentence that says who or what is in the way, until when where that is known, and the way out."""

    kind: RefusalKind
    sentence: str
