"""Runs the stages of a reboot at the same time as the loop, as they may take minutes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from locksmith.agent.facts import Blocker, Stage
from locksmith.agent.journal import Hooks, JournalEntry
from locksmith.agent.memory import Asked, ClaimMemory, Running
from locksmith.agent.ports import JournalStore, Stages

SHORTLY = 0.05
"""Seconds to wait for a stage that has begun: most stages have nothing to do, and end at once."""


class StageRunner:
    """Runs one stage at a time, and notes it in the memory of the claim. `wake` is called when a stage ends."""

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
        """Begin a stage, and wait a moment for its end. A stage that must be undone later is written down first."""
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
        """End the stage that runs, with all that it has started."""
        running = progress.running
        if running is not None and not running.task.done() and self._stages is not None:
            running.task.cancel()
            await self._stages.stop(running.stage, entry)

    def take_note(self, entry: JournalEntry | None, progress: ClaimMemory) -> None:
        """Note what the stage that has ended has found. An error of the stage is raised, and the stage begins again."""
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
            # Also after a failure: while the slot cannot be released, the hooks are not undone again and again.
            self._note(entry, Hooks.NONE)
        elif running.stage is Stage.CHECKS:
            progress.asked = Asked(asyncio.get_running_loop().time(), running.problems, running.began)
        elif running.stage is Stage.REHEARSAL:
            progress.rehearsed = Asked(asyncio.get_running_loop().time(), running.problems, running.began)
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
            task.exception()  # `take_note` raises it
        self._wake()


async def _nothing() -> tuple[Blocker, ...]:
    """Do nothing, as a stage without work."""
    return ()
