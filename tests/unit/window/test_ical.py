"""Holiday calendars: what an iCalendar file means as blackouts and as windows, and what is refused."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.errors import UsageError
from locksmith.window.ical import blackouts, windows
from locksmith.window.windows import Windows

BERLIN = ZoneInfo("Europe/Berlin")
ZONED = """BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
"""


def event(*lines, extra=""):
    """Write a calendar with an event of some lines, as programs write it: CRLF at each end."""
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\n{extra}BEGIN:VEVENT\n" + "\n".join(lines) + "\nEND:VEVENT\nEND:VCALENDAR\n"
    return text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["DTSTART;VALUE=DATE:20261224"], ["2026-12-24"]),
        (["DTSTART:20261224"], ["2026-12-24"]),
        (["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"], ["2026-12-24..2026-12-26"]),
        (["DTSTART;VALUE=DATE:20261224", "DURATION:P1W"], ["2026-12-24..2026-12-30"]),
        (["DTSTART;VALUE=DATE:20101225", "RRULE:FREQ=YEARLY"], ["*-12-25..*-12-25"]),
        (["DTSTART;VALUE=DATE:20101231", "DURATION:P2D", "RRULE:FREQ=YEARLY;INTERVAL=1"], ["*-12-31..*-01-01"]),
        (["DTSTART;VALUE=DATE:20101225", "RRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25;WKST=MO"], ["*-12-25..*-12-25"]),
        (["DTSTART;VALUE=DATE:20261225", "RRULE:FREQ=YEARLY;COUNT=2"], ["2026-12-25", "2027-12-25"]),
        (["DTSTART;VALUE=DATE:20240229", "RRULE:FREQ=YEARLY;COUNT=2"], ["2024-02-29", "2028-02-29"]),
        (["DTSTART;VALUE=DATE:20261225", "RRULE:FREQ=YEARLY;UNTIL=20271225"], ["2026-12-25", "2027-12-25"]),
        (["DTSTART:20261224T180000", "DTEND:20261227T060000"], ["2026-12-24 18:00..2026-12-27 06:00"]),
        (["DTSTART:20261224T180000Z", "DURATION:PT4H"], ["2026-12-24 18:00..2026-12-24 22:00 UTC"]),
        (
            ["DTSTART;TZID=Europe/Berlin:20261224T180030", "DTEND;TZID=Europe/Berlin:20261224T235959"],
            ["2026-12-24 18:00..2026-12-25 00:00 Europe/Berlin"],
        ),
        (
            ['DTSTART;TZID="Europe/Berlin":20261224T180000', "DTEND:20261224T200000Z", "RRULE:FREQ=YEARLY"],
            ["*-12-24 18:00..*-12-24 21:00 Europe/Berlin"],
        ),
        # UNTIL is in UTC, where the last begins a day earlier than here.
        (
            [
                "DTSTART;TZID=Europe/Berlin:20261225T000000",
                "DURATION:PT1H",
                "RRULE:FREQ=YEARLY;UNTIL=20261224T230000Z",
            ],
            ["2026-12-25 00:00..2026-12-25 01:00 Europe/Berlin"],
        ),
    ],
)
def test_an_event_is_a_blackout(lines, expected):
    assert [*map(str, blackouts(event(*lines, extra=ZONED)))] == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["DTSTART;VALUE=DATE:20261224"], ["2026-12-24 00:00 Europe/Berlin for 24h"]),
        (["DTSTART;VALUE=DATE:20261025"], ["2026-10-25 00:00 Europe/Berlin for 25h"]),  # the clock is set back
        (["DTSTART:20270328T000000", "DTEND:20270328T060000"], ["2027-03-28 00:00 Europe/Berlin for 5h"]),
        (["DTSTART:20261224T180030Z", "DTEND:20261224T220059Z"], ["2026-12-24 18:01 UTC for 3h59m"]),
        (
            ["DTSTART;VALUE=DATE:20261201", "DURATION:P8D"],
            ["2026-12-01 00:00 Europe/Berlin for 144h", "2026-12-07 00:00 Europe/Berlin for 48h"],
        ),
        (
            ["DTSTART:20261224T180000", "DURATION:PT2H", "RRULE:FREQ=YEARLY;COUNT=2"],
            ["2026-12-24 18:00 Europe/Berlin for 2h", "2027-12-24 18:00 Europe/Berlin for 2h"],
        ),
    ],
)
def test_an_event_is_a_window_that_is_no_longer_than_the_event(lines, expected):
    assert [*map(str, windows(event(*lines), BERLIN))] == expected


def test_a_yearly_opening_does_not_begin_before_its_event():
    opens = Windows(windows(event("DTSTART;VALUE=DATE:20301224", "RRULE:FREQ=YEARLY"), BERLIN))
    assert opens.next_open(datetime(2026, 1, 1, tzinfo=BERLIN)) == datetime(2030, 12, 24, tzinfo=BERLIN)
    assert len(opens.windows) == 20


def test_long_lines_alarms_todos_and_cancelled_events_are_as_the_standard_has_them():
    others = "BEGIN:VTODO\r\nDTSTART:20260101\r\nEND:VTODO\r\n"
    cancelled = "BEGIN:VEVENT\r\nDTSTART:20260102\r\nSTATUS:cancelled\r\nRDATE:20260103\r\nEND:VEVENT\r\n"
    text = event(
        "SUMMARY:Christmas\\, with a very",
        "  long title: BEGIN",
        'DTSTART;X-A="a:b;c";VALUE=DATE:202612',
        " 24",
        "BEGIN:VALARM",
        "TRIGGER:-PT15M",
        "DURATION:P1D",
        "END:VALARM",
        extra=others + cancelled.replace("RDATE:20260103\r\n", ""),
    )
    assert [*map(str, blackouts(text))] == ["2026-12-24"]
    assert [*map(str, blackouts("\ufeff" + text.replace("\r\n", "\n") + text))] == ["2026-12-24"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["SUMMARY:x"], "the event 'x' .line 3. has no DTSTART"),
        (["DTSTART:20261224T180000"], "has no end"),
        (["DTSTART:20260230"], "no date of iCalendar"),
        (["DTSTART:20261224T250000", "DURATION:PT1H"], "cannot be used: hour"),
        (["DTSTART:2026-12-24"], "no date or time"),
        (["DTSTART;VALUE=PERIOD:20261224"], "no date or time"),
        (["DTSTART:18601224"], "in the year 1860"),
        (["DTSTART;TZID=W. Europe Standard Time:20261224T180000", "DURATION:PT1H"], "is no time zone here"),
        (["DTSTART;TZID=/mozilla.org/Europe/Berlin:20261224T180000", "DURATION:PT1H"], "is no time zone here"),
        (["DTSTART:20261224", "DTEND:20261224"], "must end after its start"),
        (["DTSTART:20261224", "DTEND:20281224"], "within a year"),
        (["DTSTART:20261224", "DTEND:20261224T180000"], "times of two kinds"),
        (["DTSTART:20261224T100000", "DTEND:20261224T180000Z"], "times of two kinds"),
        (["DTSTART:20261224", "DTEND:20261225", "DURATION:P1D"], "has DTEND and DURATION"),
        (["DTSTART:20261224", "DTSTART:20261225"], "has DTSTART twice"),
        (["DTSTART:20261224", "DURATION:PT1H"], "is whole days"),
        (["DTSTART:20261224", "DURATION:P"], "which is none"),
        (["DTSTART:20261224", "DURATION:-P1D"], "which is none"),
        (
            ["DTSTART:20261224", "RRULE:FREQ=WEEKLY"],
            "only FREQ=YEARLY is supported: write each of its days as an event",
        ),
        (["DTSTART:20261224", "RRULE:FREQ=YEARLY;INTERVAL=2"], "only FREQ=YEARLY"),
        (["DTSTART:20261224", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"], "only FREQ=YEARLY"),
        (["DTSTART:20261224", "RRULE:FREQ=YEARLY;BYMONTH=11"], "only FREQ=YEARLY"),
        (["DTSTART:20261224", "RRULE:INTERVAL=1"], "a rule that is none"),
        (["DTSTART:20261224", "RRULE:FREQ=YEARLY;COUNT=0"], "a rule that is none"),
        (["DTSTART:20261224", "RRULE:FREQ=YEARLY;COUNT=2;UNTIL=20280101"], "a rule that is none"),
        (["DTSTART:20260101", "DURATION:P366D", "RRULE:FREQ=YEARLY"], "as long as the year"),
        (["DTSTART:20261224", "RDATE:20261226"], "has RDATE, which is not supported"),
        (["DTSTART:20261224", "EXDATE:20261226"], "has EXDATE, which is not supported"),
        (["DTSTART:20261224", "RECURRENCE-ID:20261226"], "has RECURRENCE-ID, which is not supported"),
        (["DTSTART:20261224", "STATUS:CANCELLED"], "it has no event"),
        (["DTSTART:20261224", "no line"], "is no line of an iCalendar file"),
        (["DTSTART:20261224", "BEGIN:VEVENT", "END:VEVENT"], "begins 'VEVENT' within VEVENT"),
        (["DTSTART:20261224", "END:VCALENDAR"], "ends 'VCALENDAR', which was not begun"),
    ],
)
@pytest.mark.parametrize("read", [blackouts, lambda text: windows(text, BERLIN)], ids=["blackouts", "windows"])
def test_what_is_not_understood_is_refused_and_never_left_out(lines, why, read):
    with pytest.raises((ValueError, UsageError), match=why):
        read(event(*lines))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no event"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "it has no event"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261224\n", "a part of the file is missing"),
        ("DTSTART:20261224\n", "outside of BEGIN:VCALENDAR"),
        ("BEGIN:VEVENT\nDTSTART:20261224\nEND:VEVENT\n", "begins 'VEVENT', which is not supported"),
        ("BEGIN:VCALENDAR\nBEGIN:VFREEBUSY\n", "begins 'VFREEBUSY' within VCALENDAR"),
        ("<html>", "is no line of an iCalendar file"),
        ("\n" * 60_000, "more than 50000 lines"),
    ],
)
def test_what_is_no_whole_calendar_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        blackouts(text)


def test_a_calendar_of_too_many_events_is_refused():
    one = "BEGIN:VEVENT\nDTSTART:20261224\nEND:VEVENT\n"
    with pytest.raises(ValueError, match="more than 200 events"):
        blackouts(f"BEGIN:VCALENDAR\n{one * 201}END:VCALENDAR\n")
    assert len(blackouts(f"BEGIN:VCALENDAR\n{one * 200}END:VCALENDAR\n")) == 1


def test_a_machine_in_another_zone_has_the_holiday_of_its_own_day():
    of = Windows((), blackouts(event("DTSTART:20261224")))
    auckland = ZoneInfo("Pacific/Auckland")
    assert not of.contains(datetime(2026, 12, 24, 1, tzinfo=auckland))
    assert of.contains(datetime(2026, 12, 24, 12, tzinfo=UTC).astimezone(auckland))


PIECES = ["BEGIN:", "END:", "VEVENT", "VCALENDAR", "DTSTART", ":", ";", "\n", " ", "20261224", "T180000", "Z", "RRULE:"]


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*PIECES, "FREQ=YEARLY", "DURATION:P1D", "TZID=", "UTC"]), max_size=30).map("".join))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    for read in (blackouts, lambda text: windows(text, BERLIN)):
        try:
            read(event(text))
        except ValueError as error:
            assert str(error)  # noqa: PT017 (most texts are refused, some are not)
