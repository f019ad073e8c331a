"""`retire-v2` against a node of the original that takes a slot between the look and the write."""

import asyncio

import pytest

from locksmith.errors import LockError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import Call, MemoryServer, MemoryStore, T

KEY = keys.semaphore_key("")
HELD = semaphore.encode(Semaphore(1, ("go-1",)))


class TakenMeanwhile:
    """Lets another machine take the slot right before the first write arrives."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._taken = False

    async def carry(self, call: Call[T]) -> T:
        await asyncio.sleep(0)
        if call.write and not self._taken:
            self._taken = True
            self._server.put(KEY, HELD, self._server.read(KEY).version)
        return call.apply()


async def test_a_slot_that_is_taken_at_the_last_moment_is_seen_and_kept():
    server = MemoryServer()
    server.put(KEY, semaphore.encode(Semaphore(1)), 0)
    with pytest.raises(LockError, match=r"rebootlock/semaphore is held by go-1: wait until it is free"):
        await LockAdmin(Guarded(MemoryStore(server, TakenMeanwhile(server)), "")).retire()
    entry = server.read(KEY).entry
    assert entry is not None
    assert entry.value == HELD


async def test_retiring_again_writes_nothing():
    server = MemoryServer()
    server.put(KEY, semaphore.encode(Semaphore(3)), 0)
    lock = RebootLock(MemoryStore(server), "")
    assert await LockAdmin(lock.guarded).retire()
    revision = server.revision
    assert await LockAdmin(lock.guarded).retire()
    assert server.revision == revision
