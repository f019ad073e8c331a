"""The gate on a minimum uptime: a machine does not go down soon after its boot."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from locksmith.agent.facts import Blocker, Boot
from locksmith.agent.journal import JournalEntry
from locksmith.util.words import span


class MinimumUptime:
    """Blocks until this boot is old enough, by the kernel's monotonic clock: no step of the wall clock counts."""

    name = "uptime"

    def __init__(
        self,
        least: timedelta,
        boot: Callable[[], Boot | None],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least = least
        self._boot = boot
        self._clock = clock
        self._monotonic = monotonic

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:  # noqa: ARG002 - part of the interface
        """Say how long the machine has been up, and when it may go down."""
        boot = self._boot()
        if boot is None:
            return []
        up = timedelta(seconds=self._monotonic()) - timedelta(microseconds=boot.userspace)
        if up >= self._least:
            return []
        text = f"this machine has been up for {span(up)}, and stays so for {span(self._least)} at least"
        return [Blocker(self.name, text, self._clock() + self._least - up)]
