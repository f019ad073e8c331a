"""Many holders of slots at once, written as their machines would have left them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, node, semaphore
from locksmith.lock.records.claim import COMMITTED, DAEMON, REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import ABSENT, Put, Store

AT_ONCE = 100
"""Keys in one write."""


def claim(name: str, **more: object) -> Claim:
    """Make the claim of a daemon."""
    mine = Claim(name, REBOOT, f"nonce of {name}", datetime(2026, 5, 1, 2, tzinfo=UTC), who=DAEMON, hostname=name)
    return replace(mine, **more)  # type: ignore[arg-type]  # the fields are the caller's affair


async def seat(
    store: Store, group: str, names: Sequence[str], slots: int, state: str = COMMITTED, *, present: bool = True
) -> None:
    """Have these machines hold slots, in that state of their reboot, and show themselves or not."""
    puts = [Put(keys.holder_key(group, one), claim_record.encode(claim(one, state=state)), ABSENT) for one in names]
    puts += [Put(keys.node_key(group, one), _shown(one, group), ABSENT) for one in names if present]
    for start in range(0, len(puts), AT_ONCE):
        first, *others = puts[start : start + AT_ONCE]
        await store.swap(first.key, first.value, first.version, also=others)
    held = semaphore.encode(Semaphore(slots, tuple(sorted(names))))
    await store.swap(keys.semaphore_key(group), held, (await store.get(keys.semaphore_key(group))).version)


def _shown(name: str, group: str) -> bytes:
    since = datetime(2026, 5, 1, 2, tzinfo=UTC)
    shown = Node(name, name, f"boot of {name}", group, "etcd-lock", "rebooting", since)
    return node.encode(replace(shown, written=datetime.now(UTC).replace(microsecond=0), lasts=int(node.TTL)))
