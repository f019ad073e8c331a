"""Tables for people: as wide as the terminal, whole in a pipe, one line a row, no colour where no terminal shows it."""

import shutil
import sys
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from locksmith.cli.painted import Painted, Part
from locksmith.cli.pasted import pasteable
from locksmith.util.text import one_line

UNCUT = 10**6
"""Columns where standard output is no terminal: what reads it may be as wide as it likes."""
GAP = "  "
NARROWEST = 8
"""Columns that a column with room to spare is shrunk to at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line; `colour` is click's name of one, for the whole of it."""

    cells: Sequence[str]
    colour: str = ""


def width() -> int:
    """Tell how many columns there are: `COLUMNS` of the environment, else those of the terminal."""
    return shutil.get_terminal_size((80, 24) if sys.stdout.isatty() else (UNCUT, 24)).columns


def table(head: Sequence[str], rows: Sequence[Row], columns: int, whole: Collection[int] = frozenset()) -> list[str]:
    """Lay out a table in so many columns: the widest cells are cut, with an ellipsis, until a line fits.

    The columns in `whole` (0: the first) are never cut.
    """
    texts = [[*head], *([one_line(pasteable(cell)) for cell in row.cells] for row in rows)]
    widths = [max(map(cells_wide, column)) for column in zip(*texts, strict=True)]
    room = columns - len(GAP) * (len(widths) - 1)
    may_shrink = [place for place in range(len(widths)) if place not in whole]
    while sum(widths) > room and max(widths[place] for place in may_shrink) > NARROWEST:
        widest = max(may_shrink, key=lambda place: widths[place])
        rival = max((widths[place] for place in may_shrink if place != widest), default=0)
        widths[widest] = max(NARROWEST, min(widths[widest] - 1, max(rival, widths[widest] - (sum(widths) - room))))
    head_line, *lines = [_line(cells, widths) for cells in texts]
    body = (Painted.of(Part(line, row.colour)) for line, row in zip(lines, rows, strict=True))
    return [Painted.of(Part(head_line, bold=True)), *body]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(_fitted(text, wide) for text, wide in zip(cells, widths, strict=True)).rstrip()


def cells_wide(text: str) -> int:
    """Tell how many columns a text takes: two for a wide character, none for one that joins the one before."""
    return len(text) if text.isascii() else sum(_wide(char) for char in text)


def _wide(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fitted(text: str, wide: int) -> str:
    taken = cells_wide(text)
    if taken > wide:
        end = wide - 1 if text.isascii() else len(text)
        taken = cells_wide(text[:end])
        while taken > wide - 1:
            end -= 1
            taken -= _wide(text[end])
        text, taken = f"{text[:end]}…", taken + 1
    return text + " " * (wide - taken)
