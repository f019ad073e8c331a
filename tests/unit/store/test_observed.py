"""A store that counts: what is asked goes through as it is, and each call is told with how it ended."""

import asyncio
import inspect

import pytest

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreRefusedError, StoreUnavailableError
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.meter import Meter
from locksmith.store.observed import CUT_OFF, KINDS, OK, ObservedStore
from locksmith.store.protocol import Check, Entering, Fingerprint, Put, Store
from tests.harness.fault_script import ANSWER_LOST, NEVER_SENT, FaultScript


class Notes(Meter):
    """Every call that was told of, in order."""

    def __init__(self):
        self.calls = []

    def request(self, kind, result):
        self.calls.append((kind, result))


class Failing(MemoryStore):
    """A store whose reads end with an error of the test's choice."""

    def __init__(self, error):
        super().__init__(MemoryServer())
        self.error = error

    async def get(self, key):  # noqa: ARG002  # whatever the key
        raise self.error


def observed(*fates):
    notes = Notes()
    return ObservedStore(MemoryStore(MemoryServer(), FaultScript([*fates])), notes), notes.calls


def test_every_call_of_the_protocol_has_a_kind():
    methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert {*KINDS} == methods - {"close"}
    assert len(KINDS) == len(methods) - 1


async def test_every_call_goes_through_and_is_counted():
    store, calls = observed()
    made = await store.create("g/a", b"1", ttl=60)
    assert await store.lend(60)
    assert (await store.get("g/a")).entry == made
    assert [reading.entry for reading in await store.read(["g/a", "g/b"])] == [made, None]
    await store.renew(made, 60)
    changed = await store.update(made, b"2", 60)
    over = await store.replace(changed, b"2", 60)
    await store.revoke(over)
    plain = await store.swap("g/b", b"3", 0, [Put("g/c/d", b"4", 0)])
    assert len((await store.list("g/", limit=1)).entries) == 1
    assert (await store.list("g/", last_before=plain.created)).entries == ()
    assert await store.count("g/") == 2
    assert await store.folders("g/") == ("c",)
    assert await store.knows(Fingerprint.of(plain))
    assert await store.wait("g/", changed.version, prefix=True, limit=1)
    entering = Entering(Put("g/e", b"5", 0), Put("g/t", b"", 0), Check("g/n", 0), "g/")
    place, ticket, ahead = await store.enter(lambda _revision: entering, ttl=60)
    assert ahead == 1
    assert (await store.rejoin(place, b"6", ticket, ttl=60))[0].value == b"6"
    assert (await store.range("g/e", "g/f")).total == 1
    await store.delete("g/b", plain.version)
    await store.close()
    assert {kind for kind, _ in calls} == {*KINDS}
    assert {result for _, result in calls} == {OK}


async def test_a_lost_answer_is_unknown_and_one_never_sent_is_unavailable():
    store, calls = observed(NEVER_SENT, ANSWER_LOST)
    with pytest.raises(StoreUnavailableError):
        await store.create("key", b"")
    with pytest.raises(OutcomeUnknownError):
        await store.create("key", b"")
    with pytest.raises(ConflictError):
        await store.create("key", b"")
    assert calls == [("create", "unavailable"), ("create", "unknown"), ("create", "conflict")]


def test_a_refusal_is_one():
    notes = Notes()
    with pytest.raises(StoreRefusedError):
        asyncio.run(ObservedStore(Failing(StoreRefusedError("no rights")), notes).get("key"))
    assert notes.calls == [("get", "refused")]


async def test_a_watch_whose_time_is_over_did_what_it_was_asked():
    store, calls = observed()
    assert not await store.wait("key", 0, limit=0.01)
    assert calls == [("wait", OK)]


async def test_a_call_that_nobody_waits_for_any_more_is_cut_off_and_no_failure():
    store, calls = observed()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.wait("key", 0)
    assert calls == [("wait", CUT_OFF)]


def test_a_defect_is_none_of_the_stores_answers():
    notes = Notes()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ObservedStore(Failing(ZeroDivisionError()), notes).get("key"))
    assert notes.calls == []
