"""A timeline as a picture: a line for each machine, a bar for each time that it held a slot. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from locksmith.fleet.forecast import axis
from locksmith.fleet.forecast.drawing import INK, Area, Drawing, Line, Text, box
from locksmith.fleet.holders import WRONG
from locksmith.fleet.timeline import Hold, Outcome, Timeline
from locksmith.util.text import one_line
from locksmith.util.words import span

MOST_HOLDS: Final = 60
"""The youngest holds that are drawn."""
MOST_LINES: Final = 30
LONGEST: Final = timedelta(days=7)
SHORTEST: Final = timedelta(minutes=30)

WIDTH: Final = 960
LEFT, RIGHT = 170, 760
TOP, LINE = 44, 20
LONGEST_NAME = 24
"""Characters of a machine's name; the whole is where the mouse points."""

_WORDS: Final = {
    Outcome.REBOOTED: ("rebooted", "#009e73"),
    Outcome.NOT_REBOOTED: ("no reboot", "#999999"),
    Outcome.UNLOCKED: ("unlocked", "#cc79a7"),
    Outcome.EXPIRED: ("expired", "#d55e00"),
    Outcome.HELD: ("held", "#0072b2"),
}
"""How a hold has ended, in a word and in a colour that the colour-blind can tell from the others (Okabe and Ito's)."""
_SICK: Final = "#d55e00"


def first_shown(holds: Iterable[Hold], now: datetime) -> datetime:
    """Give the moment with which a picture begins, so that the youngest holds are seen."""
    begins = [one.earliest for one in holds if one.earliest is not None][-MOST_HOLDS:]
    first = min(begins, default=now)
    return min(max(first, now - LONGEST), now - SHORTEST)


def draw(found: Timeline) -> Drawing:
    """Draw it."""
    holds = found.holds[-MOST_HOLDS:]
    lines = list(dict.fromkeys(one.holder for one in reversed(holds)))[:MOST_LINES][::-1]
    bottom = TOP + max(1, len(lines)) * LINE
    began, ended = found.begin.timestamp(), found.end.timestamp()

    def x(at: datetime | None, otherwise: datetime) -> float:
        share = ((at or otherwise).timestamp() - began) / (ended - began)
        return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share))

    shapes: list[Area | Line | Text] = []
    for mark in axis.times(began, ended, found.end.tzinfo, 7):
        place = LEFT + (RIGHT - LEFT) * (mark.at - began) / (ended - began)
        shapes += [Line((place, TOP - 4), (place, bottom)), Text((place, 18), mark.text, "middle")]
        shapes += [Text((place, 32), mark.below, "middle", 11)] if mark.below else []
    if not lines:
        shapes.append(Text((LEFT, TOP + 14), "no slot was held in this time"))
    for number, holder in enumerate(lines):
        top = TOP + number * LINE
        own = [one for one in holds if one.holder == holder]
        name = one_line(own[-1].name)
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        shapes += [Line((LEFT, top + LINE), (RIGHT, top + LINE)), Text((LEFT - 8, top + 14), short, "end")]
        for one in own:
            left, right = x(one.earliest, found.begin), x(one.end, found.end)
            word, colour = _words(one)
            title = f"{name}: {word}, {_long(one, found.end)}"
            shapes.append(box((left, top + 4), max(2.0, right - left), LINE - 8, colour, title))
        shapes.append(
            Text((RIGHT + 10, top + 14), f"{_words(own[-1])[0]}, {_long(own[-1], found.end)}", size=11, colour=INK)
        )
    return Drawing(WIDTH, bottom + 12, shapes)


def _words(one: Hold) -> tuple[str, str]:
    word, colour = _WORDS[one.outcome]
    if one.outcome is not Outcome.HELD or one.status is None:
        return word, colour
    return one.status.value, _SICK if one.status in WRONG else colour


def _long(one: Hold, now: datetime) -> str:
    if one.earliest is None:
        return "since when is not known"
    return f"{'' if one.begin else 'up to '}{span((one.end or now) - one.earliest)}"
