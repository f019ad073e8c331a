"""Reads everything the store knows about a group.

The parts are read one after another, not at one moment: nothing is decided by it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from locksmith.errors import CorruptValueError, LocksmithError
from locksmith.fleet.group import GroupView
from locksmith.lock import places
from locksmith.lock.chunks import READS
from locksmith.lock.guarded import Guarded
from locksmith.lock.pages import read_all
from locksmith.lock.records import incident, keys, member, node, order, share, waiter
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import FREEZE, HOLD, SPACING, Order
from locksmith.lock.records.shown import shown
from locksmith.lock.records.waiter import Waiter
from locksmith.store.protocol import Entry, Store
from locksmith.util.commands import with_group

T = TypeVar("T")


_NO_LEASE = "it has no lease (a copied keyspace?), so it shows no machine that is there; {}"


AT_ONCE = 100
"""Records that are decoded before others have their turn in the event loop."""
KNOWN_AT_ONCE = 1000
"""Records that were decoded before, and are found again: 5 ms."""


class Memo:
    """What was decoded in the last reading of a group: the next one decodes what is new."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[bytes, bool, Any]] = {}
        self._now: dict[str, tuple[bytes, bool, Any]] = {}

    def find(self, entry: Entry) -> tuple[Any] | None:
        """Give what an equal entry was decoded to; None: it was not."""
        known = self._last.get(entry.key)
        if known is None or known[0] != entry.value or known[1] != bool(entry.lease):
            return None
        self._now[entry.key] = known
        return (known[2],)

    def keep(self, entry: Entry, decoded: object) -> None:
        """Remember what an entry was decoded to."""
        self._now[entry.key] = (entry.value, bool(entry.lease), decoded)

    def end(self) -> None:
        """Forget what this reading has not met."""
        self._last, self._now = self._now, {}


class _Decoding:
    """The decoding of one reading: what cannot be read is one of its `problems`."""

    def __init__(self, memo: Memo) -> None:
        self.problems: list[CorruptValueError] = []
        self._memo = memo
        self._done = self._found = 0

    async def all(self, parse: Callable[[Entry], T], entries: Iterable[Entry]) -> list[T]:
        """Decode entries."""
        found: list[T] = []
        for entry in entries:
            if (known := self._memo.find(entry)) is not None:
                found.append(known[0])
                self._found += 1
                if self._found % KNOWN_AT_ONCE == 0:
                    await asyncio.sleep(0)
                continue
            try:
                found.append(shown(parse(entry)))
                self._memo.keep(entry, found[-1])
            except CorruptValueError as error:
                self.problems.append(error)
            self._done += 1
            if self._done % AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def one(self, parse: Callable[[Entry], T], entry: Entry | None) -> T | None:
        """Decode an entry, if there is one."""
        return next(iter(await self.all(parse, (entry,) if entry else ())), None)


async def read_group(store: Store, group: str, memo: Memo | None = None) -> GroupView:
    """Read all of a group. A semaphore that cannot be read is a `CorruptValueError`; others are its `problems`.

    For who reads again and again, `memo` keeps what was decoded.
    """
    now = datetime.now(UTC)
    memo = memo or Memo()
    decoded = _Decoding(memo)
    state = await Guarded(store, group).read()
    line = await read_all(store, keys.waiters_prefix(group))
    present = await read_all(store, keys.nodes_prefix(group))
    await asyncio.sleep(0)  # a store in memory has let no other have its turn
    single = (keys.share_key(group), keys.freeze_key(group), keys.spacing_key(group), keys.incidents_key(group))
    # Not in one transaction: etcd refuses those when it has no space left, and that is when operators ask why.
    shared, freeze, spacing, noted = [(await store.get(key)).entry for key in single]
    remembered = [*await read_all(store, keys.members_prefix(group)), *await read_all(store, keys.absent_prefix(group))]
    held_back = await read_all(store, keys.holds_prefix(group))
    await asyncio.sleep(0)
    ordered = _in_order(line)
    await asyncio.sleep(0)
    decoded.problems += [claim for claim in state.claims.values() if isinstance(claim, CorruptValueError)]
    nodes = await decoded.all(_parse_node, present)
    absent = _absent(await decoded.all(_parse_member, remembered), present, now)
    await asyncio.sleep(0)
    view = GroupView(
        group=group,
        semaphore=state.semaphore,
        claims={holder: shown(claim) for holder, claim in state.claims.items()},
        waiters=tuple(await decoded.all(_parse_place, ordered)),
        machines={one.machine_id: one for one in nodes if not one.has_expired(now)},
        absent=absent,
        share=await decoded.one(lambda entry: share.decode(entry.value, entry.key), shared),
        freeze=await decoded.one(lambda entry: order.decode(entry.value, entry.key, FREEZE), freeze),
        holds=dict(await decoded.all(_parse_hold, held_back)),
        spacing=await decoded.one(lambda entry: order.decode(entry.value, entry.key, SPACING), spacing),
        noted=tuple(await decoded.one(_parse_incidents, noted) or ()),
        problems=tuple(decoded.problems),
        revision=state.revision,
        at=now,
    )
    memo.end()
    return view


async def read_slots(store: Store, group: str) -> GroupView:
    """Read who holds the slots of a group, and what those machines show of themselves; nothing else of it.

    The readings are of several moments: they are for people.
    """
    state = await Guarded(store, group).read()
    machines = {}
    holders = state.semaphore.holders
    for start in range(0, len(holders), READS):
        chunk = holders[start : start + READS]
        readings = await store.read([keys.node_key(group, holder) for holder in chunk])
        for holder, reading in zip(chunk, readings, strict=True):
            with contextlib.suppress(CorruptValueError):
                if reading.entry is not None:
                    machines[holder] = shown(node.decode(reading.entry.value, reading.entry.key, holder))
    claims = {holder: shown(claim) for holder, claim in state.claims.items()}
    return GroupView(group, state.semaphore, claims, machines=machines, revision=state.revision, at=datetime.now(UTC))


def _parse_hold(entry: Entry) -> tuple[str, Order]:
    return _name(entry), shown(order.decode(entry.value, entry.key, HOLD))


def _parse_incidents(entry: Entry) -> list[Incident]:
    return [shown(one) for one in incident.decode(entry.value, entry.key)]


def _parse_node(entry: Entry) -> Node:
    found = node.decode(entry.value, entry.key, _name(entry))
    if not entry.lease and found.written is None:
        raise CorruptValueError(entry.key, _NO_LEASE.format("its locksmithd writes it again within 5 minutes"))
    return found


def _parse_place(entry: Entry) -> Waiter:
    found = waiter.decode(entry.value, entry.key)
    if not entry.lease:
        raise CorruptValueError(entry.key, _NO_LEASE.format("the next in the queue removes it"))
    return found


def _parse_member(entry: Entry) -> Member:
    return member.decode(entry.value, entry.key, _name(entry))


def _name(entry: Entry) -> str:
    return keys.unsegment(entry.key.rpartition("/")[2])


def _absent(remembered: Iterable[Member], present: Iterable[Entry], now: datetime) -> dict[str, Member]:
    """Leave out machines that are present: also those whose presence cannot be read."""
    there = {keys.unsegment(entry.key.rpartition("/")[2]) for entry in present}
    return {one.machine_id: one for one in remembered if one.machine_id not in there and not one.is_old(now)}


def _in_order(line: Iterable[Entry]) -> list[Entry]:
    """Sort places by their turn; each machine has its last one.

    A machine that enters the queue again between two pages that are not of one revision (pages.py) is on both.
    """

    def turn(place: Entry) -> tuple[int, str]:
        return places.turn(place.key, place.created)

    ranked = sorted(line, key=turn)
    last = {places.name_in(place.key): place for place in ranked}
    return ranked if len(last) == len(ranked) else sorted(last.values(), key=turn)


async def list_groups(store: Store) -> list[str]:
    """Name every group that is in use, as `is_used` says; the default one is "", and comes first."""
    folders = sorted(keys.group_of_folder(folder) for folder in await store.folders(keys.groups_prefix()))
    found: list[str] = []
    for start in range(0, len(folders) + 1, READS):
        chunk = ["", *folders][start : start + READS]
        readings = await store.read([keys.semaphore_key(group) for group in chunk])
        for group, reading in zip(chunk, readings, strict=True):
            if reading.entry is not None or await _has_more(store, group):
                found.append(group)
    return found


async def read_groups(store: Store) -> tuple[list[GroupView], list[str]]:
    """Read every group, and say of those that cannot be read why."""
    views, problems = [], []
    for name in await list_groups(store):
        try:
            views.append(await read_group(store, name))
        except LocksmithError as error:
            problems.append(f"{name or 'the default group'}: {with_group(str(error), name)}")
    return views, problems


async def is_used(store: Store, group: str) -> bool:
    """Tell whether a group has a semaphore, a machine or an order. A past alone (its history) makes no group."""
    return (await store.get(keys.semaphore_key(group))).entry is not None or await _has_more(store, group)


async def _has_more(store: Store, group: str) -> bool:
    single = (keys.freeze_key(group), keys.share_key(group), keys.spacing_key(group), keys.incidents_key(group))
    if any(reading.entry is not None for reading in await store.read(single)):
        return True
    several = (keys.nodes_prefix, keys.waiters_prefix, keys.holders_prefix, keys.holds_prefix)
    for prefix in several:
        if await store.count(prefix(group)):
            return True
    return False
