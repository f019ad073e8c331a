"""The slots of a group's FleetLock clients: taken, committed and released with their presence, hooks and windows."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from locksmith.config.server_model import ServedGroup
from locksmith.errors import CorruptValueError, StoreError
from locksmith.lock import client_cycle, client_presence
from locksmith.lock.answer import Denied
from locksmith.lock.client_cycle import Cycle
from locksmith.lock.denials import binds_every_machine, not_admitted
from locksmith.lock.errors import NotAdmittedError, OtherServerError, PlaceGoneError
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import COMMITTED, HOOKS_BEGUN, HOOKS_DONE, HOOKS_UNDONE, Claim
from locksmith.server.attempt_turns import AttemptTurns
from locksmith.server.foreseen import NotForeseenError
from locksmith.server.hooks import PRE_REBOOT, STEADY_STATE, ClientHooks
from locksmith.store.protocol import Entry, Store, remove

log = logging.getLogger(__name__)

TAKE_WAIT = 0.1
"""Seconds for which a call waits for a slot as one of the first in the queue. Where many clients come and go at once,
the first would else be one that is about to leave, and the slots would stay free."""


class ClientSlots:
    """One group. `open_lock` gives its lock as for a program that begins: what is known is in the `store`.

    `rehearsed`: that answers from memory, and nothing may come of it but a refusal.
    Errors are those of the lock and of the store, and `HostError`.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        served: ServedGroup,
        hooks: ClientHooks,
        *,
        clock: Callable[[], datetime],
        open_lock: Callable[[], QueuedLock],
        attempts: AttemptTurns,
        rehearsed: bool = False,
    ) -> None:
        self.store = store
        self.rehearsed = rehearsed
        self._group = group
        self._served = served
        self._hooks = hooks
        self._clock = clock
        self._open_lock = open_lock
        self._opened: QueuedLock | None = None
        self._attempts = attempts
        self._begun = 0
        self._cycle = Cycle()
        self._shown: Entry | None = None

    @property
    def _lock(self) -> QueuedLock:
        """The lock of this call: what one step of it has seen, the next need not ask again."""
        self._opened = self._opened or self._open_lock()
        return self._opened

    async def read(self, client: str) -> Cycle:
        """Read what the store knows of a client."""
        self._begun = self._attempts.begun if self._attempts.idle_since(self._attempts.begun) else -1
        cycle = await client_cycle.read(self._lock.lock.guarded, client)
        self._cycle, self._shown = cycle, cycle.shown
        return cycle

    async def take(self, claim: Claim) -> Denied | None:
        """Take the slot, or keep it; None: the claim has it."""
        if self.rehearsed and self._cycle.claim is None:
            return await self._foresee_hold(claim)
        lock = self._lock
        if self._cycle.held is None:
            lock.resume(claim, self._place_of(claim))
        try:
            answer = await lock.take_soon(claim, TAKE_WAIT)
        except PlaceGoneError as error:
            await self._raise_if_held(claim, error)
            raise
        except CorruptValueError as error:
            # What keeps this client alone from its slot must not keep the others from theirs.
            if not binds_every_machine(error, claim):
                await lock.leave(claim)
            raise
        if not isinstance(answer, Denied):
            return None
        if answer.code == "other_claim":
            await self._raise_if_held(claim)
        return answer

    async def _foresee_hold(self, claim: Claim) -> Denied:
        """Deny a client without a place, which an operator holds back; `NotForeseenError`: no operator does."""
        try:
            await self._lock.lock.refuse_hold(claim)
        except NotAdmittedError as error:
            return not_admitted(error)
        raise NotForeseenError(f"{claim.holder} has no place in the queue yet")

    def _refuse_in_memory(self, claim: Claim) -> None:
        if self.rehearsed:
            raise NotForeseenError(f"{claim.holder} has a slot")

    async def _raise_if_held(self, claim: Claim, cause: Exception | None = None) -> None:
        """Raise `OtherServerError` where another server has taken the slot of this client."""
        if (await self.read(claim.holder)).held is not None:
            raise OtherServerError(f"another server has taken the slot of {claim.holder}") from cause

    async def prepare(self, claim: Claim) -> str:
        """Have the hooks of a client with a slot run, once; gives why it is to wait for them; empty: they are done."""
        self._refuse_in_memory(claim)
        undone = claim.hooks == HOOKS_UNDONE
        if claim.hooks == HOOKS_DONE or (claim.state == COMMITTED and not undone):
            return ""
        if not self._hooks.wanted(PRE_REBOOT):
            if undone:  # there were none before its reboot
                return ""
            return f"the hooks of {claim.holder} have begun on another server, and here are none" if claim.hooks else ""
        await self.show(claim)
        return await self._hooks.alone(self._group, claim.holder, PRE_REBOOT, partial(self._prepare, claim))

    async def commit(self, claim: Claim) -> Denied | None:
        """Pass the point of no return; None: the client may reboot. If it does not come back, its presence ends."""
        self._refuse_in_memory(claim)
        known = await self._prepared(claim) if claim.hooks or self._hooks.wanted(PRE_REBOOT) else claim
        await self.show(known, goes=True)
        # An operator's `resume` was about an earlier reboot that this client did not come back from.
        answer = await self._lock.commit(replace(known, acknowledged=""))
        return answer if isinstance(answer, Denied) else None

    async def show(self, claim: Claim, *, goes: bool = False) -> None:
        """Show the presence of a client, which `goes` down, or may be on its way down since an earlier call."""
        limit = self._served.limit if goes or claim.state == COMMITTED else None
        now = client_presence.presence_of(claim, self._group, self._clock(), limit)
        self._shown = await client_presence.show(self.store, now, self._shown)

    async def give_way(self, cycle: Cycle, why: str) -> str:
        """Release what a refused client is not to keep; gives what is in the way of that. A slot in use stays."""
        if cycle.held is not None and cycle.held.state == COMMITTED:
            await self.show(cycle.held)  # it calls, so its machine is there
            return ""
        if cycle.held is not None:
            return await self.undo(cycle.held, why)
        if cycle.queued is not None:
            await self.leave(cycle.queued)
        return ""

    async def undo(self, claim: Claim, why: str, *, rebooted: bool = False) -> str:
        """Undo the hooks of a client where there are any, then release its slot; gives what is in the way of that."""
        begun = claim.state == COMMITTED or claim.hooks
        if not begun or not self._hooks.wanted(STEADY_STATE):
            await self.release(claim, why, rebooted=rebooted)
            return ""
        await self.show(claim)
        work = partial(self._undo, claim, why, rebooted=rebooted)
        return await self._hooks.alone(self._group, claim.holder, STEADY_STATE, work)

    async def leave(self, claim: Claim) -> None:
        """Remove the place of a claim in the queue: without it, no take on its way can win."""
        lock = self._lock
        lock.resume(claim, self._place_of(claim))
        await lock.leave(claim)

    def _place_of(self, claim: Claim) -> tuple[Entry, Entry] | None:
        """Give the ticket and the place of a claim, as they were read last."""
        queued = self._cycle.queued
        return self._cycle.place if queued is not None and queued.nonce == claim.nonce else None

    async def release(self, claim: Claim, why: str, *, rebooted: bool = False) -> None:
        """Release a slot, and end its presence."""
        # Where another client of this server has written meanwhile, it is certain that it would lose.
        if (known := self._cycle.known) is not None and self._attempts.idle_since(self._begun):
            self._lock.lock.recall(known)
        await self._lock.release(claim, fence_pending=not rebooted, why=why, rebooted=rebooted)
        await self._hide(claim)

    async def hide_lost(self, claim: Claim) -> None:
        """End the presence of a client whose slot was freed while it was shown."""
        if (await self.read(claim.holder)).held is None:
            await self._hide(claim)

    async def _hide(self, claim: Claim) -> None:
        shown, self._shown = self._shown, None
        if shown is None:
            return
        try:
            await remove(self.store, shown)
        except StoreError as error:
            log.info("the presence of %s expires by itself: %s", claim.holder, error)

    async def _prepared(self, claim: Claim) -> Claim:
        """Give the claim as its record has it, after its hooks; the commit is refused where that changes."""
        held = (await self.read(claim.holder)).held
        if held is None or held.nonce != claim.nonce:
            raise OtherServerError(f"the slot of {claim.holder} was released meanwhile")
        undone = held.hooks == HOOKS_UNDONE and self._hooks.wanted(PRE_REBOOT)
        if undone or (held.state != COMMITTED and held.hooks != HOOKS_DONE):
            raise OtherServerError(f"the hooks of {claim.holder} are to run again")
        return held

    async def _begin(self, claim: Claim) -> Claim | None:
        """Write that hooks run: from now on it cannot be committed. None: it has no slot, or it was committed."""
        noted = await self._lock.lock.note_hooks(claim, HOOKS_BEGUN)
        return noted if noted is not None and noted.state != COMMITTED else None

    async def _note_undone(self, claim: Claim) -> Claim | None:
        """Write that hooks are undone after a reboot. None: it has no slot, or was committed once more."""
        noted: Claim | None = claim
        if self._hooks.wanted(STEADY_STATE):
            noted = await self._lock.lock.note_hooks(claim, HOOKS_UNDONE)
        return noted if noted is not None and noted.commits == claim.commits else None

    async def _prepare(self, claim: Claim) -> str:
        """Run the hooks before a reboot; where they fail, undo them, and release the slot."""
        held = (await self.read(claim.holder)).held
        if held is None or held.nonce != claim.nonce or held.hooks == HOOKS_DONE:
            return ""  # another server was faster; the commit tells whether the slot is still there
        if held.hooks != HOOKS_UNDONE and await self._begin(claim) is None:
            return ""
        failed = await self._hooks.run(self._group, claim, PRE_REBOOT)
        if not failed and await self._lock.lock.note_hooks(claim, HOOKS_DONE) is not None:
            return ""
        why = failed or "its slot was released while its hooks ran"
        log.warning("%s (%s) in group %r: %s", claim.hostname, claim.holder, self._group, why)
        undone = await self._undo(claim, f"its hooks failed: {why}")
        return f"{why}; and {undone}" if undone else why

    async def _undo(self, claim: Claim, why: str, *, rebooted: bool = False) -> str:
        """Run the hooks after a reboot, then release the slot, unless another server has committed it meanwhile."""
        held = (await self.read(claim.holder)).held
        if held is not None and held.nonce != claim.nonce:
            return ""
        if held is not None:
            undone = await (self._note_undone(claim) if rebooted else self._begin(claim))
            if undone is None:
                # Not a success: its client would not call again, and would be lost.
                return f"{claim.holder} was allowed to reboot, or was released, meanwhile: call again"
            held = undone
        failed = await self._hooks.run(self._group, claim, STEADY_STATE) if self._hooks.wanted(STEADY_STATE) else ""
        if failed:
            log.warning("%s (%s) in group %r keeps its slot: %s", claim.hostname, claim.holder, self._group, failed)
            return failed
        if held is not None:
            await self.read(claim.holder)  # later calls have shown the client meanwhile
            await self.release(held, why, rebooted=rebooted)
        return ""
