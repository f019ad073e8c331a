"""The lock with the line before it: who is woken by what, what is told to whom, and what is left at the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.answer import Granted
from locksmith.lock.history import History
from locksmith.lock.queue import CHECK_AFTER
from locksmith.lock.queue_sight import KNOWN
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import MANUAL, UNHEALTHY, Claim
from locksmith.lock.records.event import HELD
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Change
from tests.builders.claims import claim
from tests.builders.queued_locks import HOUR, Metered, denied, lock, play, waiters, woken_after


class Closing(MemoryStore):
    """Notes that it is let go of."""

    closed = False

    async def close(self) -> None:
        self.closed = True


def test_a_slot_that_is_given_back_wakes_the_first_in_line_and_it_has_it():
    async def story(server):
        holder, first = lock(server), lock(server)
        assert await holder.take(claim("n1")) == Granted()
        told = await denied(first.take(claim("n2")))
        assert (told.code, told.lost, told.must_release) == ("slot", False, False)
        asking = asyncio.ensure_future(woken_after(first, HOUR))
        await asyncio.sleep(7)
        assert not asking.done()
        await holder.release(claim("n1"), fence_pending=False, why="")
        assert await asking == pytest.approx(7)
        assert await first.take(claim("n2")) == Granted()
        assert waiters(server) == []

    play(story)


def test_one_who_goes_wakes_the_next_in_line_and_that_knows_its_new_place():
    async def story(server):
        holder, first, second = lock(server), lock(server), lock(server)
        await holder.take(claim("n1"))
        await first.take(claim("n2"))
        told = await denied(second.take(claim("n3")))
        assert (told.code, told.text) == ("queue", "queued for a slot: number 2 of 2, after n2")
        asking = asyncio.ensure_future(woken_after(second, HOUR))
        await asyncio.sleep(7)
        await first.leave(claim("n2"))
        assert await asking == pytest.approx(7)
        assert (await denied(second.take(claim("n3")))).code == "slot"
        await second.close()

    play(story)


def test_where_nothing_changes_it_is_worth_asking_again_after_half_a_minute():
    """A frozen member of etcd is silent: then everything is looked at again, the line as well."""

    async def story(server):
        holder, first = lock(server), lock(server)
        await holder.take(claim("n1"))
        await first.take(claim("n2"))
        assert await woken_after(first, HOUR) == pytest.approx(CHECK_AFTER)
        assert first._queue._view is None
        await first.take(claim("n2"))
        await first.close()

    play(story)


def test_a_watch_goes_on_between_two_questions_and_is_opened_once():
    async def story(server):
        waits: list[str] = []

        class Watched(MemoryStore):
            async def wait(self, key: str, *args: Any, **more: Any) -> Change | None:
                waits.append(key)
                return await super().wait(key, *args, **more)

        holder, first, second = lock(server), lock(server), lock(server, Watched(server))
        await holder.take(claim("n1"))
        await first.take(claim("n2"))
        for _ in range(5):
            await second.take(claim("n3"))
            assert await woken_after(second, 1) is None
        before, semaphore = waits
        assert before.startswith(keys.waiters_prefix(""))
        assert semaphore == keys.semaphore_key("")
        await second.close()

    play(story)


def test_a_watch_that_fails_says_so_to_who_asks_and_not_to_the_log():
    async def story(server):
        class Broken(MemoryStore):
            async def wait(self, *_: object, **__: object) -> Change | None:
                raise StoreUnavailableError("no endpoint answers")

        holder, first = lock(server), lock(server, Broken(server))
        await holder.take(claim("n1"))
        await first.take(claim("n2"))
        with pytest.raises(StoreUnavailableError):
            await first.changed(HOUR)
        assert await woken_after(first, HOUR) == 0  # with nothing to wait for it is worth asking

    play(story)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (claim("n1", nonce="other", hostname="copy"), "clone"),
        (claim("n1", nonce="other"), "orphaned"),
        (claim("n1", nonce="other", hostname="copy", kind=MANUAL), "other_claim"),
        (claim("n1", nonce="other", who="alice"), "other_claim"),
    ],
    ids=["a copy of this machine", "its own earlier claim", "an operator elsewhere", "an operator on this machine"],
)
def test_an_id_that_holds_a_slot_already_is_told_from_a_copy_of_the_machine(other, code):
    async def story(server):
        await RebootLock(MemoryStore(server), "").take(other)
        machine = lock(server)
        told = await denied(machine.take(claim("n1")))
        assert (told.code, told.lost) == (code, False)
        assert waiters(server) == []  # it would hold up the others
        asking = asyncio.ensure_future(woken_after(machine, HOUR))
        await asyncio.sleep(7)
        await RebootLock(MemoryStore(server), "").release(other)
        assert await asking == pytest.approx(7)

    play(story)


def test_an_id_that_stands_there_without_a_record_is_no_copy_of_the_machine():
    async def story(server):
        await MemoryStore(server).create(keys.semaphore_key(""), b'{"semaphore":0,"max":1,"holders":["n1"]}')
        machine = lock(server)
        assert (await denied(machine.take(claim("n1")))).code == "other_claim"
        await machine.close()

    play(story)


def test_a_commit_without_a_slot_is_lost_and_says_so():
    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await LockAdmin(lock(server).lock.guarded).unlock("n1")
        told = await denied(machine.commit(claim("n1")))
        assert (told.code, told.lost) == ("unlocked", True)

    play(story)


def test_who_passes_the_point_of_no_return_leaves_no_place_in_line():
    """Its place could not be given up with the slot: the next would wait for a machine that reboots."""

    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await machine._queue.stand(claim("n1"))
        assert waiters(server) == ["n1"]
        assert await machine.commit(claim("n1")) == Granted()
        assert waiters(server) == []

    play(story)


def test_a_machine_without_a_place_commits_without_a_look_at_the_line():
    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await lock(server)._queue.stand(claim("n1"))  # an earlier run's, which expires by itself
        assert await machine.commit(claim("n1")) == Granted()
        assert waiters(server) == ["n1"]

    play(story)


def test_who_gives_back_leaves_the_line_and_the_history_says_why_and_how_long():
    async def story(server):
        meter = Metered()
        machine = lock(server, meter=meter)
        taken = datetime.now(UTC) - timedelta(seconds=50)
        machine.lock.guarded.clock = lambda: taken
        await machine.take(claim("n1", since=taken - timedelta(seconds=20)))
        await machine._queue.stand(claim("n1"))
        await machine.release(claim("n1"), fence_pending=True, why="the window has closed")
        assert waiters(server) == []
        (event,) = await History(MemoryStore(server), "").read(10)
        assert (event.act, event.detail) == (HELD, "the window has closed")
        ((waited, held),) = meter.released
        assert waited == pytest.approx(20, abs=1.5)
        assert held == pytest.approx(50, abs=5)
        assert meter.lines[-1] == (0, 0)

    play(story)


def test_a_clock_that_was_set_back_counts_no_negative_time():
    async def story(server):
        meter = Metered()
        machine = lock(server, meter=meter)
        ahead = datetime.now(UTC) + timedelta(hours=1)
        machine.lock.guarded.clock = lambda: ahead
        await machine.take(claim("n1", since=ahead + timedelta(hours=1)))
        await machine.release(claim("n1"), fence_pending=False, why="")
        assert meter.released == [(0.0, 0.0)]

    play(story)


def test_a_give_back_of_nothing_counts_nothing():
    async def story(server):
        meter = Metered()
        await lock(server, meter=meter).release(claim("n1"), fence_pending=False, why="")
        assert meter.released == []

    play(story)


@pytest.mark.parametrize("fence_pending", [True, False])
def test_only_a_give_back_that_settles_touches_a_semaphore_that_it_does_not_stand_in(fence_pending):
    """A take of it that is on its way can then no longer win."""

    async def story(server):
        await LockAdmin(lock(server).lock.guarded).set_max(2)
        before = server.read(keys.semaphore_key("")).version
        await lock(server).release(claim("n1"), fence_pending=fence_pending, why="")
        assert (server.read(keys.semaphore_key("")).version != before) is fence_pending

    play(story)


def test_what_went_wrong_is_on_record_until_an_operator_knows():
    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await machine.commit(claim("n1"))
        assert not await machine.report_failure(claim("n1"), UNHEALTHY, "web.service has failed")
        asking = asyncio.ensure_future(woken_after(machine, HOUR))
        await asyncio.sleep(7)
        assert not asking.done()
        record = (await machine.lock.read()).claims["n1"]
        assert isinstance(record, Claim)
        assert record.failure == "web.service has failed"
        await LockAdmin(lock(server).lock.guarded).acknowledge("alice: a typo")
        assert await asking == pytest.approx(7)
        assert await machine.report_failure(claim("n1"), UNHEALTHY, "web.service has failed")
        assert await woken_after(machine, HOUR) == 0

    play(story)


def test_who_holds_nothing_any_more_has_nothing_on_record_and_goes_on():
    async def story(server):
        machine = lock(server)
        await machine.take(claim("n1"))
        await LockAdmin(lock(server).lock.guarded).unlock("n1")
        assert await machine.report_failure(claim("n1"), UNHEALTHY, "web.service has failed")

    play(story)


def test_a_program_that_ends_gives_up_its_place_its_watch_and_its_store():
    async def story(server):
        store = Closing(server)
        machine = lock(server, store)
        await lock(server).take(claim("n1"))
        await machine.take(claim("n2"))
        assert await woken_after(machine, 1) is None
        await machine.close()
        assert waiters(server) == []
        assert store.closed

    play(story)


def test_a_program_that_ends_without_a_place_leaves_those_of_others():
    async def story(server):
        store, other = Closing(server), lock(server)
        await lock(server).take(claim("n1"))
        await other.take(claim("n2"))
        await lock(server, store).close()
        assert waiters(server) == ["n2"]
        assert store.closed
        await other.close()

    play(story)


def test_only_a_claim_whose_take_was_answered_is_decided():
    """A withdrawal settles what may be on its way: a take that was cut off, and any of an earlier run."""

    async def story(server):
        machine = lock(server)
        assert machine.is_undecided(claim("n1"))
        await machine.take(claim("n1"))
        assert not machine.is_undecided(claim("n1"))
        machine._pending.cut_off(0.0)
        assert machine.is_undecided(claim("n1"))

    play(story)


def test_far_back_in_line_the_one_before_is_not_told():
    async def story(server):
        await lock(server).take(claim("holder"))
        others = [lock(server) for _ in range(KNOWN + 5)]
        for number, other in enumerate(others):
            await other._queue.stand(claim(f"n{number}"))
        last = lock(server)
        told = await denied(last.take(claim("last")))
        assert told.text == f"queued for a slot: {KNOWN + 5} or more are before it"
        await last.close()

    play(story)
