"""Servers of FleetLock without their HTTP: desks on one store in memory, and the group that they serve."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from locksmith.config.model import Config, HaltSettings, RebootSettings, WindowSettings
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.paths import Paths
from locksmith.lock import client_cycle
from locksmith.lock.admission import GroupRules
from locksmith.lock.client_cycle import Cycle
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.desk import Desk
from locksmith.server.hooks import HookPrograms
from locksmith.store.memory import Faults, MemoryStore
from locksmith.window.window_set import WindowSet
from tests.builders.one_store import G, OneStore
from tests.sim.virtual_time import run

POLL = 330.0
"""Seconds between two calls of Zincati at the most."""


class NoHooks:
    """Empty folders."""

    def of(self, _stage: str) -> list[Path]:
        return []

    async def run(self, stage, name, environ, *, every=False) -> list[str]:
        raise NotImplementedError

    async def stop(self, stage, name) -> None:
        raise NotImplementedError

    def forget(self, stage, name) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class Fleet(OneStore):
    """One store, and any number of servers, daemons and operators on it, in virtual time."""

    def desk(
        self,
        faults: Faults | None = None,
        *,
        window_sets: tuple[str, ...] = (),
        known: Mapping[str, WindowSet] | None = None,
        least: timedelta = timedelta(0),
        spacing: timedelta = timedelta(0),
        halt_after: HaltAfter = FIRST,
        programs: HookPrograms | None = None,
    ) -> Desk:
        config = Config(
            window=WindowSettings(known=known or {}, least=least),
            reboot=RebootSettings(spacing=spacing),
            halt=HaltSettings(after=halt_after),
            server=ServerSettings(groups={G: ServedGroup(window_sets=window_sets)}),
        )
        programs = programs or NoHooks()
        return Desk(config, Paths(), store=self.store(faults), programs=programs, clock=self.now)

    def daemon(self, **rules) -> QueuedLock:
        lock = RebootLock(self.store(), G, clock=self.now, rules=GroupRules(**rules))
        return QueuedLock(lock, Queue(self.store(), G))

    async def cycle(self, client: str) -> Cycle:
        return await client_cycle.read(self.guarded, client)


def play(story, kind: type[MemoryStore] = MemoryStore):
    return run(lambda loop: story(Fleet(loop, kind)))
