"""What machines may ask at once: calls of one, at a time and in a second, and bytes of the answers of all.

One machine slows no other. All together do not fill the server's memory with answers that they do not take. If there is
no room for one more, the oldest answer of the machine with the most ends for it, so a few machines do not have all.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from locksmith.server.answers import Answer
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.util.ratelimit import RateLimit

MOST_OF_ONE: Final = 16
"""Calls of a machine that are under way at once, from its head until its answer has been taken. A daemon has a few."""
CALLS_AT_ONCE, CALLS_PER_SECOND = 200, 20
"""Calls of one machine at one server. A daemon makes a few in a minute."""
PIECE: Final = 4 * 1024
"""Bytes of an answer that may lie here after its call has ended. What is smaller is not counted."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of all larger answers that are made, or wait to be taken. While one is made it needs several times as much."""
MOST_BYTES_OF_ONE: Final = 8 * 1024 * 1024
"""Of one machine: as many as its largest answer has."""
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
TOO_MUCH: Final = Answer(
    503,
    Refusal(
        RefusalKind.STORE, f"more than {MOST_BYTES >> 20} MiB of answers wait here for machines to take them: ask again"
    ),
    closes=True,
)
TOO_MUCH_OF_ONE: Final = Answer(
    503,
    Refusal(
        RefusalKind.STORE, f"more than {MOST_BYTES_OF_ONE >> 20} MiB of answers wait here for this machine: take them"
    ),
    closes=True,
)


Machine = tuple[str, str]
"""Its group, and its id: with the secret of a group a caller may enrol any id there."""


class MachineLimits:
    """Counts the calls of each machine at this server, until each has been answered."""

    def __init__(self) -> None:
        self._under_way = Counter[Machine]()
        self._counts: OrderedDict[Machine, RateLimit] = OrderedDict()
        self._bytes = Counter[Machine]()
        self._all_bytes = 0
        self._untaken: dict[Machine, dict[Held, None]] = {}
        """The answers that each machine is to take, the oldest first."""

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

    def hold(self, machine: Machine, size: int) -> Answer | None:
        """Count the bytes of an answer until `release`; an answer refuses them, and then none are counted."""
        if size <= 0:
            return None
        if self._bytes[machine] + size > MOST_BYTES_OF_ONE + PIECE:  # an answer has a few more than were foreseen
            return TOO_MUCH_OF_ONE
        while self._all_bytes + size > MOST_BYTES:
            if not self._end_one(self._bytes[machine] + size):
                return TOO_MUCH
        self._bytes[machine] += size
        self._all_bytes += size
        return None

    def release(self, machine: Machine, size: int) -> None:
        """Count bytes no more."""
        self._all_bytes -= size
        self._bytes[machine] -= size
        if not self._bytes[machine]:
            del self._bytes[machine]

    def note(self, machine: Machine, held: "Held") -> None:
        """Note that an answer waits to be taken, until `forget`."""
        self._untaken.setdefault(machine, {})[held] = None

    def forget(self, machine: Machine, held: "Held") -> None:
        """Note that an answer waits no more."""
        answers = self._untaken.get(machine, {})
        answers.pop(held, None)
        if not answers:
            self._untaken.pop(machine, None)

    def _end_one(self, size: int) -> bool:
        """End the oldest answer of the machine with most bytes; False: it has no more than these."""
        most = max(self._untaken, key=lambda machine: self._bytes[machine], default=None)
        if most is None or self._bytes[most] <= size + PIECE:  # an answer has a few more than were foreseen
            return False
        next(iter(self._untaken[most])).end()
        return True

    def _count_of(self, machine: Machine) -> RateLimit:
        count = self._counts.setdefault(machine, RateLimit(CALLS_AT_ONCE, CALLS_PER_SECOND))
        self._counts.move_to_end(machine)
        if len(self._counts) > MOST_MACHINES:
            self._counts.popitem(last=False)
        return count


class Held:
    """The bytes of one call's answer, while it is made and until it has been taken."""

    def __init__(self, limits: MachineLimits, machine: Machine) -> None:
        self._limits, self._machine = limits, machine
        self._size = 0
        self._cut: Callable[[], None] = lambda: None

    def waits(self, cut: Callable[[], None]) -> None:
        """Note that the answer is made, and waits to be taken; `cut` ends its connection."""
        self._cut = cut
        if self._size:
            self._limits.note(self._machine, self)

    def end(self) -> None:
        """End the answer for another."""
        self.free()
        self._cut()

    def grow(self, size: int) -> Answer | None:
        """Count so many bytes in all, if the answer is no small one; an answer refuses it."""
        more = size - self._size if size > PIECE else 0
        refused = self._limits.hold(self._machine, more)
        if refused is None:
            self._size += max(0, more)
        return refused

    def free(self) -> None:
        """Count them no more."""
        self._limits.forget(self._machine, self)
        self._limits.release(self._machine, self._size)
        self._size = 0
