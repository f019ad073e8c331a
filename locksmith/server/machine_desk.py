"""The calls of daemons with the strategy `server`: a machine's own claim on the lock of its group, and its own records.

The interface is `ports.MachineDesk`: `call(group, who, call, fields)` gives the answer to one call as JSON, or
raises what the lock or the store raises; lock/machine_wire.py names the calls and writes both sides. Who calls was
identified before. That the claim, or the record, is that machine's own is decided by permissions.py.

Each call acts like a daemon that has just restarted with the claim of its reboot journal: what is known of the claim
stands in the store. The locks of waiting claims are kept between two calls, with their watches; if they are lost, the
next call makes them again. `store_of(group)` gives the store in which a group is read and watched.

What a machine has seen of the store comes with each call of a claim. A store that knows less, or another cluster, is
refused here before anything is written, and is noticed by the machine too: each answer says where it was given.

Above 300 lines, in one piece: each call is a step of the same claim, with the lock that is kept for it.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from locksmith.config.model import Config
from locksmith.errors import OtherClusterError, OutcomeUnknownError, StoreRefusedError, StoreUnavailableError
from locksmith.lock import ended
from locksmith.lock import machine_wire as wire
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Answer, Denied
from locksmith.lock.connect import lock_on
from locksmith.lock.ended import EndedError, UnlessEnded
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, HELD, WENT_WRONG, Claim
from locksmith.lock.records.event import REBOOTED
from locksmith.lock.unchanged import Unchanged
from locksmith.server import permissions
from locksmith.server.cluster import following
from locksmith.server.hub import Hub
from locksmith.server.identity import Identity
from locksmith.server.machine_records import MachineRecords
from locksmith.server.machine_waits import Waits, at_once
from locksmith.server.permissions import Action
from locksmith.server.turns import Turns
from locksmith.store.connect import open_store
from locksmith.store.protocol import Expecting, Position, Reading, Store
from locksmith.util.jsonread import BadJsonError, read

log = logging.getLogger(__name__)

LIMIT = 30.0
"""Seconds within which each call ends, except a wait."""
RETRY_LIMIT = 15.0
"""Seconds after which the lock begins no further attempt in a call."""
WAIT_LIMIT = 50.0
"""Seconds for a wait at most: proxies end a request without an answer after 60."""
SHORTER = 0.2
"""The share by which a wait is shorter at most: machines that began to wait together do not all come back together."""
SHORT = 15.0
"""Seconds: the rest of a machine's wait, which is not made shorter again and again."""
PLACE_TTL = 240.0
"""Seconds after which a place expires that no call keeps. A machine asks every minute, and at once elsewhere."""
DAEMON_STOPS = "the machine's daemon stops, and does not know of this slot"
MOST_KEPT = 20_000
"""The locks of waiting claims that are kept."""


@dataclass(slots=True)
class _Waiting:
    """A claim in the queue, its lock, and the store of its requests."""

    claim: Claim
    lock: QueuedLock
    store: UnlessEnded
    mark: Sequence[Reading] = ()
    """What the machine has ended, as it was just read."""


class MachineDesk:
    """All groups of a configuration.

    A `store` that is given is a test's own, with its `observer`: it has no other keyspace.
    """

    most_ended = ended.MOST

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None = None,
        observer: Expecting | None = None,
        store_of: Callable[[str], Store] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Random | None = None,
    ) -> None:
        self._groups = config.server.groups
        self._clock = clock
        self._rng = rng or Random()  # noqa: S311 - when a wait ends, no secret
        self._observer = observer or following(config.store, self._groups)
        self._guarded_by = None if store else config.store
        own = store or open_store(config.store, observer=self._observer)
        self._store = own
        self._store_of = store_of or (lambda _group: own)
        self._hub: Hub | None = None
        self._mirrored = ""
        self._records = MachineRecords(clock)
        self._turns, self._unchanged = Turns(), Unchanged()
        self._kept: OrderedDict[tuple[str, str], _Waiting] = OrderedDict()
        self._waits = Waits()
        self._rules = GroupRules(
            halt_after=config.halt.after,
            spacing=config.reboot.spacing.total_seconds(),
            expire_after=config.halt.expire_after.total_seconds(),
            repeat=config.reboot.repeat.total_seconds(),
            max_per_day=config.reboot.max_per_day,
        )

    async def call(self, group: str, who: Identity, call: str, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Give the answer to a call. `BadJsonError`: it cannot be read. `ForbiddenError`: it is for another machine."""
        if call == wire.WAIT:
            return {"changed": await (await self.wait(group, who, fields))}
        asked = self._decode(group, call, fields)
        if asked.claim is None:
            async with _limited():
                return await self._of_store(group, who, call, fields)
        claim, machine = self._own(group, who, asked.claim), who.name
        async with _limited(), self._turns.turn((group, machine)):
            await self._waits.stop((group, machine))
            if call == wire.REQUEST and (told := self._from_room(group, claim, asked.known)) is not None:
                return told
            return await self._of_claim(group, claim, call, asked)

    def size_of(self, group: str, call: str, fields: Mapping[str, Any]) -> int:
        """Say how many bytes the answer to a call will have, as far as that is known without the store."""
        if call == wire.READ and self._hub is not None and isinstance(asked := fields.get("keys"), list):
            return min(wire.LARGEST_ANSWER, self._hub.size_of(group, asked[: wire.MOST_KEYS]))
        return len(str(fields.get("value", ""))) if call == wire.PRESENCE else 0

    def _decode(self, group: str, call: str, fields: dict[str, Any]) -> wire.Call:
        if group not in self._groups:
            raise StoreRefusedError(f"the group {group!r} is not served here")
        return wire.decode_call(call, fields)

    def _own(self, group: str, who: Identity, claim: Claim) -> Claim:
        permissions.require(who, Action.ACT, group, claim.holder)
        return replace(claim, since=min(claim.since, self._clock()))

    @property
    def store(self) -> Store:
        """The store of all groups."""
        return self._store

    def wait_by(self, hub: Hub) -> None:
        """Have machines wait by the mirrors of this store, from now on."""
        self._hub, self._store_of = hub, hub.store_of
        if (clusters := self._observer.clusters) is not None:
            clusters.changed = self._doubt

    def _doubt(self) -> None:
        """Give nothing more of the cluster before, once another counts: no machine is to take it for what that has."""
        if self._hub is not None and self._cluster != self._mirrored:
            self._mirrored = self._cluster
            self._hub.mirrors.doubt()

    def drain(self) -> None:
        """Answer all who wait."""
        self._waits.drain()

    async def close(self) -> None:
        """Let go of the store; the places of those who wait stay."""
        self.drain()
        for waiting in self._kept.values():
            waiting.lock.rest()
        self._kept.clear()
        await self._store.close()

    @property
    def _cluster(self) -> str:
        return self._observer.clusters.own if self._observer.clusters is not None else ""

    def _from_room(self, group: str, claim: Claim, known: Position) -> Mapping[str, Any] | None:
        """Answer a claim with others before it, without the store; None: the store is to be asked."""
        room = self._hub.room(group) if self._hub is not None else None
        if self._hub is None or room is None or (known.cluster and known.cluster != self._cluster):
            return None
        denied = room.answer(claim, known.revision)
        if denied is None:
            self._hub.answered(group, claim.holder)
            return None
        self._drop_kept((group, claim.holder))
        return {
            **wire.encode_answer(denied, claim.nonce),
            "store": {"cluster": self._cluster, "revision": room.revision},
        }

    async def _of_claim(self, group: str, claim: Claim, call: str, asked: wire.Call) -> Mapping[str, Any]:
        """Answer for the claim, in its turn."""
        kept = self._take_kept(group, claim)
        waiting = kept or self._open(group, claim)
        try:
            revision, error = await self._compared(group, waiting, asked.known, call)
            at = {"store": {"cluster": self._cluster, "revision": revision}}
            if error is not None:
                return {**wire.encode_error(error), **at}
            if call == wire.REQUEST:
                answer = await self._take(waiting)
                if isinstance(answer, Denied) and not (answer.lost or answer.must_release):
                    self._keep(group, waiting)
                return {**wire.encode_answer(answer, claim.nonce), **at}
            if call == wire.COMMIT:
                return {**wire.encode_answer(await waiting.lock.commit(claim), claim.nonce), **at}
            if call == wire.REPORT_FAILURE:
                state, failure = read(dict(asked.fields), "state", str), wire.text_of(asked.fields, "failure")
                if state not in WENT_WRONG:
                    raise BadJsonError(f"the field 'state' must be one of {', '.join(sorted(WENT_WRONG))}")
                with waiting.store.reporting():
                    acknowledged = await waiting.lock.report_failure(claim, state, failure)
                if not acknowledged:
                    self._keep(group, waiting)
                return {"answer": wire.DONE, "nonce": claim.nonce, "acknowledged": acknowledged, **at}
            ends = call != wire.LEAVE or read(dict(asked.fields), "ends", bool, False)
            if ends:
                waiting.store.release()
                await self._end(group, waiting.lock, claim, call, asked)
            else:
                await waiting.lock.leave(claim)
            return {"answer": wire.DONE, "nonce": claim.nonce, "ended": ends, **at}
        finally:
            if self._kept.get((group, claim.holder)) is not waiting:
                waiting.lock.rest()

    async def _take(self, waiting: _Waiting) -> Answer:
        """Take a slot, unless the machine has ended the claim: if this request is no late one, it is to release it."""
        try:
            if waiting.mark:
                waiting.store.knows_ended(waiting.mark)
            return await waiting.lock.take(waiting.claim)
        except EndedError as error:
            return Denied("ended", str(error), must_release=True)

    async def _end(self, group: str, lock: QueuedLock, claim: Claim, call: str, asked: wire.Call) -> None:
        """Release what a claim has. A request of it may be on its way still, here or at another server."""
        await ended.end(self._store_of(group), group, claim, self.most_ended)
        if call == wire.ABORT:
            await lock.release(claim, fence_pending=True, why=wire.text_of(asked.fields, "reason"))
        elif call == wire.LEAVE:
            # A transaction that takes the slot depends on the mark, so no fence is needed: it wakes all who wait.
            await lock.release(claim, fence_pending=not self._store.transactional, why=DAEMON_STOPS)
        elif claim.state == HELD:
            await lock.release(claim, fence_pending=True, why="booted before its reboot was ordered")
        else:
            why = f"{claim.state}: {claim.failure}" if claim.state in WENT_WRONG else REBOOTED
            await lock.release(claim, fence_pending=claim.state != COMMITTED, why=why, rebooted=True)

    async def _compared(
        self, group: str, waiting: _Waiting, known: Position, call: str
    ) -> tuple[int, StoreUnavailableError | None]:
        """Compare the store with what the machine knows of it, before anything is written; give its revision.

        A claim is released in a store that was restored, too: its machine holds what that store says.
        """
        store, claim, own = self._store_of(group), waiting.claim, self._cluster
        semaphore, *mark = await store.read([keys.semaphore_key(group), *ended.keys_of(group, claim.holder)])
        now = semaphore.revision
        if known.cluster and own and known.cluster != own:
            return now, OtherClusterError(
                f"its etcd cluster is {own}, and this machine has seen {known.cluster} so far"
            )
        if call in {wire.ABORT, wire.COMPLETE, wire.LEAVE}:
            return now, None
        if now < known.revision:
            return now, StoreUnavailableError(
                f"its store is at revision {now}, and this machine has seen {known.revision}"
            )
        if call == wire.REQUEST:
            since = ended.read(mark, keys.ended_key(group, claim.holder)).known_since
            if known.revision < since:
                return now, StoreUnavailableError(ended.late(known.revision, since))
        # Other calls are of a claim that has its slot, so it has not ended.
        waiting.mark, waiting.store.seen = mark, known.revision if call == wire.REQUEST else now
        return now, None

    async def wait(self, group: str, who: Identity, fields: dict[str, Any]) -> "asyncio.Future[bool]":
        """Begin to wait for what the last answer to a claim was about. If that is not known here, it is worth asking.

        The future tells whether it is. It may be cancelled: the machine is gone.
        """
        asked = self._decode(group, wire.WAIT, fields)
        if asked.claim is None:
            raise BadJsonError("the field 'claim' is missing")
        claim, least = self._own(group, who, asked.claim), min(WAIT_LIMIT, max(0.0, read(fields, "seconds", float)))
        key = (group, who.name)
        async with _limited(), self._turns.turn(key):
            await self._waits.stop(key)
            if least > SHORT:
                least *= 1 - SHORTER * self._rng.random()
            waiting, room = self._kept.get(key), self._hub.room(group) if self._hub is not None else None
            place = room.place(claim) if room is not None else None
            if self._waits.draining:
                return at_once()
            if room is not None and place is not None:
                self._drop_kept(key)  # from now on the server writes the place: its lock would know it as it was
                return self._waits.keep(key, room.wait(place, least))
            if waiting is None or waiting.claim.nonce != claim.nonce:
                return at_once()
            return self._waits.watch(key, waiting.lock.changed(least))

    def _take_kept(self, group: str, claim: Claim) -> _Waiting | None:
        """Give the lock that waits for this claim. A claim that had its slot begins again: others may know more."""
        found = self._kept.pop((group, claim.holder), None)
        if found is None:
            return None
        if found.claim.nonce == claim.nonce and claim.taken is None and claim.state == HELD:
            found.claim = claim
            return found
        found.lock.rest()
        return None

    def _drop_kept(self, key: tuple[str, str]) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            kept.lock.rest()

    def _keep(self, group: str, waiting: _Waiting) -> None:
        self._kept[group, waiting.claim.holder] = waiting
        if len(self._kept) > MOST_KEPT:
            _, oldest = self._kept.popitem(last=False)
            oldest.lock.rest()

    def _open(self, group: str, claim: Claim) -> _Waiting:
        store = UnlessEnded(self._store_of(group), group, claim)
        lock = lock_on(
            store,
            group,
            self._rules,
            self._guarded_by,
            clock=self._clock,
            limit=RETRY_LIMIT,
            unchanged=self._unchanged,
            ttl=PLACE_TTL,
        )
        return _Waiting(claim, lock, store)

    async def _of_store(self, group: str, who: Identity, call: str, fields: dict[str, Any]) -> Mapping[str, Any]:
        store, hub = self._store_of(group), self._hub
        if hub is not None and call in {wire.READ, wire.KNOWS}:
            store = hub.reads_of(group, who.name)
        renewals = hub.renewals(group) if hub is not None else None
        said = await self._records.answer(store, group, who, call, fields, renewals=renewals)
        return {**said, "store": {"cluster": self._cluster, "revision": said.pop("revision")}}


@asynccontextmanager
async def _limited() -> AsyncIterator[None]:
    """Limit a call. What was cut off may be done."""
    try:
        async with asyncio.timeout(LIMIT):
            yield
    except TimeoutError:
        raise OutcomeUnknownError(f"etcd did not do within {LIMIT:g} s what the call needs") from None
