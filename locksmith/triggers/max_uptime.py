"""The trigger `max-uptime`: the machine has been up for longer than configured."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.paths import Paths
from locksmith.util.words import span

if TYPE_CHECKING:
    from locksmith.triggers.plugin import TriggerContext


class MaxUptime:
    """Wants a reboot if the kernel has been up for `most`; in a container, if its userspace has."""

    name = "max-uptime"

    def __init__(self, most: timedelta, paths: Paths, uptime: Callable[[], timedelta] | None = None) -> None:
        self._most = most
        self._paths = paths
        self._uptime = uptime or _kernel_uptime

    @classmethod
    def make(cls, context: "TriggerContext") -> "MaxUptime":
        """Give the trigger of this machine."""
        return cls(context.settings.max_uptime, context.paths)

    def found(self) -> bool:
        """Whether a length is configured."""
        return self._most > timedelta(0)

    def listen(self, wake: Callable[[], None]) -> None:
        """Do nothing: every observation checks the trigger."""

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:
        """Compare the uptime. Suspended time counts; a step of the wall clock does not."""
        if not self.found():
            return TriggerResult(error="max-uptime: triggers.max-uptime says no length")
        up = self._up(boot)
        if up < self._most:
            return TriggerResult(says=f"up for {span(up)}, of {span(self._most)} at most")
        since = now - (up - self._most)
        return TriggerResult(RebootNeed(self.name, "", since, f"it has been up for more than {span(self._most)}"))

    async def close(self) -> None:
        """Do nothing."""

    def _up(self, boot: Boot) -> timedelta:
        if self._paths.container.exists():  # where the kernel is the host's
            return timedelta(seconds=time.monotonic()) - timedelta(microseconds=boot.userspace)
        return self._uptime()


def _kernel_uptime() -> timedelta:
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
