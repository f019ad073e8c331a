"""The swaps of each semaphore by one server, one at a time: those that are asked for meanwhile go together in the next.

Calls of many clients come at once, and each writes the semaphore of its group. One after another they would lose races
against each other. So the swaps that wait are one swap (batch.py), and each call gets its own end of it. Nothing is
granted here: each call has decided from its own reading, and its swap is done when the store says so.

A batch is guarded by the semaphore's version after the last swap from here. If a guard fails, and the semaphore is not
the cause, the swaps are sent one by one: one that cannot be done keeps no other from its end. What a batch was told
counts for each of its swaps, also that the outcome is unknown.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    LockError,
    OutcomeUnknownError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.lock.guarded import raw
from locksmith.lock.records import semaphore
from locksmith.lock.records.keys import semaphore_key
from locksmith.server.batch import Batch, Step, together
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import Also, Change, Entry, Reading, Store, Until, any_change

if TYPE_CHECKING:
    from locksmith.lock.records.semaphore import Semaphore

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Versions of a semaphore whose value is remembered: what was decided on an older one goes alone."""
STOPS = "locksmith-server stops"


@dataclass(eq=False)
class _Swap:
    """A swap that waits for its end."""

    value: bytes
    version: int
    also: Sequence[Also]
    end: "asyncio.Future[Entry]"
    step: Step | None

    def done(self, entry: Entry) -> None:
        if not self.end.done():
            self.end.set_result(entry)

    def failed(self, error: BaseException) -> None:
        if not self.end.done():
            self.end.set_exception(error)


@dataclass(eq=False)
class _Lane:
    """One semaphore: its values by version, as they were read or written here, and the swaps that wait.

    `own`: versions of which each but the first was written from here, right after the one before it.
    """

    store: Store
    key: str
    values: "OrderedDict[int, Semaphore]" = field(default_factory=OrderedDict)
    own: list[int] = field(default_factory=list)
    waiting: list[_Swap] = field(default_factory=list)
    work: "asyncio.Task[None] | None" = None

    def saw(self, reading: Reading) -> None:
        """Remember a value."""
        try:
            now = semaphore.decode(raw(reading), self.key)
        except CorruptValueError:
            return
        if self.values.get(reading.version, now) != now:  # a store that was restored
            self.values.clear()
            self.own.clear()
        self.values[reading.version] = now
        if len(self.values) > REMEMBERED:
            self.values.popitem(last=False)

    async def swap(self, value: bytes, version: int, also: Sequence[Also]) -> Entry:
        """Do a swap with those that wait. A caller that is cut off takes its swap with it, unless it is on its way."""
        swap = _Swap(value, version, also, asyncio.get_running_loop().create_future(), self._step(value, version, also))
        self.waiting.append(swap)
        if self.work is None:
            self.work = asyncio.ensure_future(self._work())
        try:
            return await swap.end
        finally:
            if swap in self.waiting:
                self.waiting.remove(swap)

    def _step(self, value: bytes, version: int, also: Sequence[Also]) -> Step | None:
        before = self.values.get(version)
        with suppress(CorruptValueError):
            return Step.between(before, semaphore.decode(value, self.key), also) if before is not None else None
        return None

    async def _work(self) -> None:
        """Work until no swap waits. Where that is cut off, or fails, those that wait were certainly not sent."""
        try:
            while self.waiting:
                await self._next()
        except asyncio.CancelledError:
            self._give_up(STOPS)
            raise
        except Exception:
            log.exception("a defect of locksmith-server: swaps of %s are not done", self.key)
            self._give_up("locksmith-server has a defect: its log says more")
        finally:
            self.work = None

    def _give_up(self, why: str) -> None:
        for swap in self.waiting:
            swap.failed(StoreUnavailableError(why))
        self.waiting.clear()

    async def _next(self) -> None:
        """Do the first swap that waits, and with it all others that go with it."""
        first = self.waiting[0]
        base = self._base(first)
        now = self.values.get(base)
        if first.step is None or now is None:
            self.waiting.remove(first)
            with _cut_off([first]):
                return await self._alone(first)
        fellows = [swap for swap in self.waiting if swap.step is not None and self._base(swap) == base]
        batch = together(now, [swap.step for swap in fellows if swap.step is not None])
        if not batch.picked or batch.picked[0]:  # the first does not fit, although nothing is before it
            self.waiting.remove(first)
            return first.failed(self._overtaken())
        swaps = [fellows[number] for number in batch.picked]
        for swap in swaps:
            self.waiting.remove(swap)
        with _cut_off(swaps):
            return await self._send(swaps, batch, base)

    def _base(self, swap: _Swap) -> int:
        """Give the version to start from: what was decided on one of our own holds on the last of them."""
        return self.own[-1] if swap.version in self.own else swap.version

    async def _alone(self, swap: _Swap) -> None:
        """Send a swap just as it was asked for; what was decided before it is not done after it."""
        self.own.clear()
        try:
            entry = await self.store.swap(self.key, swap.value, swap.version, swap.also)
        except StoreError as error:
            swap.failed(error)
        else:
            self._wrote(entry, None)
            swap.done(entry)

    async def _send(self, swaps: Sequence[_Swap], batch: Batch, base: int) -> None:
        try:
            await self._ask(swaps, batch, base)
        except (ConflictError, StoreRefusedError, LockError) as error:
            if len(swaps) > 1 and await self._still(base):
                return await self._one_by_one(swaps, base)
            if isinstance(error, ConflictError):
                self.own.clear()
            _fail(swaps, error)
        except StoreError as error:
            self.own.clear()
            _fail(swaps, error)
        return None

    async def _one_by_one(self, swaps: Sequence[_Swap], base: int) -> None:
        """Send each alone: nothing was written, and the semaphore is not the cause."""
        for swap in swaps:
            batch = together(self.values[base], [swap.step] if swap.step else [])
            if not batch.picked:
                swap.failed(self._overtaken())
                continue
            try:
                base = await self._ask([swap], batch, base)
            except (StoreError, LockError) as error:
                swap.failed(error)

    async def _ask(self, swaps: Sequence[_Swap], batch: Batch, base: int) -> int:
        """Ask the store for a batch, and give the version after it; `LockError`: its value would be too long."""
        entry = await self.store.swap(self.key, semaphore.encode(batch.after), base, batch.also)
        self._wrote(entry, base)
        for swap in swaps:
            swap.done(entry)
        return entry.version

    def _overtaken(self) -> ConflictError:
        return ConflictError(f"{self.key} was changed by another call meanwhile")

    async def _still(self, version: int) -> bool:
        with suppress(StoreError):
            reading = await self.store.get(self.key)
            self.saw(reading)
            return reading.version == version
        return False

    def _wrote(self, entry: Entry, base: int | None) -> None:
        if base is None or not self.own or self.own[-1] != base:
            self.own = [] if base is None else [base]
        self.own = [*self.own[-REMEMBERED:], entry.version]
        self.saw(Reading(entry, entry.version))


class Batches(ObservedStore):
    """`Store`, whose swaps of a semaphore go together. On v2 each goes alone: a batch is one transaction."""

    def __init__(self, store: Store, groups: Iterable[str]) -> None:
        super().__init__(store, Meter())
        self._lanes = {key: _Lane(store, key) for key in map(semaphore_key, groups)}

    async def get(self, key: str) -> Reading:
        """Read one key."""
        reading = await super().get(key)
        self._saw(key, reading)
        return reading

    async def read(self, keys: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        readings = await super().read(keys)
        for key, reading in zip(keys, readings, strict=True):
            self._saw(key, reading)
        return readings

    async def wait(
        self, key: str, after: int, *, prefix: bool = False, limit: float = 60.0, until: Until = any_change
    ) -> Change | None:
        """Wait for a change."""
        change = await super().wait(key, after, prefix=prefix, limit=limit, until=until)
        if change is not None and change.reading is not None and not prefix:
            self._saw(key, change.reading)
        return change

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings."""
        lane = self._lanes.get(key)
        if lane is None or ttl is not None or not self.transactional:
            return await super().swap(key, value, version, also, ttl=ttl)
        return await lane.swap(value, version, also)

    async def close(self) -> None:
        """Let go of every connection; what waits ends."""
        works = [lane.work for lane in self._lanes.values() if lane.work is not None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        await super().close()

    def _saw(self, key: str, reading: Reading) -> None:
        if (lane := self._lanes.get(key)) is not None:
            lane.saw(reading)


def _fail(swaps: Sequence[_Swap], error: StoreError | LockError) -> None:
    """Give each caller an error of its own: each adds its own trace."""
    for swap in swaps:
        swap.failed(copy(error))


@contextmanager
def _cut_off(swaps: Sequence[_Swap]) -> Iterator[None]:
    """The outcome of swaps that are cut off on their way is unknown."""
    try:
        yield
    except StoreError:
        raise
    except BaseException:
        _fail(swaps, OutcomeUnknownError(STOPS))
        raise
