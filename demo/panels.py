"""Draws panels as a dashboard shows them: one number, lines over time, or a list. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

from locksmith.fleet.forecast.drawing import INK, PALE, Anchor, Area, Drawing, Line, Text, box

UNIT = (48, 34)
"""Pixels of one column and one row of the grid."""
COLUMNS = 24
GAP = 4
PAPER, DIM = "#f4f5f7", "#6a6a6a"
COLOURS = ("#3d71d9", "#56a64b", "#e0b400", "#e24d42", "#8f3bb8", "#1f9e9e", "#c15c17", "#7c7c7c", "#b877d9", "#0a437c")
LONG = 180
"""Seconds from which a length of time is given in minutes."""
LETTER = 6.2
"""Pixels of a letter of the legend."""

Shape = Area | Line | Text
Place = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""
Value = tuple[float, float, float]
"""When, from where, to where."""


@dataclass(frozen=True)
class Series:
    """One line, or one number: seconds since the begin, and values."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One panel, at its place in the grid."""

    title: str
    kind: str
    corner: tuple[int, int]
    size: tuple[int, int]
    series: Sequence[Series]
    is_stacked: bool
    is_time: bool
    none: str
    """What it says without a value."""


@dataclass(frozen=True)
class _Scale:
    """Where values are drawn."""

    plot: Place
    length: float
    most: float

    def point(self, at: float, value: float) -> tuple[float, float]:
        left, top, width, height = self.plot
        return left + width * at / self.length, top + height * (1 - value / self.most)


def draw(panels: Sequence[Panel], length: float) -> Drawing:
    """Draw panels of so many seconds."""
    shapes: list[Shape] = []
    for panel in panels:
        left, top = panel.corner[0] * UNIT[0] + GAP, panel.corner[1] * UNIT[1] + GAP
        width, height = panel.size[0] * UNIT[0] - 2 * GAP, panel.size[1] * UNIT[1] - 2 * GAP
        shapes += [box((left, top), width, height, PAPER), Text((left + 10, top + 18), panel.title)]
        inside = (left + 10, top + 26, width - 20, height - 32)
        kinds = {"stat": _stat, "timeseries": _graph, "table": _table}
        shapes += kinds[panel.kind](panel, inside, length)
    height = max(panel.corner[1] + panel.size[1] for panel in panels) * UNIT[1]
    return Drawing(COLUMNS * UNIT[0], height, shapes)


def _stat(panel: Panel, place: Place, _: float) -> Iterator[Shape]:
    left, top, width, height = place
    values = [series.points[-1][1] for series in panel.series if series.points]
    text = _amount(values[0], is_time=panel.is_time) if values else panel.none
    yield Text((left + width / 2, top + height / 2 + 14), text, "middle", 34, COLOURS[0] if values else DIM)


def _table(panel: Panel, place: Place, _: float) -> Iterator[Shape]:
    left, top, *_rest = place
    names = [series.name for series in panel.series] or [panel.none]
    for number, name in enumerate(names):
        yield Text((left, top + 18 + 18 * number), name, size=12, colour=INK if panel.series else DIM)


def _graph(panel: Panel, place: Place, length: float) -> Iterator[Shape]:
    left, top, width, height = place
    shown = [series for series in panel.series if series.points]
    legend = list(_legend(shown, (left, top, width, height)))
    lines = 1 + int((legend[-1].at[1] - legend[0].at[1]) / 15) if legend else 1
    plot = (left + 34, top + 4, width - 40, height - 22 - 15 * lines)
    layers = _layers(shown) if panel.is_stacked else [[(at, 0.0, value) for at, value in one.points] for one in shown]
    most = max((upper for layer in layers for _, _, upper in layer), default=1.0) or 1.0
    yield from _axes(plot, most, length, is_time=panel.is_time)
    if not shown:
        yield Text((plot[0] + plot[2] / 2, plot[1] + plot[3] / 2), panel.none, "middle", 14, DIM)
    step = min((after[0] - before[0] for layer in layers for before, after in pairwise(layer)), default=0.0)
    for layer, colour in zip(layers, cycle(COLOURS), strict=False):
        yield from (_blocks if panel.is_stacked else _steps)(layer, step, _Scale(plot, length, most), colour)
    yield from legend


def _layers(shown: Sequence[Series]) -> list[list[Value]]:
    """Put the series above each other."""
    below: dict[float, float] = {}
    layers = []
    for series in shown:
        layer = []
        for at, value in series.points:
            base = below.get(at, 0.0)
            layer.append((at, base, base + value))
            below[at] = base + value
        layers.append(layer)
    return layers


def _blocks(layer: Sequence[Value], step: float, scale: _Scale, colour: str) -> Iterator[Shape]:
    for at, base, value in layer:
        (x, low), (to_x, high) = scale.point(at, base), scale.point(min(at + step, scale.length), value)
        yield box((x, high), to_x - x, low - high, colour)


def _steps(layer: Sequence[Value], step: float, scale: _Scale, colour: str) -> Iterator[Shape]:
    for (at, _, value), (to, _, after) in pairwise(layer):
        if to - at < 1.5 * step:  # otherwise there is no value between them
            yield Line(scale.point(at, value), scale.point(to, value), colour)
            yield Line(scale.point(to, value), scale.point(to, after), colour)


def _axes(plot: Place, most: float, length: float, *, is_time: bool) -> Iterator[Shape]:
    left, top, width, height = plot
    for part in (0.0, 0.5, 1.0):
        y = top + height * (1 - part)
        yield Line((left, y), (left + width, y), PALE)
        yield Text((left - 4, y + 4), _amount(most * part, is_time=is_time), "end", 10, DIM)
        anchor: Anchor = "start" if not part else "middle" if part < 1 else "end"
        yield Text((left + width * part, top + height + 14), f"{length * part:.0f} s", anchor, 10, DIM)


def _legend(shown: Sequence[Series], place: Place) -> Iterator[Text]:
    """Name the series in as many lines as they need, from the bottom."""
    left, top, width, height = place
    rows: list[list[tuple[float, str, str]]] = [[]]
    x = 0.0
    for series, colour in zip(shown, cycle(COLOURS), strict=False):
        wide = LETTER * (len(series.name) + 4)
        if x + wide > width and rows[-1]:
            rows.append([])
            x = 0.0
        rows[-1].append((x, f"■ {series.name}", colour))
        x += wide
    for number, row in enumerate(rows):
        y = top + height - 15 * (len(rows) - 1 - number)
        yield from (Text((left + x, y), text, size=11, colour=colour) for x, text, colour in row)


def _amount(value: float, *, is_time: bool) -> str:
    if not is_time:
        return f"{value:.3g}"
    return f"{value:.0f} s" if value < LONG else f"{value / 60:.0f} min"
