"""Doubles of systemd-logind and of systemd's manager on a real bus: what locksmith asks of them, and their manners.

No `from __future__ import annotations` here: the annotations are the D-Bus signatures.
"""

# ruff: noqa: N802, ARG002  # names and arguments are D-Bus' own

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Annotated, Any, Self

from tests.harness.bus import leave_bus
from tests.harness.dbus import (
    DBusBool,
    DBusError,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
    DBusUInt32,
    DBusUInt64,
    Message,
    MessageBus,
    PropertyAccess,
    ServiceInterface,
    Variant,
    dbus_method,
    dbus_property,
    dbus_signal,
)

LOGIND = "org.freedesktop.login1"
SYSTEMD = "org.freedesktop.systemd1"

SERVICE_PATH = "/org/freedesktop/systemd1/unit/locksmithd_2eservice"

Job = tuple[int, str, str, str, str, str]
"""Id, unit, type, state, the job's path, the unit's path."""

_Jobs = Annotated[list[Job], DBusSignature("a(usssoo)")]
_Unit = tuple[str, str, str, str, str, str, str, int, str, str]
_Units = Annotated[list[_Unit], DBusSignature("a(ssssssouso)")]
_Scheduled = Annotated[tuple[str, int], DBusSignature("(st)")]
_Sessions = Annotated[list[tuple[str, int, str, str, str]], DBusSignature("a(susso)")]
_Inhibitors = Annotated[list[tuple[str, str, str, str, int, int]], DBusSignature("a(ssssuu)")]


class RebootMode(Enum):
    """What a call of Reboot meets."""

    OBEY = auto()
    """Answered; systemd gets its job; the machine goes down."""
    REFUSE = auto()
    """Answered with an error, as a `block` inhibitor makes it since systemd 257."""
    BUSY = auto()
    """Answered with the error that a shutdown is under way already."""
    LATE = auto()
    """Obeyed, but answered only when `release` is set."""
    SILENT = auto()
    """Never answered, and nothing happens."""
    VANISH = auto()
    """logind leaves the bus instead of answering, as one does that is stopped itself."""
    DELAY = auto()
    """Answered; a `delay` inhibitor holds the machine up until `end_delay`."""
    FIZZLE = auto()
    """Answered; then nothing comes of it (`end_delay` says so)."""


def shutdown_job(unit: str = "reboot.target", kind: str = "start") -> Job:
    """Make a job of systemd's queue."""
    return (1, unit, kind, "waiting", "/org/freedesktop/systemd1/job/1", "/org/freedesktop/systemd1/unit/x")


@dataclass
class Machine:
    """What both doubles speak about, and what tests look at and set."""

    mode: RebootMode = RebootMode.OBEY
    on_reboot: Callable[[], None] = lambda: None
    preparing: bool = False
    system_state: str = "running"
    jobs: list[Job] = field(default_factory=list)
    soft_reboots: int = 0
    machine_id: str = "5" * 32
    userspace_since: int = 5_000_000
    can_reboot: str = "yes"
    sessions: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    inhibitors: list[tuple[str, str, str, str, int, int]] = field(default_factory=list)
    failed_units: list[str] = field(default_factory=list)
    session_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    wall: str = ""
    scheduled: tuple[str, int] | None = None
    reboots: int = 0
    asked_for_jobs: int = 0
    service: dict[str, Any] = field(default_factory=dict)
    """The properties of locksmithd.service; empty: systemd does not say."""
    hold_jobs: asyncio.Event | None = None
    """While it is there and not set, systemd does not list its jobs, and no machine knows whether it goes down."""

    def log_in(self, number: str, user: str, *, seat: str = "", kind: str = "tty", of: str = "user") -> None:
        """Begin a session."""
        path = f"/org/freedesktop/login1/session/{number}"
        self.sessions.append((number, 1000, user, seat, path))
        self.session_facts[path] = {"Class": of, "Type": kind, "State": "active", "Remote": False, "RemoteHost": ""}

    def booted(self) -> None:
        """Come up again."""
        self.preparing, self.system_state, self.jobs, self.scheduled = False, "running", [], None


def _environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


class _Logind(ServiceInterface):
    def __init__(self, machine: Machine) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self._machine = machine
        self.release = asyncio.Event()

    @dbus_method()
    async def Reboot(self, interactive: DBusBool):
        machine = self._machine
        machine.reboots += 1
        match machine.mode:
            case RebootMode.REFUSE:
                raise DBusError("org.freedesktop.login1.BlockedByInhibitorLock", "backup: weekly backup runs")
            case RebootMode.BUSY:
                raise DBusError("org.freedesktop.login1.OperationInProgress", "There's already a shutdown in progress")
            case RebootMode.SILENT:
                await self.release.wait()
            case RebootMode.LATE:
                await self.release.wait()
                self._go_down()
            case RebootMode.DELAY | RebootMode.FIZZLE:
                self._prepare(True)
            case RebootMode.OBEY:
                self._go_down()

    @dbus_method()
    async def RebootWithFlags(self, flags: DBusUInt64):
        self._machine.reboots += 1
        self._go_down()

    @dbus_method()
    async def ScheduleShutdown(self, kind: DBusStr, usec: DBusUInt64):
        self._machine.scheduled = (kind, usec)

    @dbus_method()
    async def CancelScheduledShutdown(self) -> DBusBool:
        was, self._machine.scheduled = self._machine.scheduled, None
        return was is not None

    @dbus_method()
    async def SetWallMessage(self, message: DBusStr, enable: DBusBool):
        self._machine.wall = message if enable else ""

    @dbus_method()
    async def CanReboot(self) -> DBusStr:
        return self._machine.can_reboot

    @dbus_method()
    async def ListSessions(self) -> _Sessions:
        return self._machine.sessions

    @dbus_method()
    async def GetSessionByPID(self, pid: DBusUInt32) -> DBusObjectPath:
        """Tell it by a variable of the process; the real one goes by its control group."""
        variables = _environment(pid)
        for number, *_, path in self._machine.sessions:
            if f"XDG_SESSION_ID={number}".encode() in variables:
                return path
        raise DBusError("org.freedesktop.login1.NoSessionForPID", f"PID {pid} does not belong to any known session")

    @dbus_method()
    async def ListInhibitors(self) -> _Inhibitors:
        return self._machine.inhibitors

    @dbus_property(access=PropertyAccess.READ)
    def ScheduledShutdown(self) -> _Scheduled:
        """Show a dry run as what it is a dry run of, as the real one does."""
        kind, when = self._machine.scheduled or ("", 2**64 - 1)
        return kind.removeprefix("dry-"), when

    @dbus_property(access=PropertyAccess.READ)
    def PreparingForShutdown(self) -> DBusBool:
        return self._machine.preparing

    @dbus_signal()
    def PrepareForShutdown(self, start: bool) -> DBusBool:
        return start

    def end_delay(self) -> None:
        """Let the last `delay` inhibitor go: the machine goes down, or, as FIZZLE says, does not."""
        if self._machine.mode is RebootMode.FIZZLE:
            self._prepare(False)
        else:
            self._go_down()

    def _go_down(self) -> None:
        if not self._machine.preparing:
            self._prepare(True)
        self._machine.jobs = [shutdown_job()]
        self._machine.system_state = "stopping"
        self._machine.on_reboot()

    def _prepare(self, start: bool) -> None:
        self._machine.preparing = start
        self.PrepareForShutdown(start)


class _Systemd(ServiceInterface):
    def __init__(self, machine: Machine) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self._machine = machine

    @dbus_method()
    async def ListJobs(self) -> _Jobs:
        self._machine.asked_for_jobs += 1
        if self._machine.hold_jobs is not None:
            await self._machine.hold_jobs.wait()
        return self._machine.jobs

    @dbus_method()
    async def ListUnitsFiltered(self, states: Annotated[list[str], DBusSignature("as")]) -> _Units:
        assert states == ["failed"]
        place = "/org/freedesktop/systemd1/unit/x"
        return [
            (name, name, "loaded", "failed", "failed", "", place, 0, "", "/") for name in self._machine.failed_units
        ]

    @dbus_method()
    async def GetUnit(self, name: DBusStr) -> DBusObjectPath:
        raise DBusError("org.freedesktop.systemd1.NoSuchUnit", f"Unit {name} not loaded.")

    @dbus_method()
    async def LoadUnit(self, name: DBusStr) -> DBusObjectPath:
        if name != "locksmithd.service" or not self._machine.service:
            raise DBusError("org.freedesktop.systemd1.NoSuchUnit", f"Unit {name} not loaded.")
        return SERVICE_PATH

    @dbus_property(access=PropertyAccess.READ)
    def SystemState(self) -> DBusStr:
        return self._machine.system_state

    @dbus_property(access=PropertyAccess.READ)
    def UserspaceTimestampMonotonic(self) -> DBusUInt64:
        return self._machine.userspace_since

    @dbus_property(access=PropertyAccess.READ)
    def SoftRebootsCount(self) -> DBusUInt32:
        return self._machine.soft_reboots


class LogindAndSystemd:
    """Both on one bus, about one `machine`. Either can leave and come back."""

    def __init__(self, address: str, machine: Machine | None = None) -> None:
        self._address = address
        self.machine = machine or Machine()
        self._buses: dict[str, MessageBus] = {}
        self.logind = _Logind(self.machine)

    async def __aenter__(self) -> Self:
        await self.appear()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.logind.release.set()
        for name in list(self._buses):
            await self.leave(name)

    async def appear(self) -> None:
        """Bring both onto the bus."""
        await self._serve(LOGIND, "/org/freedesktop/login1", self.logind)
        await self._serve(SYSTEMD, "/org/freedesktop/systemd1", _Systemd(self.machine))

    async def leave(self, name: str) -> None:
        """Take one of them from the bus."""
        await leave_bus(self._buses.pop(name), name)

    def _session(self, message: Message) -> Message | bool:
        """Answer for the sessions, which come and go, and for the service of locksmithd."""
        path = message.path or ""
        facts = self.machine.service if path == SERVICE_PATH else self.machine.session_facts.get(path)
        if facts is None or message.member != "Get":
            return False
        value = facts[message.body[1]]
        return Message.new_method_return(message, "v", [Variant({bool: "b", int: "t", str: "s"}[type(value)], value)])

    def _peer(self, message: Message) -> Message | bool:
        """Name the machine, as every program does that has its bus from systemd."""
        if message.member != "GetMachineId":
            return False
        return Message.new_method_return(message, "s", [self.machine.machine_id])

    def _vanish_if_told(self, message: Message) -> bool:
        """End the connection of logind instead of answering."""
        vanishes = message.member == "Reboot" and self.machine.mode is RebootMode.VANISH
        if vanishes:
            self._buses[LOGIND].disconnect()
        return vanishes

    async def _serve(self, name: str, path: str, interface: ServiceInterface) -> None:
        bus: Any = await MessageBus(bus_address=self._address).connect()
        bus.export(path, interface)
        bus.add_message_handler(self._vanish_if_told)
        bus.add_message_handler(self._session)
        bus.add_message_handler(self._peer)
        await bus.request_name(name)
        self._buses[name] = bus
