"""Splay: each machine has its own moment within a window, so ten thousand machines do not ask in one second. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from locksmith.window.window import Stretch
from locksmith.window.windows import ALWAYS, Windows

_LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Splay:
    """The share (0 to 1) of a window over which machines spread; `machine_id` gives this machine's moment."""

    share: float = 0.0
    machine_id: str = ""

    def asks_from(self, windows: Windows, now: datetime, least: timedelta = timedelta(0)) -> datetime | None:
        """Give this machine's moment in the windows at `now`, if it is still to come; None: the machine may ask.

        The moment leaves `least` of the window. Of windows that overlap, the window with the first moment counts.
        """
        stretches = windows.stretches(now) if self.share else []
        if not stretches or any(_is_without_beginning(stretch) for stretch in stretches):
            return None
        first = min(stretch.start + self._offset(stretch, least) for stretch in stretches)
        return first.astimezone(now.tzinfo) if first > now.astimezone(UTC) else None

    def _offset(self, stretch: Stretch, least: timedelta) -> timedelta:
        """Rotate from day to day: no machine is always the first or the last."""
        room = min(stretch.end - stretch.start, _LONGEST) - least
        return max(timedelta(0), room) * self.share * _part(self.machine_id, stretch.start.date())


def _part(machine_id: str, day: date) -> float:
    digest = hashlib.sha256(f"{machine_id} {day}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _is_without_beginning(stretch: Stretch) -> bool:
    return stretch.start == ALWAYS
