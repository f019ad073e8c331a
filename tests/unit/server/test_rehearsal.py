"""Refusals from memory: they cost the store no request, no client loses its place by them, and none is a permission."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.lock import places
from locksmith.lock.queue import POLLED_TTL
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.hub import Hub
from locksmith.server.kept_places import MUST_LAST
from locksmith.window.window_set import WindowSet
from tests.builders.claims import claim
from tests.builders.desks import POLL, play
from tests.builders.hubs import Counted, following
from tests.builders.one_store import G

DAY = {"day": WindowSet.parse(["10:00 for 1h"], [])}
SETTLED = 30
"""Seconds after which the mirror has all that was done before."""


@contextlib.asynccontextmanager
async def served(fleet, network=None, of_hub=None, **settings):
    """A server that keeps its group in memory; its hub has a network of its own."""
    desk, hub = fleet.desk(network, **settings), Hub(fleet.store(of_hub), [G])
    desk.wait_by(hub)
    async with following(hub, G):
        yield desk


def kind(refusal) -> str:
    return "" if refusal is None else refusal.kind.value


def queued(fleet) -> list[str]:
    prefix = keys.waiters_prefix(G)
    return [places.name_in(key) for key in sorted(fleet.server._entries) if key.startswith(prefix)]


async def full(desk, *clients):
    """Have c1 hold the slot, and others wait for it."""
    assert await desk.pre_reboot(G, "c1") is None
    for client in clients:
        assert kind(await desk.pre_reboot(G, client)) in {"no_slot", "queued"}
    await asyncio.sleep(SETTLED)


async def held_for_ever(fleet):
    """Have a legacy node hold the slot: it never counts as lost."""
    await fleet.store().create(keys.semaphore_key(G), semaphore.encode(Semaphore(1).take("n0")))


async def wait(desk, *clients):
    """Have clients wait for the slot."""
    for client in clients:
        assert kind(await desk.pre_reboot(G, client)) in {"no_slot", "queued"}
    await asyncio.sleep(SETTLED)


async def costs(network, call):
    network.calls.clear()
    answer = await call
    return answer, sum(network.calls.values())


def test_the_refusal_of_a_client_whose_place_is_recent_costs_no_request():
    async def story(fleet):
        network = Counted()
        async with served(fleet, network) as desk:
            await full(desk, "c2", "c3", "c4")
            asked = [(await fleet.desk().pre_reboot(G, client)).sentence for client in ("c2", "c3", "c4")]
            for client, sentence in zip(("c2", "c3", "c4"), asked, strict=True):
                refusal, requests = await costs(network, desk.pre_reboot(G, client))
                assert (requests, refusal.sentence) == (0, sentence)
            assert "number 2 of 3, after c2" in asked[1]
            assert "held by c1 since" in asked[0]

    play(story)


@pytest.mark.slow
def test_a_waiting_client_keeps_its_place_for_days_by_a_write_at_every_second_call():
    async def story(fleet):
        network = Counted()
        await held_for_ever(fleet)
        async with served(fleet, network) as desk:
            await wait(desk, "c2", "c3")
            network.calls.clear()
            before = queued(fleet)
            for _ in range(500):
                for client in ("c2", "c3"):
                    assert kind(await desk.pre_reboot(G, client)) in {"no_slot", "queued"}
                await asyncio.sleep(POLL)
                assert queued(fleet) == before
            written = network.calls["renew"] + network.calls["rejoin"]
            assert 500 <= written <= 800  # the first prolongs its place, and writes it
            assert sum(network.calls.values()) == written

    play(story)


@pytest.mark.slow
@pytest.mark.parametrize("first_lost", range(3))
def test_one_of_its_calls_may_be_lost_and_the_place_stays(first_lost):
    async def story(fleet):
        await held_for_ever(fleet)
        async with served(fleet) as desk:
            await wait(desk, "c2")
            for number in range(30):
                if number % 3 != first_lost:
                    assert kind(await desk.pre_reboot(G, "c2")) == "no_slot"
                await asyncio.sleep(POLL)
                assert queued(fleet) == ["fleetlock:c2"]

    play(story)


def test_the_place_of_a_client_that_calls_no_more_expires():
    async def story(fleet):
        async with served(fleet) as desk:
            await full(desk, "c2")
            await desk.pre_reboot(G, "c2")
            await asyncio.sleep(POLLED_TTL + 1)
            assert queued(fleet) == []

    play(story)


@pytest.mark.slow
def test_clients_that_alternate_between_two_servers_keep_their_places():
    async def story(fleet):
        await held_for_ever(fleet)
        async with served(fleet) as one, served(fleet) as two:
            await wait(one, "c2", "c3")
            before = queued(fleet)
            for _ in range(50):
                for desk in (one, two):
                    for client in ("c2", "c3"):
                        assert kind(await desk.pre_reboot(G, client)) in {"no_slot", "queued"}
                    await asyncio.sleep(POLL)
                    assert queued(fleet) == before

    play(story)


def test_a_place_of_unknown_age_is_kept_at_once():
    """The server has just started; the place may expire before the client's next call."""

    async def story(fleet):
        await full(fleet.desk(), "c2")
        await asyncio.sleep(POLLED_TTL - POLL - SETTLED)
        network = Counted()
        async with served(fleet, network) as desk:
            assert kind(await desk.pre_reboot(G, "c2")) == "no_slot"
            await asyncio.sleep(POLL)
            assert queued(fleet) == ["fleetlock:c2"]

    play(story)


def test_what_was_written_while_the_server_was_cut_off_counts_from_before_that():
    """Another server wrote the place at some moment of an outage: the earliest counts."""

    async def story(fleet):
        network, of_hub = Counted(), Counted()
        async with served(fleet, network, of_hub) as desk:
            await full(desk, "c2")
            network.cut = of_hub.cut = True
            for _ in range(2):
                await fleet.desk().pre_reboot(G, "c2")
                await asyncio.sleep(POLLED_TTL - MUST_LAST)
            network.cut = of_hub.cut = False
            await asyncio.sleep(SETTLED)
            _, requests = await costs(network, desk.pre_reboot(G, "c2"))
            assert requests

    play(story)


def test_a_client_without_a_place_gets_one_though_it_is_refused():
    async def story(fleet):
        async with served(fleet) as desk:
            await full(desk, "c2", "c3")
            assert "number 3 of 3" in (await desk.pre_reboot(G, "c4")).sentence
            assert queued(fleet) == ["fleetlock:c2", "fleetlock:c3", "fleetlock:c4"]

    play(story)


def test_the_first_takes_the_slot_as_soon_as_it_is_free():
    async def story(fleet):
        async with served(fleet) as desk:
            await full(desk, "c2", "c3")
            assert await desk.steady_state(G, "c1") is None
            assert kind(await desk.pre_reboot(G, "c3")) == "queued"
            assert await desk.pre_reboot(G, "c2") is None
            assert await desk.pre_reboot(G, "c2") is None
            assert await fleet.holders() == ("c2",)

    play(story)


@pytest.mark.parametrize("releases", [False, True])
def test_a_release_that_memory_does_not_have_yet_concerns_all_clients(releases):
    """Else the next client is refused right after the slot was freed, and calls again after five minutes."""

    async def story(fleet):
        async with served(fleet) as desk:
            rehearsals = desk._rehearsals[G]
            call = rehearsals.call_store()
            call.revision = fleet.server.revision + 1
            rehearsals.asked("c1", call, releases=releases)
            assert (rehearsals.knows("c1"), rehearsals.knows("c2")) == (False, not releases)
            await fleet.store().create("elsewhere", b"")
            await asyncio.sleep(SETTLED)
            assert rehearsals.knows("c1")
            assert rehearsals.knows("c2")

    play(story)


def test_memory_that_takes_a_slot_for_free_gives_none():
    """The server hears nothing any more. Another has taken the slot meanwhile."""

    async def story(fleet):
        of_hub = Counted()
        async with served(fleet, None, of_hub) as desk:
            await full(desk, "c2")
            assert await desk.steady_state(G, "c1") is None
            await asyncio.sleep(SETTLED)
            of_hub.cut = True
            daemon = fleet.daemon()
            await desk.steady_state(G, "c2")
            await daemon.take(claim("n1"))
            assert kind(await desk.pre_reboot(G, "c2")) == "no_slot"
            assert await fleet.holders() == ("n1",)

    play(story)


def test_whatever_a_client_calls_at_one_moment_its_last_answer_is_true():
    """Its place was just removed, or its slot just given: the memory does not have that yet."""

    async def story(fleet):
        async with served(fleet) as desk:
            await full(desk, "c2", "c3")
            for _ in range(20):
                assert kind(await desk.pre_reboot(G, "c3")) == "queued"
                assert await desk.steady_state(G, "c3") is None
                assert kind(await desk.pre_reboot(G, "c3")) == "queued"
                assert queued(fleet) == ["fleetlock:c2", "fleetlock:c3"]
            await desk.steady_state(G, "c1")
            assert await desk.pre_reboot(G, "c2") is None
            assert await desk.pre_reboot(G, "c2") is None

    play(story)


def test_a_closed_window_costs_no_request_and_takes_no_place():
    async def story(fleet):
        network = Counted()
        async with served(fleet, network, window_sets=("day",), known=DAY) as desk:
            desk._local = lambda: datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
            refusal, requests = await costs(network, desk.pre_reboot(G, "c1"))
            assert (kind(refusal), requests, queued(fleet)) == ("window", 0, [])
            assert "they open at 10:00" in refusal.sentence

    play(story)


def test_a_client_leaves_the_queue_when_its_window_closes():
    async def story(fleet):
        clock = [datetime(2026, 5, 1, 10, 30, tzinfo=UTC)]
        await held_for_ever(fleet)
        async with served(fleet, window_sets=("day",), known=DAY) as desk:
            desk._local = lambda: clock[0]
            await wait(desk, "c2")
            clock[0] += timedelta(hours=2)
            assert kind(await desk.pre_reboot(G, "c2")) == "window"
            assert queued(fleet) == []

    play(story)


def test_a_client_that_is_held_back_costs_no_request_and_takes_no_place():
    async def story(fleet):
        network = Counted()
        async with served(fleet, network) as desk:
            await fleet.orders.hold("c1", Order("alice", fleet.now(), reason="disk"))
            await asyncio.sleep(SETTLED)
            refusal, requests = await costs(network, desk.pre_reboot(G, "c1"))
            assert (kind(refusal), requests, queued(fleet)) == ("held", 0, [])
            assert "disk" in refusal.sentence
            await fleet.orders.unhold("c1")
            await asyncio.sleep(SETTLED)
            assert await desk.pre_reboot(G, "c1") is None

    play(story)


@pytest.mark.parametrize("what", ["frozen", "halted"])
def test_the_first_of_a_group_that_stands_still_is_told_so_at_no_cost(what):
    async def story(fleet):
        network = Counted()
        async with served(fleet, network) as desk:
            await full(desk, "c2")
            if what == "frozen":
                await fleet.orders.freeze(Order("alice", fleet.now(), reason="audit"))
                await desk.steady_state(G, "c1")
            else:
                await asyncio.sleep(timedelta(minutes=31).total_seconds())
                await desk.pre_reboot(G, "c2")
            await asyncio.sleep(SETTLED)
            asked = await fleet.desk().pre_reboot(G, "c2")
            await asyncio.sleep(SETTLED)
            refusal, requests = await costs(network, desk.pre_reboot(G, "c2"))
            assert (kind(refusal), requests) == (what, 0)
            assert refusal.sentence == asked.sentence

    play(story)


def test_where_memory_is_old_the_store_is_asked():
    async def story(fleet):
        network, of_hub = Counted(), Counted()
        async with served(fleet, network, of_hub) as desk:
            await full(desk, "c2")
            of_hub.cut = True
            await asyncio.sleep(60)
            _, requests = await costs(network, desk.pre_reboot(G, "c2"))
            assert requests

    play(story)
