"""How far something is: shown on a terminal, with `rich` and without it, and nowhere else."""

import io
import sys

import pytest

from locksmith.cli import progress_bar as module
from locksmith.cli.progress_bar import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def play(shown, monkeypatch):
    """Within the test: pytest sets standard error anew after the fixtures."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(module, "OFTEN", 0.0)
    with progress() as told:
        for step in range(1, 4):
            told("playing", step, 3)
        told("trying it", 1, 2)
    return shown.getvalue()


def test_without_rich_a_line_counts_and_is_gone_at_the_end(monkeypatch):
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    *shown, last = play(Terminal(), monkeypatch).split("\r")[1:]
    assert [text.rstrip() for text in shown] == [
        *(f"playing: {step} of 3" for step in (1, 2, 3)),
        "trying it: 1 of 2",
        "",
    ]
    assert last == ""


@pytest.mark.slow
def test_with_rich_there_is_a_bar_for_each_work(monkeypatch):
    shown = play(Terminal(), monkeypatch)
    assert "trying it" in shown
    assert "1 of 2" in shown


def test_a_pipe_gets_nothing(monkeypatch):
    assert play(io.StringIO(), monkeypatch) == ""
