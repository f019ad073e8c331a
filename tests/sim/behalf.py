"""For whom a server acts: the rules take what it writes for a machine as that machine's own write."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behalf:
    """A call of a machine with the strategy `server`; `sent` is when the machine sent it."""

    machine: str
    call: str
    sent: float


ACTS_FOR: ContextVar[Behalf | None] = ContextVar("the machine for which a server acts", default=None)
"""What a server's task, and each call of the store that it makes, is for."""
