"""systemd-logind's reboot, and what logind and systemd say about a shutdown under way."""

from collections.abc import Callable
from typing import Any

from locksmith.errors import HostError, RebootRefusedError, RebootUnknownError
from locksmith.host.bus import SystemBus
from locksmith.host.bus_errors import AnsweredError, BusGoneError
from locksmith.host.bus_messages import Call, Match, Property
from locksmith.snapshot import ShutdownState

LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")

REBOOT = Call(*LOGIND, "Reboot", "b", (False,))
PREPARE_FOR_SHUTDOWN = Match(LOGIND[2], "PrepareForShutdown", LOGIND[1], LOGIND[0])
PREPARING = Property(*LOGIND, "PreparingForShutdown", "b")
SYSTEM_STATE = Property(*SYSTEMD, "SystemState", "s")
LIST_JOBS = Call(*SYSTEMD, "ListJobs", reply="a(usssoo)")

REBOOT_LIMIT = 25.0
"""Seconds for the reply of `Reboot`; past it the machine may be going down all the same."""

SHUTDOWN_UNITS = {
    f"{name}.target" for name in ("shutdown", "reboot", "poweroff", "halt", "kexec", "soft-reboot", "exit")
}
"""A queued job for one of them is a shutdown that has begun (systemd.special(7))."""


class Logind:
    """The parts of logind and systemd's manager that a reboot needs."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a shutdown begins or is called off. Call it before the bus is started."""
        self._bus.subscribe(PREPARE_FOR_SHUTDOWN, lambda _signal: wake())

    async def reboot(self) -> None:
        """Ask for a reboot, without a question to any user, and read the reply.

        `RebootRefusedError`: nothing was sent, or logind answered with an error; this machine stays up.
        `RebootUnknownError`: the reply was lost or late; it may be going down.
        """
        try:
            await self._bus.call(REBOOT, limit=REBOOT_LIMIT)
        except (AnsweredError, BusGoneError) as error:
            raise RebootRefusedError(f"logind refused the reboot: {error}") from None
        except HostError as error:
            raise RebootUnknownError(f"logind was asked for the reboot: {error}") from None

    async def shutdown_state(self) -> ShutdownState:
        """Ask both: one that says so is enough for going down, and it takes all three answers for staying up.

        With a delay inhibitor a reboot that was answered takes minutes, in which the machine looks alive and well.
        """
        try:
            preparing = await self._bus.get(PREPARING)
            stopping = await self._bus.get(SYSTEM_STATE) == "stopping"
            [jobs] = await self._bus.call(LIST_JOBS)
        except HostError:
            return ShutdownState.UNKNOWN
        if preparing or stopping or any(_shuts_down(job) for job in jobs):
            return ShutdownState.GOING_DOWN
        return ShutdownState.RUNNING


def _shuts_down(job: list[Any]) -> bool:
    _id, unit, kind, *_ = job
    return unit in SHUTDOWN_UNITS and kind == "start"
