"""The loop of a machine of a large group: it asks at a moment of its own, and does not hurry back after a failure."""

import asyncio
import itertools
from random import Random

import pytest

from locksmith.agent.journal import Phase
from locksmith.agent.steps import Idle, Request, Wait
from locksmith.errors import StoreError, StoreUnavailableError
from locksmith.lock.answer import Answer, Denied
from locksmith.lock.arrival import PER_SECOND, RETRY, spread
from tests.builders.loops import DENIED, Bench, raising
from tests.sim.virtual_time import run

LARGE = 10_000


class Latest(Random):
    """Draws the greatest number."""

    def random(self) -> float:
        return 1.0

    def uniform(self, a: float, b: float) -> float:
        del a
        return b


def asked_at(bench: Bench, machines: int, seconds: float, *, latest: bool = True) -> list[float]:
    """Let the loop run in a group of so many machines; give when it asked for permission."""
    moments: list[float] = []

    async def main(_loop):
        agent = bench.agent(machines=lambda: machines)
        if latest:
            agent._arriving._rng, agent._arriving._arrival._share = Latest(), 1.0
        answer = bench.does.get("request", lambda: None)

        def noted() -> Answer | None:
            moments.append(asyncio.get_running_loop().time())
            return answer()

        bench.does["request"] = noted
        task = asyncio.ensure_future(agent.run())
        await asyncio.wait([task], timeout=seconds)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    return moments


def test_a_machine_of_a_large_group_says_that_its_moment_is_to_come_and_asks_then():
    bench = Bench(does={"request": lambda: DENIED})
    first = asked_at(bench, LARGE, 2 * spread(LARGE))[0]
    assert first == pytest.approx(spread(LARGE), abs=0.5)
    assert "this machine's moment is to come" in bench.shown[0]


def test_no_two_machines_of_a_large_group_draw_the_same_moment():
    one, other = (asked_at(Bench(), LARGE, spread(LARGE), latest=False) for _ in range(2))
    assert one == other  # the draw is the machine's own
    assert 0 < one[0] < spread(LARGE)


@pytest.mark.parametrize("machines", [0, PER_SECOND])
def test_a_machine_of_a_small_group_or_one_of_unknown_size_asks_at_once(machines):
    assert asked_at(Bench(), machines, 5)[0] < 0.1


def test_a_machine_that_meets_an_overloaded_store_returns_within_its_groups_spread():
    bench = Bench(does={"request": raising(StoreUnavailableError("no endpoint answers"))})
    moments = asked_at(bench, LARGE, 8 * spread(LARGE))
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses[:2] == pytest.approx([2 * spread(LARGE), 4 * spread(LARGE)], rel=0.02)


def test_a_machine_that_was_answered_returns_soon_for_its_place_would_expire():
    first = iter([DENIED])

    def answer() -> Denied:
        if (denied := next(first, None)) is None:
            raise StoreUnavailableError("no endpoint answers")
        return denied

    bench = Bench(does={"request": answer}, change=1.0)
    moments = asked_at(bench, LARGE, spread(LARGE) + 40)
    assert moments[2] - moments[1] == pytest.approx(RETRY, abs=0.5)


def test_an_error_of_the_machine_itself_is_tried_again_soon_in_every_group():
    async def main(_loop):
        agent = Bench().agent(machines=lambda: LARGE)
        step = agent._error("host", "the disk is full", None)
        assert isinstance(step, Wait)
        assert step.until is not None
        assert (step.until - agent._ports.clock()).total_seconds() == pytest.approx(RETRY)

    run(main)


@pytest.mark.parametrize(("step", "seconds", "held"), [(Request(), 4, True), (Request(), 5, False), (Idle(), 4, False)])
def test_what_a_failure_has_left_holds_a_request_until_its_time_is_over(step, seconds, held):
    async def main(_loop):
        agent = Bench().agent(machines=lambda: LARGE)
        seen, left = await agent._observer.observe(), Wait(StoreError.component, "no endpoint answers")
        agent._memory.claim.unanswered = True
        agent._arriving.hold(left, 5)
        await asyncio.sleep(seconds)
        assert agent._arriving.admit(step, seen) == (left if held else step)
        assert agent._arriving.is_held == held

    run(main)


def test_a_machine_that_has_come_back_arrives_again_at_a_moment_of_its_own():
    async def main(_loop):
        bench = Bench()
        agent = bench.agent(machines=lambda: LARGE)
        arriving = agent._arriving
        arriving._rng, arriving._arrival._share, arriving._arrival._rng = Latest(), 1.0, Latest()
        free = await agent._observer.observe()
        arriving.admit(Request(), free)
        await asyncio.sleep(100)
        assert arriving.left(100).total_seconds() == pytest.approx(spread(LARGE) - 100)
        bench.leave_entry(Phase.REQUESTED, "locksmithd")
        arriving.admit(Request(), await agent._observer.observe())
        assert arriving.left(100).total_seconds() == pytest.approx(spread(LARGE))

    run(main)
