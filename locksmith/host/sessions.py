"""The users who are logged in, and their warning, by logind (org.freedesktop.login1(5)).

The warning is a `dry-reboot` schedule: logind writes to the users' terminals, refuses new logins shortly before
(`/run/nologin`), and does nothing at the time. The agent does the reboot itself. logind shows such a schedule as a
`reboot` (seen on 252). locksmith knows its own schedule by the time, which is kept in /run/locksmith.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from locksmith.errors import HostError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError
from locksmith.host.dbus.messages import Call, Match, Property
from locksmith.host.logind import LOGIND
from locksmith.host.paths import Paths
from locksmith.host.settings import ALL, NONE, SessionSettings
from locksmith.util.text import one_line

LIST_SESSIONS = Call(*LOGIND, "ListSessions", reply="a(susso)")
SESSION = "org.freedesktop.login1.Session"
SCHEDULED = Property(*LOGIND, "ScheduledShutdown", "(st)")
CANCEL = Call(*LOGIND, "CancelScheduledShutdown", reply="b")
DRY_REBOOT = "dry-reboot"

LONGEST_REASON = 300
"""Characters of the reason in the warning, which is on every terminal."""

SOMEBODY_SITS = {"tty", "x11", "wayland", "mir", "web"}
"""Types of sessions of a user at a terminal or desktop; `unspecified` is a copy over ssh, or a job."""


class Sessions:
    """The users of this machine. `HostError`: logind does not say, or does not take the warning."""

    def __init__(self, bus: SystemBus, settings: SessionSettings, paths: Paths, *, own: int | None = None) -> None:
        """Without the session of the process `own`, if that has one."""
        self._bus = bus
        self._settings = settings
        self._without = own
        self._own = paths.run / "warned-until"

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a user logs in or out. Call it before the bus is started."""
        for member in ("SessionNew", "SessionRemoved"):
            self._bus.subscribe(Match(LOGIND[2], member, LOGIND[1], LOGIND[0]), lambda _signal: wake())

    async def present(self) -> frozenset[str]:
        """Name the users whose sessions count, each with the place of the session."""
        if self._settings.which == NONE:
            return frozenset()
        own = await self._own_session()
        [sessions] = await self._bus.call(LIST_SESSIONS)
        found = [await self._counted(session) for session in sessions if session[-1] != own]
        return frozenset(name for name in found if name)

    async def _own_session(self) -> str:
        """Give the path of the session to leave out; empty: there is none, as for a service or a job of a timer."""
        if self._without is None:
            return ""
        try:
            [path] = await self._bus.call(Call(*LOGIND, "GetSessionByPID", "u", (self._without,), "o"))
        except AnsweredError:
            return ""  # every session counts
        return str(path)

    async def warn(self, at: datetime, reason: str) -> None:
        """Tell the users when this machine reboots, and why. Another program's scheduled shutdown is left alone."""
        kind, when = await self._bus.get(SCHEDULED)
        if kind and not self._is_own(when):
            raise HostError(f"another program has scheduled a {kind} of this machine: `shutdown -c` cancels it")
        until = int(at.timestamp() * 1e6)
        self._remember(until)
        why = f" ({one_line(reason, LONGEST_REASON)})" if reason else ""
        words = f"locksmith reboots this machine{why}. Save your work and log out."
        await self._bus.call(Call(*LOGIND, "SetWallMessage", "sb", (words, True)))
        await self._bus.call(Call(*LOGIND, "ScheduleShutdown", "st", (DRY_REBOOT, until)))

    async def call_off(self) -> None:
        """Cancel the warning, if there is one."""
        if not self._own.exists():
            return
        kind, when = await self._bus.get(SCHEDULED)
        if kind and self._is_own(when):
            await self._bus.call(CANCEL)
        self._own.unlink(missing_ok=True)

    def _is_own(self, when: int) -> bool:
        """Whether a schedule is this daemon's own, also from before its restart."""
        try:
            return int(self._own.read_text()) == when
        except (OSError, ValueError):
            return False

    def _remember(self, until: int) -> None:
        try:
            self._own.parent.mkdir(parents=True, exist_ok=True)
            self._own.write_text(f"{until}\n")
        except OSError as error:
            raise HostError(f"{self._own} cannot be written: {error.strerror}") from None

    async def _counted(self, session: Sequence[Any]) -> str:
        number, _uid, user, seat, path = session
        if user in self._settings.ignore:
            return ""
        try:
            kind = await self._get(path, "Class")
            type_, state, remote = await self._get(path, "Type"), await self._get(path, "State"), ""
            if await self._get(path, "Remote", "b"):
                remote = await self._get(path, "RemoteHost")
        except AnsweredError:
            return ""  # it has ended meanwhile
        if not str(kind).startswith("user") or state == "closing":
            return ""
        if self._settings.which != ALL and type_ not in SOMEBODY_SITS:
            return ""
        return f"{user} ({f'from {remote}' if remote else seat or f'session {number}'})"

    async def _get(self, path: str, name: str, signature: str = "s") -> Any:
        return await self._bus.get(Property(LOGIND[0], path, SESSION, name, signature))
