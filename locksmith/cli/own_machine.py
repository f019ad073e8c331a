"""What this machine's own daemon says of it, or if none runs: since when, and what the triggers find."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from locksmith.errors import HostError, UsageError
from locksmith.host.paths import Paths
from locksmith.host.runfiles import daemon_runs
from locksmith.util.words import clock, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locksmith.agent.facts import TriggerResult
    from locksmith.agent.ports import Trigger
    from locksmith.config.model import Config
    from locksmith.daemon.bus_service import Local
    from locksmith.host.dbus.bus import SystemBus
    from locksmith.host.service import Service
    from locksmith.lock.records.node import Node

LOOK_LIMIT = 20.0
"""Seconds for a trigger to answer."""


@dataclass(frozen=True, slots=True)
class OwnMachine:
    """This machine. `local` is None where no daemon answers; `problem` says why, if one runs all the same.

    `node` is what the daemon says in full: None for a daemon that has just started, or of an earlier version. `service`
    and `results` are of a machine without a daemon: its service, and what its triggers found, by their names.
    """

    local: "Local | None" = None
    node: "Node | None" = None
    problem: str = ""
    service: "Service | None" = None
    results: "Sequence[tuple[str, TriggerResult]]" = ()

    @property
    def runs(self) -> bool:
        """Whether a daemon runs."""
        return self.local is not None or bool(self.problem)

    @property
    def strategy(self) -> str:
        """Name the daemon's strategy; empty: not known."""
        return self.node.strategy if self.node else ""

    def sentences(self, now: datetime) -> list[str]:
        """Say why no daemon answers, and what the triggers find; nothing where one answers."""
        if self.local is not None:
            return []
        if self.problem:
            return [f"locksmithd runs on this machine, and does not answer on the bus: {self.problem}."]
        service = self.service
        ended = service.since if service else None
        since = f" (since {clock(ended, now)}, for {span(now - ended)})" if ended else ""
        remedy = f": {service.remedy}" if service else ""
        said = [f"locksmithd does NOT run on this machine{since}{remedy}.", *_found(self.results, now)]
        incomplete = any(found.error for _, found in self.results) and os.geteuid() != 0
        return [*said, *(["Root sees more: run `sudo locksmithctl why`."] if incomplete else [])]


def _found(results: "Sequence[tuple[str, TriggerResult]]", now: datetime) -> list[str]:
    said = [
        f"A reboot is needed, says the trigger {name} (since {clock(found.need.since, now)}): "
        f"{found.need.reason or found.need.version}."
        for name, found in results
        if found.need is not None
    ]
    errors = [
        f"{f'The trigger {name} cannot' if name else 'No trigger can'} say whether a reboot is needed: "
        f"{found.error.rstrip('.?')}."
        for name, found in results
        if found.error is not None
    ]
    if said or len(errors) == len(results):
        return [*said, *errors]
    return [*errors, f"No {'other ' if errors else ''}trigger finds that this machine needs a reboot."]


async def observe(config: "Config", paths: Paths, machine_id: str) -> OwnMachine:
    """Ask the daemon; if none runs, ask systemd and the triggers."""
    from locksmith.daemon.bus_service import read_local
    from locksmith.daemon.own_record import read_record
    from locksmith.host.dbus.bus import SystemBus
    from locksmith.host.service import read_service

    async with SystemBus() as bus:
        try:
            return OwnMachine(await read_local(bus), await read_record(bus, machine_id))
        except HostError as error:
            if daemon_runs(paths):
                return OwnMachine(problem=str(error))
        return OwnMachine(service=await read_service(bus), results=await _ask_triggers(config, paths, bus))


async def _ask_triggers(config: "Config", paths: Paths, bus: "SystemBus") -> "list[tuple[str, TriggerResult]]":
    """Have each trigger look once, as the daemon would."""
    from locksmith.agent.facts import TriggerResult
    from locksmith.host.boot import read_boot
    from locksmith.triggers.operator_request import OperatorRequest
    from locksmith.triggers.plugin import TriggerContext, make_triggers

    async def note(version: str, reason: str = "") -> None:
        """Do nothing: only a daemon hears requests."""

    async def ask(trigger: "Trigger") -> TriggerResult:
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                return await trigger.check(datetime.now(UTC), boot)
        except TimeoutError:
            return TriggerResult(error=f"it gave no answer within {LOOK_LIMIT:.0f} s")
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            return TriggerResult(error=f"{type(error).__name__}: {error}")

    try:
        boot = await read_boot(paths, bus)
        used, _ = make_triggers(TriggerContext(paths, bus, config.triggers, note))
    except (HostError, UsageError) as error:
        return [("", TriggerResult(error=str(error)))]
    triggers: list[Trigger] = [*used, OperatorRequest(paths)]
    results = await asyncio.gather(*map(ask, triggers))
    return [(trigger.name, result) for trigger, result in zip(triggers, results, strict=True)]
