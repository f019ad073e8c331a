"""The attempts of a group's clients in one server take turns: none is lost to another, and none waits for ever."""

import asyncio
from collections import Counter

import pytest

from locksmith.errors import ConflictError
from locksmith.server.attempt_turns import TURN_LIMIT, AttemptTurns
from tests.builders.desks import play
from tests.builders.one_store import G
from tests.sim.virtual_time import run


class Slow:
    """A network whose requests take a while; it counts them, and those that lost a race."""

    def __init__(self):
        self.calls: Counter[str] = Counter()

    async def carry(self, call):
        await asyncio.sleep(0.01)
        try:
            return call.apply()
        except ConflictError:
            self.calls["lost"] += 1
            raise


def test_attempts_are_made_in_the_order_of_their_coming():
    async def story(loop):
        turns, order = AttemptTurns(), []

        async def attempt(number):
            async with turns.turn():
                began = loop.time()
                await asyncio.sleep(0.1)
                order.append((number, round(began, 1)))

        await asyncio.gather(*(attempt(number) for number in range(5)))
        assert order == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
        assert (turns.waited, turns.late) == (4, 0)

    run(story)


def test_one_that_is_cut_off_leaves_its_turn_to_the_next():
    async def story(loop):
        turns = AttemptTurns()

        async def attempt(seconds):
            async with turns.turn():
                await asyncio.sleep(seconds)
                return loop.time()

        first, second, third = (asyncio.ensure_future(attempt(1)) for _ in range(3))
        await asyncio.sleep(0.5)
        second.cancel()
        await asyncio.sleep(0.1)
        first.cancel()
        assert await third == pytest.approx(1.6)
        assert await attempt(0) == pytest.approx(1.6)
        assert second.cancelled()

    run(story)


def test_an_attempt_is_made_without_its_turn_after_a_while():
    async def story(loop):
        turns = AttemptTurns()

        async def stuck():
            async with turns.turn():
                await asyncio.sleep(1000)

        stuck_one = asyncio.ensure_future(stuck())
        await asyncio.sleep(0)
        for number in (1, 2):
            async with turns.turn():
                assert loop.time() == pytest.approx(number * TURN_LIMIT)
        assert turns.late == 2
        stuck_one.cancel()
        await asyncio.sleep(0)
        async with turns.turn():
            assert loop.time() == pytest.approx(2 * TURN_LIMIT)

    run(story)


@pytest.mark.slow
def test_clients_of_one_server_lose_no_race_against_each_other():
    async def story(fleet):
        network = Slow()
        await fleet.admin.set_max(8)
        desk = fleet.desk(network)
        clients = [f"c{number}" for number in range(8)]
        for _ in range(3):
            for _ in range(5):  # who came while many entered may be told to wait
                await asyncio.gather(*(desk.pre_reboot(G, client) for client in clients))
            assert sorted(await fleet.holders()) == clients
            assert await asyncio.gather(*(desk.steady_state(G, client) for client in clients)) == [None] * 8
            assert await fleet.holders() == ()
        assert network.calls["lost"] == 0

    play(story)


def test_two_servers_race_as_before_and_each_call_is_answered():
    async def story(fleet):
        network = Slow()
        await fleet.admin.set_max(4)
        desks = [fleet.desk(network), fleet.desk(network)]
        clients = [f"c{number}" for number in range(4)]
        for _ in range(5):
            calls = (desks[number % 2].pre_reboot(G, client) for number, client in enumerate(clients))
            await asyncio.gather(*calls)
        assert sorted(await fleet.holders()) == clients
        assert network.calls["lost"]

    play(story)
