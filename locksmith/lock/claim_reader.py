"""The holders of slots, as many as there are: the claims in their records, and whose machine is present.

A record changes only together with the semaphore: at the take, the commit, the report of a failure, the release, the
acknowledgement. So all of this belongs to the one version of the semaphore that was read before. Presence changes
without it. That is all right: presence is late by its nature (a record expires 15 minutes after the last word of its
machine), it never makes a slot free by itself, and what it says is that of a moment after the semaphore was read. A
machine that goes missing later is seen by the next take; one that comes back later is refused once too often.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from locksmith.errors import CorruptValueError
from locksmith.lock.chunks import READS, Guard, read_in_chunks
from locksmith.lock.holder import read_record
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.node import Node
from locksmith.store.protocol import Entry, Reading, Store


@dataclass(frozen=True, slots=True)
class Holders:
    """The records of holders by id, the claims of those that can be read, and what those who are present say.

    `present` is sure for reboots of machines alone: nothing else can be lost. None: what it says cannot be read.
    """

    records: dict[str, Entry]
    claims: dict[str, Claim]
    present: dict[str, Node | None]


def keys_of(group: str, ids: Sequence[str]) -> list[str]:
    """Name the keys of the holders with these ids, records first; none where they are more than a request takes."""
    if 2 * len(ids) > READS:
        return []
    return [*(keys.holder_key(group, one) for one in ids), *(keys.node_key(group, one) for one in ids)]


async def read_holders(
    store: Store,
    group: str,
    ids: Sequence[str],
    semaphore: int,
    is_gone: Callable[[str, Entry], bool],
    *,
    known: Mapping[str, Reading] = MappingProxyType({}),
) -> Holders:
    """Read the holders with these ids; `semaphore` is its version, read before, or together with what is `known`.

    `is_gone` tells a presence that has outlived its machine from one that shows it.
    `ConflictError`: the semaphore was written meanwhile (not checked where one request does for all).
    """
    both = keys_of(group, ids)
    if both or not ids:
        all_known = all(key in known for key in both)
        read: Sequence[Reading] = [known[key] for key in both] if all_known else await store.read(both)
        found = {one: reading.entry for one, reading in zip(ids, read, strict=False) if reading.entry}
        return Holders(found, _claims(found), _present(ids, read[len(ids) :], is_gone))
    # The records in one request, however many there are; presence, of which the whole group has some, key by key.
    listing = {entry.key: entry for entry in (await store.list(keys.holders_prefix(group))).entries}
    records = {one: entry for one in ids if (entry := listing.get(keys.holder_key(group, one)))}
    claims = _claims(records)
    asked = [one for one, claim in claims.items() if claim.is_machines]
    guard = Guard(keys.semaphore_key(group), semaphore)
    nodes = await read_in_chunks(store, [keys.node_key(group, one) for one in asked], guard)
    return Holders(records, claims, _present(asked, nodes, is_gone))


def _present(
    ids: Sequence[str], read: Sequence[Reading], is_gone: Callable[[str, Entry], bool]
) -> dict[str, Node | None]:
    shown = ((one, reading.entry) for one, reading in zip(ids, read, strict=True))
    return {one: _node(one, entry) for one, entry in shown if entry is not None and not is_gone(one, entry)}


def _node(machine_id: str, entry: Entry) -> Node | None:
    """Give what a machine says of itself; None where that cannot be read: it is present all the same."""
    try:
        return node.decode(entry.value, entry.key, machine_id)
    except CorruptValueError:
        return None


def _claims(records: dict[str, Entry]) -> dict[str, Claim]:
    read = ((one, read_record(one, record)) for one, record in records.items())
    return {one: claim for one, claim in read if isinstance(claim, Claim)}
