"""What a place sees of its queue, near the first one and far back, and which reads that takes."""

import asyncio

import pytest

from locksmith.lock import places, queue_sight
from locksmith.lock.queue_sight import COUNT_AFTER, GROWTH, KNOWN, MOST_KNOWN, SPAN, QueueSight, known_for
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Delete, Entry, Listing, Put
from tests.sim.virtual_time import run

TTL = 9000.0
FAR = 1_000_000
SMALL = 30
"""A long queue, for some of these tests."""
MANY = 5
"""Tickets in one slice of a long queue."""


class Line:
    """A queue on a server in memory, with the reads that were asked of it."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.calls: list[str] = []
        self.lows: list[int] = []

    async def carry(self, call):
        self.calls.append(call.name)
        if call.name == "range":
            self.lows.append(int(call.key.rpartition("!")[2], 16))
        await asyncio.sleep(0)
        return call.apply()

    def sight(self, ahead: int = 0, slots: int = 1) -> QueueSight:
        """Give the view of one who entered behind so many."""
        sight = self.resumed()
        sight.entered(ahead, slots)
        return sight

    def resumed(self) -> QueueSight:
        """Give the view of one who found the place that an earlier run of it had."""
        return QueueSight(MemoryStore(self.server, self), "")

    def place(self, number: int, name: str = "", *, lease: bool = True) -> Entry:
        return self.put(places.numbered_key("", name or f"n{number}", number), lease=lease)

    def put(self, key: str, value: bytes = b"", *, lease: bool = True) -> Entry:
        put = Put(key, value, ABSENT)
        return self.server.lend(put, TTL) if lease else self.server.put(put.key, put.value, put.version)

    def slots(self, slots: int) -> None:
        self.put(keys.semaphore_key(""), semaphore.encode(Semaphore(slots)), lease=False)

    def tickets(self, number: int) -> None:
        """Put so many tickets into the slice of `own`."""
        for one in range(number):
            self.put(f"{keys.tickets_prefix('', 'own')}t{one}")


def play(story):
    return run(lambda _loop: story(Line()))


def numbers(entries) -> list[int | None]:
    return [places.number_of(entry.key) for entry in entries]


@pytest.mark.parametrize(
    ("slots", "known"), [(0, KNOWN), (5, KNOWN), (6, 24), (249, 996), (250, MOST_KNOWN), (5000, MOST_KNOWN)]
)
def test_four_places_for_each_slot_watch_the_one_before_and_never_too_many(slots, known):
    assert known_for(slots) == known
    sight = QueueSight(MemoryStore(MemoryServer()), "")
    assert not sight.entered(known, slots)
    assert sight.entered(known + 1, slots)


def test_who_has_as_many_before_it_as_are_known_sees_all_of_them_in_one_read():
    async def story(line):
        for number in range(1, KNOWN + 1):
            line.place(number)
        own = line.place(KNOWN + 5, "own")
        line.place(KNOWN + 6, "later")
        sight = await line.sight(KNOWN).observe(own)
        assert line.calls == ["range"]
        assert (sight.own, sight.position, sight.length) == (own, KNOWN + 1, KNOWN + 2)
        assert numbers(sight.before) == list(range(1, KNOWN + 1))
        assert (sight.exact, sight.counted, sight.leaseless, sight.known) == (True, True, (), KNOWN)
        assert sight.revision == line.server.revision

    play(story)


def test_who_has_one_more_before_it_watches_none_and_knows_its_position_roughly():
    async def story(line):
        for number in range(1, KNOWN + 2):
            line.place(number)
        own = line.place(KNOWN + 2, "own")
        sight = await line.sight(KNOWN).observe(own)
        assert line.calls == ["range", "read", "range"]
        assert (sight.own, sight.position, sight.length) == (own, KNOWN + 2, KNOWN + 2)
        assert (sight.before, sight.exact, sight.counted) == ((), False, True)

    play(story)


def test_a_place_that_is_gone_is_seen_as_gone_near_the_first_and_far_back():
    async def story(line):
        own = Entry(places.numbered_key("", "own", 50), b"", 1, 1, 1)
        line.place(1)
        near = await line.sight().observe(own)
        assert (near.own, near.position, near.length) == (None, 2, 2)
        for number in range(2, 40):
            line.place(number)
        far = await line.sight(39).observe(own)
        assert (far.own, far.position, far.exact) == (None, 39, False)

    play(story)


@pytest.mark.parametrize("gap", [0, SPAN, SPAN * GROWTH, FAR - 100])
def test_of_a_group_with_many_slots_a_place_further_back_watches_the_one_before(gap):
    async def story(line):
        line.slots(10)
        for number in range(1, 40):
            line.place(number)
        own = line.place(40 + gap, "own")
        sight = await line.sight(39, 10).observe(own)
        assert (sight.position, sight.exact, sight.known, numbers(sight.before)) == (40, True, 40, [39])

    play(story)


def test_how_many_places_watch_is_what_the_lock_says_now():
    async def story(line):
        line.slots(10)
        first, *_ = [line.place(number) for number in range(1, 42)]
        last, own = [line.place(100 + number, "own") for number in range(2)]
        assert (await line.sight(2000, 1).observe(last)).exact is False
        line.server.commit([Delete(last.key, last.version), Delete(first.key, first.version)])
        sight = await line.sight(2000, 1).observe(own)
        assert (sight.position, sight.exact, numbers(sight.before)) == (41, True, [41])

    play(story)


def test_a_lock_that_cannot_be_read_has_one_slot_for_those_who_wait():
    async def story(line):
        line.put(keys.semaphore_key(""), b"rubbish", lease=False)
        for number in range(1, 40):
            line.place(number)
        sight = await line.sight(39).observe(line.place(40, "own"))
        assert (sight.exact, sight.known) == (False, KNOWN)

    play(story)


def test_a_span_with_too_few_places_grows_and_the_next_read_begins_with_it():
    async def story(line):
        line.tickets(MANY)
        for number in range(KNOWN + 10):
            line.place(number)
        own = line.place(FAR, "own")
        sight = line.sight(2000)
        seen = await sight.observe(own)
        assert line.lows == [FAR - SPAN, FAR - SPAN * GROWTH, FAR - SPAN * GROWTH**2, FAR - SPAN * GROWTH**3, 0]
        assert (seen.position, seen.exact) == (KNOWN + 11, False)
        line.lows.clear()
        await sight.observe(own)
        assert line.lows == [0]
        line.lows.clear()
        sight.entered(2000, 1)
        await sight.observe(own)
        assert line.lows[0] == FAR - SPAN, "who enters again begins with a small span"

    play(story)


@pytest.mark.parametrize(("slots", "enough"), [(1, queue_sight.LONG + 1), (400, MOST_KNOWN + 2)])
def test_a_span_is_large_enough_with_more_places_than_a_long_queue_has(slots, enough, monkeypatch):
    totals = [enough - 1, enough]
    monkeypatch.setattr(MemoryServer, "range", lambda *_: Listing((), 7, totals.pop(0)))

    async def story(line):
        line.slots(slots)
        line.tickets(MANY)
        seen = await line.sight(2000, slots).observe(Entry(places.numbered_key("", "own", FAR), b"", 1, 1, 1))
        assert line.lows == [FAR - SPAN, FAR - SPAN * GROWTH]
        assert (seen.position, seen.revision) == (enough, 7)

    play(story)


def test_places_without_a_lease_right_before_are_seen_up_to_the_first_that_has_one():
    async def story(line):
        line.place(1, lease=False)
        line.place(2)
        line.place(3, lease=False)
        line.place(4, lease=False)
        own = line.place(5, "own")
        line.place(6, lease=False)
        older = line.put(keys.waiters_prefix("") + "older", lease=False)
        line.put(keys.waiters_prefix("") + "oldest")
        sight = await line.sight().observe(own)
        assert numbers(sight.leaseless) == [4, 3, None]
        assert sight.leaseless[-1] == older
        assert (sight.position, numbers(sight.before)) == (5, [1, 2, 3, 4])

    play(story)


def test_in_a_copied_keyspace_a_place_far_back_sees_the_first_ones_without_a_lease():
    async def story(line):
        for number in range(1, 31):
            line.place(number, lease=number == 5)
        own = line.place(40, "own", lease=False)
        sight = await line.sight(30).observe(own)
        assert numbers(sight.leaseless) == [number for number in range(1, KNOWN + 1) if number != 5]
        assert not sight.exact

    play(story)


def test_far_back_no_place_is_read_for_its_lease_while_the_first_one_has_one():
    async def story(line):
        for number in range(1, 31):
            line.place(number, lease=number == 1)
        line.tickets(MANY)
        sight = await line.sight(30).observe(line.place(40, "own"))
        assert sight.leaseless == ()
        assert line.calls == ["count", "read", "range"]

    play(story)


def test_a_long_queue_is_counted_by_a_slice_of_its_tickets_and_seldom(monkeypatch):
    monkeypatch.setattr(queue_sight, "LONG", SMALL)

    async def story(line):
        for number in range(1, KNOWN + 20):
            line.place(number)
        line.tickets(3)
        own = line.place(100, "own")
        sight = line.sight(SMALL)
        for _ in range(2):
            seen = await sight.observe(own)
            assert (seen.length, seen.counted) == (2 * keys.SLICES, False)
        assert line.calls.count("count") == 1
        await asyncio.sleep(COUNT_AFTER)
        await sight.observe(own)
        assert line.calls.count("count") == 1
        await asyncio.sleep(1)
        line.put(f"{keys.tickets_prefix('', 'own')}another")
        assert (await sight.observe(own)).length == 3 * keys.SLICES
        assert line.calls.count("count") == 2

    play(story)


def test_a_queue_of_which_a_slice_has_few_tickets_is_read_from_the_first_on():
    async def story(line):
        line.place(1)
        line.tickets(2)
        own = line.place(100, "own")
        sight = await line.sight(2000).observe(own)
        assert line.calls == ["count", "range"]
        assert (sight.position, sight.length, sight.exact, sight.counted) == (2, 2, True, True)

    play(story)


@pytest.fixture
def asked(monkeypatch):
    """What ranges were asked for: from, to, and how many places at most."""
    ranges, whole = [], MemoryServer.range

    def noted(*call):
        ranges.append(call[1:4])
        return whole(*call)

    monkeypatch.setattr(MemoryServer, "range", noted)
    return ranges


def test_one_near_the_first_of_a_long_queue_reads_no_further_than_its_own_place(monkeypatch, asked):
    monkeypatch.setattr(queue_sight, "LONG", SMALL)

    async def story(line):
        own = line.place(1, "own")
        for number in range(2, SMALL + 2):
            line.place(number)
        line.tickets(3)
        sight = line.resumed()
        first = await sight.observe(own)
        assert (first.length, first.counted) == (SMALL + 1, True)
        seen = await sight.observe(own)
        assert (seen.position, seen.length, seen.counted) == (1, 2 * keys.SLICES, False)
        assert seen.own == own
        begin, everything = places.bound("", 0), places.past(keys.waiters_prefix(""))
        assert asked == [(begin, everything, KNOWN + 1), (begin, own.key + "\0", KNOWN + 1)]
        assert line.calls == ["range", "count", "range"]

    play(story)


def test_a_queue_that_is_almost_long_is_read_as_a_short_one(monkeypatch, asked):
    monkeypatch.setattr(queue_sight, "LONG", SMALL)

    async def story(line):
        *_, own = [line.place(number) for number in range(1, SMALL + 1)]
        near, far = line.resumed(), line.resumed()
        for _ in range(2):
            seen = await near.observe(Entry(places.numbered_key("", "n1", 1), b"", 1, 1, 1))
            assert (seen.length, seen.counted) == (SMALL, True)
        assert [end for _, end, _ in asked] == [places.past(keys.waiters_prefix(""))] * 2
        seen = await far.observe(own)
        assert (seen.position, seen.length, seen.exact, seen.counted) == (SMALL, SMALL, False, True)
        assert "count" not in line.calls

    play(story)


def test_a_count_that_is_almost_long_is_not_believed(monkeypatch):
    monkeypatch.setattr(queue_sight, "LONG", 2 * keys.SLICES)

    async def story(line):
        line.tickets(3)
        sight = await line.sight(2000).observe(line.place(1, "own"))
        assert (sight.length, sight.counted, line.calls) == (1, True, ["count", "range"])

    play(story)


def test_who_finds_its_place_again_reads_the_first_ones_and_counts_nothing():
    async def story(line):
        line.place(1)
        own = line.place(2, "own")
        sight = await line.resumed().observe(own)
        assert (sight.position, sight.length, line.calls) == (2, 2, ["range"])

    play(story)


@pytest.mark.parametrize("before", [KNOWN - 1, KNOWN])
def test_who_entered_far_back_and_has_come_near_sees_all_before_it(before):
    async def story(line):
        line.tickets(MANY)
        for number in range(1, before + 1):
            line.place(number)
        sight = await line.sight(2000).observe(line.place(100, "own"))
        assert line.calls == ["count", "read", "range", "range"]
        assert (len(sight.before), sight.position, sight.exact, sight.counted) == (before, before + 1, True, False)

    play(story)


def test_who_has_one_more_before_it_than_are_known_does_not_ask_for_all_of_them(asked):
    async def story(line):
        line.slots(10)
        line.tickets(MANY)
        for number in range(1, KNOWN + 2):
            line.place(number)
        own = line.place(100, "own")
        sight = await line.sight(2000).observe(own)
        assert (sight.position, sight.exact, numbers(sight.before)) == (KNOWN + 2, True, [KNOWN + 1])
        assert asked == [(places.bound("", 0), own.key + "\0", 1), (places.bound("", 0), own.key, 0)]

    play(story)


def test_who_finds_that_all_before_it_have_gone_meanwhile_watches_none(monkeypatch):
    gone = Listing((), 7, 0)
    answers = [Listing((), 7, 30), Listing((), 7, 30), gone, gone]
    monkeypatch.setattr(MemoryServer, "range", lambda *_: answers.pop(0))

    async def story(line):
        line.slots(10)
        line.tickets(MANY)
        sight = await line.sight(2000).observe(Entry(places.numbered_key("", "own", 2 * SPAN), b"", 1, 1, 1))
        assert (sight.position, sight.before, answers) == (30, (), [])

    play(story)
