"""Splay: within a window each machine asks at a moment of its own: ten thousand don't ask in one second. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from locksmith.window.window import Stretch
from locksmith.window.windows import ALWAYS, Windows

_LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Splay:
    """Over which share (0 to 1) of a window the machines spread; `machine_id` says where in it this one stands."""

    share: float = 0.0
    machine_id: str = ""

    def asks_from(self, windows: Windows, now: datetime, least: timedelta = timedelta(0)) -> datetime | None:
        """Give this machine's moment in the windows that `now` is in, if it is still to come; None: it may ask.

        It leaves `least` of the window. Of windows that overlap, the one whose moment comes first counts.
        """
        stretches = windows.stretches(now) if self.share else []
        if not stretches or any(_is_without_beginning(stretch) for stretch in stretches):
            return None
        first = min(stretch.start + self._offset(stretch, least) for stretch in stretches)
        return first.astimezone(now.tzinfo) if first > now.astimezone(UTC) else None

    def _offset(self, stretch: Stretch, least: timedelta) -> timedelta:
        """Rotate from day to day: no machine is always the first, none always the last."""
        room = min(stretch.end - stretch.start, _LONGEST) - least
        return max(timedelta(0), room) * self.share * _part(self.machine_id, stretch.start.date())


def _part(machine_id: str, day: date) -> float:
    digest = hashlib.sha256(f"{machine_id} {day}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _is_without_beginning(stretch: Stretch) -> bool:
    return stretch.start == ALWAYS
