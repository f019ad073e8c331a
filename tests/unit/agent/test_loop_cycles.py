"""One turn of the loop: what a step that failed is called, who is told, and what is left running at the end."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from locksmith.agent.facts import Stage
from locksmith.agent.journal import Phase
from locksmith.agent.memory import Running
from locksmith.agent.steps import Wait
from locksmith.errors import HostError
from locksmith.lock.records.claim import UNHEALTHY
from tests.builders.loops import Bench, for_a_while
from tests.sim.virtual_time import run


@dataclass
class Turning(Bench):
    """Notes the codes of what is waited for, the steps that were performed, and what is said of a reboot."""

    codes: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    hangs: bool = False

    def show(self, step, snapshot) -> None:
        super().show(step, snapshot)
        if isinstance(step, Wait):
            self.codes.append(step.code)

    def performed(self, step) -> None:
        self.steps.append(type(step).__name__)

    async def complete(self, claim) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().complete(claim)

    async def report_failure(self, claim, state, failure) -> bool:
        self.words.append(f"{state}: {failure}")
        return await super().report_failure(claim, state, failure)


def failing(*errors: Exception | None):
    left = [*errors]

    def act() -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return act


def test_a_step_that_succeeds_ends_the_failures_and_is_reported():
    bench = Turning(does={"request": failing(HostError("no"), HostError("no"))})
    agent = for_a_while(bench, 12)
    assert agent._failures == 0
    assert bench.calls == ["request", "request", "request", "commit", "reboot"]
    assert {"Request", "Commit", "Reboot"} <= set(bench.steps)
    assert bench.steps.count("Request") == 1


def test_a_step_that_hangs_is_called_a_timeout_and_the_group_is_told_in_the_end():
    bench = Turning(need=False, hangs=True)
    bench.leave_entry(Phase.COMMITTED, "locksmithd", boot="boot-0")
    for_a_while(bench, 100)
    assert "timeout" in bench.codes
    assert bench.words == []
    for_a_while(bench, 900)
    assert bench.words[0] == f"{UNHEALTHY}: it cannot be examined: release took longer than 90 s"


def test_what_a_plugin_does_wrong_is_called_a_defect():
    bench = Turning(does={"request": failing(RuntimeError("boom"))})
    for_a_while(bench, 1)
    assert bench.codes[-1] == "defect"
    assert "request failed: RuntimeError: boom" in bench.shown[-1]


@pytest.mark.parametrize("over", [False, True])
def test_a_loop_that_ends_leaves_no_errand_running(over):
    async def main(_loop):
        agent = Bench().agent()
        task: Any = asyncio.ensure_future(asyncio.sleep(0 if over else 60, ()))
        agent._memory.claim.running = Running(Stage.HEALTH, 0.0, task)
        await asyncio.sleep(1)
        await agent._close()
        await asyncio.wait([task], timeout=1)
        assert task.done()
        assert task.cancelled() is not over

    run(main)
