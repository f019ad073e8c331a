"""The line, on the store in memory and on made-up time: who stands where, who is woken, what of the dead."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.lock import places
from locksmith.lock.queue import CHECK_AFTER, FAR_TTL, FIRST_LASTS, KEEP_AFTER, LONGEST_CHECK_AFTER, TTL, Queue, lasts
from locksmith.lock.queue_sight import KNOWN, LONG, SPAN, QueueSight
from locksmith.lock.records.claim import MANUAL
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Delete, Entry, Listing
from tests.builders.queues import claim, play
from tests.harness.fault_script import StepwiseStore


def test_who_comes_first_stands_first():
    async def story(line):
        queues = {name: line.queue() for name in ("n3", "n1", "n2")}
        looks = [await queue.stand(claim(name)) for name, queue in queues.items()]
        assert [(look.queued.position, look.queued.waiters, look.queued.predecessor) for look in looks] == [
            (1, 1, ""),
            (2, 2, "n3"),
            (3, 3, "n1"),
        ]
        assert [look.before and places.name_in(look.before.key) for look in looks] == [None, "n3", "n1"]
        assert line.names == ["n3", "n1", "n2"]

    play(story)


def test_asking_again_costs_nothing_until_it_is_time():
    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        look = await second.stand(claim("n2"))
        line.calls.clear()
        assert await second.stand(claim("n2")) is look
        await asyncio.sleep(KEEP_AFTER + 1)
        assert await second.stand(claim("n2")) is look
        assert line.calls == ["renew"]
        await asyncio.sleep(CHECK_AFTER - KEEP_AFTER)
        assert await second.stand(claim("n2")) is not look
        assert line.calls == ["renew", "range"]

    play(story)


def test_one_who_leaves_wakes_the_next_and_nobody_else():
    async def story(line):
        queues = [line.queue() for _ in range(3)]
        looks = [await queue.stand(claim(f"n{number}")) for number, queue in enumerate(queues)]
        waits = [asyncio.ensure_future(queues[number].wait(looks[number])) for number in (1, 2)]
        await asyncio.sleep(1)
        assert not any(wait.done() for wait in waits)
        await queues[0].leave(claim("n0"))
        assert await waits[0]
        assert not waits[1].done()
        queues[1].look_again()
        assert (await queues[1].stand(claim("n1"))).before is None
        waits[1].cancel()

    play(story)


def test_a_machine_that_learns_that_the_one_before_left_knows_its_place_at_once():
    async def story(line):
        queues = [line.queue() for _ in range(4)]
        looks = [await queue.stand(claim(f"n{number}")) for number, queue in enumerate(queues)]
        waits = [asyncio.ensure_future(queues[number].wait(looks[number])) for number in (1, 2, 3)]
        await asyncio.sleep(1)
        await queues[0].leave(claim("n0"))
        await queues[2].leave(claim("n2"))
        assert await waits[0]
        assert await waits[2]
        line.calls.clear()
        first, third = await queues[1].stand(claim("n1")), await queues[3].stand(claim("n3"))
        assert line.calls == []
        assert (first.queued.position, first.before, first.queued.predecessor) == (1, None, "")
        assert (third.queued.position, third.queued.predecessor) == (3, "n1")
        assert third.queued.waiters == 3
        # The first of all had gone before it, which this did not know: the position is that or an earlier one.
        await queues[1].leave(claim("n1"))
        assert await queues[3].wait(third)
        assert (await queues[3].stand(claim("n3"))).queued.predecessor == "n0"
        assert await queues[3].wait(await queues[3].stand(claim("n3"))), "the watch tells what came before it"
        line.calls.clear()
        last = await queues[3].stand(claim("n3"))
        assert (last.queued.position, last.before, last.queued.waiters) == (1, None, 1)
        assert line.calls == []
        await asyncio.sleep(CHECK_AFTER + 1)
        assert (await queues[3].stand(claim("n3"))).queued.waiters == 1
        assert "range" in line.calls, "by itself it looks again in the end"
        waits[1].cancel()

    play(story)


def test_a_place_before_that_is_written_again_is_not_gone():
    """As the first does while it waits: whoever took that for its end would ask for a slot before its turn."""

    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        look = await second.stand(claim("n2"))
        waiting = asyncio.ensure_future(second.wait(look))
        await asyncio.sleep(KEEP_AFTER + 1)
        await first.stand(claim("n1"))
        assert await waiting
        assert (await second.stand(claim("n2"))).queued.position == 2

    play(story)


def test_where_it_is_not_told_what_became_of_the_one_before_it_looks():
    async def story(line):
        first, second = line.queue(), Queue(StepwiseStore(line.server, line), "")
        await first.stand(claim("n1"))
        look = await second.stand(claim("n2"))
        waiting = asyncio.ensure_future(second.wait(look))
        await asyncio.sleep(1)
        await first.leave(claim("n1"))
        assert await waiting
        line.calls.clear()
        assert (await second.stand(claim("n2"))).queued.position == 1
        assert line.calls == ["range"]

    play(story)


def test_one_in_the_middle_who_leaves_has_the_next_look_at_the_one_before():
    async def story(line):
        queues = [line.queue() for _ in range(3)]
        looks = [await queue.stand(claim(f"n{number}")) for number, queue in enumerate(queues)]
        await queues[1].leave(claim("n1"))
        assert await queues[2].wait(looks[2])
        queues[2].look_again()
        look = await queues[2].stand(claim("n2"))
        assert (look.queued.position, look.queued.predecessor) == (2, "n0")

    play(story)


def test_a_place_that_nobody_keeps_expires_and_the_line_goes_on():
    async def story(line):
        dead, alive = line.queue(), line.queue()
        await dead.stand(claim("n1"))
        clock = asyncio.get_running_loop().time
        start = clock()
        while (look := await alive.stand(claim("n2"))).before is not None:
            await alive.wait(look)
            alive.look_again()
        assert clock() - start == pytest.approx(TTL, abs=1)
        assert line.names == ["n2"]

    play(story)


def test_a_place_that_is_kept_stays_where_it_is():
    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        await second.stand(claim("n2"))
        for _ in range(20):
            await asyncio.sleep(30)
            assert (await first.stand(claim("n1"))).queued.position == 1
            assert (await second.stand(claim("n2"))).queued.position == 2

    play(story)


def test_a_place_lost_while_its_program_was_away_is_taken_anew_at_the_end():
    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        await asyncio.sleep(TTL / 2)
        await second.stand(claim("n2"))
        await asyncio.sleep(TTL / 2 + 1)
        assert (await first.stand(claim("n1"))).queued.position == 2
        assert line.names == ["n2", "n1"]

    play(story)


def test_a_place_that_another_machine_removed_is_found_out_at_the_next_look():
    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        await second.stand(claim("n2"))
        store = MemoryStore(line.server)
        key = line.key("n1")
        await store.delete(key, (await store.get(key)).version)
        first.look_again()
        assert (await first.stand(claim("n1"))).queued.position == 2

    play(story)


def test_a_restarted_program_goes_on_from_the_place_it_had():
    async def story(line):
        await line.queue().stand(claim("n1"))
        await line.queue().stand(claim("n2"))
        assert (await line.queue().stand(claim("n1"))).queued.position == 1
        assert line.names == ["n1", "n2"]

    play(story)


def test_a_new_claim_of_the_same_machine_stands_at_the_end():
    async def story(line):
        await line.queue().stand(claim("n1", "an old one"))
        await line.queue().stand(claim("n2"))
        assert (await line.queue().stand(claim("n1", "a new one"))).queued.position == 2
        assert line.names == ["n2", "n1"]

    play(story)


def test_a_restarted_program_that_gives_up_gives_up_the_place_it_had():
    async def story(line):
        await line.queue().stand(claim("n1"))
        await line.queue().leave(claim("n1", "another"))
        assert line.names == ["n1"]
        await line.queue().leave(claim("n1"))
        assert line.names == []

    play(story)


def test_an_operator_stands_beside_the_machine_that_it_is_about():
    async def story(line):
        await line.queue().stand(claim("n1"))
        assert (await line.queue().stand(claim("n1", "by hand", MANUAL))).queued.position == 2
        assert line.names == ["n1", "manual:n1"]

    play(story)


async def crowd(line, count):
    """Have so many stand in line for an hour, without a look."""
    for number in range(count):
        await Queue(MemoryStore(line.server), "", ttl=3600)._places.enter(claim(f"n{number}"))


async def looked(queue, look):
    """Wait until one who came to a long line has looked, and give what it saw."""
    while (again := await queue.stand(claim("last"))) is look:  # noqa: ASYNC110 - made-up time
        await asyncio.sleep(KEEP_AFTER)
    return again


def test_far_back_no_watch_is_held_and_looks_are_rare():
    async def story(line):
        await crowd(line, KNOWN + 200)
        queue = line.queue()
        clock = asyncio.get_running_loop().time
        far = await looked(queue, await queue.stand(claim("last")))
        assert (far.queued.position, far.queued.waiters, far.queued.exact) == (KNOWN + 201, KNOWN + 201, False)
        assert far.before is None
        assert lasts(far.queued.position) * 0.7 <= far.ends - clock() <= lasts(far.queued.position)
        deep = await line.queue().stand(claim("n19"))
        assert deep.queued.exact
        assert deep.queued.position == KNOWN
        line.calls.clear()
        assert not await queue.wait(far)
        assert "wait" not in line.calls

    play(story)


@pytest.mark.slow
def test_who_comes_to_a_long_line_is_told_so_and_looks_later():
    async def story(line):
        await crowd(line, 3 * LONG)
        line.calls.clear()
        queue = line.queue()
        afar = await queue.stand(claim("last"))
        assert afar.queued.position == SPAN + 1
        assert (afar.queued.exact, afar.queued.counted, afar.before) == (False, False, None)
        assert line.calls == ["enter"]
        last = await looked(queue, afar)
        assert last.queued.position > LONG
        assert last.ends - asyncio.get_running_loop().time() > CHECK_AFTER

    play(story)


def test_a_look_from_far_back_asks_for_a_span_and_never_for_the_line(monkeypatch):
    asked = []

    def counted(_server, start, end, _limit, _at):
        asked.append((start, end))
        return Listing((), 100_000, 2000)

    monkeypatch.setattr(MemoryServer, "range", counted)

    async def story(line):
        sight = QueueSight(MemoryStore(line.server), "")
        sight.entered(2000, 1)
        sight._counted = 0.0
        place = Entry(places.place_key("", claim("last"), 1_000_000), b"", 1, 1, 1)
        await sight.observe(place)
        assert asked == [(places.bound("", 1_000_000 - SPAN), place.key + "\0")]

    play(story)


def test_who_comes_near_shortens_its_life_and_watches_the_one_before():
    async def story(line):
        others = [line.queue() for _ in range(KNOWN + 1)]
        for number, other in enumerate(others):
            await other.stand(claim(f"n{number}"))
        queue = line.queue()
        far = await looked(queue, await queue.stand(claim("last")))
        assert far.before is None
        queue._place = replace(queue._place, ttl=FAR_TTL)
        await others[0].leave(claim("n0"))
        await others[1].leave(claim("n1"))
        await queue.wait(far)
        near = await queue.stand(claim("last"))
        assert (near.queued.position, near.queued.predecessor) == (KNOWN, f"n{KNOWN}")
        await queue.stand(claim("last"))
        assert queue._place.ttl == TTL

    play(story)


def test_a_place_that_cannot_be_read_is_waited_for_like_any_other():
    async def story(line):
        await MemoryStore(line.server).create(places.bound("", 1) + "-n0", b"rubbish", ttl=TTL)
        look = await line.queue().stand(claim("n1"))
        assert (look.queued.position, look.queued.predecessor) == (2, "n0")

    play(story)


def test_a_restarted_program_looks_at_once_however_long_the_line_is():
    async def story(line):
        await line.queue().stand(claim("first"))
        for number in range(KNOWN + 10):
            await line.queue().stand(claim(f"n{number}"))
        assert (await line.queue().stand(claim("first"))).queued.position == 1

    play(story)


def test_who_stands_further_back_looks_less_often():
    assert [lasts(position) for position in (20, 22, 100, 390, 5000)] == [30, 33, 150, 585, LONGEST_CHECK_AFTER]
    assert lasts(300, known=200) == 45


def test_a_first_that_looks_again_each_time_keeps_its_turn():
    """As in a group that is halted for long: what it saw of the queue is believed no more after each denial."""

    async def story(line):
        first, second = line.queue(), line.queue()
        await first.stand(claim("n1"))
        await second.stand(claim("n2"))
        for _ in range(int(3 * FIRST_LASTS / CHECK_AFTER)):
            await asyncio.sleep(CHECK_AFTER)
            first.look_again()
            assert (await first.stand(claim("n1"))).queued.position == 1
            assert (await second.stand(claim("n2"))).queued.position == 2

    play(story)


def test_a_place_that_another_server_may_have_written_goes_without_its_ticket():
    async def story(line):
        queue = line.queue()
        await queue.stand(claim("a"))
        queue.doubt()
        ticket = line.server.read(places.ticket_key("", claim("a"))).entry
        assert ticket is not None
        line.server.commit([Delete(ticket.key, ticket.version)])
        await queue.leave(claim("a"))
        assert line.names == []

    play(story)
