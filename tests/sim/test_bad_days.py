"""Bad days that begin at a chosen moment: ten minutes without etcd, a clock that steps, a daemon killed twice."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from locksmith.agent.loop import Agent
from locksmith.agent.state import state_of
from locksmith.agent.steps import Adopt, Finish, Step, TakeOver, Warn
from locksmith.lock.records import states
from locksmith.lock.records.claim import FAILED, UNHEALTHY
from tests.sim.daemon import Parts
from tests.sim.fleet import Simulation
from tests.sim.plan import Clients, Faults, plan
from tests.sim.story import Story
from tests.sim.virtual_time import run

TEN_MINUTES = 600.0
PLAN = replace(
    plan(2),
    machines=3,
    slots=1,
    windows=(None,) * 3,
    faults=Faults(),
    go_nodes=0,
    operator_acts=0,
    hooks=True,
    spacing=1.0,
    busy=0.0,
    clients=Clients(),
)
"""Three machines, one slot, and nothing else goes wrong."""


class Begins:
    """Does something at the moment a machine first comes to a state, or the first times."""

    def __init__(self, word: str, act: Callable[[str], None], times: int = 1) -> None:
        self.word, self.act, self.times, self.done = word, act, times, 0

    def agent(self) -> type[Agent]:
        begins = self

        class Watched(Agent):
            def _show(self, step, snapshot) -> None:
                super()._show(step, snapshot)
                if begins.word in {state_of(step), type(step).__name__} and begins.done < begins.times:
                    begins.done += 1
                    begins.act(self._member.machine_id)

        return Watched


def play(simulated: Simulation) -> None:
    async def main(loop):
        await simulated.run(loop)

    run(main)


COMES_TO = [state for state in states.ALL if state not in {states.STUCK, states.FINISHED, FAILED}]


@pytest.mark.parametrize("word", COMES_TO)
def test_ten_minutes_without_etcd_break_no_rule_whenever_they_begin(word):
    def away(_machine: str) -> None:
        now = asyncio.get_running_loop().time()
        simulated.outages.times.append((now, now + TEN_MINUTES, ""))

    drawn = replace(PLAN, faults=Faults(refused=0.6, sick=0.8 if word == UNHEALTHY else 0.0))
    begins = Begins(word, away)
    simulated = Simulation(drawn, Parts(agent=begins.agent()), Story(replay=f"an outage at {word}"))
    play(simulated)
    assert begins.done


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1), timedelta(minutes=-10)], ids=str)
@pytest.mark.parametrize("word", [states.WAITING, states.PREPARING, states.REBOOTING, states.VERIFYING])
def test_a_clock_that_steps_opens_no_window_and_holds_no_slot_for_ever(word, step):
    """The rules look at each order to reboot by the machine's own clock, as it is then."""

    def steps(_machine: str) -> None:
        for node in simulated.nodes.values():
            node.machine.offset += step

    drawn = replace(PLAN, windows=("00:01 for 30m", "00:01 for 30m", None))
    begins = Begins(word, steps)
    simulated = Simulation(drawn, Parts(agent=begins.agent()), Story(replay=f"a step at {word}"))
    play(simulated)
    assert begins.done


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_an_hour_off_all_the_time_is_no_harm(hours):
    simulated = Simulation(PLAN, Parts(), Story(replay="an hour off"))
    begin = simulated._build

    def build() -> None:
        begin()
        simulated.nodes["n1"].machine.offset += timedelta(hours=hours)

    simulated._build = build  # type: ignore[method-assign]
    play(simulated)
    assert all(node.machine.engine.done for node in simulated.nodes.values())


# No machine comes to these here: a `locksmithctl reboot`, whose claim is taken over, is not part of the simulation.
NEVER = {Adopt, Finish, TakeOver, Warn}


@pytest.mark.parametrize("step", [step.__name__ for step in get_args(Step) if step not in NEVER])
def test_killed_twice_at_each_step_it_goes_on_or_gives_back(step):
    """The second time often in the middle of what the first has left behind."""

    def kill(machine: str) -> None:
        process = simulated.nodes[machine].process
        assert process is not None
        process.kill(f"at its {step}")

    drawn = replace(PLAN, faults=Faults(refused=0.6, sick=0.8 if step == "ReportFailure" else 0.0))
    begins = Begins(step, kill, times=2)
    simulated = Simulation(drawn, Parts(agent=begins.agent()), Story(replay=f"killed at {step}"))
    play(simulated)
    assert begins.done == 2
