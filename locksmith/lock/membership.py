"""The group remembers its machines: who was present, who is gone since when, and whether a reboot was needed.

`members/<id>` is of a machine that is present, `absent/<id>` of a machine that is gone. At rest neither is written. A
machine writes when it comes, when its need begins or ends, and when it leaves. If it vanishes, another machine moves
its record: a few times in five minutes one machine of the group, drawn by lot, looks for those that are gone.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Protocol

from locksmith.errors import ConflictError, CorruptValueError, HostError, StoreError, StoreRefusedError
from locksmith.lock import ended
from locksmith.lock.absence import move, note_absent, tidy
from locksmith.lock.records import keys, member, node
from locksmith.lock.records.member import STOPPED, Member
from locksmith.lock.records.node import Node
from locksmith.store.protocol import Delete, Entry, Store, remove

HOLD_OFF = 300.0
"""Seconds after a failure before the next attempt: nothing depends on this record."""
OBSERVERS = 2.0
"""How many machines of a group count in five minutes, about."""
OBSERVE_AFTER = 300.0
"""Seconds between two lots of a machine."""
OBSERVE_LIMIT = 5.0
"""Seconds for that: what is left is found by the next machine."""
TIDY_ONE_IN = 16
"""Old records are looked for at one count in so many."""


class Shows(Protocol):
    """The presence of this machine (presence.py)."""

    arrivals: int
    """How often it was written where none, or another's, was."""

    @property
    def written(self) -> Node | None:
        """Give what is in the store, as far as is known."""
        ...


class LastGroup(Protocol):
    """The group of which this machine was a member last, across restarts (host/last_group.py)."""

    def read(self) -> str | None:
        """Give it; None: none is known. `HostError`: it cannot be read."""
        ...

    def write(self, group: str) -> None:
        """Remember it. `HostError`: it did not reach the disk."""
        ...


class Membership:
    """The record of one machine, and its turn to look for those that are gone. No failure is an error of its caller."""

    def __init__(
        self,
        store: Store,
        group: str,
        machine_id: str,
        presence: Shows,
        last_group: LastGroup,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._presence = presence
        self._last_group = last_group
        self._store = store
        self._group = group
        self._key, self._absent = keys.member_key(group, machine_id), keys.absent_key(group, machine_id)
        self._clock = clock
        self._rng = Random()  # noqa: S311 - whose turn it is, no secret
        self._entry: Entry | None = None
        self._written: Member | None = None
        self._arrivals = -1
        self._held_off = self._observes = float("-inf")

    async def follow(self) -> None:
        """Remember this machine as its presence shows it."""
        shown, arrivals = self._presence.written, self._presence.arrivals
        if shown is None or _now() < self._held_off:
            return
        now = Member.of(shown, self._clock())
        written = self._written
        self._held_off = _now() + HOLD_OFF
        with contextlib.suppress(StoreError, HostError):
            if written is None:
                await self._move_in(shown)
            if written is None or arrivals != self._arrivals:
                await self._write(now)
            elif self._entry is not None and (written.need, written.hostname) != (now.need, now.hostname):
                await self._change(self._entry, now)
            self._arrivals, self._held_off = arrivals, float("-inf")

    async def leave(self) -> None:
        """Say that this machine leaves: its daemon is stopped. Errors are the store's."""
        if self._entry is None or self._written is None:
            return
        gone = self._written.left(STOPPED, self._clock())
        await move(self._store, self._entry, self._absent, gone)
        self._entry = self._written = None

    async def observe(self, machines: int) -> None:
        """Look for machines that are gone, if this machine's lot says so; `machines`: how many the group has."""
        if machines <= 0 or _now() < self._observes:
            return
        self._observes = _now() + OBSERVE_AFTER
        if self._rng.random() * machines > OBSERVERS:
            return
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(OBSERVE_LIMIT):
                await note_absent(self._store, self._group, self._clock())
                if self._rng.randrange(TIDY_ONE_IN) == 0:
                    await tidy(self._store, self._group, self._clock())

    async def _move_in(self, shown: Node) -> None:
        """End what is kept in the group in which this machine was before."""
        last = self._last_group.read()
        if last == self._group:
            return
        if last is not None:
            with contextlib.suppress(StoreRefusedError):  # it may not: then the machine expires there
                await move_out(self._store, last, shown)
        self._last_group.write(self._group)

    async def _write(self, now: Member) -> None:
        """Read whether the group took this machine for gone, and write its record."""
        before, absent = await self._store.read([self._key, self._absent])
        also = [Delete(self._absent, absent.version)] if absent.entry else []
        self._note(now, await self._store.swap(self._key, member.encode(now), before.version, also))

    async def _change(self, entry: Entry, now: Member) -> None:
        try:
            self._note(now, await self._store.swap(self._key, member.encode(now), entry.version))
        except ConflictError:
            await self._write(now)

    def _note(self, now: Member, entry: Entry) -> None:
        self._written, self._entry = now, entry


async def forget(store: Store, group: str, machine_id: str) -> bool:
    """Remove what the group remembers of a machine; False: it remembers nothing. Errors are the store's."""
    both = await store.read([keys.member_key(group, machine_id), keys.absent_key(group, machine_id)])
    found = [reading.entry for reading in both if reading.entry]
    await ended.forget(store, group, [machine_id])
    for entry in found:
        await remove(store, entry)
    return bool(found)


async def move_out(store: Store, group: str, shown: Node) -> None:
    """End what a group keeps of a machine that is in another group now. Errors are the store's.

    Its presence there ends too, unless it may hold a slot there, or is another machine's.
    """
    await forget(store, group, shown.machine_id)
    found = (await store.get(keys.node_key(group, shown.machine_id))).entry
    if found is None:
        return
    with contextlib.suppress(CorruptValueError):
        old = node.decode(found.value, found.key, shown.machine_id)
        same = (old.hostname, old.hardware) == (shown.hostname, shown.hardware)
        if same and old.claim == "":
            await remove(store, found)


def _now() -> float:
    return asyncio.get_running_loop().time()
