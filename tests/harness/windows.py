"""Windows for tests, in few words."""

from dataclasses import dataclass
from datetime import datetime

from locksmith.agent.facts import WindowSight
from locksmith.window.blackout import Blackout
from locksmith.window.window import Window
from locksmith.window.windows import Windows


def original(start: str, length: str) -> Windows:
    """Make the original's one window."""
    return Windows((Window.original(start, length),))


def plan(*windows: str, but: tuple[str, ...] | list[str] = ()) -> Windows:
    """Make several, less blackouts."""
    return Windows(tuple(map(Window.parse, windows)), tuple(map(Blackout.parse, but)))


@dataclass
class FixedWindows:
    """The windows of a loop, which nobody changes."""

    windows: Windows | None

    async def check(self, now: datetime, *, wanted: bool) -> WindowSight:  # noqa: ARG002 - part of the interface
        """Give them."""
        return WindowSight(self.windows)

    async def close(self) -> None:
        """Need nothing."""
