"""What a lock answers to a machine that asks for a slot. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from locksmith.lock.records.past import LastReboot


@dataclass(frozen=True, slots=True)
class Granted:
    """The strategy gives its permission.

    `sent`: when the write that made it irrevocable was sent, by the clock of the loop; None: it is not known.
    """

    sent: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A place in the queue for a slot: `position` (1: the first), `waiters` in all, the name of the one before.

    Not `exact`: the position is that or a later one. Not `counted`: there are about so many waiters.
    """

    position: int
    waiters: int
    predecessor: str = ""
    exact: bool = True
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Denied:
    """The strategy says no. `code` is one of a few words for the metrics, `text` a sentence for a person.

    `lost`: a permission that was given is gone, for example because an operator has removed it. That counts like a
    failed reboot: the machine does not ask again at once. `must_release`: the machine still has the permission and must
    release it, because the group is held back. That is no failure. `queued`: this machine's place, if it is queued.
    `may_hold`: the machine may have its permission all the same, now or later, so only an abort ends the request.
    `past`: the group remembers reboots of this machine that forbid another, and the machine does not know them all.
    """

    code: str
    text: str
    lost: bool = False
    must_release: bool = False
    queued: QueuePosition | None = None
    may_hold: bool = False
    past: tuple[LastReboot, ...] = ()
    until: datetime | None = None


Answer = Granted | Denied
