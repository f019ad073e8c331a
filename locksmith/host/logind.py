"""systemd-logind's reboot, and what logind and systemd say about a shutdown under way (org.freedesktop.login1(5)).

A reboot that logind answered cannot be called off. With a `delay` inhibitor the machine goes on for minutes as if
nothing had happened; after the delay the shutdown is systemd's affair, not logind's. So both are asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from locksmith.agent.facts import ShutdownState
from locksmith.agent.permit import Permit
from locksmith.errors import HostError, RebootRefusedError, RebootUnknownError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError, BusGoneError
from locksmith.host.dbus.messages import Call, Match, Property

LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")

REBOOT = Call(*LOGIND, "Reboot", "b", (False,))
"""Not interactive: nobody is there whom polkit could ask."""
PREPARE_FOR_SHUTDOWN = Match(LOGIND[2], "PrepareForShutdown", LOGIND[1], LOGIND[0])
PREPARING = Property(*LOGIND, "PreparingForShutdown", "b")
SYSTEM_STATE = Property(*SYSTEMD, "SystemState", "s")
LIST_JOBS = Call(*SYSTEMD, "ListJobs", reply="a(usssoo)")

REBOOT_LIMIT = 25.0
"""Seconds for the reply of `Reboot`; past it the machine may be going down all the same."""
UNDER_WAY = "org.freedesktop.login1.OperationInProgress"
"""The error of logind that says that a shutdown is under way already."""

UP = {"initializing", "starting", "running", "degraded", "maintenance"}
"""The states of systemd in which the machine stays up. Beside `stopping` there are two that say neither."""

_ENDS = ("reboot", "poweroff", "halt", "kexec", "soft-reboot", "exit")
SHUTDOWN_UNITS = {"shutdown.target"} | {unit for end in _ENDS for unit in (f"{end}.target", f"systemd-{end}.service")}
"""A queued job for one of them is a shutdown that has begun (systemd.special(7))."""


class Logind:
    """The parts of logind and systemd's manager that a reboot needs."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a shutdown begins or is called off, and when one that can tell comes or goes.

        Call it before the bus is started.
        """
        self._bus.subscribe(PREPARE_FOR_SHUTDOWN, lambda _signal: wake())
        for name in (LOGIND[0], SYSTEMD[0]):
            self._bus.watch_name(name, wake)

    async def reboot(self, permit: Permit) -> None:
        """Ask for a reboot, without a question to any user, and read the reply.

        `permit` is held while the message is handed to the kernel. Without a connection, or where the kernel does not
        take the message at once, nothing is sent, now or later.

        `RebootRefusedError`: nothing was sent, or logind answered with an error; this machine stays up.
        `RebootUnknownError`: the reply was lost or late, or a shutdown is under way already; it may be going down.
        """
        try:
            await self._bus.call(REBOOT, limit=REBOOT_LIMIT, permit=permit)
        except RebootRefusedError:
            raise  # by the permit: nothing was sent
        except BusGoneError as error:
            raise RebootRefusedError(f"logind could not be asked for the reboot: {error}") from None
        except AnsweredError as error:
            kind = RebootUnknownError if error.name == UNDER_WAY else RebootRefusedError
            raise kind(f"logind refused the reboot: {error.text}") from None
        except HostError as error:
            raise RebootUnknownError(f"logind was asked for the reboot: {error}") from None

    async def shutdown_state(self) -> ShutdownState:
        """Ask both: one that says so is enough for going down, and it takes all three answers for staying up.

        With a delay inhibitor a reboot that was answered takes minutes, in which the machine looks alive and well.
        """
        questions = (self._is_preparing, self._is_stopping, self._has_shutdown_job)
        answers = await asyncio.gather(*map(_unless_unclear, questions))
        if True in answers:
            return ShutdownState.GOING_DOWN
        return ShutdownState.UNKNOWN if None in answers else ShutdownState.RUNNING

    async def _is_preparing(self) -> bool | None:
        return bool(await self._bus.get(PREPARING))

    async def _is_stopping(self) -> bool | None:
        state = await self._bus.get(SYSTEM_STATE)
        return state == "stopping" or (False if state in UP else None)

    async def _has_shutdown_job(self) -> bool | None:
        [jobs] = await self._bus.call(LIST_JOBS)
        return any(map(_shuts_down, jobs))


def _shuts_down(job: list[Any]) -> bool:
    _id, unit, kind, *_ = job
    return unit in SHUTDOWN_UNITS and kind != "stop"


async def _unless_unclear(question: Callable[[], Awaitable[bool | None]]) -> bool | None:
    """Give the answer, None where there is none."""
    try:
        return await question()
    except HostError:
        return None
