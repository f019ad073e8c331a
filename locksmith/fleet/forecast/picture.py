"""A forecast as a picture: machines over time by what they do, how many are down at once, and the windows. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from locksmith.fleet.forecast import axis
from locksmith.fleet.forecast.answer import Answer
from locksmith.fleet.forecast.drawing import INK, Area, Drawing, Line, Text, box
from locksmith.fleet.forecast.model import GroupRun, counts
from locksmith.fleet.forecast.openings import Openings

WIDTH = 960
LEFT, RIGHT = 84, 936
TOP = 96
TALL, LESS, LOW = 220, 120, 80
"""The heights of a panel: of the only one, of one of several, of those that are down."""
GAP = 30
STRIP = 14
KINDS = (("done", "#009e73"), ("failed", "#d55e00"), ("rebooting", "#0072b2"), ("waiting", "#dddddd"))
"""From the bottom up, in colours that the colour-blind can tell apart (Okabe and Ito's)."""
OPEN = "#56b4e9"
MOST_PANELS = 4
MOST_OPENINGS = 1000
MOST_MOMENTS = 20_000
SAMPLES = RIGHT - LEFT
STRETCH = 1.5
"""How far beyond the run that is drawn the axis goes, in its lengths, to show when 95 of 100 are done."""

Shapes = list[Area | Line | Text]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where times are."""

    began: float
    ended: float
    zone: tzinfo | None

    def x(self, at: float) -> float:
        return LEFT + (RIGHT - LEFT) * (at - self.began) / (self.ended - self.began)

    @property
    def samples(self) -> list[float]:
        return [self.began + (self.ended - self.began) * sample / SAMPLES for sample in range(SAMPLES + 1)]

    def words(self, at: float) -> str:
        when = datetime.fromtimestamp(at, self.zone)
        return f"{when:%a} {when.day} {when:%b %Y %H:%M}"


@dataclass(frozen=True, slots=True)
class _Layer:
    """A kind of machines, counted at each sample."""

    name: str
    colour: str
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Panel:
    """Layers on each other up to `most`; `openings` of a group's windows, below them."""

    title: str
    most: int
    layers: Sequence[_Layer]
    tall: float
    openings: Sequence[tuple[float, float]] | None = None


def draw(answer: Answer, runs: Sequence[GroupRun]) -> Drawing:
    """Draw the runs of all groups, a panel for each; they are the typical ones (`Answer.drawn`)."""
    began = answer.plan.start.timestamp()
    ended = max([began + 1.0, *(run.ended for run in runs)])
    if answer.p95 - began <= STRETCH * (ended - began):
        ended = max(ended, answer.p95)
    frame = _Frame(began, ended, answer.plan.start.tzinfo)
    panels = _panels(answer, runs, frame)
    shapes, bottom = _head(answer, frame, windows=any(panel.openings is not None for panel in panels)), float(TOP)
    for panel in panels:
        shapes += _panel(panel, bottom)
        bottom += panel.tall
        if panel.openings is not None:
            shapes += _strip(panel.openings, frame, bottom)
            bottom += STRIP
        bottom += GAP
    bottom -= GAP
    shapes += [*_times(frame, bottom), *_done(answer, frame, bottom)]
    return Drawing(WIDTH, round(bottom) + 44, shapes)


def _panels(answer: Answer, runs: Sequence[GroupRun], frame: _Frame) -> list[_Panel]:
    """Give a panel for each of a few groups, or one for all of many, and one for those that are down at once."""
    down = _down(runs, frame)
    most = max(1, *(sum(at) for at in zip(*(layer.counts for layer in down), strict=True)))
    last = _Panel("down at once" if len(runs) == 1 else "down at once, of all groups", most, down, LOW)
    if len(runs) > MOST_PANELS:
        machines = sum(run.plan.machines for run in runs)
        return [_Panel(f"all groups: {_machines(machines)}", machines, _layers(runs, frame), TALL), last]
    tall = TALL if len(runs) == 1 else LESS
    found = []
    for run in runs:
        title, openings = f"{run.plan.name}: {_machines(run.plan.machines)}", None
        if run.plan.windows is not None:
            openings = Openings(run.plan, answer.plan.start).between(frame.began, frame.ended, MOST_OPENINGS)
        found.append(_Panel(title, run.plan.machines, _layers([run], frame), tall, openings))
    return [*found, last]


def _layers(runs: Sequence[GroupRun], frame: _Frame) -> list[_Layer]:
    return [
        _Layer(*kind, column) for kind, column in zip(KINDS, zip(*_sums(runs, frame.samples), strict=True), strict=True)
    ]


def _down(runs: Sequence[GroupRun], frame: _Frame) -> list[_Layer]:
    """Give the most that are down within each pixel: a window of hours is narrower than that in a rollout of months."""
    begins = [reboot.begin for run in runs for reboot in run.reboots]
    moments = sorted([*frame.samples, *begins[:: max(1, len(begins) // MOST_MOMENTS)]])
    found = [(0, 0)] * (SAMPLES + 1)
    for at, (_, failed, down, _) in zip(moments, _sums(runs, moments), strict=True):
        place = round((at - frame.began) / (frame.ended - frame.began) * SAMPLES)
        found[place] = max(found[place], (failed, down), key=sum)
    return [_Layer(*kind, column) for kind, column in zip(KINDS[1:3], zip(*found, strict=True), strict=True)]


def _sums(runs: Sequence[GroupRun], times: Sequence[float]) -> list[tuple[int, ...]]:
    each = [counts(run, times) for run in runs]
    return [tuple(map(sum, zip(*at, strict=True))) for at in zip(*each, strict=True)]


def _machines(count: int) -> str:
    return f"{count:,} machine{'' if count == 1 else 's'}"


def _head(answer: Answer, frame: _Frame, *, windows: bool) -> Shapes:
    groups = len(answer.groups)
    of = "" if groups == 1 else f" of {groups} groups"
    machines = _machines(sum(group.plan.machines for group in answer.groups))
    half, most = frame.words(answer.p50), frame.words(answer.p95)
    runs = f"half of {len(answer.ends[0])} runs" if len(answer.ends[0]) > 1 else "the one run"
    shapes: Shapes = [
        Text((LEFT, 26), f"A rollout to {machines}{of}", size=16),
        Text((LEFT, 46), f"done by {half} in {runs}, by {most} in 95 of 100"),
    ]
    left = LEFT
    for name, colour in (*KINDS, *([("window open", OPEN)] if windows else [])):
        shapes += [box((left, 58), 11, 11, colour), Text((left + 16, 68), name)]
        left += 44 + 7 * len(name)
    return shapes


def _panel(panel: _Panel, top: float) -> Shapes:
    """Draw layers on each other, with the numbers next to them."""
    shapes: Shapes = [Text((LEFT, top - 7), panel.title, size=11)]
    below = [0] * (SAMPLES + 1)

    def y(value: float) -> float:
        return top + panel.tall * (1 - value / panel.most)

    for layer in panel.layers:
        above = [low + more for low, more in zip(below, layer.counts, strict=True)]
        if any(layer.counts):
            edge = [*_edge(above), *reversed(list(_edge(below)))]
            shapes.append(Area(tuple((LEFT + x, y(value)) for x, value in edge), layer.colour, layer.name))
        below = above
    for mark in axis.numbers(panel.most, round(panel.tall / 28)):
        shapes += [Line((LEFT, y(mark)), (RIGHT, y(mark))), Text((LEFT - 8, y(mark) + 4), f"{mark:,}", "end")]
    return shapes


def _edge(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the corners of a line: where it goes straight on, none is needed."""
    for place, value in enumerate(values):
        if place in {0, len(values) - 1} or values[place - 1] != value or values[place + 1] != value:
            yield place, value


def _strip(openings: Sequence[tuple[float, float]], frame: _Frame, top: float) -> Shapes:
    """Draw when the windows are open, where so few of them can be seen."""
    if len(openings) >= MOST_OPENINGS:
        return []
    places = [(frame.x(opens), frame.x(closes)) for opens, closes in openings]
    return [box((left, top + 3), max(1.0, right - left), STRIP - 6, OPEN, "window open") for left, right in places]


def _times(frame: _Frame, bottom: float) -> Shapes:
    shapes: Shapes = []
    for mark in axis.times(frame.began, frame.ended, frame.zone, 9):
        x = frame.x(mark.at)
        shapes.append(Line((x, TOP), (x, bottom + 3)))
        x = min(x, WIDTH - 32)
        shapes.append(Text((x, bottom + 17), mark.text, "middle"))
        shapes += [Text((x, bottom + 32), mark.below, "middle", 11)] if mark.below else []
    return shapes


def _done(answer: Answer, frame: _Frame, bottom: float) -> Shapes:
    """Mark when it is done in half of the runs, and in 95 of 100."""
    marks = [(answer.p50, "p50")]
    if answer.p95 <= frame.ended:
        near = frame.x(answer.p95) - frame.x(answer.p50) < 30  # noqa: PLR2004 - a label's width
        marks = [(answer.p50, "p50, p95")] if near else [*marks, (answer.p95, "p95")]
    shapes: Shapes = []
    for at, name in marks:
        x = frame.x(at)
        shapes += [Line((x, TOP), (x, bottom), INK, dashed=True), Text((x, TOP - 7), name, "end", 11)]
    return shapes
