"""A share of the machines present on every store: who counts, what a node of the original reads, what stands there."""

from datetime import UTC, datetime

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import SlotsBusyError
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.semaphore import Semaphore


@pytest.fixture
def group(base):
    return base.rstrip("/").rpartition("/")[2]


def claim(name):
    return Claim(name, REBOOT, f"nonce of {name}", datetime(2026, 5, 1, tzinfo=UTC), hostname=name)


class Fleet:
    """A group's lock, and how many machines of it are present."""

    def __init__(self, store, group):
        self.lock = RebootLock(store, group)
        self._store = store
        self._group = group
        self._present = []

    async def present(self, machines):
        while len(self._present) < machines:
            key = keys.node_key(self._group, f"m{len(self._present)}")
            self._present.append(await self._store.create(key, b"{}", ttl=60))
        while len(self._present) > machines:
            await self._store.revoke(self._present.pop())

    async def by_hand(self, slots):
        version = (await self._store.get(self.lock.key)).version
        await self._store.swap(self.lock.key, semaphore.encode(Semaphore(slots)), version)

    async def raw(self):
        entry = (await self._store.get(self.lock.key)).entry
        assert entry is not None
        return entry.value


def test_a_node_of_the_original_reads_a_plain_number_that_follows_the_fleet(stage, group):
    async def story(store):
        fleet = Fleet(store, group)
        await fleet.present(4)
        assert await LockAdmin(fleet.lock.guarded).set_share("50%") == (1, 2)
        assert await fleet.raw() == b'{"semaphore":2,"max":2,"holders":null}'
        await fleet.present(6)
        await fleet.lock.take(claim("n1"))
        assert await fleet.raw() == b'{"semaphore":2,"max":3,"holders":["n1"]}'
        await fleet.present(3)
        with pytest.raises(SlotsBusyError, match="max is 1, held by n1") as denied:
            await fleet.lock.take(claim("n2"))
        assert await fleet.raw() == b'{"semaphore":0,"max":1,"holders":["n1"]}'
        assert not await fleet.lock.wait(denied.value.revision, 0.3), "it does not wait for its own write"
        await fleet.present(4)
        await fleet.lock.take(claim("n2"))
        assert await fleet.raw() == b'{"semaphore":0,"max":2,"holders":["n1","n2"]}'

    stage.play(story)


def test_a_number_set_by_hand_stays_until_set_max(stage, group):
    async def story(store):
        fleet = Fleet(store, group)
        await fleet.present(4)
        await LockAdmin(fleet.lock.guarded).set_share("50%")
        await fleet.lock.take(claim("n1"))
        await fleet.lock.release(claim("n1"))
        for slots in (7, 1, 0):
            await fleet.by_hand(slots)
            if slots:
                await fleet.lock.take(claim("n1"))
                await fleet.lock.release(claim("n1"))
            else:
                with pytest.raises(SlotsBusyError, match="max is 0"):
                    await fleet.lock.take(claim("n1"))
            assert (await fleet.lock.read()).semaphore == Semaphore(slots)
        assert await LockAdmin(fleet.lock.guarded).set_share("50%") == (0, 2)
        assert await LockAdmin(fleet.lock.guarded).set_max(5) == 2
        assert await LockAdmin(fleet.lock.guarded).share() is None
        await fleet.lock.take(claim("n1"))
        assert (await fleet.lock.read()).semaphore == Semaphore(5, ("n1",))

    stage.play(story)
