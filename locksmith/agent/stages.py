"""The loop's errands: begun, looked after and noted beside its turns, as they may take minutes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.journal import Hooks, JournalEntry
from locksmith.agent.memory import Asked, ClaimMemory, Running
from locksmith.agent.ports import JournalStore, Stages

SHORTLY = 0.05
"""Seconds for an errand before the loop turns to other things: most have nothing to do."""


class StageRunner:
    """Runs one errand at a time; how it goes stands in the progress of the claim. `wake` is called when one ends."""

    def __init__(
        self,
        stages: Stages | None,
        journal: JournalStore,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._stages = stages
        self._journal = journal
        self._clock = clock
        self._wake = wake

    async def begin(self, stage: Stage, entry: JournalEntry | None, progress: ClaimMemory) -> None:
        """Begin one, written down before where it has to be undone; and wait a moment: mostly it is over at once."""
        stages = self._stages
        if stages is not None and stages.wanted(stage) and entry is not None and entry.hooks is Hooks.NONE:
            if stage is Stage.PREPARE:
                self._journal.hooks(entry.claim.nonce, Hooks.BEGUN, self._clock())
            elif stage is Stage.FINISH:
                self._journal.hooks(entry.claim.nonce, Hooks.PREPARED)
        task = asyncio.ensure_future(_nothing() if stages is None else stages.run(stage, entry))
        task.add_done_callback(self._ended)
        progress.running = Running(stage, asyncio.get_running_loop().time(), task)
        await asyncio.wait([task], timeout=SHORTLY)

    async def stop(self, entry: JournalEntry, progress: ClaimMemory) -> None:
        """End one that is under way, with whatever it has started."""
        running = progress.running
        if running is not None and not running.task.done() and self._stages is not None:
            running.task.cancel()
            await self._stages.stop(running.stage, entry)

    def take_note(self, entry: JournalEntry | None, progress: ClaimMemory) -> None:
        """Take note of what one that has ended has found; an error of it is raised, and it is begun again."""
        running = progress.running
        if running is None or running.over or not running.task.done():
            return
        if running.task.cancelled() or running.task.exception() is not None:
            progress.running = None
            if not running.task.cancelled():
                running.task.result()
            return
        running.over, running.problems = True, tuple(running.task.result())
        if running.stage is Stage.UNDO:
            # However it went: while the slot cannot be given back, they are not undone again and again.
            self._note(entry, Hooks.NONE)
        elif running.stage is Stage.CHECKS:
            progress.asked = Asked(asyncio.get_running_loop().time(), running.problems, running.began)
        elif running.stage is Stage.PREPARE and not running.problems:
            progress.prepared = True
            self._note(entry, Hooks.PREPARED)
        elif running.stage is Stage.FINISH and not running.problems:
            progress.finished = True
            self._note(entry, Hooks.FINISHED)

    def _note(self, entry: JournalEntry | None, hooks: Hooks) -> None:
        if entry is not None and entry.hooks is not Hooks.NONE:
            self._journal.hooks(entry.claim.nonce, hooks)

    def _ended(self, task: "asyncio.Future[Sequence[Blocker]]") -> None:
        if not task.cancelled():
            task.exception()  # raised where it is taken note of
        self._wake()


async def _nothing() -> tuple[Blocker, ...]:
    """Be an errand for which there is nothing to do."""
    return ()
