"""How many calls one machine may make: so many at once, and so many a second. One machine slows no other."""

import asyncio
from collections import Counter, OrderedDict
from typing import Final

from locksmith.server.answers import Answer
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.util.ratelimit import RateLimit

MOST_OF_ONE: Final = 16
"""Calls of a machine that are under way at once, from its head until its answer has been taken. A daemon has a few."""
CALLS_AT_ONCE, CALLS_PER_SECOND = 200, 20
"""Calls of one machine at one server. A daemon makes a few in a minute."""
MOST_MACHINES: Final = 20_000
"""Machines whose calls are counted: those that called last."""
# Nothing was begun. The kind is that of a call which could not be let in, so a daemon tries again.
TOO_MANY_AT_ONCE: Final = Answer(
    503,
    Refusal(RefusalKind.STORE, f"more than {MOST_OF_ONE} calls of this machine are under way here: ask again"),
    closes=True,
)
TOO_MANY: Final = Answer(
    429,
    Refusal(RefusalKind.STORE, f"this machine makes more than {CALLS_PER_SECOND} calls a second: make fewer"),
    {"Retry-After": "1"},
    closes=True,
)


Machine = tuple[str, str]
"""Its group, and its id: with the secret of a group a caller may enrol any id there."""


class MachineLimits:
    """Counts the calls of each machine at this server, until each has been answered."""

    def __init__(self) -> None:
        self._under_way = Counter[Machine]()
        self._counts: OrderedDict[Machine, RateLimit] = OrderedDict()

    def begin(self, machine: Machine) -> Answer | None:
        """Count a call that begins, until `end`; an answer refuses it, and then nothing is to end."""
        if self._under_way[machine] >= MOST_OF_ONE:
            return TOO_MANY_AT_ONCE
        if not self._count_of(machine).allows(asyncio.get_running_loop().time()):
            return TOO_MANY
        self._under_way[machine] += 1
        return None

    def end(self, machine: Machine) -> None:
        """Count a call no more that has ended."""
        self._under_way[machine] -= 1
        if not self._under_way[machine]:
            del self._under_way[machine]

    def _count_of(self, machine: Machine) -> RateLimit:
        count = self._counts.setdefault(machine, RateLimit(CALLS_AT_ONCE, CALLS_PER_SECOND))
        self._counts.move_to_end(machine)
        if len(self._counts) > MOST_MACHINES:
            self._counts.popitem(last=False)
        return count
