"""How far something is, on a terminal: a bar with `rich` (the extra `tool`), a line that counts without it."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from locksmith.cli.painted import steers

if TYPE_CHECKING:
    from rich.progress import Progress

Told = Callable[[str, int, int], None]
OFTEN = 0.1
"""Seconds between two writes of the line."""


@contextlib.contextmanager
def progress() -> Iterator[Told]:
    """Give what is to be told the work, how many of its steps are done, and of how many; it leaves no trace."""
    if not steers(sys.stderr):
        yield lambda *_: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        line = _Line()
        try:
            yield line
        finally:
            line.clear()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as live:
        yield _Bar(live)


class _Bar:
    """One bar for each work."""

    def __init__(self, live: "Progress") -> None:
        self._live = live
        self._work: str | None = None

    def __call__(self, work: str, done: int, steps: int) -> None:
        if work != self._work:
            for task in self._live.task_ids:
                self._live.remove_task(task)
            self._live.add_task(work, total=steps)
            self._work = work
        self._live.update(self._live.task_ids[0], completed=done, total=steps)


class _Line:
    """A line that is written over and over."""

    def __init__(self) -> None:
        self._wrote, self._wide = 0.0, 0

    def __call__(self, work: str, done: int, steps: int) -> None:
        if monotonic() - self._wrote < OFTEN:
            return
        text = f"{work}: {done} of {steps}"
        sys.stderr.write(f"\r{text:<{self._wide}}")
        sys.stderr.flush()
        self._wrote, self._wide = monotonic(), max(self._wide, len(text))

    def clear(self) -> None:
        """Leave the line as it was."""
        sys.stderr.write(f"\r{'':<{self._wide}}\r" if self._wide else "")
        sys.stderr.flush()
