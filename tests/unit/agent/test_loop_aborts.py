"""What is left when the loop takes a request back: users who were told, and what the journal says from then on."""

from datetime import timedelta

import pytest

from locksmith.agent.facts import Aborting, RebootCall, Stage
from locksmith.agent.journal import Hooks, Phase
from locksmith.agent.memory import ClaimMemory
from locksmith.agent.steps import Abort, Undo
from locksmith.errors import StoreUnavailableError
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records.past import LastReboot
from tests.builders.loops import DENIED, START, Bench, Users, for_a_while, raising
from tests.sim.virtual_time import run


def test_users_who_were_warned_are_told_when_the_reboot_is_cancelled():
    users = Users()
    answers = [None, None, Denied("freeze", "frozen", must_release=True)]

    def answer():
        return answers.pop(0) if answers else DENIED

    class Warned(Bench):
        def agent(self, **more):
            return super().agent(users=users, **more)

    bench = Warned(does={"request": answer})
    for_a_while(bench, 180)
    assert users.told[:2] == ["warned", "called off"]
    assert "abort" in bench.calls


def test_a_reboot_that_the_group_remembers_is_written_down_here_too():
    done = LastReboot("1.2.3", START)
    bench = Bench(does={"request": lambda: Denied("repeated", "it has rebooted for 1.2.3 already", past=(done,))})
    for_a_while(bench, 3)
    assert bench.calls == ["request", "abort"]
    assert bench.journal.read().done == done


def test_a_reboot_that_is_being_undone_is_given_up_whatever_becomes_of_the_reason():
    async def main(_loop):
        bench = Bench()
        bench.leave_entry(Phase.REQUESTED, "locksmithd")
        agent = bench.agent()
        snapshot = await agent._observer.observe()
        assert snapshot.journal.entry is not None
        await agent._performer._undo(snapshot.journal.entry, Undo("the window closed", failed=True), snapshot)
        assert agent._memory.claim.aborting == Aborting("the window closed", failed=True)
        entry = bench.journal.read().entry
        assert entry is not None
        assert entry.hooks is Hooks.BEGUN
        seen = await agent._observer.observe()
        assert seen.aborting == agent._memory.claim.aborting
        assert seen.stage is not None
        assert (seen.stage.stage, seen.stage.over) == (Stage.UNDO, True)

    run(main)


def test_what_was_remembered_of_a_claim_is_forgotten_before_its_slot_goes_back():
    async def main(_loop):
        bench = Bench(does={"abort": raising(StoreUnavailableError("no endpoint answers"))})
        bench.leave_entry(Phase.REQUESTED, "locksmithd")
        agent = bench.agent()
        snapshot = await agent._observer.observe()
        assert snapshot.journal.entry is not None
        agent._memory.claim.call, agent._memory.claim.answer = RebootCall(timedelta(), refused="inhibited"), Granted()
        with pytest.raises(StoreUnavailableError):
            await agent._performer._abort(snapshot.journal.entry, Abort("inhibited"), snapshot)
        left = agent._memory.claim
        assert left == ClaimMemory("left", results=left.results, looked=left.looked)
        assert bench.journal.read().entry is not None

    run(main)
