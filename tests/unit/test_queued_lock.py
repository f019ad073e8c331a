"""The lock with the line before it: what a claim is told that has its slot already."""

from datetime import UTC, datetime

from locksmith.fleet import REBOOT, Claim
from locksmith.kv.memory import MemoryServer, MemoryStore
from locksmith.queue import Queue
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


def lock(server: MemoryServer, queue: type[Queue] = Queue) -> QueuedLock:
    store = MemoryStore(server)
    return QueuedLock(RebootLock(store, ""), queue(store, ""))


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
