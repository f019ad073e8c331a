"""Moments as a person types them: until when, since when, and which to show."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from locksmith.cli.moments import coming, past, shown
from locksmith.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 24, 20, 0, tzinfo=BERLIN)
"""The evening before the clock is set back."""


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("20:30", "2026-10-24T20:30+02:00"),
        ("8:30", "2026-10-25T08:30+01:00"),  # tomorrow, in tomorrow's offset
        ("19:59:59", "2026-10-25T19:59:59+01:00"),
        ("2026-12-24", "2026-12-25T00:00+01:00"),  # that day is part of it, as of a blackout
        ("2026-10-24", "2026-10-25T00:00+02:00"),
        ("2026-12-24T18:30", "2026-12-24T18:30+01:00"),
        ("2026-12-24 18:30", "2026-12-24T18:30+01:00"),
        ("2026-12-24T18:30+05:00", "2026-12-24T18:30+05:00"),
    ],
)
def test_until(text, ends):
    assert coming(text, NOW, BERLIN, "--until").astimezone(UTC) == datetime.fromisoformat(ends)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("2d", "2026-10-22T20:00+02:00"),
        ("90min", "2026-10-24T18:30+02:00"),
        ("18:30", "2026-10-24T18:30+02:00"),
        ("20:30", "2026-10-23T20:30+02:00"),
        ("2026-10-01", "2026-10-01T00:00+02:00"),
        ("2026-10-01T08:00", "2026-10-01T08:00+02:00"),
    ],
)
def test_since(text, begins):
    assert past(text, NOW, BERLIN, "--since").astimezone(UTC) == datetime.fromisoformat(begins)


def test_nothing_is_shown_since_a_moment_to_come():
    with pytest.raises(UsageError, match="--since is about what was, and 2026-12-24 is to come"):
        past("2026-12-24", NOW, BERLIN, "--since")


def test_a_moment_to_show_is_of_today_and_a_day_begins_at_midnight():
    assert shown("18:30", NOW, BERLIN, "--at") == datetime(2026, 10, 24, 18, 30, tzinfo=BERLIN)
    assert shown("2026-12-24", NOW, BERLIN, "--at") == datetime(2026, 12, 24, tzinfo=BERLIN)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "25:00", "18", "2026-13-01", "2026-02-30", "0001-01-01", "9999-12-31"]
)
@pytest.mark.parametrize("read", [coming, past, shown])
def test_what_is_no_moment_is_refused_with_examples(text, read):
    with pytest.raises(UsageError, match=r"--x must be .*a time like 18:30, 2026-12-24 or 2026-12-24T18:30, not"):
        read(text, NOW, BERLIN, "--x")
