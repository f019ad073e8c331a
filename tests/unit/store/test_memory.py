"""The store in memory where it is more than the contract: many clients, and faults between them and the server."""

import asyncio

import pytest

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.sim.virtual_time import run


class Storm:
    """Do to every write what `fate` says; reads arrive."""

    def __init__(self, fate):
        self.fate = fate
        self.calls = []

    async def carry(self, call):
        self.calls.append((call.name, call.key))
        return self.fate(call) if call.write else call.apply()


def before(call):
    raise StoreUnavailableError(f"no way to {call.key}")


def after(call):
    call.apply()
    raise OutcomeUnknownError(call.key)


def late(call):
    asyncio.get_running_loop().call_soon(call.apply)
    raise OutcomeUnknownError(call.key)


async def test_a_call_that_fails_on_its_way_changes_nothing():
    server = MemoryServer()
    with pytest.raises(StoreUnavailableError):
        await MemoryStore(server, Storm(before)).create("key", b"")
    assert (await MemoryStore(server).get("key")).entry is None


@pytest.mark.parametrize("fate", [after, late])
async def test_a_write_whose_answer_is_lost_is_applied_now_or_later(fate):
    server = MemoryServer()
    witness = MemoryStore(server)
    before = await witness.get("key")
    with pytest.raises(OutcomeUnknownError):
        await MemoryStore(server, Storm(fate)).create("key", b"mine")
    assert await witness.wait("key", before.revision, limit=1)
    assert [entry.value for entry in (await witness.list("")).entries] == [b"mine"]


def test_the_weather_sees_every_call():
    async def story():
        storm = Storm(lambda call: call.apply())
        store = MemoryStore(MemoryServer(), storm)
        made = await store.create("a/key", b"", ttl=60)
        await store.renew(made, 60)
        await store.wait("a/key", 0, limit=1)
        await store.get("a/key")
        await store.list("a/")
        changed = await store.swap("a/key", b"", made.version)
        await store.delete("a/key", changed.version)
        return [name for name, _ in storm.calls]

    assert asyncio.run(story()) == ["create", "renew", "wait", "get", "list", "swap", "delete"]


async def test_a_closed_client_waits_no_longer_and_the_others_do():
    server = MemoryServer()
    leaving, staying = MemoryStore(server), MemoryStore(server)
    waits = [asyncio.create_task(store.wait("key", 1, limit=5)) for store in (leaving, staying)]
    await asyncio.sleep(0.01)
    await leaving.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await waits[0]
    await staying.create("key", b"")
    assert await waits[1]


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is put forward at will."""

    forward = 0.0

    def time(self):
        return super().time() + self.forward


def test_time_to_live_counts_by_the_loops_own_clock():
    loop = HastyLoop()

    async def story():
        store = MemoryStore(MemoryServer())
        made = await store.create("key", b"", ttl=3600)
        await store.renew(made, 2 * 3600)
        loop.forward = 1.5 * 3600
        await asyncio.sleep(0.01)
        assert (await store.get("key")).entry == made
        loop.forward = 2.5 * 3600
        assert await store.wait("key", made.version, limit=1)
        assert (await store.get("key")).entry is None

    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


def test_a_restored_store_has_the_revision_and_the_leases_of_its_backup():
    async def story(_loop):
        server = MemoryServer()
        store = MemoryStore(server)
        await store.create("a/leased", b"1", ttl=60)
        await store.create("a/key", b"1")
        backup = server.backup()
        await asyncio.sleep(50)
        await store.create("a/later", b"")
        waiting = asyncio.ensure_future(store.wait("a/nothing", server.revision))
        await asyncio.sleep(1)
        assert server.revision > backup.revision

        server.restore(backup)
        assert server.revision == backup.revision
        assert await waiting, "whoever waits is told to read again"
        assert [entry.key for entry in (await store.list("a/")).entries] == ["a/leased", "a/key"]
        await asyncio.sleep(58)
        assert (await store.get("a/leased")).entry is not None
        await asyncio.sleep(3)
        assert (await store.get("a/leased")).entry is None

    run(story)
