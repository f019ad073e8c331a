"""The swaps of one server go together, and each gets its own end."""

import asyncio

import pytest

from locksmith.errors import ConflictError, LockError, OutcomeUnknownError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.records import keys
from locksmith.lock.records import semaphore as record
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.batches import Batches
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Check, Put
from locksmith.util import limits
from tests.sim.virtual_time import run

G = "workers"
KEY = keys.semaphore_key(G)


class Wire:
    """A network in which each request takes 3 ms; `swaps` are those that came, and `faults` what they meet."""

    def __init__(self):
        self.swaps = 0
        self.faults = []

    async def carry(self, call):
        await asyncio.sleep(0.003)
        if call.name != "swap":
            return call.apply()
        self.swaps += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is OutcomeUnknownError:
            call.apply()
        if fault is not None:
            raise fault("the answer is lost")
        return call.apply()


class Site:
    def __init__(self, slots, holders=()):
        self.wire, self.server = Wire(), MemoryServer()
        self.store = Batches(MemoryStore(self.server, self.wire), [G])
        self.elsewhere = MemoryStore(self.server)
        self.start = Semaphore(slots, holders)

    async def begin(self):
        await self.elsewhere.create(KEY, record.encode(self.start))
        return await self.read()

    async def read(self):
        reading = await self.store.get(KEY)
        assert reading.entry is not None
        return record.decode(reading.entry.value, KEY), reading.version

    async def take(self, holder, seen=None, also=()):
        """Decide from one reading, and swap."""
        now, version = seen or await self.read()
        put = Put(keys.holder_key(G, holder), b"{}", 0)
        return await self.store.swap(KEY, record.encode(now.take(holder)), version, [put, *also])

    async def release(self, holder, seen):
        now, version = seen
        note = Put(f"notes/{holder}", b"{}", 0)
        return await self.store.swap(KEY, record.encode(now.release(holder)), version, [note])

    async def holders(self):
        return (await self.read())[0].holders


def play(story, slots, holders=()):
    site = Site(slots, holders)
    return run(lambda _loop: story(site))


def ends(*calls):
    return asyncio.gather(*calls, return_exceptions=True)


async def begun(*calls):
    """Begin calls, the first a moment before the others: they wait while its swap is on its way."""
    first = asyncio.ensure_future(calls[0])
    await asyncio.sleep(0.001)
    rest = [asyncio.ensure_future(call) for call in calls[1:]]
    await asyncio.sleep(0.001)
    return [first, *rest]


def test_calls_that_come_while_a_swap_is_on_its_way_are_one_and_none_loses_a_race():
    async def story(site):
        seen = await site.begin()
        names = [f"c{number}" for number in range(9)]
        found = await ends(*await begun(*(site.take(name, seen) for name in names)))
        assert [entry.key for entry in found] == [KEY] * 9
        assert site.wire.swaps == 2
        assert len({entry.version for entry in found[1:]}) == 1
        assert list(await site.holders()) == names

    play(story, 10)


def test_one_refused_among_several_has_a_conflict_of_its_own():
    async def story(site):
        seen = await site.begin()
        found = await ends(site.take("c1", seen), site.take("c2", seen), site.take("c3", seen), site.release("a", seen))
        assert [isinstance(end, ConflictError) for end in found] == [False, False, True, False]
        assert await site.holders() == ("c1", "c2")

    play(story, 2, ("a",))


def test_a_swap_whose_own_guard_fails_keeps_no_other_from_its_end():
    async def story(site):
        seen = await site.begin()
        gone = Check("places/c3", None)
        calls = (site.take(f"c{n}", seen, [gone] if n == 3 else []) for n in range(1, 6))
        found = await ends(*await begun(*calls))
        assert [isinstance(end, ConflictError) for end in found] == [False, False, True, False, False]
        assert await site.holders() == ("c1", "c2", "c4", "c5")

    play(story, 9)


def test_a_swap_that_the_store_refuses_keeps_no_other_from_its_end():
    async def story(site):
        seen = await site.begin()
        site.wire.faults = [None, StoreRefusedError, None, StoreRefusedError]
        found = await ends(*await begun(*(site.take(f"c{n}", seen) for n in range(1, 5))))
        assert [isinstance(end, StoreRefusedError) for end in found] == [False, False, True, False]
        assert await site.holders() == ("c1", "c2", "c4")

    play(story, 9)


def test_swaps_that_together_are_too_long_are_sent_one_by_one(monkeypatch):
    monkeypatch.setattr(limits, "SEMAPHORE", 52)

    async def story(site):
        seen = await site.begin()
        found = await ends(*await begun(*(site.take(f"c{n}", seen) for n in range(1, 5))))
        assert [isinstance(end, LockError) for end in found] == [False, False, False, True]
        assert await site.holders() == ("c1", "c2", "c3")

    play(story, 9)


def test_what_another_writes_in_between_makes_all_of_them_read_again():
    """It may be an order of an operator: what was decided before must not be done after it."""

    async def story(site):
        seen = await site.begin()
        first, *later = await begun(*(site.take(f"c{n}", seen) for n in (1, 2, 3)))
        await first
        reading = await site.elsewhere.get(KEY)
        assert reading.entry is not None
        await site.elsewhere.swap(KEY, reading.entry.value, reading.version)
        assert [type(end) for end in await ends(*later)] == [ConflictError] * 2
        assert site.wire.swaps == 2
        assert await site.holders() == ("c1",)
        await ends(*(site.take(f"c{n}") for n in (2, 3)))
        assert await site.holders() == ("c1", "c2", "c3")

    play(story, 9)


def test_nothing_that_was_decided_before_a_fence_of_this_server_is_done_after_it():
    async def story(site):
        now, version = seen = await site.begin()
        fence, take = await begun(site.store.swap(KEY, record.encode(now), version), site.take("c1", seen))
        await fence
        assert [type(end) for end in await ends(take)] == [ConflictError]
        assert await site.holders() == ()

    play(story, 2)


def test_a_caller_that_is_cut_off_takes_its_swap_with_it_and_leaves_the_others():
    async def story(site):
        seen = await site.begin()
        calls = await begun(*(site.take(f"c{n}", seen) for n in range(4)))
        calls[2].cancel()
        await ends(*calls)
        assert await site.holders() == ("c0", "c1", "c3")

    play(story, 9)


def test_a_caller_that_is_cut_off_while_its_swap_is_on_its_way_leaves_the_others():
    async def story(site):
        seen = await site.begin()
        calls = await begun(*(site.take(f"c{n}", seen) for n in range(3)))
        calls[0].cancel()
        found = await ends(*calls)
        assert isinstance(found[0], asyncio.CancelledError)
        assert [entry.key for entry in found[1:]] == [KEY] * 2
        assert await site.holders() == ("c0", "c1", "c2")

    play(story, 9)


@pytest.mark.parametrize("lost", [OutcomeUnknownError, StoreUnavailableError])
def test_an_answer_that_is_lost_is_lost_for_each_of_them(lost):
    async def story(site):
        seen = await site.begin()
        site.wire.faults = [None, lost]
        found = await ends(*await begun(*(site.take(f"c{n}", seen) for n in range(4))))
        assert [type(end) for end in found[1:]] == [lost] * 3
        assert len(set(map(id, found[1:]))) == 3
        assert len(await site.holders()) == (4 if lost is OutcomeUnknownError else 1)

    play(story, 9)


def test_what_waits_while_the_server_stops_was_not_sent():
    async def story(site):
        seen = await site.begin()
        calls = await begun(*(site.take(f"c{n}", seen) for n in range(3)))
        await site.store.close()
        assert [type(end) for end in await ends(*calls)] == [
            OutcomeUnknownError,
            StoreUnavailableError,
            StoreUnavailableError,
        ]

    play(story, 9)


def test_a_restored_store_is_believed_not_what_was_remembered():
    """A version may come again, with another value."""

    async def story(site):
        seen = await site.begin()
        await site.take("c1", seen)
        site.server._entries.clear()
        site.server.revision = 0
        await site.elsewhere.create(KEY, record.encode(Semaphore(2, ("b",))))
        assert (await site.read())[0].holders == ("b",)
        await site.take("c2")
        assert await site.holders() == ("b", "c2")

    play(story, 2)
