"""Between two turns of the loop: how long it sleeps, what it shows its group, and whom it warns."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from locksmith.agent.facts import Stage
from locksmith.agent.journal import Phase
from locksmith.agent.memory import Running
from locksmith.agent.steps import Idle, Wait, Warn
from locksmith.agent.wait import PACE
from locksmith.errors import StoreUnavailableError
from locksmith.lock.answer import Granted
from tests.builders.loops import DENIED, START, Bench
from tests.sim.virtual_time import run


async def slept(loop, agent, step) -> float:
    began = loop.now
    await agent._waiter.sleep(step, None)
    return float(loop.now - began)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        (Idle(), 30),
        (Wait("window", "closed"), 30),
        (Wait("window", "closed", START + timedelta(hours=1)), 30),
        (Wait("window", "closed", START + timedelta(seconds=7)), 7),
        (Wait("window", "closed", START + timedelta(seconds=0.5)), 0.5),
        (Wait("window", "closed", START - timedelta(seconds=7)), 0),
        (Wait("operator", "a reboot is under way"), 5),
        (Wait("operator", "a reboot is under way", START + timedelta(seconds=2)), 2),
    ],
)
def test_it_sleeps_until_its_step_is_over_and_for_a_heartbeat_at_most(step, seconds):
    async def main(loop):
        assert await slept(loop, Bench().agent(), step) == pytest.approx(seconds)

    run(main)


def test_the_looks_at_the_health_of_a_machine_that_has_just_booted_become_rarer():
    async def main(loop):
        agent = Bench().agent()
        lasted = [await slept(loop, agent, Wait("verifying", "it is looked at")) for _ in range(9)]
        assert lasted == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])

    run(main)


def test_that_nothing_can_be_shown_is_said_once_and_again_after_something_was(caplog):
    caplog.set_level(logging.DEBUG, "locksmith.agent")
    failure: list[object] = [StoreUnavailableError("no endpoint answers")] * 2 + [None, "hangs"]

    class Presence:
        clone = ""

        async def show(self, _now) -> None:
            now = failure.pop(0)
            if isinstance(now, Exception):
                raise now
            if now == "hangs":
                await asyncio.Event().wait()

    async def main(_loop):
        agent = Bench().agent(presence=Presence())
        agent._unobserved.since = 0.0
        while failure:
            await agent._present(Idle(), None)

    run(main)
    words = "the group is not shown what this machine does: "
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.INFO, f"{words}no endpoint answers"),
        (logging.DEBUG, f"{words}no endpoint answers"),
        (logging.INFO, f"{words}etcd takes too long"),
    ]


def test_users_are_told_why_and_the_time_of_all_counts_from_the_first_warning():
    told: list[object] = []

    class Users:
        async def warn(self, until, reason) -> None:
            told.append((until, reason))

    async def main(_loop):
        bench = Bench()
        bench.leave_entry(Phase.REQUESTED, "locksmithd")
        agent = bench.agent(users=Users())
        snapshot = await agent._observer.observe()
        entry = snapshot.journal.entry
        assert entry is not None
        claimed = replace(entry, claim=replace(entry.claim, reason="update 1.2.3"))
        snapshot = replace(snapshot, journal=replace(snapshot.journal, entry=claimed))
        for seconds in (7, 60):
            await asyncio.sleep(seconds)
            await agent._performer.perform(Warn(START), snapshot)
        assert agent._memory.claim.warned_since == 7
        assert told == [(START, "update 1.2.3")] * 2

    run(main)


@pytest.mark.parametrize(
    ("stage", "over", "forgotten"),
    [
        (Stage.HEALTH, True, True),
        (Stage.FINISH, True, True),
        (Stage.HEALTH, False, False),
        (Stage.PREPARE, True, False),
    ],
)
def test_after_a_look_at_the_health_that_is_over_another_begins(stage, over, forgotten):
    async def main(loop):
        agent = Bench().agent()
        done: Any = loop.create_future()
        done.set_result(())
        agent._memory.claim.running = Running(stage, 0.0, done, over=over)
        snapshot = await agent._observer.observe()
        agent._memory.claim.running = Running(stage, 0.0, done, over=over)
        snapshot = replace(snapshot, stage=agent._memory.claim.running.report(1.0))
        await agent._waiter.sleep(Wait("verifying", "sick"), snapshot)
        assert (agent._memory.claim.running is None) is forgotten

    run(main)


def test_without_a_denial_nothing_is_watched():
    watched: list[float] = []

    class Watched(Bench):
        async def changed(self, limit):
            watched.append(limit)
            return await super().changed(limit)

    async def main(loop):
        agent = Watched().agent()
        loop.call_later(3, agent.wake)
        assert await slept(loop, agent, Idle()) == pytest.approx(3)
        agent._waiter.start()
        agent._memory.claim.answer = DENIED
        assert await slept(loop, agent, Wait("slot", "held")) == pytest.approx(30)
        assert len(watched) == 1

    run(main)


def test_a_loop_that_is_woken_without_end_pauses_and_otherwise_not_at_all():
    async def main(loop):
        agent = Bench().agent()

        async def woken() -> float:
            agent.wake()
            return await slept(loop, agent, Idle())

        for _ in range(2):
            assert [await woken() for _ in range(24)] == pytest.approx([0] * 20 + [PACE, 0, PACE, 0])
            await asyncio.sleep(60)

    run(main)


@pytest.mark.parametrize("acknowledged", [None, True])
@pytest.mark.parametrize("answer", [None, Granted()])
def test_only_a_denial_or_a_failure_that_no_operator_knows_is_watched(answer, acknowledged):
    async def main(loop):
        bench = Bench(change=1.0)
        agent = bench.agent()
        agent._memory.claim.answer, agent._memory.claim.acknowledged = answer, acknowledged
        assert await slept(loop, agent, Idle()) == 30
        agent._memory.claim.answer, agent._memory.claim.acknowledged = answer, False
        assert await slept(loop, agent, Idle()) == 1
        agent._memory.claim.answer, agent._memory.claim.acknowledged = DENIED, acknowledged
        assert await slept(loop, agent, Idle()) == 1
        after = agent._memory.claim
        assert [after.answer, after.acknowledged] == [None, None]

    run(main)


def test_a_watch_ends_with_the_sleep_whatever_ended_that():
    ended: list[str] = []

    class Watching(Bench):
        async def changed(self, _limit: float) -> bool:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append("watch")
            return True

    async def main(loop):
        agent = Watching().agent()
        for wakes in (True, False):
            agent._memory.claim.answer = DENIED
            if wakes:
                loop.call_later(3, agent.wake)
            assert await slept(loop, agent, Idle()) == (3 if wakes else 30)
            assert ended.pop() == "watch"
            agent._waiter.start()

    run(main)
