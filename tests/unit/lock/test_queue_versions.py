"""Machines of this version and of the one before it in one queue, and machines that are upgraded while they wait."""

import asyncio

from locksmith.lock.queue import CHECK_AFTER, Queue
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.queues import claim
from tests.sim.older_queue import OlderQueue
from tests.sim.virtual_time import run


class Fleet:
    """Machines by their names; those that begin with `o` have the older version."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.queues: dict[str, Queue] = {}

    async def positions(self, *names):
        """Let each stand in line, and look."""
        found = []
        for name in names:
            kind = OlderQueue if name.startswith("o") else Queue
            queue = self.queues.setdefault(name, kind(MemoryStore(self.server), ""))
            queue.look_again()
            found.append((await queue.stand(claim(name))).queued.position)
        return found

    async def go(self, name):
        await self.queues.pop(name).leave(claim(name))


def play(story):
    return run(lambda _loop: story(Fleet()))


def test_of_each_version_some_machine_is_first_until_all_have_gone():
    async def story(fleet):
        left = ["o1", "n1", "n2", "o2", "n3", "o3"]
        await fleet.positions(*left)
        while left:
            positions = await fleet.positions(*left)
            assert 1 in positions, f"{left} wait for one another"
            first = left.pop(positions.index(1))
            await fleet.go(first)

    play(story)


def test_a_machine_waits_for_no_older_version_and_those_wait_for_it():
    async def story(fleet):
        assert await fleet.positions("o1", "n1", "o2", "n2") == [1, 1, 3, 2]

    play(story)


def test_an_older_machine_that_is_first_is_woken_by_a_newer_one_that_goes():
    async def story(fleet):
        await fleet.positions("n1", "o1")
        look = await fleet.queues["o1"].stand(claim("o1"))
        waiting = asyncio.ensure_future(fleet.queues["o1"].wait(look))
        await asyncio.sleep(1)
        await fleet.go("n1")
        assert await waiting
        assert await fleet.positions("o1") == [1]

    play(story)


def test_a_machine_that_is_upgraded_while_it_waits_keeps_its_turn():
    async def story(fleet):
        older = OlderQueue(MemoryStore(fleet.server), "")
        await fleet.positions("n1")
        await older.stand(claim("n2"))
        await fleet.positions("n3")
        assert await fleet.positions("n2", "n3") == [2, 3]
        assert fleet.server.count("coreos.com/updateengine/rebootlock/waiters/") == 3

    play(story)


def test_an_upgraded_machine_with_another_claim_leaves_no_older_place():
    async def story(fleet):
        await OlderQueue(MemoryStore(fleet.server), "").stand(claim("n1", "of yesterday"))
        await fleet.positions("n2")
        assert await fleet.positions("n1", "n2") == [2, 1]
        assert fleet.server.count("coreos.com/updateengine/rebootlock/waiters/") == 2

    play(story)


def test_a_machine_that_crashes_again_and_again_waits_for_none_of_its_own_places():
    async def story(fleet):
        await fleet.positions("n1")
        for _ in range(5):
            await asyncio.sleep(CHECK_AFTER)
            again = Queue(MemoryStore(fleet.server), "")
            assert (await again.stand(claim("n1"))).queued.position == 1
        for number in range(5):
            other = Queue(MemoryStore(fleet.server), "")
            assert (await other.stand(claim("n1", f"claim {number}"))).queued.position == 1
        assert fleet.server.count("coreos.com/updateengine/rebootlock/") == 2  # a place and its ticket

    play(story)


def test_a_ticket_that_says_nothing_is_replaced():
    async def story(fleet):
        for rubbish in (b"", b"none", b"9" * 30, "\u0663".encode()):
            await fleet.positions("n1")
            [ticket] = [key for key in fleet.server._entries if "/tickets/" in key]
            fleet.server.put(ticket, rubbish, fleet.server.read(ticket).version)
            fleet.queues.clear()
            await asyncio.sleep(100)
            assert await fleet.positions("n1") == [1]
            await fleet.go("n1")

    play(story)
