"""The reboot by systemd-logind, and whether a shutdown is under way (org.freedesktop.login1(5)).

A reboot that logind answered cannot be cancelled. With a `delay` inhibitor the machine works on for minutes as before.
After the delay systemd does the shutdown, and logind no longer knows of it. So both are asked.
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
"""Not interactive: there is no user whom polkit could ask."""
PREPARE_FOR_SHUTDOWN = Match(LOGIND[2], "PrepareForShutdown", LOGIND[1], LOGIND[0])
PREPARING = Property(*LOGIND, "PreparingForShutdown", "b")
SYSTEM_STATE = Property(*SYSTEMD, "SystemState", "s")
LIST_JOBS = Call(*SYSTEMD, "ListJobs", reply="a(usssoo)")

REBOOT_LIMIT = 25.0
"""Seconds for the reply of `Reboot`; after that the machine may still go down."""
UNDER_WAY = "org.freedesktop.login1.OperationInProgress"
"""The error by which logind says that a shutdown is under way already."""

UP = {"initializing", "starting", "running", "degraded", "maintenance"}
"""The states of systemd in which the machine stays up. `stopping`: it goes down. Two more states say neither."""

_ENDS = ("reboot", "poweroff", "halt", "kexec", "soft-reboot", "exit")
SHUTDOWN_UNITS = {"shutdown.target"} | {unit for end in _ENDS for unit in (f"{end}.target", f"systemd-{end}.service")}
"""A queued job for one of them is a shutdown that has begun (systemd.special(7))."""


class Logind:
    """The parts of logind and systemd's manager that a reboot needs."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a shutdown begins or is cancelled, and when logind or systemd comes or goes.

        Call it before the bus is started.
        """
        self._bus.subscribe(PREPARE_FOR_SHUTDOWN, lambda _signal: wake())
        for name in (LOGIND[0], SYSTEMD[0]):
            self._bus.watch_name(name, wake)

    async def reboot(self, permit: Permit) -> None:
        """Ask for a reboot, without a question to any user, and read the reply.

        `permit` is held while the kernel takes the message. Without a connection, or if the kernel does not take the
        message at once, nothing is sent, now or later.

        `RebootRefusedError`: nothing was sent, or logind answered with an error; this machine stays up.
        `RebootUnknownError`: the reply was lost or late, or a shutdown is under way already; this machine may go down.
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
        """Ask both: one answer is enough for going down; all three answers are needed for staying up.

        With a delay inhibitor a reboot that was answered takes minutes, in which the machine seems healthy.
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
    """Give the answer; None: there is none."""
    try:
        return await question()
    except HostError:
        return None
