"""What holds this machine back in addition to the slots, checked at the take and at the point of no return.

All of it is read with the semaphore. An operator's order ends with a fence of the semaphore, and so does the report of
a failed reboot. A take or a commit that was decided before that can then no longer win.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from locksmith.errors import CorruptValueError, StoreError
from locksmith.lock.admission_readings import NOTHING, AdmissionKeys, AdmissionReadings, Others
from locksmith.lock.claim_reader import keys_of, read_holders
from locksmith.lock.errors import HaltedError, NotAdmittedError, RepeatedError
from locksmith.lock.holder import HolderState
from locksmith.lock.records import incident as incident_record
from locksmith.lock.records import keys, node, went_wrong
from locksmith.lock.records import order as order_record
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.claim import REBOOT, REBOOTS, Claim
from locksmith.lock.records.incident import EXPIRED, FIRST, LOST, HaltAfter, Incident
from locksmith.lock.records.order import FREEZE, HOLD, OTHER_CLUSTER, RESTORED, SPACING, Order
from locksmith.lock.records.reboot import RebootRecord
from locksmith.lock.unchanged import Unchanged
from locksmith.store.protocol import Entry, Put, Reading, Store, remove
from locksmith.store.remembering import Memory


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What a machine's configuration says about its group.

    `spacing`: for how many seconds after this machine's reboot no other machine begins one (0: none). `expire_after`:
    for how many seconds this program must have seen the record of a lost machine before its slot may be taken (0:
    never). `repeat`: for how many seconds this machine takes no slot for a cause that it has rebooted for (0: the store
    is not asked). `max_per_day`: how many reboots triggers may cause in 24 hours (0: the store is not asked).
    """

    halt_after: HaltAfter = FIRST
    spacing: float = 0.0
    expire_after: float = 0.0
    repeat: float = 0.0
    max_per_day: int = 0


class Watermark(Memory, Protocol):
    """What this machine has seen of the store, and its verdict where the store went back in time."""

    @property
    def verdict(self) -> str:
        """Say why the store is not to be believed, and the way out; empty: it is."""
        ...

    @property
    def split(self) -> str:
        """Say that the endpoints belong to several clusters; empty: they do not."""
        ...

    def went_back(self, resumed: datetime | None) -> str:
        """Give the verdict, after a check of the group's last `resume`: a new one ends it.

        `HostError`: a `resume` did not reach the disk.
        """
        ...

    def keep(self) -> None:
        """Write it down; `HostError`: it did not reach the disk."""
        ...


class Admission:
    """The orders and incidents of one group, as they bind one machine. Errors are the store's, `CorruptValueError`."""

    def __init__(
        self,
        store: Store,
        group: str,
        rules: GroupRules,
        mark: Watermark | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        unchanged: Unchanged | None = None,
    ) -> None:
        self.rules = rules
        self._store = store
        self._group = group
        self._mark = mark
        self._clock = clock
        self._unchanged = unchanged or Unchanged()

    def keys(self, holder: str) -> list[str]:
        """Name the keys to read together with the semaphore, and after it."""
        return list(self._keys(holder))

    def orders(self, holder: str, read: Mapping[str, Reading]) -> AdmissionReadings:
        """Give the readings of these keys."""
        return AdmissionReadings(**{name: read[key] for name, key in self._keys(holder)._asdict().items()})

    def _keys(self, holder: str) -> AdmissionKeys:
        return AdmissionKeys(
            freeze=keys.freeze_key(self._group),
            hold=self.hold_key(holder),
            spacing=keys.spacing_key(self._group),
            incidents=keys.incidents_key(self._group),
            resume=keys.resume_key(self._group),
        )

    async def check(
        self,
        claim: Claim,
        now: HolderState,
        orders: AdmissionReadings,
        *,
        held: bool,
        last: bool,
        others: Others | None = None,
        read_too: Mapping[str, Reading] = NOTHING,
    ) -> Others:
        """Raise `NotAdmittedError` for anything that holds this claim back; give the other holders, if they were read.

        `held`: it has its slot; only at the `last` moment the pause after another's reboot counts then. What follows
        from this takes effect only in a swap of the semaphore from the version that `now` has. The `others` are read,
        unless they are given, or `read_too`: read together with the semaphore.
        """
        if not claim.is_machines:
            return Others()
        freeze, spacing = orders.freeze.entry, orders.spacing.entry
        revision = orders.freeze.revision

        def refuse(code: str, text: str, key: str, left: float | None = None) -> NotAdmittedError:
            return NotAdmittedError(code, text, key, revision, held=held, left=left)

        resumed = _order(orders.resume.entry, RESTORED)
        if self._mark is not None and (verdict := self._mark.went_back(resumed.since if resumed else None)):
            raise refuse(RESTORED, verdict, keys.resume_key(self._group))
        if self._mark is not None and (split := self._mark.split):
            raise refuse(OTHER_CLUSTER, split, keys.resume_key(self._group))
        if (order := await self._in_force(freeze, FREEZE)) is not None:
            raise refuse(FREEZE, f"frozen {order.describe()}", keys.freeze_key(self._group), self._left(order, freeze))
        await self.refuse_hold(claim, orders.hold, held=held)
        others = await self._others(claim.holder, now, orders.incidents.entry, read_too) if others is None else others
        known = others.claims or others.noted
        found = went_wrong.incidents(others.claims, others.present, others.noted, self._clock()) if known else []
        if found and incident_record.halts(found, await self._limit()):
            raise HaltedError(incident_record.sentence(found), self._group, revision, held=held, incidents=len(found))
        pause = await self._in_force(spacing, SPACING)
        if pause is not None and pause.nonce != claim.nonce and (last or not held):
            text, left = f"too soon after a reboot {pause.describe()}", self._left(pause, spacing)
            raise refuse(SPACING, text, keys.spacing_key(self._group), left)
        return others

    async def refuse_hold(self, claim: Claim, read: Reading, *, held: bool = False) -> None:
        """Raise `NotAdmittedError` if an operator holds the machine of this claim back; `held`: it has its slot."""
        if (order := await self._in_force(read.entry, HOLD)) is not None:
            text, left = f"held back {order.describe()}", self._left(order, read.entry)
            raise NotAdmittedError(HOLD, text, self.hold_key(claim.holder), read.revision, held=held, left=left)

    def hold_key(self, holder: str) -> str:
        """Name the key of an operator's order that holds a machine back."""
        return keys.hold_key(self._group, holder)

    def refuse_repeat(self, claim: Claim, read: Reading) -> RebootRecord | None:
        """Give the last reboot of this machine, if one is remembered.

        Raise `RepeatedError` where it was for the same cause, a short while ago, or where there were too many.
        """
        entry, repeat, most = read.entry, timedelta(seconds=self.rules.repeat), self.rules.max_per_day
        if entry is None or claim.kind != REBOOT:
            return None
        try:
            last = reboot_record.decode(entry.value, entry.key)
        except CorruptValueError:
            if claim.rechecked is None and (repeat or most):
                raise
            return None
        past = last.past(claim)
        if (refused := reboot_record.forbidden(claim, past, self._clock(), repeat, most)) is not None:
            raise RepeatedError(*refused, past, read.revision)
        return last

    async def _in_force(self, entry: Entry | None, kind: str) -> Order | None:
        """Give an order that still holds; one that has outlived its own word is removed, and holds no more."""
        order = _order(entry, kind)
        if entry is None or order is None or self._left(order, entry) != 0:
            return order
        with contextlib.suppress(StoreError):  # it was replaced meanwhile, or goes later; what it says is over
            await remove(self._store, entry)
        return None

    def _left(self, order: Order, entry: Entry | None) -> float | None:
        """Say after how many seconds an order is over at the latest; None: when it is removed."""
        if order.lasts is None or entry is None:
            return None
        return max(0.0, order.lasts - self._unchanged.stood(entry, _now()))

    async def begin_spacing(self, claim: Claim, spacing: Reading) -> None:
        """Keep the others from beginning a reboot for a while; `ConflictError`: another has just done so."""
        if not self.rules.spacing or claim.kind not in REBOOTS:
            return
        now = self._clock().replace(microsecond=0)
        order = Order(
            who=claim.hostname or claim.holder,
            since=now,
            until=now + timedelta(seconds=self.rules.spacing),
            nonce=claim.nonce,
        )
        key = keys.spacing_key(self._group)
        await self._store.swap(key, order_record.encode(order), spacing.version, ttl=self.rules.spacing)

    def keep_mark(self) -> None:
        """Write down what this machine has seen of the store, before it goes down."""
        if self._mark is not None:
            self._mark.keep()

    def expired(self, others: Others) -> Claim | None:
        """Name a lost machine's claim whose slot may be taken by now, where the configuration wants that.

        What counts is for how long this program has seen its record unchanged. By the time in the record, a clock that
        is a day off would take a slot a day early: this machine's, or that of the server which wrote it.
        """
        if not self.rules.expire_after:
            return None
        for claim in others.claims:
            record = others.records.get(claim.holder)
            stood = self._unchanged.stood(record, _now()) if record is not None else 0.0
            gone = claim.shows_presence and claim.holder not in others.present
            if gone and stood > self.rules.expire_after:
                return claim
        return None

    def note(self, claim: Claim, others: Others, incidents: Reading) -> Put:
        """Write that a slot has expired: it counts towards the halt until an operator says `resume`."""
        kept = [one for one in others.noted if one.claim.nonce != claim.nonce]
        words = f"it was {LOST}, and its slot has expired"
        incident = Incident(replace(claim, acknowledged=""), EXPIRED, words)
        return Put(keys.incidents_key(self._group), incident_record.encode([*kept, incident]), incidents.version)

    def keys_of(self, claim: Claim, holders: Collection[str]) -> list[str]:
        """Name the keys to read about other holders, where they can hold this claim back."""
        rivals = [one for one in holders if one != claim.holder]
        return keys_of(self._group, rivals) if claim.is_machines and self._asks_others else []

    async def _others(
        self, holder: str, now: HolderState, noted: Entry | None, read: Mapping[str, Reading] = NOTHING
    ) -> Others:
        known = tuple(incident_record.decode(noted.value, noted.key)) if noted else ()
        ids = [one for one in now.semaphore.holders if one != holder]
        # Only what can halt a machine is asked for.
        if not ids or not self._asks_others:
            return Others(noted=known)
        found = await read_holders(self._store, self._group, ids, now.reading.version, self._is_gone, known=read)
        records = {one: found.records.get(one) for one in ids}
        return Others(tuple(found.claims.values()), found.present, known, records)

    def knows(self, others: Others, holders: Collection[str]) -> bool:
        """Tell whether these other holders were asked for, or need not be."""
        return not self._asks_others or others.records.keys() >= set(holders)

    @property
    def _asks_others(self) -> bool:
        return not self.rules.halt_after.off or self.rules.expire_after > 0

    def _is_gone(self, machine_id: str, entry: Entry) -> bool:
        """Tell whether a presence has outlived its own word: it has stood unchanged for longer than it was to last."""
        lasts = node.lasts(entry.value, entry.key, machine_id, leased=bool(entry.lease))
        return self._unchanged.stood(entry, _now()) > lasts if lasts is not None else False

    async def _limit(self) -> int | None:
        after = self.rules.halt_after
        machines = 0 if after.percent is None else await self._store.count(keys.nodes_prefix(self._group))
        return after.of(machines)


def _order(entry: Entry | None, kind: str) -> Order | None:
    return order_record.decode(entry.value, entry.key, kind) if entry else None


def read_order(entry: Entry | None, kind: str) -> Order | CorruptValueError | None:
    """Give the order of an entry, or why it cannot be read; None where there is none."""
    try:
        return _order(entry, kind)
    except CorruptValueError as error:
        return error


def _now() -> float:
    return asyncio.get_running_loop().time()
