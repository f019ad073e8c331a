"""The rules of FleetLock on the lock: what `pre-reboot` and `steady-state` of a client do to its group's semaphore.

Each call reads from the store what is known of the client (lock/client_cycle.py), and goes on from there. Nothing of a
client is remembered here between two calls, so any server may get the next one. All writes are those of the lock.

A call that will be refused is answered from memory where that is possible (rehearsal.py).

Above 300 lines, in one piece: both calls of a client, and each step of theirs from what the one before has read.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial

from locksmith.agent.ports import Gate
from locksmith.config.model import Config
from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    HostError,
    LockError,
    LocksmithError,
    OlderJournalError,
    StoreError,
)
from locksmith.gates.synced_clock import SyncedClock
from locksmith.host.clock import local_clock
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.hostname import read_hostname
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from locksmith.lock import client_cycle
from locksmith.lock.admission import GroupRules, Watermark
from locksmith.lock.connect import lock_on
from locksmith.lock.errors import OtherMachineError, OtherServerError, PlaceGoneError
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import REBOOTED
from locksmith.lock.unchanged import Unchanged
from locksmith.server.attempt_turns import AttemptTurns
from locksmith.server.busy import BusySlots
from locksmith.server.client_slots import ClientSlots
from locksmith.server.cluster import following, open_observed
from locksmith.server.hooks import ClientHooks, HookPrograms
from locksmith.server.hub import Hub
from locksmith.server.kinds import refusal, refused
from locksmith.server.names import ClientNames
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.server.rehearsal import Rehearsals
from locksmith.server.store_marks import StoreMarks
from locksmith.server.turns import TooManyCallsError, Turns
from locksmith.server.windows import GroupWindows
from locksmith.store.protocol import Store
from locksmith.util.client_ids import LARGEST_ID

log = logging.getLogger(__name__)

LIMIT = 30.0
"""Seconds within which each call ends."""
RETRY_LIMIT = 15.0
"""Seconds after which the lock begins no further attempt in a call."""
ROUNDS = 5
"""How often a call begins again because another server acted for the same client meanwhile."""

STEADY = "its client is in its steady state"
"""Why the history says that a slot was released that no reboot came of."""

_AGAIN = (OtherServerError, OlderJournalError, ConflictError)
"""What says that another server acts for the same client: it is read again, and the call goes on from there."""


_Act = Callable[[str, str, bool], Awaitable[Refusal | None]]
"""One of the two calls: the group, the client, and whether it is begun again."""


class Desk:
    """FleetLock for all groups of a configuration, on one store. No call raises, except if it is cancelled."""

    Slots = ClientSlots

    def __init__(
        self,
        config: Config,
        paths: Paths,
        *,
        store: Store | None = None,
        programs: HookPrograms | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        synced: Gate | None = None,
        marks: StoreMarks | None = None,
    ) -> None:
        self._config = config
        self._settings = config.server
        self._clock = clock
        # A store that is given is the test's own: there is no other keyspace.
        self._guarded_by = None if store else config.store
        self._store = store or open_observed(config.store, following(config.store, config.server.groups))
        self._marks = marks
        self._turns = Turns()
        self._attempts = {group: AttemptTurns() for group in self._settings.groups}
        self._unchanged = Unchanged()
        self._names = ClientNames(self._store)
        self._busy = self._busy_in_memory = BusySlots(lambda _group: self._store, local_clock())
        self._rehearsals: dict[str, Rehearsals] = {}
        bus = SystemBus()
        programs = programs or Programs(paths, bus, config.server.hook_limit.total_seconds(), paths.server_run)
        self._hooks = ClientHooks(self._store, programs, read_hostname(paths), clock)
        self._local = local_clock()
        self._synced: Gate | None = synced or (SyncedClock(bus) if config.window.synced else None)
        self._rules = GroupRules(
            halt_after=config.halt.after,
            spacing=config.reboot.spacing.total_seconds(),
            expire_after=config.halt.expire_after.total_seconds(),
        )

    async def pre_reboot(self, group: str, client: str) -> Refusal | None:
        """Take a slot for a client, or keep it; None: it may reboot now."""
        return await self._answer(group, client, self._pre_reboot)

    async def steady_state(self, group: str, client: str) -> Refusal | None:
        """Release what a client has; None: it has nothing any more."""
        return await self._answer(group, client, self._steady_state)

    def wait_by(self, hub: Hub) -> None:
        """Refuse from what this hub has in memory, and wait by its watches, from now on."""
        if hub.mirrors.follows:
            self._rehearsals = {group: Rehearsals(hub, group, self._store_of(group)) for group in self._settings.groups}
            self._busy_in_memory = BusySlots(hub.mirrors.store, local_clock())

    async def close(self) -> None:
        """End the hooks that run here, and let go of the store; the marks are not its own."""
        await self._hooks.close()
        await self._store.close()

    async def _answer(self, group: str, client: str, act: _Act) -> Refusal | None:
        if group not in self._settings.groups:
            return refusal(RefusalKind.UNAUTHORIZED, f"the group {group!r} is not served here")
        if not (client.isprintable() and 0 < len(client.encode()) <= LARGEST_ID):
            return refusal(RefusalKind.BAD_REQUEST, f"an id must be of 1 to {LARGEST_ID} bytes that can be printed")
        try:
            async with asyncio.timeout(LIMIT), self._turns.turn((group, client)):
                return await self._act(group, client, act)
        except Exception as error:
            if (known := _explained(client, error)) is not None:
                return known
            log.exception("a defect of locksmith-server: a call of %s in group %r was refused", client, group)
            return refusal(RefusalKind.STORE, "locksmith-server has a defect: its log says more")

    async def _act(self, group: str, client: str, act: _Act) -> Refusal | None:
        for number in range(ROUNDS - 1):
            with suppress(*_AGAIN):
                return await act(group, client, number > 0)
        return await act(group, client, True)

    async def _pre_reboot(self, group: str, client: str, again: bool) -> Refusal | None:
        if not again and (refused := await self._foresee(group, client)) is not None:
            return refused
        async with self._asking(group, client) as slots:
            return await self._ask(group, client, slots, again=again)

    async def _foresee(self, group: str, client: str) -> Refusal | None:
        """Give the refusal that follows from what is in memory; None: etcd is to be asked."""
        rehearsals, mark = self._rehearsals.get(group), self._mark_of(group)
        if rehearsals is None or (mark is not None and (mark.verdict or mark.split)):
            return None
        if not await rehearsals.knows_soon(client):
            return None
        try:
            return await self._ask(group, client, self._slots(group, rehearsals.on_mirror, rehearsed=True))
        except LocksmithError as error:
            log.debug("%s in group %r: etcd is asked: %s", client, group, error)
            return None

    @asynccontextmanager
    async def _asking(self, group: str, client: str, *, releases: bool = False) -> AsyncIterator[ClientSlots]:
        """Give the slots for a call that asks etcd; `releases`: it may free a slot, or a place, for others."""
        rehearsals = self._rehearsals.get(group)
        if rehearsals is None:
            yield self._slots(group)
            return
        store = rehearsals.call_store()
        try:
            yield self._slots(group, store)
        finally:
            rehearsals.asked(client, store, releases=releases)

    async def _ask(self, group: str, client: str, slots: ClientSlots, *, again: bool = False) -> Refusal | None:
        cycle = await slots.read(client)
        if again and cycle.is_idle:
            # What this call had begun is gone: the client said meanwhile that it is steady.
            raise PlaceGoneError(f"what {client} had is released")
        if cycle.other is not None:
            return refusal(RefusalKind.NO_SLOT, cycle.other.describe())
        if cycle.machine:
            await slots.give_way(cycle, "a machine with its id is present")
            raise OtherMachineError(client)
        if closed := await self._closed(group, slots, begun=cycle.held is not None):
            await slots.give_way(cycle, "its window closed")
            return refusal(RefusalKind.WINDOW, closed)
        claim = cycle.claim or await self._new_claim(group, client, slots)
        denied = await slots.take(claim)
        if denied is None and (unready := await self._unready(group, slots, claim)) is not None:
            return unready
        denied = denied or await slots.commit(claim)
        if denied is None:
            return None
        if denied.lost:
            await slots.hide_lost(claim)
        elif denied.must_release or cycle.committed:
            await slots.give_way(await slots.read(client), denied.text)
        if denied.code == "slot":
            busy = self._busy_in_memory if slots.rehearsed else self._busy
            return refusal(RefusalKind.NO_SLOT, await busy.words(group, denied.text))
        return refused(denied)

    async def _unready(self, group: str, slots: ClientSlots, claim: Claim) -> Refusal | None:
        """Run the hooks of a client with a slot, and ask for its window again: both have taken a while."""
        if unready := await slots.prepare(claim):
            return refusal(RefusalKind.NOT_READY, unready)
        if closed := await self._closed(group, slots, begun=True):
            await slots.give_way(await slots.read(claim.holder), "its window closed")
            return refusal(RefusalKind.WINDOW, closed)
        return None

    async def _closed(self, group: str, slots: ClientSlots, *, begun: bool) -> str:
        """Say why no client may reboot now: by its windows, or because this machine does not know the time."""
        for blocker in await self._synced.check(None) if self._synced is not None else ():
            return f"no window counts on this server: {blocker.text}"
        return await self._windows(group, slots.store).closed(self._local(), begun=begun)

    async def _steady_state(self, group: str, client: str, _again: bool) -> Refusal | None:
        async with self._asking(group, client, releases=True) as slots:
            return await self._release(client, slots)

    async def _release(self, client: str, slots: ClientSlots) -> Refusal | None:
        cycle = await slots.read(client)
        if cycle.is_idle:
            return None
        pending = [claim for claim in (cycle.queued, cycle.left) if claim is not None]
        if cycle.queued is not None:
            await slots.leave(cycle.queued)
            if self._store.transactional:
                # No take can win without the place. Whether one has won before, the next reading tells.
                pending, cycle = [], await slots.read(client)
                if cycle.queued is not None:
                    raise OtherServerError(f"{client} has a place in the queue again")
        if cycle.held is not None:
            why = REBOOTED if cycle.committed else STEADY
            if unready := await slots.undo(cycle.held, why, rebooted=cycle.committed):
                return refusal(RefusalKind.NOT_READY, unready)
        for claim in pending:
            if cycle.held is None or claim.nonce != cycle.held.nonce:
                await slots.release(claim, STEADY)
        return None

    async def _new_claim(self, group: str, client: str, slots: ClientSlots) -> Claim:
        name = client if slots.rehearsed else await self._names.of(group, client)
        return client_cycle.new_claim(client, secrets.token_hex(16), self._clock(), name)

    def _slots(self, group: str, store: Store | None = None, *, rehearsed: bool = False) -> ClientSlots:
        """Give the slots of a group, for one call on this store; `rehearsed`: it is memory, and may only refuse."""
        store = store or self._store_of(group)
        served, open_lock = self._settings.groups[group], partial(self._lock, group, store, rehearsed=rehearsed)
        return self.Slots(
            store,
            group,
            served,
            self._hooks,
            clock=self._clock,
            open_lock=open_lock,
            attempts=self._attempts[group],
            rehearsed=rehearsed,
        )

    def _windows(self, group: str, store: Store) -> GroupWindows:
        window, served = self._config.window, self._settings.groups[group]
        return GroupWindows(store, served.window_sets, window.known, window.least)

    def _lock(self, group: str, store: Store, *, rehearsed: bool = False) -> QueuedLock:
        return lock_on(
            store,
            group,
            self._rules,
            None if rehearsed else self._guarded_by,
            clock=self._clock,
            limit=RETRY_LIMIT,
            unchanged=self._unchanged,
            mark=None if rehearsed else self._mark_of(group),
            turn=nullcontext if rehearsed else self._attempts[group].turn,
        )

    def _mark_of(self, group: str) -> Watermark | None:
        return self._marks.marks[group] if self._marks is not None else None

    def _store_of(self, group: str) -> Store:
        return self._marks.store(group) if self._marks is not None else self._store


def _explained(client: str, error: Exception) -> Refusal | None:
    """Give the refusal for an error that was raised on purpose; None: it is a defect."""
    busy = f"too many calls of {client} are under way here: call again later"
    known: dict[type[Exception], tuple[RefusalKind, str]] = {
        TooManyCallsError: (RefusalKind.NOT_READY, busy),
        TimeoutError: (RefusalKind.STORE, f"etcd did not do within {LIMIT:g} s what the call of {client} needs"),
        HostError: (RefusalKind.NOT_READY, f"the hooks of locksmith-server cannot be run: {error}"),
        **dict.fromkeys(_AGAIN, (RefusalKind.NOT_READY, f"another server acts for {client} too: call again")),
        StoreError: (RefusalKind.STORE, str(error)),
        CorruptValueError: (RefusalKind.STORE, str(error)),
        PlaceGoneError: (RefusalKind.QUEUED, f"{error}; call again"),
        LockError: (RefusalKind.NO_SLOT, str(error)),
    }
    return next((refusal(*told) for kind, told in known.items() if isinstance(error, kind)), None)
