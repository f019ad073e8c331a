"""Faults for the store in memory that loses exactly the answers a test names."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreError, StoreUnavailableError
from locksmith.store.memory import Call, MemoryStore
from locksmith.store.protocol import Change, Delete, Entry, Note, Put, any_change

T = TypeVar("T")

ARRIVES = "arrives"
NEVER_SENT = "never sent"
ANSWER_LOST = "applied, answer lost"
LATE = "answer lost, applied when the test says so"
DROPPED = "answer lost, never applied"


@dataclass
class FaultScript:
    """The fates of the writes, one after another; when they run out, every call arrives.

    `meanwhile` happens once, after a write whose answer is lost, before whoever made it hears of that.
    """

    fates: list[str] = field(default_factory=list)
    late: list[Callable[[], object]] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[object]] | None = None
    writes: int = 0
    calls: list[str] = field(default_factory=list)

    async def carry(self, call: Call[T]) -> T:
        """Give one call its fate."""
        await asyncio.sleep(0)
        self.calls.append(call.name)
        if not call.write:
            return call.apply()
        self.writes += 1
        fate = self.fates.pop(0) if self.fates else ARRIVES
        if fate == ARRIVES:
            return call.apply()
        if fate == NEVER_SENT:
            raise StoreUnavailableError("no endpoint answered")
        if fate == ANSWER_LOST:
            call.apply()
        elif fate == LATE:
            self.late.append(call.apply)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        raise OutcomeUnknownError("the answer was lost")

    def arrive_late(self) -> list[str]:
        """Let the late writes arrive now, and say what became of each."""
        outcomes = []
        for apply in self.late:
            try:
                apply()
                outcomes.append("applied")
            except ConflictError:
                outcomes.append("too late")
        self.late.clear()
        return outcomes


class StepwiseStore(MemoryStore):
    """The store in memory with the manners of etcd v2: no transactions, but one guarded write after another.

    Nor does a wait say how the key stands.
    """

    transactional = False

    async def wait(self, key, after, *, prefix=False, limit=60.0, until=any_change) -> Change | None:
        """Wait for a change, whatever it is waited for."""
        del until
        return Change() if await super().wait(key, after, prefix=prefix, limit=limit) else None

    async def enter(self, make, *, ttl) -> tuple[Entry, Entry, int]:
        """Write the ticket, which does not expire, then the place, then remove."""
        entering = make((await self.get(make(0).ticket.key)).revision)
        ticket = await self.create(entering.ticket.key, entering.ticket.value)
        place = await self.create(entering.place.key, entering.place.value, ttl=ttl)
        if isinstance(entering.gone, Delete):
            with contextlib.suppress(ConflictError):
                await self.delete(entering.gone.key, entering.gone.version)
        return place, ticket, (await self.range(entering.since, place.key)).total

    async def rejoin(self, entry, value, other, *, ttl) -> tuple[Entry, Entry]:
        """Write the one that expires."""
        write = self.update if entry.lease else self.replace
        return await write(entry, value, ttl), other

    async def swap(self, key, value, version, also=(), *, ttl=None) -> Entry:
        """Write the puts, then the key, then remove; what fails leaves what was written before it."""
        for change in also:
            if isinstance(change, Put):
                await super().swap(change.key, change.value, change.version)
        entry = await super().swap(key, value, version, ttl=ttl)
        for change in also:
            if isinstance(change, Delete):
                try:
                    await self.delete(change.key, change.version)
                except ConflictError:
                    continue
        for note in also:
            if isinstance(note, Note):
                with contextlib.suppress(StoreError):
                    await self.create(note.key, note.value, ttl=note.ttl)
        return entry
