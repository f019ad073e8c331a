"""The lock of a group, connected: the store of its settings, and on v3 the check of the other keyspace."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

from locksmith.lock.admission import GroupRules, Watermark
from locksmith.lock.cas import Turn
from locksmith.lock.keyspaces import refuse_if_v2_in_use
from locksmith.lock.queue import POLLED_TTL, Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.unchanged import Unchanged
from locksmith.store.connect import open_store
from locksmith.store.meter import Meter
from locksmith.store.protocol import Expecting, Store
from locksmith.store.settings import V3, StoreSettings


def open_lock(settings: StoreSettings, group: str, meter: Meter | None = None) -> RebootLock:
    """Make the lock of a group; nothing is connected before its first call."""
    return _lock(open_store(settings, meter), settings, group, meter)


def open_queued_lock(
    settings: StoreSettings,
    group: str,
    meter: Meter | None = None,
    rules: GroupRules = GroupRules(),  # noqa: B008 - immutable
    mark: Watermark | None = None,
    *,
    cluster: Callable[[], str] = str,
) -> QueuedLock:
    """Make the lock of a group with the queue before it; nothing is connected before its first call.

    Without a mark, answers of the etcd cluster alone count that `cluster` names (empty: of the first that answers).
    """
    store = open_store(settings, meter, mark, keys.semaphore_key(group), Expecting(cluster))
    queue = Queue(store, group, halt_after=rules.halt_after)
    return QueuedLock(_lock(store, settings, group, meter, rules=rules, mark=mark), queue, meter)


def lock_on(
    store: Store,
    group: str,
    rules: GroupRules,
    settings: StoreSettings | None,
    *,
    clock: Callable[[], datetime],
    limit: float,
    unchanged: Unchanged,
    ttl: float = POLLED_TTL,
    mark: Watermark | None = None,
    turn: Turn = nullcontext,
) -> QueuedLock:
    """Make the lock of a group for calls of a client, or of a machine, on a store that all calls share.

    `settings` are those of the store, for the check of the other keyspace (None: there is no other). No attempt begins
    after `limit` seconds. It is not to be closed: the client's place stays. `unchanged` is what the server has seen in
    its earlier calls: an order, a presence or a place whose lease does not end is over when it has stood for too long.
    `ttl` is for how many seconds a place lasts near the front. `mark` is what the server has seen of the store. Each
    attempt at a guarded write is made in a `turn`.
    """

    async def guard() -> None:
        if settings is not None:
            await refuse_if_v2_in_use(settings, group, _cluster_of(mark))

    check = guard if settings is not None and settings.api == V3 else None
    lock = RebootLock(
        store, group, guard=check, rules=rules, mark=mark, clock=clock, limit=limit, unchanged=unchanged, turn=turn
    )
    return QueuedLock(lock, Queue(store, group, ttl=ttl, halt_after=rules.halt_after, unchanged=unchanged))


def _lock(
    store: Store,
    settings: StoreSettings,
    group: str,
    meter: Meter | None,
    *,
    rules: GroupRules = GroupRules(),  # noqa: B008 - immutable
    mark: Watermark | None = None,
) -> RebootLock:
    async def guard() -> None:
        await refuse_if_v2_in_use(settings, group, _cluster_of(mark))

    return RebootLock(store, group, guard=guard if settings.api == V3 else None, meter=meter, rules=rules, mark=mark)


def _cluster_of(mark: Watermark | None) -> str:
    return mark.clusters.own if mark and mark.clusters else ""
