"""The line on every store: who stands where, who is woken, and that it goes on without those who are gone."""

import asyncio
from datetime import UTC, datetime

import pytest

from locksmith.lock import places, queue
from locksmith.lock.admin import LockAdmin
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.claim import MANUAL, REBOOT, Claim
from locksmith.lock.records.waiter import Waiter

SHORT = 1.0
"""Seconds: the shortest time to live that all stores know."""


def claim(name, kind=REBOOT):
    return Claim(name, kind, f"nonce of {name}", datetime(2026, 5, 1, tzinfo=UTC), hostname=name)


@pytest.fixture
def group(base):
    return base.rstrip("/").rpartition("/")[2]


class Machine:
    """One that wants to reboot: asks, and waits until it is worth asking again, as the loop does."""

    def __init__(self, store, group, name):
        self.claim = claim(name)
        self.lock = QueuedLock(RebootLock(store, group), Queue(store, group))

    async def ask(self):
        return await self.lock.take(self.claim)

    async def get(self):
        while not isinstance(answer := await self.ask(), Granted):
            assert isinstance(answer, Denied)
            assert await self.lock.changed(20), answer.text

    async def release(self):
        await self.lock.release(self.claim, fence_pending=False, why="rebooted")


def test_slots_are_had_in_the_order_of_asking(stage, group):
    async def story(store):
        names = ["n3", "n1", "n4", "n2"]
        machines = [Machine(store, group, name) for name in names]
        assert isinstance(await machines[0].ask(), Granted)
        answers = [await machine.ask() for machine in machines[1:]]
        assert [answer.code for answer in answers] == ["slot", "queue", "queue"]
        assert "queued for a slot: number 3 of 3, after n4" in answers[2].text
        order = ["n3"]

        async def turn(machine):
            await machine.get()
            order.append(machine.claim.holder)
            await machine.release()

        turns = [asyncio.create_task(turn(machine)) for machine in machines[1:]]
        await machines[0].release()
        await asyncio.gather(*turns)
        assert order == names

    stage.play(story)


def test_free_slots_are_had_one_after_another_without_waiting(stage, group):
    async def story(store):
        lock = RebootLock(store, group)
        await lock.take(claim("rack", MANUAL))
        machines = [Machine(store, group, f"n{number}") for number in range(6)]
        for machine in machines:
            assert isinstance(await machine.ask(), Denied)
        tasks = [asyncio.create_task(machine.get()) for machine in machines]
        clock = asyncio.get_running_loop().time
        start = clock()
        await LockAdmin(lock.guarded).set_max(7)
        await asyncio.gather(*tasks)
        assert clock() - start < 5
        assert len((await lock.read()).semaphore.holders) == 7

    stage.play(story)


def test_one_who_crashes_in_line_is_gone_when_its_place_expires(stage, group):
    async def story(store):
        dead, alive = Queue(store, group, ttl=SHORT), Queue(store, group)
        await dead.stand(claim("n1"))
        look = await alive.stand(claim("n2"))
        assert look.queued.predecessor == "n1"
        assert await alive.wait(look)
        alive.look_again()
        assert (await alive.stand(claim("n2"))).before is None

    stage.play(story)


def test_one_who_gives_up_in_the_middle_leaves_no_gap(stage, group):
    async def story(store):
        queues = [Queue(store, group) for _ in range(3)]
        looks = [await queue.stand(claim(f"n{number}")) for number, queue in enumerate(queues)]
        waiting = asyncio.create_task(queues[2].wait(looks[2]))
        await queues[1].leave(claim("n1"))
        assert await waiting
        queues[2].look_again()
        assert (await queues[2].stand(claim("n2"))).queued.predecessor == "n0"

    stage.play(story)


def test_a_restarted_program_finds_its_place_again(stage, group):
    async def story(store):
        await Queue(store, group).stand(claim("n1"))
        await Queue(store, group).stand(claim("n2"))
        assert (await Queue(store, group).stand(claim("n1"))).queued.position == 1
        await Queue(store, group).leave(claim("n1"))
        assert (await Queue(store, group).stand(claim("n2"))).queued.position == 1

    stage.play(story)


def test_one_whose_id_is_locked_by_hand_does_not_hold_up_the_others(stage, group):
    async def story(store):
        lock = RebootLock(store, group)
        by_hand = claim("n1", MANUAL)
        await LockAdmin(lock.guarded).set_max(2)
        await lock.take(by_hand)
        locked, free = Machine(store, group, "n1"), Machine(store, group, "n2")
        locked.claim = Claim("n1", REBOOT, "another", by_hand.since, hostname="n1")
        answer = await locked.ask()
        assert (answer.code, answer.queued) == ("other_claim", None)
        assert isinstance(await free.ask(), Granted)
        waiting = asyncio.create_task(locked.get())
        await LockAdmin(lock.guarded).unlock("n1")
        await waiting

    stage.play(story)


def test_one_who_is_first_and_is_locked_by_hand_then_steps_out(stage, group):
    async def story(store):
        lock = RebootLock(store, group)
        await lock.take(claim("rack", MANUAL))
        first, second = Machine(store, group, "n1"), Machine(store, group, "n2")
        assert (await first.ask()).code == "slot"
        assert (await second.ask()).code == "queue"
        await LockAdmin(lock.guarded).set_max(3)
        await lock.take(Claim("n1", MANUAL, "by hand", first.claim.since))
        assert (await first.ask()).code == "other_claim"
        await second.get()

    stage.play(story)


def test_places_without_a_lease_are_removed_by_the_next_and_no_live_one_is(stage, group):
    async def story(store):
        for number in range(60):
            gone = claim(f"gone{number}")
            key = places.older_key(group, gone) if number % 2 else places.place_key(group, gone, number + 1)
            await store.create(key, waiter.encode(Waiter.of(gone)))
        first, second = Queue(store, group), Queue(store, group)
        look = await first.stand(claim("n1"))
        first.look_again()
        look = await first.stand(claim("n1"))
        assert (look.queued.position, look.queued.waiters) == (1, 1)
        assert (await second.stand(claim("n2"))).queued.predecessor == "n1"

    stage.play(story)


def test_a_place_of_its_own_without_a_lease_is_taken_again(stage, group):
    async def story(store):
        await store.create(places.ticket_key(group, claim("n1")), b"1")
        key = places.place_key(group, claim("n1"), 1)
        await store.create(key, waiter.encode(Waiter.of(claim("n1"))))
        assert (await Queue(store, group).stand(claim("n1"))).queued.position == 1
        place = (await store.get(key)).entry
        assert place.lease
        await Queue(store, group).leave(claim("n1"))
        assert (await store.list(keys.waiters_prefix(group))).total == 0

    stage.play(story)


def test_a_place_of_its_own_that_no_lease_ends_can_be_left(stage, group):
    async def story(store):
        await store.create(places.older_key(group, claim("n1")), waiter.encode(Waiter.of(claim("n1"))))
        await Queue(store, group).leave(claim("n1"))
        assert (await store.list(keys.waiters_prefix(group))).total == 0

    stage.play(story)


def test_the_first_writes_its_place_and_takes_its_slot_from_there(stage, group, monkeypatch):
    monkeypatch.setattr(queue, "KEEP_AFTER", 0.0)

    async def story(store):
        lock = RebootLock(store, group)
        await lock.take(claim("rack", MANUAL))
        machine = Machine(store, group, "n1")
        for _ in range(3):
            assert (await machine.ask()).code == "slot"
        [place] = (await store.list(keys.waiters_prefix(group))).entries
        assert waiter.decode(place.value, place.key).beat == 3
        await LockAdmin(lock.guarded).unlock("rack")
        assert isinstance(await machine.ask(), Granted)
        assert (await store.list(keys.waiters_prefix(group))).total == 0

    stage.play(story)
