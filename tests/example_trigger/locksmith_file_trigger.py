"""An example of a trigger in a package of its own: it wants a reboot while a file is there."""

from collections.abc import Callable
from datetime import datetime

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.triggers.plugin import TriggerContext


class FileTrigger:
    """Wants a reboot while /etc/wants-reboot is there; what the file says is the version."""

    name = "file"

    def __init__(self, context: TriggerContext) -> None:
        self._file = context.paths.root / "etc/wants-reboot"
        self._since: datetime | None = None

    def found(self) -> bool:
        """Whether this machine has a use for it: the folder is always there."""
        return self._file.parent.exists()

    def listen(self, wake: Callable[[], None]) -> None:
        """Need nothing: the loop looks every half a minute."""

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:  # noqa: ARG002 - part of the interface
        """Look for the file."""
        if not self._file.exists():
            self._since = None
            return TriggerResult(says=f"{self._file} is not there")
        self._since = self._since or now
        return TriggerResult(
            RebootNeed(self.name, self._file.read_text().strip(), self._since, f"{self._file} is there")
        )

    async def close(self) -> None:
        """Need nothing."""
