"""What may never happen with the refusals that a server gives from memory, judged at each answer.

The rules read the store's values and what servers answer. They ask no server what it remembers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.refusal import Refusal, RefusalKind
from tests.sim.daemon import GROUP
from tests.sim.network import SimServer
from tests.sim.story import Story

KEY = keys.semaphore_key(GROUP)
SPACING = keys.spacing_key(GROUP)
NO_TURN = {RefusalKind.QUEUED, RefusalKind.NO_SLOT}
"""What a client is told whose turn it is not."""


@dataclass(slots=True)
class _Freed:
    """A slot that a server has freed: the semaphore's version since, and who in the queue might take it all the time.

    `at`: when the server said that it is done.
    """

    version: int
    able: list[str]
    at: float = 0.0


@dataclass
class MemoryRules:
    """The rules for the servers of one simulation. A `run` is one run of a server."""

    story: Story
    server: SimServer
    under_way: dict[object, _Freed] = field(default_factory=dict)
    """For each steady-state that has freed a slot, and has no answer yet."""
    freed: dict[object, _Freed] = field(default_factory=dict)
    """For each run of a server the last slot that it has freed, until the semaphore is written again."""

    def frees(self, call: object) -> None:
        """Take note that a steady-state has just freed a slot."""
        if self.server.value(SPACING) is None:
            self.under_way[call] = _Freed(self.server.read(KEY).version, list(self._able()))

    def is_steady(self, call: object, run: object) -> None:
        """Take note that a server says so to the client of that call."""
        if (freed := self.under_way.pop(call, None)) is not None:
            freed.at = _now()
            self.freed[run] = freed

    def ends(self, call: object) -> None:
        """Take note that nothing is done for a call any more."""
        self.under_way.pop(call, None)

    def wrote(self) -> None:
        """Take note of a write."""
        if not self.under_way and not self.freed:
            return
        version, able = self.server.read(KEY).version, self._able()
        for found in (self.under_way, self.freed):
            for key, freed in [*found.items()]:
                if freed.version != version:
                    del found[key]
                else:
                    freed.able = [name for name in freed.able if name in able]

    def refuses(self, server: str, run: object, queued: str, refusal: Refusal, began: float) -> None:
        """Judge a refusal from memory. `queued`: the client, as the queue names it; `began`: when its call came."""
        freed = self.freed.get(run)
        if freed is not None and freed.at < began and queued in freed.able and refusal.kind in NO_TURN:
            self.story.breaks(f"{server} refuses {queued} from memory, and has freed a slot for it before the call")

    def went_back(self) -> None:
        """Take note that the store has another history from now on."""
        self.under_way.clear()
        self.freed.clear()

    def _able(self) -> Sequence[str]:
        """Name who may take a slot now, by its place."""
        raw = self.server.value(KEY)
        now = semaphore.decode(raw, KEY) if raw else Semaphore()
        return self.server.line()[: max(0, now.available)]


def _now() -> float:
    return asyncio.get_running_loop().time()
