"""How often the loop asks what costs something: programs of check.d, alerts; and whether it holds a slot then."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.journal import JournalEntry
from locksmith.agent.loop import Agent
from tests.builders.loops import Bench, nothing, play

SAYS_NO = (Blocker("checks", "check.d/10-db: it is not executable"),)


@dataclass
class Checks:
    """Checks that say no until they are put right, `lasting` seconds long each; `asked` tells who held a slot."""

    lasting: float = 0.0
    right: bool = False
    asked: list[str] = field(default_factory=list)

    def wanted(self, stage: Stage) -> bool:
        return stage is Stage.CHECKS

    async def run(self, stage: Stage, entry: JournalEntry | None) -> tuple[Blocker, ...]:
        if stage is not Stage.CHECKS:
            return ()
        self.asked.append("with a slot" if entry else "without")
        said = () if self.right else SAYS_NO
        await asyncio.sleep(self.lasting)
        return said

    async def stop(self, _stage: Stage, _entry: JournalEntry) -> None:
        pass


def test_a_check_that_goes_on_to_say_no_is_asked_again_without_a_slot_each_time():
    """A slot that it took each second time would be missing to the others of the group."""
    checks = Checks()
    bench = Bench(stages=checks)
    play(bench, nothing, seconds=600)
    assert bench.calls == ["request", "abort"]
    assert checks.asked[:2] == ["with a slot", "without"]
    assert set(checks.asked[1:]) == {"without"}
    assert 9 <= len(checks.asked) <= 11


def test_a_check_that_was_put_right_is_asked_again_a_minute_later():
    checks = Checks()
    bench = Bench(stages=checks)

    def put_right(agent: Agent) -> None:
        checks.right = True
        agent.wake()

    play(bench, put_right, seconds=57)
    assert "reboot" not in bench.calls
    bench = Bench(stages=checks)
    checks.right = False
    play(bench, put_right, seconds=61)
    assert bench.calls == ["request", "abort", "request", "commit", "reboot"]


def test_an_operator_who_has_put_a_check_right_need_not_wait_for_that():
    checks = Checks()
    bench = Bench(stages=checks)

    def put_right(agent: Agent) -> None:
        checks.right = True
        agent.recheck()

    play(bench, put_right, seconds=1)
    assert checks.asked[:2] == ["with a slot", "without"]
    assert bench.calls == ["request", "abort", "request", "commit", "reboot"]


def test_an_answer_of_a_check_that_began_before_the_operators_recheck_does_not_count():
    checks = Checks(lasting=2)
    bench = Bench(stages=checks)

    def put_right(agent: Agent) -> None:
        """It is asked at this moment."""
        assert len(checks.asked) == 1
        checks.right = True
        agent.recheck()

    play(bench, put_right, seconds=12)
    assert bench.calls[-4:] == ["abort", "request", "commit", "reboot"]
    assert checks.asked == ["with a slot", "without"]


def test_a_recheck_by_an_operator_makes_no_old_answer_younger():
    checks = Checks(right=True)
    bench = Bench(stages=checks, need=False)

    def look(agent: Agent) -> None:
        agent.recheck()
        bench.need = True
        agent.recheck()

    play(bench, look, seconds=1)
    assert checks.asked == ["with a slot"]
    assert bench.calls == ["request", "commit", "reboot"]
    assert bench.settings.recheck == timedelta(minutes=1)
