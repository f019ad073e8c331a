"""The places of thousands of machines are checked in steps: between two of them calls are answered."""

import asyncio
from dataclasses import replace

from locksmith.lock.places import numbered_key
from locksmith.lock.records import keys
from locksmith.server import shared_places
from locksmith.server.group_mirror import Freshness, Mirror
from locksmith.server.shared_places import SILENT, TTL, SharedPlaces
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Entry, Put
from tests.sim.virtual_time import run

LEASE = 7
PLACES = 100


class Current(Mirror):
    """A mirror that knows what it is told to."""

    @property
    def freshness(self):
        return Freshness(current=True, age=0.0)


class Binding(MemoryStore):
    """Notes what is bound to which lease."""

    def __init__(self, *args):
        super().__init__(*args)
        self.bound = []

    async def bind(self, puts, lease):
        self.bound += [(put.key, lease) for put in puts]


class Noting(SharedPlaces):
    """Notes what it would remove, and binds what cannot be read too."""

    def __init__(self, *args):
        super().__init__(*args)
        self.removed = []

    def _puts(self, place):
        return [Put(place.key, place.value, place.version)]

    async def _remove(self, place):
        self.removed.append(place.key)


def kept():
    """Places that have the server's lease, of machines that have just called."""
    store = Binding(MemoryServer())
    mirror = Current(store, "p/", "the group")
    places = Noting(store, mirror, "web")
    places._lease, places._kept = LEASE, asyncio.get_running_loop().time()
    entries = [Entry(f"p/{number:03}", b"x", 5, 5, LEASE) for number in range(PLACES)]
    for entry in entries:
        mirror.replica._entries[entry.key] = entry
        places.called(entry)
    return places, entries


def test_calls_have_their_turn_between_the_steps(monkeypatch):
    monkeypatch.setattr(shared_places, "AT_ONCE", 10)

    async def story(_loop):
        places, _ = kept()
        round_ = asyncio.ensure_future(places._round())
        turns = 0
        while not round_.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= PLACES / 10

    run(story)


def test_a_machine_that_calls_while_the_places_are_checked_keeps_its_own(monkeypatch):
    monkeypatch.setattr(shared_places, "AT_ONCE", 10)

    async def story(loop):
        places, entries = kept()
        await asyncio.sleep(SILENT + 1)
        places._kept = loop.time()
        for entry in entries[2:]:
            places.called(entry)
        round_ = asyncio.ensure_future(places._round())
        await asyncio.sleep(0)
        places.called(entries[0])
        await round_
        assert places.removed == [entries[1].key]

    run(story)


def test_a_place_that_its_machine_has_written_since_lasts_from_then_on():
    """The machine called while memory was old, so the store answered it, and told it that it waits."""

    async def story(loop):
        places, (first, *_) = kept()
        await asyncio.sleep(SILENT - 10)
        places._kept = loop.time()
        written = replace(first, version=6, lease=LEASE + 1)
        places._mirror.replica._entries[first.key] = written
        await places._round()
        bound = replace(first, version=7)
        places._mirror.replica._entries[first.key] = bound
        await asyncio.sleep(20)
        await places._round()
        assert first.key not in places.removed
        await asyncio.sleep(SILENT)
        places._kept = loop.time()
        await places._round()
        assert first.key in places.removed

    run(story)


def test_a_server_that_stood_still_waits_for_a_call_before_it_removes_what_it_binds():
    """The machine has called another server meanwhile, which keeps its place no more once this one has bound it."""

    async def story(loop):
        places, _ = kept()
        replica = places._mirror.replica
        place = replica._entries["p/m1"] = Entry("p/m1", b"x", 5, 5, LEASE + 1)
        places.called(place)
        await asyncio.sleep(SILENT - 10)
        places._kept = loop.time()
        await places._round()
        replica._entries["p/m1"] = replace(place, version=6, lease=LEASE)
        await asyncio.sleep(20)
        await places._round()
        assert "p/m1" not in places.removed
        await asyncio.sleep(SILENT)
        places._kept = loop.time()
        await places._round()
        assert "p/m1" in places.removed

    run(story)


def test_a_call_that_the_store_has_answered_keeps_the_place_too():
    """Memory was old, and the place had a lease of its own, which the call prolonged: that shows nowhere else."""

    async def story(loop):
        places, _ = kept()
        replica = places._mirror.replica
        place = Entry(numbered_key("web", "m1", 5), b"x", 5, 5, LEASE + 1)
        ticket = Entry(keys.ticket_key("web", "m1"), b"5", 5, 5, LEASE + 1)
        replica._entries |= {place.key: place, ticket.key: ticket}
        places.called(place)
        await asyncio.sleep(SILENT - 10)
        places._kept = loop.time()
        places.answered("m1")
        places.answered("m2")
        await places._round()
        replica._entries[place.key] = replace(place, version=6, lease=LEASE)
        await asyncio.sleep(20)
        await places._round()
        assert place.key not in places.removed

    run(story)


def test_no_place_is_bound_to_a_lease_that_may_be_about_to_end():
    """A server that has stood still would else end the places of machines that another server keeps by now."""

    async def story(loop):
        places, _ = kept()
        store, place = places._store, Entry("p/m1", b"x", 5, 5, LEASE + 1)
        await asyncio.sleep(TTL - 1)
        await places._bind([place])
        assert store.bound == []
        places._kept = loop.time()
        await places._bind([place])
        assert store.bound == [("p/m1", LEASE)]

    run(story)
