"""Everything the store knows about a group, for people: the lock, the line, the machines. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from locksmith.errors import CorruptValueError
from locksmith.fleet import Claim
from locksmith.node import Node
from locksmith.semaphore import Semaphore
from locksmith.share import Share
from locksmith.waiter import Waiter


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group. `waiters` stand in the order of their turn; `machines` are those present, by their ids.

    A holder's claim is None where it has no record. `problems` are values that cannot be read. `revision` is the
    store's when the lock was read, the first of all.
    """

    group: str
    semaphore: Semaphore
    claims: Mapping[str, Claim | CorruptValueError | None] = field(default_factory=dict)
    waiters: tuple[Waiter, ...] = ()
    machines: Mapping[str, Node] = field(default_factory=dict)
    share: Share | None = None
    problems: tuple[CorruptValueError, ...] = ()
    revision: int = 0
