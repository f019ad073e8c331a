"""The loop on a machine that has rebooted, or almost: what it writes down, in which order, and what it watches."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.identity import Target
from locksmith.agent.journal import Hooks, Phase
from locksmith.errors import LocksmithError, RebootRefusedError, StoreUnavailableError
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.past import LastReboot
from tests.builders.loops import START, Bench, for_a_while, raising
from tests.harness.windows import FixedWindows, original
from tests.sim.virtual_time import VirtualLoop, run

SICK = Blocker("health", "web.service has failed")


@dataclass
class Health:
    """Errands of a machine that is sick while `problems` has something; hooks succeed. `looks` are those at it."""

    problems: Sequence[Blocker] = (SICK,)
    looks: int = 0
    noted: list[Callable[[], object]] = field(default_factory=list)

    def wanted(self, _stage: Stage) -> bool:
        return True

    async def run(self, stage: Stage, _entry) -> Sequence[Blocker]:
        self.looks += stage is Stage.HEALTH
        return self.problems if stage is Stage.HEALTH else ()

    async def stop(self, _stage: Stage, _entry) -> None:
        pass


@dataclass
class Rebooted(Bench):
    """A machine that has just rebooted for version 1.2.3, past its point of no return."""

    need: bool = False
    gone_wrong: list[tuple[str, str]] = field(default_factory=list)
    known: bool = False

    def leave(self, *, phase: Phase = Phase.COMMITTED, endpoint: str = "memory") -> None:
        self.leave_entry(phase, "locksmithd", endpoint=endpoint, boot="boot-0")
        if phase is Phase.COMMITTED:
            entry = self.journal.read().entry
            assert entry is not None
            self.journal.commit("left", replace(entry.before, version="1.2.3"))

    async def report_failure(self, _claim, state: str, failure: str) -> bool:
        self._call("report_failure")
        self.gone_wrong.append((state, failure))
        return self.known


def test_a_machine_that_stays_sick_writes_it_down_and_then_tells_the_group():
    bench = Rebooted(stages=Health())
    bench.leave()
    for_a_while(bench, 9 * 60)
    assert bench.gone_wrong == []
    for_a_while(bench, 2 * 60)
    assert bench.gone_wrong == []  # a new start counts from its own beginning
    for_a_while(bench, 11 * 60)
    entry = bench.journal.read().entry
    assert entry is not None
    assert (entry.claim.state, entry.claim.failure) == (UNHEALTHY, "web.service has failed")
    assert set(bench.gone_wrong) == {(UNHEALTHY, "web.service has failed")}
    assert "complete" not in bench.calls


def test_what_went_wrong_is_on_disk_where_the_store_does_not_answer():
    bench = Rebooted(stages=Health(), does={"report_failure": raising(StoreUnavailableError("no endpoint answers"))})
    bench.leave()
    for_a_while(bench, 11 * 60)
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.claim.state == UNHEALTHY


def test_the_journal_is_written_once_for_one_trouble():
    """It is fsynced: a sick machine that is asked every half minute must not write all day."""
    written: list[str] = []

    class Counting(Rebooted):
        @property
        def journal(self):
            journal = super().journal
            report_failure = journal.report_failure

            def counted(nonce: str, state: str, failure: str) -> None:
                written.append(failure)
                report_failure(nonce, state, failure)

            journal.report_failure = counted  # type: ignore[method-assign]
            return journal

    bench = Counting(stages=Health())
    bench.leave()
    for_a_while(bench, 30 * 60)
    assert written == ["web.service has failed"]
    assert len(bench.gone_wrong) > 5


def test_a_machine_that_is_well_again_keeps_its_slot_until_an_operator_knows():
    health = Health()
    bench = Rebooted(stages=health)
    bench.leave()
    for_a_while(bench, 11 * 60)
    health.problems = ()
    for_a_while(bench, 5 * 60)
    assert "complete" not in bench.calls
    assert "say `locksmithctl resume`" in bench.shown[-1]
    bench.known = True
    for_a_while(bench, 60)
    assert bench.calls.count("complete") == 1
    assert bench.journal.read().entry is None


def test_a_resume_wakes_a_machine_that_waits_for_it_at_the_store_of_its_claim():
    """That may be another store than the one configured by now."""
    watched: list[Target] = []

    class AtTwoStores(Rebooted):
        def agent(self, **more):
            def strategy(target: Target):
                found = type("At", (), {"__getattr__": lambda _self, name: getattr(self, name)})()

                async def changed(limit: float) -> bool:
                    watched.append(target)
                    await asyncio.sleep(limit)
                    return True

                found.changed = changed
                return found

            return super().agent(strategy=strategy, **more)

    bench = AtTwoStores(stages=Health())
    bench.leave(endpoint="of the claim")
    for_a_while(bench, 12 * 60)
    assert {target.endpoints for target in watched} == {("of the claim",)}


@pytest.mark.parametrize(("phase", "kept"), [(Phase.COMMITTED, "1.2.3"), (Phase.REQUESTED, "1.2.2")])
def test_only_a_reboot_of_its_own_counts_as_done_for_a_version(phase, kept):
    """Where a plug was pulled before the commit, the update is wanted as before, and is no repetition."""
    bench = Rebooted(stages=Health(problems=()))
    bench.leave()
    bench.journal.clear("left", done=LastReboot("1.2.2", START - timedelta(days=3)))
    bench.leave(phase=phase)
    for_a_while(bench, 10)
    journal = bench.journal.read()
    assert bench.calls == ["complete"]
    assert journal.entry is None
    assert journal.done is not None
    assert journal.done.version == kept


def test_a_slot_that_cannot_be_given_back_yet_stays_in_the_journal():
    bench = Rebooted(stages=Health(problems=()), does={"complete": raising(StoreUnavailableError("away"))})
    bench.leave()
    for_a_while(bench, 60)
    assert bench.journal.read().entry is not None
    bench.does.clear()
    for_a_while(bench, 60)
    assert bench.journal.read().entry is None


def test_before_hooks_are_undone_the_journal_says_so_and_takes_the_commit_back():
    """A crash in the middle of it must neither reboot, nor take the hooks for done."""
    seen: list[tuple[Phase, Hooks]] = []

    class Undoing(Health):
        async def run(self, stage: Stage, entry) -> Sequence[Blocker]:
            if stage is Stage.UNDO:
                now = bench.journal.read().entry
                assert now is not None
                seen.append((now.phase, now.hooks))
            return await super().run(stage, entry)

    bench = Bench(
        stages=Undoing(problems=()), windows=FixedWindows(original("02:00", "2s")), slow_commit=3.0
    )  # the window closes during the commit
    for_a_while(bench, 9)
    assert bench.calls == ["request", "commit", "abort"]
    assert seen == [(Phase.REQUESTED, Hooks.BEGUN)]
    assert bench.journal.read().entry is None


@pytest.mark.parametrize("name", ["abort", "complete"])
def test_an_error_of_the_store_is_shown_and_tried_again(name):
    error: LocksmithError = StoreUnavailableError("no endpoint answers")
    bench = Rebooted(stages=Health(problems=()), does={name: raising(error)})
    if name == "complete":
        bench.leave()
    else:
        bench.leave_entry(Phase.REQUESTED, "locksmithd")
    for_a_while(bench, 8)
    assert bench.calls.count(name) == 2
    assert "no endpoint answers" in bench.shown[-1]


def test_the_name_of_a_step_that_hangs_is_in_the_sentence():
    bench = Rebooted(stages=Health(problems=()))
    bench.leave()

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent()

        async def for_ever(_claim) -> None:
            await asyncio.Event().wait()

        bench.complete = for_ever  # type: ignore[method-assign]
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(93)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert "release took longer than 90 s" in bench.shown[-1]


def test_tries_that_fail_in_a_row_are_counted_and_another_version_begins_again():
    bench = Bench(does={"reboot": raising(RebootRefusedError("inhibited"))})

    def tries() -> int:
        failure = bench.journal.read().failure
        assert failure is not None
        return failure.tries

    for_a_while(bench, 60)
    assert tries() == 1
    for_a_while(bench, 16 * 60)
    assert tries() == 2
    bench.version = "1.2.4"
    for_a_while(bench, 60)
    assert tries() == 1
