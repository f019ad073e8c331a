"""A drawing: shapes in pixels from the top left corner, the later ones above the earlier ones. Pure.

The modules that draw it (`svg`, `cli/png.py`) know nothing of what it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
INK, PALE = "#222222", "#d0d0d0"


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon that is filled; `title` says what it is where the mouse points."""

    points: tuple[Point, ...]
    colour: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A thin line."""

    begin: Point
    end: Point
    colour: str = PALE
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `at` is on its base line, where it starts, has its middle, or ends."""

    at: Point
    text: str
    anchor: Anchor = "start"
    size: int = 12
    colour: str = INK


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole, on white."""

    width: int
    height: int
    shapes: Sequence[Area | Line | Text]


def box(corner: Point, width: float, height: float, colour: str, title: str = "") -> Area:
    """Make an area with four right angles."""
    left, top = corner
    right, bottom = left + width, top + height
    return Area(((left, top), (right, top), (right, bottom), (left, bottom)), colour, title)
