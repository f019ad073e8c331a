"""What the loop makes of what it reads: secrets, the system that runs, users in a dry run, another claim."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.agent.facts import RebootNeed, TriggerResult
from locksmith.agent.journal import Phase
from locksmith.agent.settings import Settings
from locksmith.lock.answer import Granted
from tests.builders.loops import START, Bench, Users
from tests.sim.virtual_time import run

SECRET = "https://alice:hunter2-hunter2@mirror.example/1.2"
HIDDEN = "https://***@mirror.example/1.2"
NEED = RebootNeed("kernel", "6.1", START)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (TriggerResult(replace(NEED, version=SECRET)), TriggerResult(replace(NEED, version=HIDDEN))),
        (TriggerResult(replace(NEED, reason=SECRET)), TriggerResult(replace(NEED, reason=HIDDEN))),
        (TriggerResult(error=SECRET), TriggerResult(error=HIDDEN)),
        (TriggerResult(not_applied=SECRET), TriggerResult(not_applied=HIDDEN)),
    ],
    ids=["its version", "its reason", "its error", "what is not applied"],
)
def test_a_secret_in_what_a_trigger_says_goes_no_further_than_the_trigger(said, seen):
    class Careless:
        name = "careless"

        async def check(self, _now, _boot):
            return replace(said, looked=START)

    async def main(_loop):
        agent = Bench().agent(triggers=[Careless()])
        await agent._observer.observe()
        assert repr(agent.results()["careless"]) == repr(replace(seen, looked=START))  # a reason is not compared

    run(main)


def test_the_system_that_runs_is_seen_as_a_rollback_is_known_by_it():
    class Booted(Bench):
        def system(self) -> str:
            return "usr-b"

    async def main(_loop):
        assert (await Booted().agent()._observer.observe()).system == "usr-b"

    run(main)


@pytest.mark.parametrize(
    ("need", "claimed", "users"), [(True, False, {"alice"}), (True, True, set()), (False, False, set())]
)
def test_a_dry_run_sees_who_is_logged_in_where_it_would_reboot(need, claimed, users):
    bench = Bench(settings=Settings(dry_run=True), need=need)
    if claimed:
        bench.leave_entry(Phase.REQUESTED, "alice")

    async def main(_loop):
        assert (await bench.agent(users=Users())._observer.observe()).users == users

    run(main)


def test_the_answer_to_another_claim_does_not_count_for_the_one_that_is_read():
    """An operator's `locksmithctl` writes its claim into the reboot journal, between two cycles of the daemon."""

    async def main(_loop):
        bench = Bench()
        agent = bench.agent()
        agent._memory.claim.nonce, agent._memory.claim.answer = "another", Granted()
        bench.leave_entry(Phase.REQUESTED, "alice")
        assert (await agent._observer.observe()).answer is None
        assert agent._memory.claim.nonce == "left"
        await asyncio.sleep(0)

    run(main)
