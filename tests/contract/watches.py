"""Watches that stand at a member of etcd: etcd itself says how many it has."""

import asyncio
import re

import urllib3

from locksmith.store.protocol import Change, Entry, Store
from locksmith.store.settings import V2, V3
from tests.harness.etcd import Member, wait_until

WATCHERS = {V2: "etcd_debugging_store_watchers", V3: "etcd_debugging_mvcc_watcher_total"}
"""What etcd itself says of how many watch at a member."""


def watchers(member: Member, api: int = V3) -> float:
    """Count those that watch at a member."""
    text = urllib3.request("GET", f"{member.url}/metrics", timeout=5).data.decode()
    [count] = re.findall(rf"^{WATCHERS[api]} (\S+)$", text, re.MULTILINE)
    return float(count)


async def watching(
    store: Store, made: Entry, member: Member, api: int = V3, limit: float = 20
) -> asyncio.Task[Change | None]:
    """Begin to wait for a change of a key, and see that the watch stands at this member, the only one there."""
    await asyncio.to_thread(wait_until, lambda: not watchers(member, api), "the watches of other tests have ended")
    waiting = asyncio.create_task(store.wait(made.key, made.version, limit=limit))
    await asyncio.to_thread(wait_until, lambda: watchers(member, api), "the watch stands")
    await store.get(made.key)  # by then the member has told so
    return waiting
