"""Times and numbers as a person reads them, and tables that fit."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.cli.table import Row, cells_wide, table
from locksmith.util.words import clock, listed, nearest, ordinal, span

NOW = datetime(2026, 5, 1, 4, 0, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (41.4, "41 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (7200, "2 h"),
        (11_100, "3 h 5 min"),
        (172_800, "2 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_span(seconds, text):
    assert span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (datetime(2026, 5, 1, 0, 14, tzinfo=UTC), "02:14"),
        (datetime(2026, 5, 1, 22, 30, tzinfo=UTC), "Sat 00:30"),
        (datetime(2026, 4, 26, 10, 0, tzinfo=UTC), "Sun 12:00"),
        (datetime(2026, 4, 24, 10, 0, tzinfo=UTC), "2026-04-24 12:00"),
    ],
)
def test_a_moment_in_the_zone_of_whoever_asks(when, text):
    assert clock(when, NOW) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "first"), (3, "third"), (10, "tenth"), (11, "11th"), (12, "12th"), (21, "21st"), (22, "22nd"), (111, "111th")],
)
def test_an_ordinal(number, text):
    assert ordinal(number) == text


@pytest.mark.parametrize(
    ("typed", "near"),
    [("wbe", ["web"]), ("WEB", ["web"]), ("webb", ["web"]), ("prod-databse", ["Prod-Database"]), ("x", []), ("", [])],
)
def test_the_nearest_names(typed, near):
    assert nearest(typed, ["web", "Prod-Database", "payments"]) == near


def test_a_list_of_names():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([*"abcdefg"]) == "a, b, c, d and 3 others"


texts = st.text(max_size=60)


@given(st.lists(st.tuples(texts, texts, texts, texts), max_size=5), st.integers(40, 200))
def test_a_table_fits_whatever_is_in_it(rows, columns):
    lines = table(("WHO", "WHAT", "WHEN", "WHY"), [Row(row) for row in rows], columns)
    assert len(lines) == len(rows) + 1
    assert all(cells_wide(line) <= columns for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_table_cuts_its_widest_cells_first():
    lines = table(("A", "B"), [Row(("short", "x" * 100)), Row(("s", "y"))], 20)
    assert lines == ["A      B", f"short  {'x' * 12}…", "s      y"]
