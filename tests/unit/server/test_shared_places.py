"""The places of thousands of machines are checked in steps: between two of them calls are answered."""

import asyncio

from locksmith.server import shared_places
from locksmith.server.group_mirror import Freshness, Mirror
from locksmith.server.shared_places import SILENT, SharedPlaces
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Entry
from tests.sim.virtual_time import run

LEASE = 7
PLACES = 100


class Current(Mirror):
    """A mirror that knows what it is told to."""

    @property
    def freshness(self):
        return Freshness(current=True, age=0.0)


class Noting(SharedPlaces):
    """Notes what it would remove."""

    def __init__(self, *args):
        super().__init__(*args)
        self.removed = []

    async def _remove(self, place):
        self.removed.append(place.key)


def kept():
    """Places that have the server's lease, of machines that have just called."""
    store = MemoryStore(MemoryServer())
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
