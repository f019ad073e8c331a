"""The first in line, which writes its place so that the second knows whose that is; and whom a halt binds."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from locksmith.errors import OutcomeUnknownError
from locksmith.lock import places, queue_halt
from locksmith.lock.queue import FIRST_LASTS, KEEP_AFTER, Queue
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.waiter import Waiter
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Entry
from tests.builders.queues import claim
from tests.sim.virtual_time import run


class QueuePosition:
    """One server, and a queue for each who stands in line; the answers of the calls in `lost` get lost."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.calls: list[str] = []
        self.lost: list[str] = []

    async def carry(self, call):
        self.calls.append(call.name)
        answer = call.apply()
        if call.name in self.lost:
            self.lost.remove(call.name)
            raise OutcomeUnknownError("the answer was lost")
        return answer

    def queue(self, halt_after: HaltAfter = HaltAfter()) -> Queue:  # noqa: B008 - immutable
        return Queue(MemoryStore(self.server, self), "", halt_after=halt_after)

    def beat(self, name: str) -> int:
        entry = self.entry(name)
        return waiter.decode(entry.value, entry.key).beat if entry else 0

    def entry(self, name: str) -> Entry | None:
        """The place of a name."""
        entries = self.server.list(keys.waiters_prefix(""), 0, None).entries
        return next((entry for entry in entries if places.name_in(entry.key) == name), None)

    async def halted_by(self, *rules: HaltAfter) -> Queue:
        """Have a machine stand in line for each rule; give the queue of the last."""
        queues = [self.queue(rule) for rule in rules]
        for number, one in enumerate(queues):
            await one.stand(claim(f"n{number}"))
        return queues[-1] if queues else self.queue()


def play(story):
    return run(lambda _loop: story(QueuePosition()))


def test_the_first_counts_how_often_it_has_written_its_place():
    async def story(line):
        first = line.queue()
        for beat in (1, 2, 3):
            await first.stand(claim("n1"))
            assert line.beat("n1") == beat
            await asyncio.sleep(KEEP_AFTER)

    play(story)


def test_the_first_looks_for_a_place_whose_writing_was_not_answered():
    async def story(line):
        first = line.queue()
        await first.stand(claim("n1"))
        await asyncio.sleep(KEEP_AFTER)
        line.lost.append("rejoin")
        with pytest.raises(OutcomeUnknownError):
            await first.stand(claim("n1"))
        assert not first.stands(claim("n1"))
        assert (await first.stand(claim("n1"))).queued.position == 1
        assert first.stands(claim("n1"))

    play(story)


def test_a_halt_binds_everybody_where_nobody_says_otherwise():
    async def story(line):
        assert await line.queue().halts_all(1)
        one = line.queue(HaltAfter(1))
        await one.stand(claim("n1"))
        assert await one.halts_all(1)

    play(story)


def test_a_halt_that_the_rule_of_a_single_machine_does_not_know_binds_not_everybody():
    async def story(line):
        strict = await line.halted_by(HaltAfter(0), HaltAfter(3), HaltAfter(1))
        assert not await strict.halts_all(9)  # the first never halts
        line = QueuePosition()
        strict = await line.halted_by(HaltAfter(3), HaltAfter(1))
        assert not await strict.halts_all(2)
        assert await strict.halts_all(3)
        assert "count" not in line.calls  # no rule is relative

    play(story)


def test_a_share_is_one_of_the_machines_that_are_present():
    async def story(line):
        one = await line.halted_by(HaltAfter(percent=Decimal(50)))
        for number in range(4):
            line.server.put(keys.node_key("", f"n{number}"), b"{}", 0)
        assert not await one.halts_all(1)
        assert await one.halts_all(2)

    play(story)


def test_of_a_long_line_the_rules_of_the_first_are_asked(monkeypatch):
    monkeypatch.setattr(queue_halt, "SEEN_FOR_HALT", 2)

    async def story(line):
        loose = await line.halted_by(HaltAfter(1), HaltAfter(1), HaltAfter(9))
        assert await loose.halts_all(1)

    play(story)


def test_a_place_that_cannot_be_read_has_no_rule():
    async def story(line):
        strict = line.queue(HaltAfter(1))
        await strict.stand(claim("n1"))
        line.server.put(keys.waiters_prefix("") + "n0", b"rubbish", 0)
        assert await strict.halts_all(1)

    play(story)


def test_a_restarted_machine_prolongs_its_place_and_writes_nothing():
    async def story(line):
        await line.queue().stand(claim("n1"))
        before = line.entry("n1").version
        line.calls.clear()
        assert (await line.queue().stand(claim("n1"))).queued.position == 1
        assert "renew" in line.calls
        assert line.entry("n1").version == before

    play(story)


def test_a_restarted_machine_whose_place_has_no_lease_writes_it_with_one():
    async def story(line):
        ticket = line.server.put(keys.ticket_key("", "n1"), b"1", 0)
        key = places.place_key("", claim("n1"), 1)
        line.server.put(key, waiter.encode(Waiter.of(claim("n1"))), 0)
        assert (await line.queue().stand(claim("n1"))).queued.position == 1
        assert line.server.read(key).entry.lease
        assert line.server.read(ticket.key).entry.lease

    play(story)


def test_a_new_claim_stands_in_the_stead_of_an_older_one_and_expires_as_any_other():
    async def story(line):
        await line.queue().stand(claim("n1", "older"))
        line.calls.clear()
        await line.queue().stand(claim("n1", "newer"))
        assert line.calls.count("enter") == 2  # the first finds the older ticket
        assert "rejoin" not in line.calls
        entry = line.entry("n1")
        assert waiter.decode(entry.value, entry.key).nonce == "newer"
        assert entry.lease

    play(story)


@pytest.mark.parametrize(("beat", "deserted"), [(1, True), (0, False)])
def test_a_first_place_is_deserted_that_stood_too_long_where_its_machine_writes_it(beat, deserted):
    async def story(line):
        first = Entry("key", waiter.encode(replace(Waiter.of(claim("n1")), beat=beat)), 1, 1)
        second = line.queue()
        assert not second._is_deserted(first)
        await asyncio.sleep(FIRST_LASTS)
        assert not second._is_deserted(first)
        await asyncio.sleep(1)
        assert second._is_deserted(first) is deserted

    play(story)


def test_who_stands_before_is_called_by_its_hostname():
    async def story(line):
        await line.queue().stand(replace(claim("n1"), hostname="web-1"))
        assert (await line.queue().stand(claim("n2"))).queued.predecessor == "web-1"

    play(story)
