"""Rollouts of a whole group: all machines have an update from the first moment on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.config.model import WindowSettings
from locksmith.fleet.forecast.plan import GroupPlan
from locksmith.window.window_set import WindowSet
from tests.sim.daemon import Parts
from tests.sim.fleet import Simulation
from tests.sim.node import Node
from tests.sim.people import Operator
from tests.sim.plan import Faults, Plan
from tests.sim.rules import Rules
from tests.sim.story import Story
from tests.sim.virtual_time import VirtualLoop, run

LOOKS = 5.0
"""Seconds after which the operator looks again for machines that were repaired, and says `resume`."""


@dataclass
class AllAtOnce(Simulation):
    """All machines have an update from the first moment on; time goes by as it does, also while windows are closed."""

    opens: Sequence[str] = ()

    def _build(self) -> None:
        super()._build()
        self.dry.clear()

    def _calendar(self, opens: Sequence[str], number: int) -> WindowSettings:  # noqa: ARG002 - all are alike
        return WindowSettings(own=WindowSet.parse(self.opens, []))

    def _let_days_pass(self, rules: Rules, name: str, node: Node) -> None:
        pass

    def _let_loose(self, operator: Operator, rules: Rules) -> None:  # noqa: ARG002 - no other person does anything
        for node in self.nodes.values():
            node.machine.engine.wants("1.0.0")
            node.wake()
        if self.plan.faults.sick:
            self._begin(self._repair(operator))

    async def _repair(self, operator: Operator) -> None:
        """Say `resume` when a machine that was sick is well again; no other person does anything."""
        seen = dict.fromkeys(self.nodes, 0.0)
        while self.faults.sick:
            await asyncio.sleep(LOOKS)
            now = asyncio.get_running_loop().time()
            for name, node in self.nodes.items():
                if seen[name] < node.machine.sick_until < now:
                    seen[name] = node.machine.sick_until
                    await operator.resume()


def rollout(seed: int, machines: int, slots: int) -> float:
    """Play the agents on a day without anything; give the seconds until the last slot is given back."""
    return play(agents(seed, GroupPlan("calm", machines, slots)))


def play(drawn: Plan, opens: Sequence[str] = ()) -> float:
    """Play the agents; give the seconds until the last slot is given back."""
    story = Story(replay=f"a rollout of seed {drawn.seed}")

    async def main(loop: VirtualLoop) -> None:
        await AllAtOnce(drawn, Parts(), story, opens=opens).run(loop)

    run(main)
    return max(float(line.split()[0]) for line in story.lines if " gives back " in line)


def agents(seed: int, of: GroupPlan) -> Plan:
    """Make of a plan the simulation's, with nothing else in it; hooks and repairs take what they take there."""
    return Plan(
        seed=seed,
        machines=of.machines,
        slots=of.slots,
        stepwise=False,
        windows=(None,) * of.machines,
        faults=Faults(sick=of.failure),
        hooks=bool(of.hooks.mean),
        spacing=of.spacing,
    )


def opens(of: GroupPlan) -> list[str]:
    """Give its windows as they are written."""
    return [str(window) for window in of.windows.windows] if of.windows else []
