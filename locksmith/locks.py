"""The lock of a group, connected: the store of its settings, and on v3 the look at the other keyspace."""

from locksmith.kv.connect import open_store
from locksmith.kv.keyspaces import refuse_if_v2_in_use
from locksmith.kv.settings import V3, StoreSettings
from locksmith.rebootlock import RebootLock


def open_lock(settings: StoreSettings, group: str) -> RebootLock:
    """Make the lock of a group; nothing is connected before its first call."""

    async def guard() -> None:
        await refuse_if_v2_in_use(settings, group)

    return RebootLock(open_store(settings), group, guard=guard if settings.api == V3 else None)
