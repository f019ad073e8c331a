"""Lines with colours of our own: all other control characters are spelt out, in each part of them."""

import os
import sys
from dataclasses import dataclass
from typing import Self, TextIO

import click

from locksmith.util.text import LONGEST_TEXT_LINE, cut, printable


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a line, in one style; `colour` is click's name of one (empty: none)."""

    text: str
    colour: str = ""
    bold: bool = False
    reverse: bool = False


class Painted(str):
    """A line of several parts; as a string it is their text alone."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, *parts: Part) -> Self:
        """Put it together."""
        line = cls("".join(part.text for part in parts))
        line.parts = parts
        return line


def coloured() -> bool:
    """Whether colour is seen, and wanted (https://no-color.org)."""
    return steers(sys.stdout) and not os.environ.get("NO_COLOR")


def steers(stream: TextIO) -> bool:
    """Whether a stream goes to a terminal that control sequences steer: a dumb one would print them."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(line: str) -> str:
    """Give a line as it is printed: no control character in it but those of its own colours, where they are seen."""
    if not isinstance(line, Painted) or not coloured():
        return cut(printable(line), LONGEST_TEXT_LINE)
    return "".join(
        click.style(printable(part.text), fg=part.colour or None, bold=part.bold or None, reverse=part.reverse or None)
        for part in line.parts
    )
