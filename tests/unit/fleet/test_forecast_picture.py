"""The picture of a forecast: one description, drawn twice."""

import io
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from locksmith.cli.png import SHARP, png
from locksmith.fleet.forecast import axis
from locksmith.fleet.forecast.answer import forecast
from locksmith.fleet.forecast.drawing import Area, Line, Text
from locksmith.fleet.forecast.picture import KINDS, OPEN, draw
from locksmith.fleet.forecast.plan import GroupPlan, RolloutPlan
from locksmith.fleet.forecast.spread import Spread
from locksmith.fleet.forecast.svg import svg
from tests.harness.windows import plan as windows

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 5, 4, 12, tzinfo=BERLIN)
SVG = "{http://www.w3.org/2000/svg}"


def drawing(*groups, runs=3):
    answer = forecast(RolloutPlan(START, groups), runs, 1)
    return draw(answer, answer.drawn())


def group(name="db", **changes):
    return GroupPlan(name, 30, 2, reboot=Spread(60.0, 300.0), **{"failure": 0.1, **changes})


DRAWINGS = [
    [group()],
    [group(windows=windows("02:00 for 30m")), group("web")],
    [group(f"g{number}", windows=windows("02:00 for 30m")) for number in range(6)],
    [GroupPlan("one", 1, 1, reboot=Spread(0.0, 0.0))],
    [group(windows=windows("*:0/2 for 1m"))],
    [group(arrives=86400.0 * 400)],
]


@pytest.mark.parametrize("groups", DRAWINGS)
def test_nothing_is_drawn_outside_the_paper(groups):
    found = drawing(*groups)
    for shape in found.shapes:
        points = {Area: lambda s: s.points, Line: lambda s: (s.begin, s.end), Text: lambda s: (s.at,)}[type(shape)](
            shape
        )
        assert all(0 <= x <= found.width and 0 <= y <= found.height for x, y in points)
        if isinstance(shape, Text):
            wide = len(shape.text) * shape.size * 0.62
            x = shape.at[0] - {"start": 0, "middle": wide / 2, "end": wide}[shape.anchor]
            assert x >= 0, shape
            assert x + wide <= found.width, shape


def test_the_svg_has_all_kinds_with_their_names_safe():
    root = ET.fromstring(svg(drawing(group("<db>&", windows=windows("02:00 for 30m")))))
    titles = {area[0].text for area in root.findall(f"{SVG}polygon")}
    assert titles >= {"done", "failed", "rebooting", "waiting", "window open"}
    assert any("<db>&: 30 machines" in (text.text or "") for text in root.findall(f"{SVG}text"))


@pytest.mark.slow
@pytest.mark.parametrize("groups", DRAWINGS)
def test_the_png_is_of_the_same_size_and_colours(groups):
    found = drawing(*groups)
    with Image.open(io.BytesIO(png(found))) as image:
        assert image.format == "PNG"
        assert image.size == (found.width * SHARP, found.height * SHARP)
        pixels = image.tobytes()
    seen = {f"#{pixels[place : place + 3].hex()}" for place in range(0, len(pixels), 3)}
    drawn = {shape.colour for shape in found.shapes if isinstance(shape, Area)}
    assert drawn <= seen
    assert drawn >= {colour for _, colour in KINDS}


def test_windows_are_shown_where_there_are_some():
    def shown(*groups):
        return sum(isinstance(shape, Area) and shape.colour == OPEN for shape in drawing(*groups).shapes)

    assert shown(group()) == 0
    assert shown(group(windows=windows("02:00 for 30m"))) > 1


@pytest.mark.parametrize(
    ("hours", "first", "texts"),
    [
        (1, "12:10 Mon 4 May", 6),
        (24, "15:00 Mon 4 May", 8),
        (72, "00:00 Tue 5 May", 6),
        (40 * 24, "11 May 2026", 5),
        (0.002, "12:00:00 Mon 4 May", 8),
    ],
)
def test_marks_of_time_are_round(hours, first, texts):
    began = START.timestamp() + (0 if hours < 1 else 60)
    marks = axis.times(began, began + hours * 3600, BERLIN, 9)
    assert f"{marks[0].text} {marks[0].below}" == first
    assert len(marks) == texts


def test_marks_of_time_go_by_the_clock_where_it_is_changed():
    began = datetime(2026, 10, 24, 12, tzinfo=BERLIN).timestamp()
    marks = axis.times(began, began + 48 * 3600, BERLIN, 9)
    assert [mark.text for mark in marks] == ["12:00", "18:00", "00:00", "06:00", "12:00", "18:00", "00:00", "06:00"]
    assert [mark.below for mark in marks if mark.below] == ["Sat 24 Oct", "Sun 25 Oct", "Mon 26 Oct"]


@given(st.floats(0.5, 3e8), st.floats(0, 2e9))
def test_there_are_never_many_marks_and_they_are_in_order(length, began):
    marks = axis.times(began, began + length, UTC, 9)
    assert len(marks) <= 11
    assert sorted(marks) == marks
    assert all(began <= mark.at <= began + length for mark in marks)


@given(st.integers(1, 10**7), st.integers(1, 9))
def test_marks_of_numbers_are_round_and_few(most, marks):
    found = axis.numbers(most, marks)
    assert found[0] == 0
    assert found[-1] <= most
    assert len(found) <= marks + 1
