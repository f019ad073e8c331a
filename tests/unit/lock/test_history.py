"""The history on the store in memory: what is written, what is kept, and that nothing depends on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import StoreRefusedError, StoreUnavailableError
from locksmith.lock.history import KEPT, MOST, MOST_OF_CREDENTIALS, TIDY_ONE_IN, WRITE_LIMIT, History
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import event, keys
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.event import ENROLLED, HELD, REBOOTED, Event
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Put
from locksmith.util.jsonread import BadJsonError
from tests.harness.fault_script import ARRIVES, DROPPED, NEVER_SENT, FaultScript
from tests.sim.virtual_time import run

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


def claim(name: str) -> Claim:
    return Claim(name, REBOOT, f"of {name}", NOW, hostname=name, version="4081.2.0", reason="update-engine 4081.2.0")


class Always(Random):
    """A source of chance that tidies up each time."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:  # noqa: ARG002 - Random's own
        return 0


async def test_a_hold_is_told_when_it_ends_with_its_times_and_why():
    moments = iter([NOW, NOW + timedelta(seconds=41)])
    lock = RebootLock(MemoryStore(MemoryServer()), "", clock=lambda: next(moments))
    await lock.take(claim("n1"))
    assert await lock.history.read(10) == []
    await lock.release(claim("n1"), why=REBOOTED)
    [event] = await lock.history.read(10)
    assert (event.act, event.holder, event.hostname, event.detail) == (HELD, "n1", "n1", REBOOTED)
    assert event.taken is not None
    assert event.at - event.taken == timedelta(seconds=41)
    assert event.reason == "update-engine 4081.2.0"


async def test_who_held_nothing_leaves_no_history():
    lock = RebootLock(MemoryStore(MemoryServer()), "")
    await lock.release(claim("n1"), fence_pending=True, why="withdrawn")
    assert await lock.history.read(10) == []


class NoHistory(MemoryServer):
    """A server on which this program may not write the history."""

    def commit(self, changes) -> None:
        if any(change.key.startswith(keys.history_prefix("")) for change in changes):
            raise StoreRefusedError("permission denied")
        super().commit(changes)


class NoLease(FaultScript):
    """Loses each request for a lease."""

    async def carry(self, call):
        if call.name == "lend":
            raise StoreUnavailableError("no endpoint answers")
        return await super().carry(call)


@pytest.mark.parametrize(
    ("server", "script", "fates"),
    [
        (NoHistory, FaultScript, []),
        (MemoryServer, NoLease, [ARRIVES, ARRIVES, NEVER_SENT]),
        (MemoryServer, NoLease, [ARRIVES, ARRIVES, DROPPED]),
    ],
    ids=["refused", "no lease, then not sent", "no lease, then lost"],
)
async def test_a_history_that_cannot_be_written_stops_nothing(server, script, fates):
    lock = RebootLock(MemoryStore(server(), script([*fates])), "")
    await lock.take(claim("n1"))
    assert await lock.release(claim("n1"), why=REBOOTED)
    assert (await lock.read()).semaphore.holders == ()
    assert await lock.history.read(10) == []


async def test_the_youngest_are_read_the_oldest_of_them_first():
    past = History(MemoryStore(MemoryServer()), "")
    for number in range(5):
        await past.add(Event(NOW + timedelta(seconds=number), "set-max", "alice", detail=str(number)))
    assert [event.detail for event in await past.read(3)] == ["2", "3", "4"]


def test_it_is_kept_for_thirty_days():
    async def story(_loop):
        past = History(MemoryStore(MemoryServer()), "")
        await past.add(Event(NOW, "set-max"))
        await asyncio.sleep(KEPT - 1)
        assert len(await past.read(10)) == 1
        await asyncio.sleep(2)
        assert await past.read(10) == []

    run(story)


def test_it_does_not_grow_without_end():
    async def story(_loop):
        server = MemoryServer()
        past = History(MemoryStore(server), "", Always())
        for number in range(MOST + TIDY_ONE_IN):
            server.lend(Put(f"{keys.history_prefix('')}{number:013}", b"{}", ABSENT), KEPT)
        await past.add(Event(NOW, "set-max"))
        listing = server.list(keys.history_prefix(""), 1, None)
        assert listing.total == MOST
        assert listing.entries[0].key.endswith(f"{TIDY_ONE_IN + 1:013}")

    run(story)


def test_machines_that_enrol_push_no_reboot_out():
    async def story(_loop):
        server = MemoryServer()
        past = History(MemoryStore(server), "", Always())
        await past.add(Event(NOW, "set-max"))
        for number in range(MOST_OF_CREDENTIALS + 3 * TIDY_ONE_IN):
            await past.add(Event(NOW + timedelta(seconds=1 + number), ENROLLED, holder=f"n{number}"))
        await past.add(Event(NOW + timedelta(days=1), "freeze"))
        found = await past.read(MOST)
        assert [found[0].act, found[-1].act] == ["set-max", "freeze"]
        assert [one.act for one in found[1:-1]] == [ENROLLED] * MOST_OF_CREDENTIALS
        assert [one.holder for one in await past.read(3)] == [one.holder for one in found[-3:]]
        assert len(await past.read(3)) == 3

    run(story)


async def test_a_record_is_not_lacking_where_only_the_tidying_failed(caplog):
    caplog.set_level("INFO")

    class NoLists(MemoryStore):
        async def list(self, prefix, *, limit=0, last_before=None):
            if last_before is None:
                raise StoreRefusedError("no rights")
            return await super().list(prefix, limit=limit, last_before=last_before)

    past = History(NoLists(MemoryServer()), "", Always())
    await past.add(Event(NOW, "set-max"))
    assert len(await past.read(10)) == 1
    assert caplog.messages == ["the history is not tidied up: no rights"]


def test_an_etcd_that_hangs_holds_nobody_up_for_long():
    async def story(loop):
        class Hangs:
            async def carry(self, call):
                if call.key.startswith(keys.history_prefix("")):
                    await asyncio.sleep(3600)
                return call.apply()

        lock = RebootLock(MemoryStore(MemoryServer(), Hangs()), "")
        await lock.take(claim("n1"))
        began = loop.time()
        assert await lock.release(claim("n1"))
        assert loop.time() - began <= WRITE_LIMIT

    run(story)


def test_an_operator_who_gives_no_reason_is_not_said_to_have_the_machines():
    assert event.about(claim("n1"), NOW, "unlock", who="alice", reason="").reason == ""
    assert event.about(claim("n1"), NOW, HELD).reason == "update-engine 4081.2.0"


async def test_a_record_that_cannot_be_read_is_left_out():
    store = MemoryStore(MemoryServer())
    await store.create(f"{keys.history_prefix('')}1", b"rubbish")
    past = History(store, "")
    await past.add(Event(NOW, "set-max"))
    assert [event.act for event in await past.read(10)] == ["set-max"]


def test_a_record_reads_back_and_keeps_what_a_later_version_added():
    written = event.about(claim("n1"), NOW, HELD, detail=REBOOTED)
    assert event.decode(event.encode(written)) == written
    later = event.decode(event.encode(written).replace(b"{", b'{"zone":"a",', 1))
    assert b'"zone":"a"' in event.encode(later)


@given(st.binary(max_size=80))
def test_rubbish_is_no_traceback(raw):
    with pytest.raises(BadJsonError):
        event.decode(raw)
