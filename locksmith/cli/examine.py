"""Asks each part of this machine whether a reboot would pass. The parts are the daemon's own; nothing is changed."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from locksmith.agent.facts import UNREHEARSED, Blocker, Stage
from locksmith.agent.journal import JournalEntry, entry_for
from locksmith.agent.ports import Gate, WindowSource
from locksmith.cli.session import new_claim
from locksmith.config.model import Config
from locksmith.daemon.assembly import make_gates, make_stages, make_windows, target_of
from locksmith.daemon.stages import CHECKS
from locksmith.errors import LocksmithError
from locksmith.gates.inhibitors import Inhibitors
from locksmith.host.clock import local_clock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.machine import RealMachine
from locksmith.host.paths import Paths
from locksmith.host.sessions import Sessions
from locksmith.lock.records.claim import DAEMON, REBOOT
from locksmith.util.words import listed
from locksmith.window.duration import format_duration

YES, NO, LEFT_OUT = "yes", "no", "not run"
COLOURS = {NO: "red", LEFT_OUT: "yellow"}


@dataclass(frozen=True, slots=True)
class Part:
    """What a part says: a gate, the checks, the users, the health, the hooks. `passes` is a word of these three."""

    part: str
    passes: str
    why: str = ""


Ask = Callable[[], Awaitable[Sequence[Part]]]


async def examine(config: Config, paths: Paths, machine_id: str) -> list[Part]:
    """Ask each part in the order of a reboot. A part that does not answer does not pass."""
    async with SystemBus() as bus:
        machine, stages = RealMachine(bus, paths), make_stages(config, paths, bus)
        found: list[Part] = []
        try:
            boot = await machine.boot()
            claim = new_claim(machine_id, REBOOT, "locksmithctl check")
            entry = entry_for(claim, target_of(config), boot, by=DAEMON, before=await machine.before(None))
        except LocksmithError as error:
            return [Part("machine", NO, str(error))]
        windows = make_windows(config)

        async def checks() -> list[Part]:
            blockers = await stages.run(Stage.CHECKS, entry)
            gates = [CHECKS, *(["alerts"] if config.alerts.wanted else [])]
            return [part for gate in gates for part in _parts(gate, [one for one in blockers if one.gate == gate])]

        async def health() -> list[Part]:
            return [*_parts("health", await stages.run(Stage.HEALTH, entry))]

        async def hooks() -> list[Part]:
            return _rehearsed(await stages.rehearse(entry))

        gates = make_gates(config, machine, bus, Inhibitors(bus))
        asks: list[tuple[str, Ask]] = [
            ("window", partial(_window, windows, config)),
            *((gate.name, partial(_gate, gate, entry)) for gate in gates),
            (CHECKS, checks),
            ("users", partial(_users, Sessions(bus, config.sessions, paths), config)),
            ("hooks", hooks),
            ("health", health),
        ]
        try:
            for part, ask in asks:
                found += await _asked(part, ask)
        finally:
            await windows.close()
        return found


async def _asked(part: str, ask: Ask) -> Sequence[Part]:
    try:
        return await ask()
    except LocksmithError as error:
        return [Part(part, NO, str(error))]


def _parts(part: str, blockers: Sequence[Blocker]) -> Iterator[Part]:
    if not blockers:
        yield Part(part, YES)
    for one in blockers:
        yield Part(part, NO, one.text)


async def _gate(gate: Gate, entry: JournalEntry) -> list[Part]:
    return [*_parts(gate.name, await gate.check(entry))]


async def _window(windows: WindowSource, config: Config) -> list[Part]:
    now, least = local_clock()(), config.window.least
    sight = await windows.check(now, wanted=True)
    if sight.error:
        return [Part("window", NO, sight.error)]
    if sight.windows is None:
        return [Part("window", YES, "at any time")]
    if sight.windows.contains(now, least):
        opening = sight.windows.opening(now)
        return [Part("window", YES, f"open until {opening.closes:%a %H:%M}" if opening and opening.closes else "open")]
    opens = sight.windows.next_open(now, least)
    return [Part("window", NO, f"opens at {opens:%a %Y-%m-%d %H:%M %Z}" if opens else "no window is to come")]


async def _users(sessions: Sessions, config: Config) -> list[Part]:
    users = sorted(await sessions.present())
    why = f"{listed(users)} would be warned {format_duration(config.grace)} before" if users else ""
    return [Part("users", YES, why)]


def _rehearsed(found: Sequence[Blocker]) -> list[Part]:
    failed = [Part("hooks", NO, one.text) for one in found if one.gate != UNREHEARSED]
    left_out = [
        Part("hooks", LEFT_OUT, f"{one.text} has no `locksmith: dry-run`") for one in found if one.gate == UNREHEARSED
    ]
    return [*failed, *left_out] or [Part("hooks", YES)]
