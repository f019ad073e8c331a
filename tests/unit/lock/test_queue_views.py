"""What a machine knows of the queue without reading it: after the place before has gone, and far back."""

import asyncio
from dataclasses import replace
from random import Random

import pytest

from locksmith.lock import places
from locksmith.lock.answer import QueuePosition
from locksmith.lock.queue import FIRST_LASTS, Queue, QueueView, lasts
from locksmith.lock.queue_sight import KNOWN
from locksmith.lock.records import waiter
from locksmith.lock.records.waiter import Waiter
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Entry
from tests.builders.queues import claim
from tests.sim.virtual_time import run


def place(name: str, **more) -> Entry:
    record = waiter.encode(replace(Waiter.of(claim(name)), **more))
    return Entry(places.numbered_key("", name, 7), record, 7, 7, 1)


N1, N2 = place("n1"), place("n2")


@pytest.mark.parametrize(
    ("position", "ahead", "moved"),
    [
        (QueuePosition(3, 9, "n2"), (N1, N2), (QueuePosition(2, 8, "n1"), (N1,))),
        (QueuePosition(2, 2, "n2"), (N2,), (QueuePosition(1, 1), ())),
        (QueuePosition(2, 1, "n2"), (N2,), (QueuePosition(1, 1), ())),
        (QueuePosition(3, 9, "n2"), (N2,), None),
        (QueuePosition(41, 90, exact=False), (N1, N2), None),
        (QueuePosition(2, 90, exact=False), (N2,), None),
    ],
    ids=[
        "one of several",
        "the last",
        "the length was old",
        "who is before it is unknown",
        "far back",
        "roughly second",
    ],
)
def test_the_next_place_is_known_without_a_read_where_all_before_it_are(position, ahead, moved):
    view = QueueView(position, ahead, 7, 30.0)
    assert view.moved_up() == (moved and QueueView(moved[0], moved[1], 7, 30.0))


@pytest.mark.parametrize(
    ("more", "after"),
    [
        ({"beat": 1, "lasts": 900}, FIRST_LASTS),
        ({"beat": 0, "polls": 1, "lasts": 900}, 900),
        ({"beat": 0, "polls": 1, "lasts": 90}, FIRST_LASTS),
        ({"beat": 0}, None),
    ],
    ids=["a machine", "a client", "a client that is quick", "an older version"],
)
def test_the_first_place_is_deserted_after_it_stood_unchanged_for_too_long(more, after):
    async def main(_loop):
        queue, first = Queue(MemoryStore(MemoryServer()), ""), place("n1", **more)
        assert not queue._is_deserted(first)
        await asyncio.sleep(after or 1e6)
        assert not queue._is_deserted(first)
        await asyncio.sleep(1)
        assert queue._is_deserted(first) == (after is not None)

    run(main)


@pytest.mark.parametrize(("share", "after"), [(0.0, 0.7), (1.0, 1.0)], ids=["at once, and then again", "last"])
def test_who_enters_far_back_reads_the_queue_at_any_moment_up_to_its_time(share, after):
    class Drawn(Random):
        def uniform(self, a: float, b: float) -> float:
            return float(a + share * (b - a))

    async def main(loop):
        server = MemoryServer()
        for number in range(KNOWN + 30):
            await Queue(MemoryStore(server), "").stand(claim(f"n{number}"))
        began = loop.time()
        view = await Queue(MemoryStore(server), "", rng=Drawn()).stand(claim("last"))
        assert view.queued.position == KNOWN + 31
        assert view.ends - began == pytest.approx(after * lasts(KNOWN + 31))

    run(main)
