"""The desk of a server, as the simulation makes it: the real one, with the store, the clock and the chance made up."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from locksmith.config.model import Config, HaltSettings, RebootSettings, WindowSettings
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.paths import Paths
from locksmith.lock.ended import UnlessEnded
from locksmith.lock.queue import POLLED_TTL, Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import HaltAfter
from locksmith.server import machine_desk
from locksmith.server.desk import RETRY_LIMIT, Desk
from locksmith.server.hooks import HookPrograms
from locksmith.server.hub import Hub
from locksmith.server.machine_desk import MachineDesk
from locksmith.server.store_marks import ServerMark
from locksmith.store.protocol import Expecting, Store

OWN = "own"
"""The set of windows that the configuration of the servers has."""


@dataclass(frozen=True)
class Surroundings:
    """What a simulated server is made with."""

    group: str
    store: Store
    clock: Callable[[], datetime]
    rng: Random
    windows: WindowSettings
    limit: timedelta
    spacing: float
    programs: HookPrograms
    most_per_day: int = 0
    expire_after: float = 0.0
    observer: Expecting | None = None
    """What tells which cluster counts, for machines and for what they share."""
    hub: Hub | None = None
    """What its machines share; None: all ask the store."""
    mark: ServerMark | None = None
    """What it has seen of the store, for clients."""

    def config(self) -> Config:
        """Give the configuration of the server."""
        names = (*((OWN,) if self.windows.own.windows else ()), *self.windows.sets)
        return Config(
            window=WindowSettings(known={OWN: self.windows.own}),
            reboot=RebootSettings(spacing=timedelta(seconds=self.spacing), max_per_day=self.most_per_day),
            halt=HaltSettings(after=HaltAfter(0), expire_after=timedelta(seconds=self.expire_after))
            if self.expire_after
            else HaltSettings(),
            server=ServerSettings(groups={self.group: ServedGroup(limit=self.limit, window_sets=names)}),
        )


class SimDesk(Desk):
    """The real desk, whose chance is that of the seed."""

    lock = RebootLock
    ttl = POLLED_TTL

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around.config(), Paths(), store=around.store, programs=around.programs, clock=around.clock)
        self.around = around
        self._local = around.clock
        if around.hub is not None:
            self.wait_by(around.hub)

    def _mark_of(self, _group: str) -> ServerMark | None:
        return self.around.mark

    def _lock(self, group: str, store: Store | None = None, *, rehearsed: bool = False) -> QueuedLock:
        turn = nullcontext if rehearsed else self._attempts[group].turn
        around, rng, known, rules = self.around, self.around.rng, self._unchanged, self._rules
        store = store or around.store
        lock = self.lock(
            store,
            group,
            rng=rng,
            limit=RETRY_LIMIT,
            clock=around.clock,
            rules=rules,
            mark=None if rehearsed else self._mark_of(group),
            unchanged=known,
            turn=turn,
        )
        queue = Queue(store, group, ttl=self.ttl, rng=rng, halt_after=rules.halt_after, unchanged=known)
        return QueuedLock(lock, queue, rng=rng)


class SimMachineDesk(MachineDesk):
    """The real desk of machines without etcd, whose chance is that of the seed."""

    lock = RebootLock
    ttl = machine_desk.PLACE_TTL
    guards: type[UnlessEnded] = UnlessEnded

    def __init__(self, around: Surroundings) -> None:
        super().__init__(
            around.config(), store=around.store, observer=around.observer, clock=around.clock, rng=around.rng
        )
        self.around = around
        if around.hub is not None:
            self.wait_by(around.hub)

    def _open(self, group: str, claim: Claim) -> machine_desk._Waiting:
        around, known, rules = self.around, self._unchanged, self._rules
        store = self.guards(self._store_of(group), group, claim)
        lock = self.lock(
            store,
            group,
            rng=around.rng,
            limit=machine_desk.RETRY_LIMIT,
            clock=around.clock,
            rules=rules,
            unchanged=known,
        )
        queue = Queue(store, group, ttl=self.ttl, rng=around.rng, halt_after=rules.halt_after, unchanged=known)
        return machine_desk._Waiting(claim, QueuedLock(lock, queue, rng=around.rng), store)
