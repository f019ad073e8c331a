"""Errands beside the loop: what is written down before they begin, how they end, and what is noted of that."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.journal import Hooks, JournalEntry
from locksmith.agent.memory import Asked, ClaimMemory, Running
from locksmith.agent.stages import SHORTLY, StageRunner
from tests.builders.snapshots import NOW, entry
from tests.sim.virtual_time import run

TROUBLE = (Blocker("hooks", "drain: no"),)


@dataclass
class Site:
    """Errands that take their time, a journal that notes what is written, and a bell."""

    takes: float = 0.0
    found: Sequence[Blocker] = ()
    error: Exception | None = None
    wants: bool = True
    told: list[object] = field(default_factory=list)

    def wanted(self, _stage: Stage) -> bool:
        return self.wants

    async def run(self, stage: Stage, _entry) -> Sequence[Blocker]:
        self.told.append(f"{stage.name} runs")
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return self.found

    async def stop(self, stage: Stage, _entry) -> None:
        self.told.append(f"{stage.name} is stopped")

    def hooks(self, nonce: str, hooks: Hooks, taken=None) -> None:
        self.told.append((nonce, hooks, taken))

    def wake(self) -> None:
        self.told.append("rings")

    def runner(self, *, without: bool = False) -> StageRunner:
        return StageRunner(None if without else self, cast("Any", self), lambda: NOW, self.wake)


def play(story):
    async def main(loop):
        await asyncio.sleep(10)
        await story(loop)

    run(main)


@pytest.mark.parametrize(
    ("stage", "written"),
    [
        (Stage.PREPARE, [("nonce", Hooks.BEGUN, NOW)]),
        (Stage.FINISH, [("nonce", Hooks.PREPARED, None)]),
        (Stage.CHECKS, []),
        (Stage.UNDO, []),
        (Stage.HEALTH, []),
    ],
)
def test_what_has_to_be_undone_is_written_down_before_it_begins(stage, written):
    async def story(_loop):
        site = Site()
        await site.runner().begin(stage, entry(), ClaimMemory())
        assert site.told == [*written, f"{stage.name} runs", "rings"]

    play(story)


@pytest.mark.parametrize(
    ("site", "of"),
    [(Site(wants=False), entry()), (Site(), entry(hooks=Hooks.BEGUN)), (Site(), None)],
    ids=["no hooks", "begun before", "no claim"],
)
def test_nothing_is_written_down_where_there_is_nothing_to_undo_or_it_stands_there(site, of):
    async def story(_loop):
        await site.runner().begin(Stage.PREPARE, of, ClaimMemory())
        assert site.told[0] == "PREPARE runs"

    play(story)


def test_a_long_errand_is_left_alone_after_a_moment_and_rings_when_it_ends():
    async def story(loop):
        site, progress = Site(takes=60), ClaimMemory()
        await site.runner().begin(Stage.HEALTH, entry(), progress)
        assert loop.now == pytest.approx(10 + SHORTLY)
        assert progress.running is not None
        assert (progress.running.stage, progress.running.began) == (Stage.HEALTH, 10)
        assert "rings" not in site.told
        await progress.running.task
        await asyncio.sleep(0)
        assert site.told[-1] == "rings"

    play(story)


def test_without_any_hooks_every_errand_is_over_at_once():
    async def story(loop):
        site, progress = Site(), ClaimMemory()
        runner = site.runner(without=True)
        await runner.begin(Stage.PREPARE, entry(), progress)
        runner.take_note(entry(), progress)
        assert loop.now == 10
        assert progress.prepared
        assert site.told == ["rings"]

    play(story)


async def noted(site: Site, stage: Stage, of: JournalEntry | None) -> ClaimMemory:
    """Run an errand to its end, take note of it, and keep only what was told of that."""
    progress, runner = ClaimMemory(), site.runner()
    await runner.begin(stage, of, progress)
    assert progress.running is not None
    await asyncio.wait([progress.running.task])
    site.told.clear()
    runner.take_note(of, progress)
    return progress


@pytest.mark.parametrize(
    ("stage", "found", "written"),
    [
        (Stage.UNDO, (), [("nonce", Hooks.NONE, None)]),
        (Stage.UNDO, TROUBLE, [("nonce", Hooks.NONE, None)]),
        (Stage.PREPARE, (), [("nonce", Hooks.PREPARED, None)]),
        (Stage.PREPARE, TROUBLE, []),
        (Stage.FINISH, (), [("nonce", Hooks.FINISHED, None)]),
        (Stage.FINISH, TROUBLE, []),
        (Stage.CHECKS, TROUBLE, []),
        (Stage.HEALTH, TROUBLE, []),
    ],
)
def test_what_an_errand_has_found_is_noted_once_it_is_over(stage, found, written):
    async def story(loop):
        site = Site(found=found)
        progress = await noted(site, stage, entry(hooks=Hooks.BEGUN))
        assert progress.running is not None
        assert (progress.running.over, progress.running.problems) == (True, found)
        assert site.told == written
        assert progress.prepared is (stage is Stage.PREPARE and not found)
        assert progress.finished is (stage is Stage.FINISH and not found)
        assert progress.asked == (Asked(loop.now, found, progress.running.began) if stage is Stage.CHECKS else None)
        site.runner().take_note(entry(hooks=Hooks.BEGUN), progress)
        assert site.told == written  # once

    play(story)


@pytest.mark.parametrize("of", [None, entry()], ids=["no claim", "no hooks"])
def test_where_no_hook_has_begun_nothing_is_written_down_of_their_end(of):
    async def story(_loop):
        site = Site()
        progress = await noted(site, Stage.PREPARE, of)
        assert progress.prepared
        assert site.told == []

    play(story)


def test_an_errand_that_fails_is_an_error_once_and_then_begun_again():
    async def story(_loop):
        site, progress = Site(error=RuntimeError("boom")), ClaimMemory()
        runner = site.runner()
        await runner.begin(Stage.CHECKS, entry(), progress)
        with pytest.raises(RuntimeError, match="boom"):
            runner.take_note(entry(), progress)
        assert progress.running is None
        runner.take_note(entry(), progress)

    play(story)


def test_an_errand_under_way_is_not_over_and_one_that_was_cancelled_never_was():
    async def story(_loop):
        site, progress = Site(takes=60), ClaimMemory()
        runner = site.runner()
        await runner.begin(Stage.CHECKS, entry(), progress)
        runner.take_note(entry(), progress)
        assert progress.running is not None
        assert not progress.running.over
        progress.running.task.cancel()
        await asyncio.wait([progress.running.task])
        runner.take_note(entry(), progress)
        assert progress.running is None

    play(story)


def test_who_is_stopped_is_stopped_with_all_that_it_has_started():
    async def story(_loop):
        site, progress = Site(takes=60), ClaimMemory()
        runner = site.runner()
        await runner.begin(Stage.PREPARE, entry(), progress)
        await runner.stop(entry(), progress)
        assert site.told[-1] == "PREPARE is stopped"
        assert progress.running is not None
        await asyncio.wait([progress.running.task])
        assert progress.running.task.cancelled()

    play(story)


@pytest.mark.parametrize("without", [True, False])
def test_where_nothing_is_under_way_nothing_is_stopped(without):
    async def story(_loop):
        site = Site()
        runner = site.runner(without=without)
        await runner.stop(entry(), ClaimMemory())
        done: asyncio.Future[Sequence[Blocker]] = asyncio.get_running_loop().create_future()
        done.set_result(())
        await runner.stop(entry(), replace(ClaimMemory(), running=Running(Stage.PREPARE, 0.0, done)))
        assert site.told == []

    play(story)


@pytest.mark.parametrize("ends", ["cancelled", "dropped"])
def test_an_errand_of_which_no_note_is_taken_complains_about_nothing(ends):
    complaints: list[object] = []

    async def story(loop):
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        site, progress = Site(takes=1, error=RuntimeError("boom")), ClaimMemory()
        await site.runner().begin(Stage.CHECKS, entry(), progress)
        assert progress.running is not None
        if ends == "cancelled":
            progress.running.task.cancel()
        await asyncio.sleep(2)
        progress.running = None
        gc.collect()

    play(story)
    assert complaints == []
