"""Which machines of a group are gone: remembered, and no longer present.

A daemon that looks for them reads little, however large the group is: where as many machines are present as are
remembered, it reads no more than the two numbers.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.errors import ConflictError, CorruptValueError
from locksmith.lock import ended, places
from locksmith.lock.pages import read_all
from locksmith.lock.records import keys, member
from locksmith.lock.records.member import MOST, NOT_SEEN, Member
from locksmith.lock.records.node import TTL
from locksmith.store.protocol import Delete, Entry, Store, remove

log = logging.getLogger(__name__)

LISTED = 100
"""Keys that are listed; more are divided first."""
MOST_MOVED = 200
"""Records that a machine moves at a time; the others follow later."""
DEEPEST = 8
_CUTS = "123456789abcdef"


@dataclass(frozen=True, slots=True)
class _Slice:
    """The ids from `start` on, before `end` (None: to the last); `stem` is what the next cuts begin with."""

    start: str = ""
    end: str | None = None
    stem: str = ""

    def parts(self) -> "list[_Slice]":
        """Divide it: ids are hexadecimal, and spread evenly."""
        cuts = [self.stem + digit for digit in _CUTS]
        stems = [self.stem + digit for digit in f"0{_CUTS}"]
        return [_Slice(*part) for part in zip([self.start, *cuts], [*cuts, self.end], stems, strict=True)]

    def below(self, prefix: str) -> tuple[str, str]:
        """Give the keys below a prefix, as bounds of a range."""
        return prefix + self.start, places.past(prefix) if self.end is None else prefix + self.end


async def note_absent(store: Store, group: str, now: datetime) -> int:
    """Move the records of machines whose presence has expired, and tell how many. Errors are the store's."""
    moved = 0
    async for entry in _missing(store, group):
        with contextlib.suppress(ConflictError):  # it is back, or another machine was faster
            moved += await _note_gone(store, entry, group, now)
        if moved >= MOST_MOVED:
            break
    return moved


async def _missing(store: Store, group: str) -> AsyncIterator[Entry]:
    """Give what is remembered of machines without presence. On v2 a count reads everything, so nothing is divided."""
    members, nodes = keys.members_prefix(group), keys.nodes_prefix(group)
    slices = [(_Slice(), 0)]
    while slices:
        part, depth = slices.pop()
        remembered = await store.range(*part.below(members), limit=1)
        present = await store.range(*part.below(nodes), limit=1)
        if remembered.total <= present.total:
            continue
        if store.transactional and remembered.total > LISTED and depth < DEEPEST:
            slices += [(one, depth + 1) for one in part.parts()]
            continue
        shown = {entry.key.removeprefix(nodes) for entry in (await store.range(*part.below(nodes))).entries}
        for entry in (await store.range(*part.below(members))).entries:
            if entry.key.removeprefix(members) not in shown:
                yield entry


async def _note_gone(store: Store, entry: Entry, group: str, now: datetime) -> int:
    machine_id = keys.unsegment(entry.key.rpartition("/")[2])
    try:
        known = member.decode(entry.value, entry.key, machine_id)
    except CorruptValueError as error:
        log.info("%s", error)
        return 0
    since = now - timedelta(seconds=TTL)
    await move(store, entry, keys.absent_key(group, machine_id), known.left(NOT_SEEN, max(since, known.seen)))
    return 1


async def move(store: Store, entry: Entry, to: str, gone: Member) -> None:
    """Write a record to `to`, as that of a machine that is gone; `ConflictError`: the machine wrote its own."""
    before = await store.get(to)
    await store.swap(to, member.encode(gone), before.version, [Delete(entry.key, entry.version)])


async def tidy(store: Store, group: str, now: datetime) -> None:
    """Forget machines that have been gone for long, and the oldest of very many. Errors are the store's."""
    prefix = keys.absent_prefix(group)
    kept: list[tuple[datetime, Entry]] = []
    old: list[Entry] = []
    for entry in await read_all(store, prefix):
        with contextlib.suppress(CorruptValueError):
            found = member.decode(entry.value, entry.key, keys.unsegment(entry.key.removeprefix(prefix)))
            if found.is_old(now):
                old.append(entry)
            else:
                kept.append((found.gone or found.seen, entry))
    kept.sort(key=lambda one: one[0])
    old += [entry for _, entry in kept[: max(0, len(kept) - MOST)]]
    await ended.forget(store, group, [keys.unsegment(entry.key.removeprefix(prefix)) for entry in old])
    for entry in old:
        with contextlib.suppress(ConflictError):
            await remove(store, entry)
