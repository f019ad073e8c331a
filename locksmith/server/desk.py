"""The rules of FleetLock on the lock: what `pre-reboot` and `steady-state` of a client do to its group's semaphore.

Each call reads from the store what is known of the client (lock/client_cycle.py), and goes on from there. Nothing is
remembered here between two calls, so any server may get the next one. All writes are those of the lock.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup
from locksmith.errors import CorruptValueError, LockError, OlderJournalError, StoreError
from locksmith.host.clock import local_clock
from locksmith.host.paths import Paths
from locksmith.lock import client_cycle, client_presence
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Denied
from locksmith.lock.client_cycle import Cycle
from locksmith.lock.connect import lock_on
from locksmith.lock.denials import binds_every_machine
from locksmith.lock.errors import OtherMachineError, OtherPlaceError, PlaceGoneError
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import REBOOTED
from locksmith.server.kinds import refusal, refused
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.server.turns import TooManyCallsError, Turns
from locksmith.server.windows import GroupWindows
from locksmith.store.connect import open_store
from locksmith.store.protocol import Expecting, Store

log = logging.getLogger(__name__)

LIMIT = 30.0
"""Seconds within which each call ends."""
RETRY_LIMIT = 15.0
"""Seconds after which the lock begins no further attempt in a call."""
ROUNDS = 5
"""How often a call begins again because another server acted for the same client meanwhile."""

_AGAIN = (OtherPlaceError, OlderJournalError)
"""What says that another server acts for the same client: it is read again, and the call goes on from there."""


class Desk:
    """FleetLock for all groups of a configuration, on one store. No call raises, except if it is cancelled."""

    def __init__(
        self,
        config: Config,
        paths: Paths,
        *,
        store: Store | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        del paths
        self._config = config
        self._settings = config.server
        self._clock = clock
        # A store that is given is the test's own: there is no other keyspace.
        self._guarded_by = None if store else config.store
        self._store = store or open_store(config.store, observer=Expecting(str))
        self._turns = Turns()
        self._local = local_clock()
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

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    async def _answer(
        self, group: str, client: str, act: Callable[[str, str], Awaitable[Refusal | None]]
    ) -> Refusal | None:
        if group not in self._settings.groups:
            return refusal(RefusalKind.UNAUTHORIZED, f"the group {group!r} is not served here")
        try:
            async with asyncio.timeout(LIMIT), self._turns.turn((group, client)):
                return await self._act(group, client, act)
        except Exception as error:
            if (known := _explained(client, error)) is not None:
                return known
            log.exception("a defect of locksmith-server: a call of %s in group %r was refused", client, group)
            return refusal(RefusalKind.STORE, "locksmith-server has a defect: its log says more")

    async def _act(
        self, group: str, client: str, act: Callable[[str, str], Awaitable[Refusal | None]]
    ) -> Refusal | None:
        for _ in range(ROUNDS - 1):
            with suppress(*_AGAIN):
                return await act(group, client)
        return await act(group, client)

    async def _pre_reboot(self, group: str, client: str) -> Refusal | None:
        lock = self._lock(group)
        cycle = await client_cycle.read(lock.lock.guarded, client)
        if cycle.other is not None:
            return refusal(RefusalKind.NO_SLOT, cycle.other.describe())
        if cycle.machine:
            await self._give_way(lock, cycle, "a machine with its id is present")
            raise OtherMachineError(client)
        if closed := await self._windows(group).closed(self._local(), begun=cycle.held is not None):
            await self._give_way(lock, cycle, "its window closed")
            return refusal(RefusalKind.WINDOW, closed)
        claim = cycle.claim or client_cycle.new_claim(client, secrets.token_hex(16), self._clock(), client)
        denied = await self._take(lock, claim) or await self._commit(lock, claim)
        if denied is None:
            return None
        await self._denied(lock, cycle, claim, denied)
        return refused(denied)

    async def _take(self, lock: QueuedLock, claim: Claim) -> Denied | None:
        """Take the slot, or keep it; None: the claim has it."""
        try:
            answer = await lock.take(claim)
        except (StoreError, CorruptValueError) as error:
            # What keeps this client alone from its slot must not keep the others from theirs.
            if isinstance(error, CorruptValueError) and not binds_every_machine(error, claim):
                await lock.leave(claim)
            raise
        if not isinstance(answer, Denied):
            return None
        if answer.code in {"other_claim", "clone", "orphaned"}:
            # Of another server's claim for the same client the next round learns.
            again = await client_cycle.read(lock.lock.guarded, claim.holder)
            if again.held is not None and again.held.nonce != claim.nonce:
                raise OtherPlaceError(answer.text)
        return answer

    async def _commit(self, lock: QueuedLock, claim: Claim) -> Denied | None:
        """Pass the point of no return; None: the client may reboot. If it does not come back, its presence ends."""
        await self._show(lock.lock.guarded.group, claim)
        answer = await lock.commit(claim)
        return answer if isinstance(answer, Denied) else None

    async def _denied(self, lock: QueuedLock, cycle: Cycle, claim: Claim, answer: Denied) -> None:
        """Release what a denied client is not to keep: a slot that it may use already is not touched."""
        if cycle.committed:
            await self._show(lock.lock.guarded.group, claim)  # it calls, so its machine is there
        elif answer.must_release:
            await self._release(lock, cycle, claim, answer.text)

    async def _give_way(self, lock: QueuedLock, cycle: Cycle, why: str) -> None:
        """Release a slot that is not committed, and the place in the queue; a committed one stays."""
        if cycle.committed and cycle.held is not None:
            await self._show(lock.lock.guarded.group, cycle.held)
        elif cycle.held is not None:
            await self._release(lock, cycle, cycle.held, why)
        elif cycle.queued is not None:
            await lock.leave(cycle.queued)

    async def _steady_state(self, group: str, client: str) -> Refusal | None:
        lock = self._lock(group)
        cycle = await client_cycle.read(lock.lock.guarded, client)
        if cycle.is_idle:
            return None
        if cycle.held is not None and cycle.committed:
            await self._release(lock, cycle, cycle.held, REBOOTED, rebooted=True)
        # What is left of another call of this client, here or elsewhere, is made unable to win.
        for claim in (None if cycle.committed else cycle.held, cycle.queued, cycle.left):
            if claim is not None:
                await self._release(lock, cycle, claim, "its client is in its steady state")
        return None

    async def _release(self, lock: QueuedLock, cycle: Cycle, claim: Claim, why: str, *, rebooted: bool = False) -> None:
        """Release a slot, its place and presence. The place goes first: without it no take on its way can win."""
        if cycle.queued is not None:
            await lock.leave(cycle.queued)
        await lock.release(claim, fence_pending=not rebooted, why=why, rebooted=rebooted)
        try:
            await client_presence.end(self._store, lock.lock.guarded.group, claim.holder)
        except (StoreError, CorruptValueError) as error:
            log.info("the presence of %s expires by itself: %s", claim.holder, error)

    async def _show(self, group: str, claim: Claim) -> None:
        limit = self._served(group).limit
        shown = client_presence.presence_of(claim, group, self._clock(), limit)
        await client_presence.show(self._store, shown)

    def _served(self, group: str) -> ServedGroup:
        return self._settings.groups[group]

    def _windows(self, group: str) -> GroupWindows:
        window = self._config.window
        return GroupWindows(self._store, self._served(group).window_sets, window.known, window.least)

    def _lock(self, group: str) -> QueuedLock:
        return lock_on(self._store, group, self._rules, self._guarded_by, clock=self._clock, limit=RETRY_LIMIT)


def _explained(client: str, error: Exception) -> Refusal | None:
    """Give the refusal for an error that was raised on purpose; None: it is a defect."""
    match error:
        case TooManyCallsError():
            return refusal(RefusalKind.NOT_READY, f"too many calls of {client} are under way here: call again later")
        case TimeoutError():
            return refusal(RefusalKind.STORE, f"etcd did not do within {LIMIT:g} s what the call of {client} needs")
        case StoreError() | CorruptValueError():
            return refusal(RefusalKind.STORE, str(error))
        case PlaceGoneError():
            return refusal(RefusalKind.QUEUED, f"{error}; call again")
        case LockError():
            return refusal(RefusalKind.NO_SLOT, str(error))
        case _:
            return None
