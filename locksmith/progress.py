"""What the loop remembers between two turns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.snapshot import Answer, RebootCall, Sighting


@dataclass(slots=True)
class Lasting:
    """How long something has been so, as far as this loop has seen."""

    since: float | None = None

    def look(self, time: float, *, holds: bool) -> timedelta:
        """Take note whether it is so now; give how long it has been."""
        if not holds:
            self.since = None
        elif self.since is None:
            self.since = time
        return timedelta(seconds=0.0 if self.since is None else time - self.since)


@dataclass(slots=True)
class Progress:
    """What the steps of one claim have to remember in this process; times are the event loop's."""

    nonce: str = ""
    answer: Answer | None = None
    committed: bool = False
    call: RebootCall | None = None
    called: float = 0.0
    looked: float = 0.0
    sightings: Sequence[Sighting] = ()
    unattended: Lasting = field(default_factory=Lasting)
