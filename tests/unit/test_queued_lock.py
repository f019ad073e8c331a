"""The lock with the line before it: what a claim is told that has its slot already."""

import asyncio
from datetime import UTC, datetime

import pytest

from locksmith.fleet import REBOOT, Claim
from locksmith.kv.memory import MemoryServer, MemoryStore
from locksmith.queue import LOOK_AFTER, Queue
from locksmith.queued_lock import QueuedLock
from locksmith.rebootlock import RebootLock
from locksmith.snapshot import DAEMON, Denied, Granted
from tests.sim.virtual_time import run

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


def claim(name: str, **more) -> Claim:
    return Claim(name, REBOOT, f"nonce-{name}", NOW, who=DAEMON, hostname=name, **more)


class Stuck(Queue):
    """Cannot give its place up, as where the store's answer is lost each time."""

    def place(self, _claim) -> None:
        return None

    async def leave(self, _claim) -> None:
        raise TimeoutError


def parts(store: MemoryStore, queue: type[Queue] = Queue) -> tuple[RebootLock, Queue]:
    return RebootLock(store, ""), queue(store, "")


def lock(server: MemoryServer, queue: type[Queue] = Queue) -> QueuedLock:
    return QueuedLock(*parts(MemoryStore(server), queue))


def test_one_that_has_its_slot_and_stands_in_line_still_is_not_told_to_wait_for_itself():
    async def story(_loop):
        server = MemoryServer()
        holder, other = lock(server, Stuck), lock(server)
        assert await holder.take(claim("n2")) == Granted()
        assert isinstance(await other.take(claim("n3")), Denied)
        # Its place expires and comes back behind the other's, as after an outage.
        place = holder._queue._place
        assert place is not None
        await MemoryStore(server).revoke(place.entry)
        await holder._queue._enter(claim("n2"))
        assert await holder.take(claim("n2")) == Granted()

    run(story)


def test_a_slot_that_an_operator_has_freed_is_not_taken_again_by_the_same_claim():
    async def story(_loop):
        server = MemoryServer()
        holder = lock(server)
        await holder.take(claim("n1"))
        await lock(server).lock.unlock("n1")
        answer = await holder.take(claim("n1"))
        assert isinstance(answer, Denied)
        assert (answer.code, answer.lost) == ("unlocked", True)
        # A restarted daemon knows by its journal that it had the slot.
        answer = await lock(server).take(claim("n1", taken=NOW))
        assert isinstance(answer, Denied)
        assert answer.lost
        assert (await holder.lock.read()).semaphore.holders == ()

    run(story)


class CutOff:
    """Let the answer to the first take stay away for ever, though it has won."""

    def __init__(self) -> None:
        self.cut = False

    async def carry(self, call):
        done = call.apply()
        if call.name == "swap" and not self.cut:
            self.cut = True
            await asyncio.Event().wait()
        return done


def test_a_take_that_was_cut_off_and_has_won_is_found_before_the_line():
    """Its place went with the take: behind the others it would wait for itself, as they do for it."""

    async def story(_loop):
        server = MemoryServer()
        holder, other = QueuedLock(*parts(MemoryStore(server, CutOff()))), lock(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(200):
                await holder.take(claim("n2"))
        assert isinstance(await other.take(claim("n3")), Denied)
        assert await holder.take(claim("n2")) == Granted()

    run(story)


def test_a_take_of_an_earlier_run_that_comes_late_is_found_before_the_line_too():
    async def story(_loop):
        server = MemoryServer()
        holder = lock(server)
        for name in ("n3", "n4"):
            await lock(server).take(claim(name))
        answer = await holder.take(claim("n2"))
        assert isinstance(answer, Denied)
        assert answer.code == "line"
        late = RebootLock(MemoryStore(server), "")
        await late.set_max(2)
        await late.take(claim("n2"), holder._queue.place(claim("n2")))
        await asyncio.sleep(LOOK_AFTER)
        assert await holder.take(claim("n2")) == Granted()

    run(story)
