"""Servers of FleetLock without their HTTP: desks on one store in memory, and the group that they serve."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from locksmith.config.model import Config, HaltSettings, RebootSettings, WindowSettings
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.paths import Paths
from locksmith.lock import client_cycle
from locksmith.lock.admission import GroupRules
from locksmith.lock.client_cycle import Cycle
from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.server.desk import Desk
from locksmith.server.hooks import HookPrograms
from locksmith.store.memory import Faults, MemoryServer, MemoryStore
from locksmith.window.window_set import WindowSet
from tests.sim.virtual_time import run

G = "workers"
START = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
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


class Fleet:
    """One store, and any number of servers, daemons and operators on it, in virtual time."""

    def __init__(self, loop, kind: type[MemoryStore] = MemoryStore) -> None:
        self.loop = loop
        self.kind = kind
        self.server = MemoryServer()
        self.orders = OperatorOrders(self.store(), G, clock=self.now)
        self.admin = self.orders.admin
        self.guarded = Guarded(self.store(), G)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def store(self, faults: Faults | None = None) -> MemoryStore:
        return self.kind(self.server, faults)

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

    async def holders(self) -> tuple[str, ...]:
        return (await self.guarded.semaphore())[0].holders

    @property
    def keys(self) -> list[str]:
        """Everything of the group but its history and what it remembers."""
        prefix = keys.group_prefix(G)
        past = (keys.history_prefix(G), f"{prefix}reboots/", keys.semaphore_key(G))
        return sorted(key.removeprefix(prefix) for key in self.server._entries if not key.startswith(past))


def play(story, kind: type[MemoryStore] = MemoryStore):
    return run(lambda loop: story(Fleet(loop, kind)))
