"""Whatever is read from the system bus: answers to calls, signals, and the calls of others to the daemon."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime
from random import Random
from typing import Any

from locksmith.agent.facts import Boot
from locksmith.agent.journal import PreRebootState
from locksmith.agent.permit import Permit
from locksmith.config.model import Config
from locksmith.config.shown import shown
from locksmith.daemon import bus_service, bus_settings, own_record
from locksmith.daemon.bus_service import BusService, Orders
from locksmith.errors import HostError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.gates.synced_clock import SyncedClock
from locksmith.host.boot import read_boot
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.frames import Frame, Frames
from locksmith.host.dbus.link import Link, read_message, read_reply
from locksmith.host.dbus.messages import BUS_NAME, BUS_PATH, Call, Incoming
from locksmith.host.health import SystemdHealth
from locksmith.host.logind import LOGIND, Logind
from locksmith.host.paths import Paths
from locksmith.host.sessions import Sessions
from locksmith.host.settings import ALL, SessionSettings
from locksmith.lock.records import node
from locksmith.lock.records.node import Node
from locksmith.triggers import update_engine
from locksmith.triggers.update_engine import UpdateEngine
from tests.harness.dbus import Message, MessageType, Variant, written
from tests.junk import bodies
from tests.junk.bodies import Body
from tests.junk.reader import Reader

NOW, BOOT = datetime(2026, 5, 1, tzinfo=UTC), Boot("b", 5)
ENGINE, ROGUE = ":1.7", ":1.9"
NEED = Body("xdssx", (1, 0.0, update_engine.NEED_REBOOT, "1.2.3", 5))

RECORD = node.encode(Node("m1", "n1", "boot-1", "web", "reboot", "idle", datetime(2026, 5, 1, 2, tzinfo=UTC)))

ANSWERS = {
    "GetStatus": NEED,
    "GetConnectionUnixUser": Body("u", (0,)),
    "ListInhibitors": Body("a(ssssuu)", ([("shutdown:sleep", "apt", "it installs", "delay", 0, 42)],)),
    "CanReboot": Body("s", ("yes",)),
    "ListSessions": Body("a(susso)", ([("1", 1000, "alice", "seat0", "/s/1"), ("2", 0, "root", "", "/s/2")],)),
    "Class": Body("s", ("user",)),
    "Type": Body("s", ("tty",)),
    "State": Body("s", ("active",)),
    "Remote": Body("b", (True,)),
    "RemoteHost": Body("s", ("10.0.0.1",)),
    "ScheduledShutdown": Body("(st)", (("", 0),)),
    "SetWallMessage": Body(""),
    "ScheduleShutdown": Body(""),
    "CancelScheduledShutdown": Body("b", (True,)),
    "Reboot": Body(""),
    "PreparingForShutdown": Body("b", (False,)),
    "SystemState": Body("s", ("running",)),
    "ListJobs": Body("a(usssoo)", ([(1, "reboot.target", "stop", "waiting", "/j/1", "/u/1")],)),
    "ListUnitsFiltered": Body("a(ssssssouso)", ([("b.service", "B", "loaded", *"abc", "/u/1", 0, "", "/")],)),
    "GetUnit": Body("o", ("/u/1",)),
    "RequiredBy": Body("as", (["a.target"],)),
    "WantedBy": Body("as", ([],)),
    "ActiveState": Body("s", ("active",)),
    "UserspaceTimestampMonotonic": Body("t", (5,)),
    "NTPSynchronized": Body("b", (True,)),
    "Request": Body(""),
    "CheckAuthorization": Body("(bba{ss})", ((True, False, {}),)),
    "GetAll": Body(
        "a{sv}",
        (
            {
                **{name: Variant("s", "x") for name in ("State", "Code", "Reason")},
                "Settings": Variant("a{ss}", shown(Config())),
            },
        ),
    ),
    "Status": Body("s", (RECORD.decode(),)),
    "Triggers": Body("a(ssts)", ([("kernel", "yes", 1_800_000_000_000_000, "x")],)),
}


class JunkBus(SystemBus):
    """A bus on which each call has its answer: the good one, but for those that are given."""

    def __init__(self, **broken: Body) -> None:
        super().__init__("unix:path=/nowhere")
        self._answers = {**ANSWERS, **broken}

    async def call(
        self,
        call: Call,
        *,
        limit: float = 0.0,  # noqa: ARG002 - it answers at once
        permit: Permit | None = None,  # noqa: ARG002 - nothing is sent
    ) -> list[Any]:
        """Read the answer, as a connection does."""
        answer = self._answers[call.body[1] if call.member == "Get" else call.member]
        if call.member == "Get" and not answer.error:
            # A property comes in a variant of its type; several values are none.
            of = answer.signature if len(answer.values) == 1 else "v"
            answer = Body("v", (Variant(of, answer.body[0] if of != "v" else Variant("s", "x")),))
        return read_reply(call, answer.reply())

    async def unix_user(self, unique_name: str) -> int:
        """Ask for it each time."""
        return await self._whose(unique_name)


def at_once(story: Coroutine[Any, Any, Any]) -> Any:
    """Run what waits for nothing, without the cost of an event loop."""
    try:
        story.send(None)
    except StopIteration as end:
        return end.value
    story.close()
    raise AssertionError("it waits")


Named = tuple[str, Body]


def _mutate(good: Named, rng: Random) -> Named:
    name, body = good
    return name, bodies.mutate(body, rng)


def _asks(
    look: Callable[[JunkBus], Coroutine[Any, Any, object]], *names: str, share: int = 12, refuses: bool = True
) -> Reader:
    """Make one that asks the bus; one of the answers named is broken each time."""

    def read(found: Named) -> object:
        story = look(JunkBus(**{found[0]: found[1]}))
        return asyncio.run(story) if share == 1 else at_once(story)

    return Reader(read, tuple((name, ANSWERS[name]) for name in names), _mutate, share, refuses)


async def _noted(_version: str) -> None:
    return None


def _engine(bus: SystemBus) -> UpdateEngine:
    return UpdateEngine(bus, _noted)


class _Stub:
    """A wire that takes everything."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def listen(self, _take: object) -> None:
        return None

    def next_serial(self) -> int:
        """Number all alike."""
        return 1

    def send(self, data: bytes, **_limits: int) -> bool:
        """Keep it as the other side would read it."""
        [frame] = Frames().feed(data)
        self.sent.append(read_message(frame))
        return True


SIGNALS = {
    "StatusUpdate": (update_engine.NAME, update_engine.PATH, update_engine.INTERFACE, NEED),
    "NameOwnerChanged": (BUS_NAME, BUS_PATH, BUS_NAME, Body("sss", (update_engine.NAME, "", ENGINE))),
    "PrepareForShutdown": (LOGIND[0], LOGIND[1], LOGIND[2], Body("b", (True,))),
    "SessionNew": (LOGIND[0], LOGIND[1], LOGIND[2], Body("so", ("1", "/s/1"))),
    "PropertiesChanged": (
        LOGIND[0],
        LOGIND[1],
        "org.freedesktop.DBus.Properties",
        Body("sa{sv}as", (LOGIND[2], {"BlockInhibited": Variant("s", "shutdown")}, [])),
    ),
}


async def hear(found: Named) -> tuple[SystemBus, list[str]]:
    """Have a daemon's listeners hear a signal, of the owner of the name and of a rogue sender."""
    woken: list[str] = []
    bus = JunkBus()
    for listener in (_engine(bus), Logind(bus), Inhibitors(bus), Sessions(bus, SessionSettings(), Paths())):
        listener.listen(lambda: woken.append(""))
    link = Link(_Stub(), bus._ears)  # type: ignore[arg-type]  # what of it is used
    bus._announce(link)
    bus._owners.update({update_engine.NAME: ENGINE, LOGIND[0]: ENGINE})
    _, path, interface, _ = SIGNALS[found[0]]
    for sender in (BUS_NAME if interface == BUS_NAME else ENGINE, ROGUE):
        link._take(_frame(MessageType.SIGNAL, found, sender, path, interface))
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)
    return bus, woken


CALLS = {
    "Request": Body("s", ("a new firmware",)),
    "Cancel": Body(""),
    "Recheck": Body(""),
    "Status": Body(""),
    "Triggers": Body(""),
    "Introspect": Body(""),
    "GetAll": Body("s", ("org.locksmith1.Manager",)),
    "Get": Body("ss", ("org.locksmith1.Manager", "State")),
}


async def _is_called(found: Named) -> object:
    """Have somebody call the daemon, and give its answer; an error is raised as one."""
    bus, stub = JunkBus(), _Stub()
    service = BusService(bus, Orders(_noted, lambda: True, lambda: None), Config(strategy="etcd-lock", group="web"))
    service.listen()
    link = Link(stub, bus._ears)  # type: ignore[arg-type]  # as above
    link._take(_frame(MessageType.METHOD_CALL, found, ROGUE, bus_settings.PATH, bus_settings.INTERFACE))
    await asyncio.gather(*link._answering)
    [answer] = stub.sent
    if answer.message_type is MessageType.ERROR:
        raise HostError(str(answer.body[0]))
    return answer


def _frame(kind: MessageType, found: Named, sender: str, path: str, interface: str) -> Frame:
    name, body = found
    message = Message(
        message_type=kind,
        path=path,
        interface=interface,
        member=name,
        signature=body.signature,
        body=body.body,
        serial=1,
    )
    [frame] = Frames().feed(written(message))
    return frame._replace(head=frame.head._replace(sender=sender))


def bus_readers(paths: Paths) -> dict[str, Reader]:
    """Give all of them, by what they read; `paths` are for those that keep something in a file."""
    sessions, before = SessionSettings(which=ALL), PreRebootState("kernel", "x", ("b.service",))

    async def warned(bus: JunkBus) -> object:
        await Sessions(bus, sessions, paths).warn(NOW, "x")
        await Sessions(bus, sessions, paths).call_off()
        return True

    async def ordered(bus: JunkBus) -> object:
        await Logind(bus).reboot(nullcontext)
        return True

    async def allowed(bus: JunkBus) -> object:
        call = Incoming(ROGUE, bus_settings.PATH, bus_settings.INTERFACE, "Recheck", "", ())
        return await BusService(bus, Orders(_noted, bool, lambda: None), Config(strategy="off", group="web"))._answer(
            call
        )

    def called(name: str) -> Named:
        return name, CALLS[name]

    def heard(name: str) -> Named:
        return name, SIGNALS[name][-1]

    engine = _asks(lambda bus: _told(_engine(bus).check(NOW, BOOT)), "GetStatus")
    return {
        "update_engine's status": engine,
        "inhibitors": _asks(lambda bus: _told(Inhibitors(bus).check(None)), "ListInhibitors", "CanReboot"),
        "sessions": _asks(
            lambda bus: Sessions(bus, sessions, paths).present(),
            *("ListSessions", "Class", "Type", "State", "Remote", "RemoteHost"),
        ),
        "a warning": _asks(
            warned, "ScheduledShutdown", "SetWallMessage", "ScheduleShutdown", "CancelScheduledShutdown", share=3
        ),
        "the order to reboot": _asks(ordered, "Reboot"),
        "a shutdown": _asks(
            lambda bus: Logind(bus).shutdown_state(),
            *("PreparingForShutdown", "SystemState", "ListJobs"),
            share=1,
            refuses=False,
        ),
        "units": _asks(
            lambda bus: _told(SystemdHealth(bus, paths, ("a.service",)).problems(before)),
            *("SystemState", "ListUnitsFiltered", "GetUnit", "RequiredBy", "WantedBy", "ActiveState"),
            share=3,
        ),
        "the boot": _asks(lambda bus: read_boot(paths, bus), "UserspaceTimestampMonotonic", share=1),
        "the clock": _asks(lambda bus: _told(SyncedClock(bus).check(None)), "NTPSynchronized"),
        "a sender": _asks(lambda bus: bus.unix_user(ROGUE), "GetConnectionUnixUser"),
        "polkit": _asks(allowed, "CheckAuthorization", "GetConnectionUnixUser"),
        "the daemon's state": _asks(bus_service.read_local, "GetAll"),
        "the daemon's record": _asks(lambda bus: own_record.read_record(bus, "m1"), "Status"),
        "the daemon's settings": _asks(bus_settings.read_settings, "GetAll"),
        "the daemon's triggers": _asks(bus_service.read_triggers, "Triggers"),
        "a signal": Reader(_run(hear), tuple(map(heard, SIGNALS)), _mutate, share=1, refuses=False),
        "a call": Reader(_run(_is_called), tuple(map(called, CALLS)), _mutate, share=1),
    }


async def _told(story: Coroutine[Any, Any, object]) -> object:
    """Make an error of a "no" that is told in another way."""
    found: Any = await story
    if getattr(found, "error", None) or (isinstance(found, list) and found):
        raise HostError(str(found))
    return found


def _run(story: Callable[[Named], Coroutine[Any, Any, object]]) -> Callable[[Named], object]:
    return lambda found: asyncio.run(story(found))
