"""A FleetLock client's slot is taken with its place in the queue, or not at all."""

from dataclasses import replace

import pytest

from locksmith.lock.errors import PlaceGoneError
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import FLEETLOCK, REBOOT
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Delete, Put
from tests.builders.claims import claim

CLIENT = replace(claim("c1"), kind=FLEETLOCK)
KEY = keys.semaphore_key("")


class Overtaken(MemoryStore):
    """A store in which another writes between what the first attempt reads and what it writes."""

    def __init__(self, server, *changes):
        super().__init__(server)
        self._changes = [*changes]

    async def swap(self, key, value, version, also=(), *, ttl=None):
        if self._changes:
            self._server.commit([self._changes.pop()])
        return await super().swap(key, value, version, also, ttl=ttl)


@pytest.fixture
def server():
    found = MemoryServer()
    found.commit([Put("place", b"", ABSENT)])
    return found


async def test_a_client_whose_place_goes_during_the_take_gets_no_slot(server):
    """Its steady-state has removed the place, so the client does not want the slot any more."""
    place = server.read("place").entry
    lock = RebootLock(Overtaken(server, Delete("place", place.version)), "")
    with pytest.raises(PlaceGoneError):
        await lock.take(CLIENT, [place])
    assert (await lock.read()).semaphore.holders == ()


async def test_a_client_that_has_lost_a_race_takes_its_slot_with_its_place(server):
    place = server.read("place").entry
    lock = RebootLock(Overtaken(server, Put(KEY, semaphore.encode(Semaphore(2)), ABSENT)), "")
    assert await lock.take(CLIENT, [place])
    assert server.read("place").entry is None
    assert (await lock.read()).semaphore.holders == ("c1",)


@pytest.mark.parametrize(("kind", "read"), [(FLEETLOCK, True), (REBOOT, False)], ids=["client", "machine"])
async def test_only_the_place_of_a_client_is_read_once_more_before_its_take(kind, read, server):
    """A machine has one daemon, which knows whether its machine still waits."""
    asked = set()

    class Told(MemoryStore):
        async def read(self, keys):
            asked.update(keys)
            return await super().read(keys)

    assert await RebootLock(Told(server), "").take(replace(claim("c1"), kind=kind), [server.read("place").entry])
    assert KEY in asked
    assert ("place" in asked) == read
