"""The loop of a machine in a dry run, over hours: what it runs, how often, and that nothing of it is a reboot."""

import asyncio
from dataclasses import dataclass, field

from locksmith.agent.facts import UNREHEARSED, Blocker, Stage
from locksmith.agent.journal import JournalEntry
from locksmith.agent.settings import Settings
from tests.builders.loops import Bench, nothing, play
from tests.sim.virtual_time import VirtualLoop, run

DRY = Settings(dry_run=True)
HOURS = 3 * 3600
LEFT_OUT = (Blocker(UNREHEARSED, "pre-reboot.d/10-drain"),)


@dataclass
class Programs:
    """Programs that take a minute each; `ran` has the stages, and whose claim they were told."""

    checks: tuple[Blocker, ...] = ()
    ran: list[Stage] = field(default_factory=list)
    entries: list[JournalEntry | None] = field(default_factory=list)

    def wanted(self, _stage: Stage) -> bool:
        return True

    async def run(self, stage: Stage, entry: JournalEntry | None) -> tuple[Blocker, ...]:
        self.ran.append(stage)
        self.entries.append(entry)
        await asyncio.sleep(60)
        return self.checks if stage is Stage.CHECKS else LEFT_OUT

    async def stop(self, _stage: Stage, _entry: JournalEntry) -> None:
        raise AssertionError("a dry run ends no hook")


def test_each_hour_all_is_rehearsed_once_and_nothing_is_asked_for():
    programs = Programs()
    bench = Bench(settings=DRY, stages=programs)
    play(bench, nothing, seconds=HOURS)
    assert programs.ran == [Stage.CHECKS, Stage.REHEARSAL] * 3
    assert bench.calls == []
    assert bench.journal.read().entry is None
    assert bench.shown[-1] == (
        "waiting (dry_run): would ask the strategy reboot now, and reboot; not rehearsed, as it has no "
        "`locksmith: dry-run`: pre-reboot.d/10-drain"
    )


def test_the_hooks_are_told_of_a_claim_that_is_never_made():
    programs = Programs()
    bench = Bench(settings=DRY, stages=programs)
    play(bench, nothing, seconds=600)
    checked, rehearsed = programs.entries
    assert checked is None
    assert rehearsed is not None
    assert (rehearsed.claim.holder, rehearsed.version) == ("n1", "1.2.3")


def test_while_a_check_fails_the_hooks_are_not_rehearsed():
    programs = Programs(checks=(Blocker("checks", "check.d/10-db: the replica lags"),))
    bench = Bench(settings=DRY, stages=programs)
    play(bench, nothing, seconds=1200)
    assert set(programs.ran) == {Stage.CHECKS}
    assert bench.calls == []


def test_a_recheck_rehearses_at_once():
    programs = Programs()
    bench = Bench(settings=DRY, stages=programs)

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent()
        running = asyncio.ensure_future(agent.run())
        await asyncio.wait([running], timeout=600)
        agent.recheck()
        await asyncio.wait([running], timeout=600)
        running.cancel()
        await asyncio.wait([running])

    run(main)
    assert programs.ran == [Stage.CHECKS, Stage.REHEARSAL] * 2


def test_without_a_need_nothing_is_rehearsed():
    programs = Programs()
    bench = Bench(settings=DRY, stages=programs, need=False)
    play(bench, nothing, seconds=HOURS)
    assert programs.ran == []
