"""When this machine comes to its store, as one of a large group, and how long it pauses after a failed step."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from random import Random

from locksmith.agent.identity import Member
from locksmith.agent.memory import Memory
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Request, Step, Wait
from locksmith.errors import StoreError
from locksmith.lock.arrival import Arrival, pause

TIMEOUT = "timeout"
"""The reason to wait after a step that took too long."""


class Arriving:
    """This machine's own moment among all machines of its group. `machines` tells how many there are."""

    def __init__(self, member: Member, machines: Callable[[], int], memory: Memory) -> None:
        self._machines = machines
        self._memory = memory
        self._rng = Random(member.machine_id)  # noqa: S311 - only unlike those of other machines
        # No machine is always the first of its group: another boot is another draw.
        self._arrival = Arrival(Random(f"{member.machine_id} {member.boot_id}"))  # noqa: S311 - as above
        # Until when, in the loop's time, this machine does not ask for permission again, and what it shows meanwhile.
        self._held: tuple[float, Wait] | None = None

    @property
    def is_held(self) -> bool:
        """Whether a failed step keeps this machine from its store for now."""
        return self._held is not None

    def left(self, time: float) -> timedelta:
        """Give how much later this machine may ask."""
        return timedelta(seconds=self._arrival.left(self._machines(), time))

    def admit(self, step: Step, snapshot: Snapshot) -> Step:
        """Give the step, or the wait that a failure has left: a machine that failed asks no earlier if it is woken."""
        now = _now()
        if self._held is not None and isinstance(step, Request) and now < self._held[0]:
            step = self._held[1]
        else:
            self._held = None
        self._arrival.note(now, able=_is_able_to_ask(step, snapshot))
        return step

    def pause(self, code: str, failures: int) -> float:
        """Give the seconds to pause after so many failed steps in a row; `code` is the reason of the last."""
        return pause(failures, self._rng, self._machines() if self._arrives(code) else None)

    def hold(self, step: Wait, seconds: float) -> None:
        """Keep this machine from its store for so long, if other machines may have failed like it."""
        held = self._arrives(step.code) and self._machines() and self._memory.claim.unanswered
        self._held = (_now() + seconds, step) if held else None

    def _arrives(self, code: str) -> bool:
        """Whether this machine came to its store with the failed step: many machines may have failed like it.

        A machine that has a place or a slot does not wait for longer than a place lasts.
        """
        return code in {StoreError.component, TIMEOUT} and (self._memory.entry is None or self._memory.claim.unanswered)


def _is_able_to_ask(step: Step, snapshot: Snapshot) -> bool:
    """Whether nothing but its moment keeps this machine from asking for permission."""
    if snapshot.journal.entry is not None:
        return False
    return isinstance(step, Request) or (isinstance(step, Wait) and step.code == "arrival")


def _now() -> float:
    return asyncio.get_running_loop().time()
