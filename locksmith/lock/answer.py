"""What a lock answers to a machine that asks for a slot. Pure."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """The strategy gives its permission.

    `sent`: when the write that made it irrevocable was sent, by the clock of the loop; None: it is not known.
    """

    sent: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A place in the line for a slot: `position` (1: the first), `waiters` in all, the name of the one before.

    Not `exact`: the position is that or a later one. Not `counted`: there are about so many waiters.
    """

    position: int
    waiters: int
    behind: str = ""
    exact: bool = True
    counted: bool = True


@dataclass(frozen=True, slots=True)
class LastReboot:
    """The last reboot of this machine that locksmith made: what for, and when its slot was given back."""

    version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Denied:
    """The strategy says no. `code` is one of a few words for the metrics, `text` a sentence for a person.

    `lost`: a permission that was given has been taken away by somebody, which counts like a failed reboot: the machine
    does not ask for it again at once. `called_off`: it still has the permission and is to give it back, as the group is
    held back: that is no failure. `line`: where this machine stands, if it stands in line. `done`: it has rebooted for
    this version already, as its group remembers, and this machine does not.
    """

    code: str
    text: str
    lost: bool = False
    must_release: bool = False
    line: QueuePosition | None = None
    done: LastReboot | None = None
    until: datetime | None = None


Answer = Granted | Denied
