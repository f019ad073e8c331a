"""Freeze, thaw, hold, unhold, resume: what operators order, each followed by a fence of the semaphore.

After the fence, no take and no commit wins that was decided before the order. So only the machines that are past the
point of no return then still reboot.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import read_order
from locksmith.lock.errors import ChangedOrderError
from locksmith.lock.guarded import Guarded
from locksmith.lock.holder import LockState
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import COMMITTED, Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.order import FREEZE, HOLD, RESTORED, Order
from locksmith.store.protocol import Entry, Reading, Store, remove
from locksmith.util.zincati import client_of

LIMIT = 30.0
"""Seconds for which an order whose race or answer was lost is tried again."""

MOST_CLUSTERS = 16
"""Whose place a cluster is known to have taken; the oldest are forgotten."""

Stood = Order | CorruptValueError | None
"""What there was before: an order, something that cannot be read, or nothing."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What an order replaced, and the state of the lock after it. `kept`: what was `before` stays, and no more."""

    before: Stood
    state: LockState
    kept: bool = False

    @property
    def too_late(self) -> list[Claim]:
        """The claims past the point of no return, which no order stops any more."""
        return [one for one in self.state.claims.values() if isinstance(one, Claim) and one.state == COMMITTED]

    @property
    def without_record(self) -> list[str]:
        """The holders that have no record: legacy nodes, which obey the semaphore alone."""
        return [holder for holder in self.state.semaphore.holders if self.state.claims.get(holder) is None]


class OperatorOrders:
    """The orders of one group. Errors are those of the store and of the lock.

    With the version that an operator was `shown` of an order's record (`ABSENT`: there was none), only that one is
    changed: else `ChangedOrderError`.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Random | None = None,
    ) -> None:
        self._guarded = Guarded(store, group, limit=LIMIT, clock=clock, rng=rng)
        self.admin = LockAdmin(self._guarded)
        self._store = store
        self._group = group

    async def freeze(
        self,
        order: Order,
        ttl: float | None = None,
        *,
        legacy: bool = False,
        keep_longer: bool = False,
        shown: int | None = None,
    ) -> Ordered:
        """Let no further machine reboot, for `ttl` seconds (None: until `thaw`); `legacy` sets max to 0 too.

        A freeze that is in force is replaced; its max stays 0. With `keep_longer` it stays, if it is to last longer.
        """
        key = keys.freeze_key(self._group)
        if keep_longer:
            stands = read_order((await self._store.get(key)).entry, FREEZE)
            if isinstance(stands, Order) and stands.outlasts(order) and not (legacy and stands.slots is None):
                return Ordered(stands, await self.admin.read(), kept=True)
        before = await self._put(key, FREEZE, order, ttl, legacy=legacy, shown=shown)
        if legacy:
            await self._guarded.retry.run(self._stop_legacy_nodes)
        return Ordered(before, await self._fence())

    async def thaw(self, *, shown: int | None = None) -> Stood:
        """End a freeze: the number of slots is again what it was, unless it was set meanwhile."""
        key = keys.freeze_key(self._group)
        reading = await self._store.get(key)
        entry, stands = reading.entry, read_order(reading.entry, FREEZE)
        _refuse_changed(FREEZE, reading, stands, shown)
        if entry is None:
            return None
        if isinstance(stands, Order) and stands.slots is not None:
            slots = stands.slots
            await self._guarded.retry.run(lambda: self._resize(slots))
        return await self._remove(key, FREEZE, entry)

    async def hold(
        self, machine_id: str, order: Order, ttl: float | None = None, *, shown: int | None = None
    ) -> Ordered:
        """Keep one machine from rebooting: its daemon, and its Zincati, which has an id of its own."""
        before = await self._put(keys.hold_key(self._group, machine_id), HOLD, order, ttl, shown=shown)
        if client := client_of(machine_id):
            await self._put(keys.hold_key(self._group, client), HOLD, order, ttl)
        return Ordered(before, await self._fence())

    async def unhold(self, machine_id: str, *, shown: int | None = None) -> Stood:
        """Let that machine reboot again, and its Zincati, unless another order holds that back."""
        key = keys.hold_key(self._group, machine_id)
        reading = await self._store.get(key)
        stands = read_order(reading.entry, HOLD)
        _refuse_changed(HOLD, reading, stands, shown)
        if reading.entry is None:
            return None
        if isinstance(stands, Order) and stands.nonce:
            await self._unhold_client(machine_id, stands)
        return await self._remove(key, HOLD, reading.entry)

    async def _unhold_client(self, machine_id: str, order: Order) -> None:
        """End what the hold of a machine has ordered for its Zincati. Repeated after an error, it goes on."""
        client = client_of(machine_id)
        entry = (await self._store.get(keys.hold_key(self._group, client))).entry if client else None
        same = read_order(entry, HOLD)
        if entry is not None and isinstance(same, Order) and same.nonce == order.nonce:
            await self._remove(entry.key, HOLD, entry)

    async def resume(
        self, order: Order, done: list[Incident] | None = None, *, shown: Collection[Incident] | None = None
    ) -> list[Incident]:
        """Acknowledge what went wrong in the group, and that the store is to be believed as it is; name it.

        `done` is filled with what is acknowledged: where an error comes in between, it has those before that. With what
        was `shown` of it, nothing else is acknowledged: `ChangedIncidentsError`.
        """
        if shown is not None:
            await self.admin.compare_incidents(shown)
        await self._put(keys.resume_key(self._group), RESTORED, order, None)
        return await self.admin.acknowledge(order.describe(), done, shown=shown)

    async def _put(
        self,
        key: str,
        kind: str,
        order: Order,
        ttl: float | None,
        *,
        legacy: bool = False,
        shown: int | None = None,
    ) -> Stood:
        """Write an order in place of any other; a lost answer is known again by the order's nonce."""
        seen: list[Stood] = []

        async def attempt() -> Stood:
            reading = await self._store.get(key)
            stands = read_order(reading.entry, kind)
            if isinstance(stands, Order) and stands.nonce == order.nonce and seen:
                return seen[-1]
            _refuse_changed(kind, reading, stands, shown)
            seen.append(stands)
            slots = stands.slots if isinstance(stands, Order) else None
            if legacy and slots is None:
                slots = (await self._guarded.read()).semaphore.max
            written = _of_clusters(replace(order, slots=slots), stands)
            if slots is not None and ttl is not None:
                raise LockError(
                    "a freeze with --legacy does not end by itself, so max would stay 0: freeze without --until and "
                    "--for, and end it with `locksmithctl thaw`"
                )
            await self._store.swap(key, order_record.encode(written), reading.version, ttl=ttl)
            return stands

        return await self._guarded.retry.run(attempt)

    async def _remove(self, key: str, kind: str, first: Entry) -> Stood:
        """Remove an order: the `first` that was read, and no other that was given since."""

        async def attempt() -> Stood:
            entry = (await self._store.get(key)).entry
            if entry is None:
                return read_order(first, kind)
            # On v2 the version of a key that expires does not move with its value.
            if (entry.version, entry.value) != (first.version, first.value):
                other = read_order(entry, kind)
                words = other.describe() if isinstance(other, Order) else "which cannot be read"
                raise LockError(
                    f"another {kind} was ordered meanwhile, {words}; it stays: {order_record.way_out(kind, key)}"
                )
            await remove(self._store, entry)
            return read_order(entry, kind)

        return await self._guarded.retry.run(attempt)

    async def _fence(self) -> LockState:
        """Make sure that no take and no commit wins that was decided before the order.

        A group without a semaphore, a place or a machine has neither: a fence would make a group of a typo, for good.
        """
        now = await self._store.get(keys.semaphore_key(self._group))
        if now.entry is None and not await self._has_machines():
            return await self.admin.read()
        return await self.admin.fence()

    async def _has_machines(self) -> bool:
        prefixes = (keys.waiters_prefix(self._group), keys.nodes_prefix(self._group))
        return any([await self._store.count(prefix) for prefix in prefixes])

    async def _stop_legacy_nodes(self) -> None:
        await self._swap_max(0)

    async def _resize(self, slots: int) -> None:
        """Set the number of slots back, unless an operator has set another number since."""
        if (await self._guarded.read()).semaphore.max == 0:
            await self._swap_max(slots)

    async def _swap_max(self, slots: int) -> None:
        now, reading = await self._guarded.semaphore()
        if now.max != slots:
            await self._store.swap(self._guarded.key, semaphore.encode(now.resize(slots)), reading.version)


def _refuse_changed(kind: str, reading: Reading, stands: Stood, shown: int | None) -> None:
    if shown is not None and reading.version != shown:
        words = "" if stands is None else stands.describe() if isinstance(stands, Order) else "which cannot be read"
        raise ChangedOrderError(kind, words)


def _of_clusters(order: Order, stands: Stood) -> Order:
    """Keep which clusters this one has taken the place of: also those that one of them took the place of before."""
    if not isinstance(stands, Order) or not stands.replaces:
        return order
    if not order.replaces:
        return replace(order, cluster=stands.cluster, replaces=stands.replaces)
    if stands.cluster not in (order.cluster, *order.replaces):
        return order  # said in a cluster of which these keys are a copy
    before = [one for one in dict.fromkeys((*order.replaces, *stands.replaces)) if one != order.cluster]
    return replace(order, replaces=tuple(before[:MOST_CLUSTERS]))
