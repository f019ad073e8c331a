from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import UsageError
from locksmith.window.duration import format_duration, parse_duration
from locksmith.window.reboot_window import RebootWindow, WindowStart

PACIFIC = timezone(timedelta(hours=-7), "PDT")
BERLIN = ZoneInfo("Europe/Berlin")
INSTANT = timedelta(microseconds=1)


def at(text, zone=PACIFIC):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "length", "now", "to_start"),
    [
        ("00:15", "10s", "2015-05-21 00:00:00", "15m"),
        ("00:00", "1h", "2015-05-21 00:00:00", "0s"),
        ("00:00", "1h", "2015-05-21 00:00:01", "-1s"),
        ("02:33", "10h", "2015-05-21 12:33:00", "-10h"),
        ("02:33", "10h", "2015-05-21 12:33:01", "13h59m59s"),
        ("23:05", "11h", "2015-05-21 09:33:01", "-10h28m1s"),
        ("Thu 00:15", "10s", "2015-05-21 00:00:00", "15m"),
        ("Sun 00:00", "1h", "2015-05-17 00:00:01", "-1s"),
        ("Sun 02:33", "10h", "2015-05-17 12:33:00", "-10h"),
        ("Sun 02:33", "10h", "2015-05-17 12:33:01", "157h59m59s"),
        ("Sat 23:05", "11h", "2015-05-17 09:33:01", "-10h28m1s"),
        ("Mon 9:00", "1h", "2015-05-30 23:00:00", "34h"),
        ("Sun 23:00", "4h", "2015-06-01 01:00:00", "-2h"),
        ("Sun 23:00", "167h59m", "2015-06-07 22:59:00", "-167h59m"),
        ("12:00", "0s", "2015-05-21 12:00:00", "0s"),
        ("12:00", "0s", "2015-05-21 12:00:00.000001", "23h59m59.999999s"),
    ],
)
def test_the_time_to_the_window_is_the_originals(start, length, now, to_start):
    window = RebootWindow.parse(start, length)
    assert format_duration(window.time_to_start(at(now))) == to_start
    assert window.contains(at(now)) == (parse_duration(to_start) <= timedelta(0))


def test_both_ends_are_inside_and_nothing_beyond():
    window = RebootWindow.parse("02:00", "1h")
    first, last = at("2015-05-21 02:00"), at("2015-05-21 03:00")
    assert [window.contains(now) for now in (first - INSTANT, first, last, last + INSTANT)] == [
        False,
        True,
        True,
        False,
    ]
    assert window.closes(first) == last
    assert window.closes(last + INSTANT) is None
    assert window.next_open(last) == first
    assert window.next_open(last + INSTANT) == at("2015-05-22 02:00")


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("14:00", "1h"),
        ("sat 14:00", "1h"),
        ("SAT 14:00", "1h"),
        ("  Sat   14:00 ", "1h"),
        ("9:5", "0"),
        ("0:00", "+1h"),
    ],
)
def test_reads_what_the_original_reads(start, length):
    assert RebootWindow.parse(start, length)


@pytest.mark.parametrize(
    ("start", "length", "sentence"),
    [
        ("", "1h", "the window's start '' is not a start: write a time like 23:05, or a day and a time like Sat 23:05"),
        ("14", "1h", "the window's start '14' is not a start: write a time"),
        ("sat", "1h", "the window's start 'sat' is not a start: write a time"),
        ("14:00x", "1h", "the window's start '14:00x' is not a start: write a time"),
        ("14:00:00", "1h", "the window's start '14:00:00' is not a start: write a time"),
        ("-1:00", "1h", "the window's start '-1:00' is not a start: write a time"),
        ("14:00 CET", "1h", "the window's start '14:00 CET' is not a start: write a time"),
        ("sat 14:00 1234", "1h", "the window's start 'sat 14:00 1234' is not a start: write a time"),
        ("foo 14:00", "1h", "'foo' is none of Sun, Mon, Tue, Wed, Thu, Fri, Sat"),
        ("saturday 14:00", "1h", "'saturday' is none of Sun"),
        ("25:00", "1h", "the window's start '25:00' is not a start: the hour is 0 to 23 and the minute 0 to 59"),
        ("24:00", "1h", "the hour is 0 to 23"),
        ("23:60", "1h", "the minute 0 to 59"),
        ("14:00", "1j", "the window's length '1j' is not a duration"),
        ("14:00", "1h later", "the window's length '1h later' is not a duration"),
        ("14:00", "-1h", "the window's length -1h is negative"),
        ("14:00", "24h", "the window's length 24h is too long: a daily window is shorter than 24h"),
        ("sat 14:00", "168h", "the window's length 168h is too long: a weekly window is shorter than 168h"),
    ],
)
def test_refuses_with_a_sentence(start, length, sentence):
    with pytest.raises(UsageError) as refused:
        RebootWindow.parse(start, length)
    assert sentence in str(refused.value)


def test_the_longest_windows_are_just_shorter_than_their_period():
    assert RebootWindow.parse("14:00", "23h59m59s")
    assert RebootWindow.parse("sat 14:00", "167h59m59s")


def test_a_start_in_the_skipped_hour_opens_right_after_it():
    window = RebootWindow.parse("02:30", "1h")
    opening = utc("2026-03-29 01:00")  # 02:00 in winter is 03:00 in summer
    before = at("2026-03-29 01:59", BERLIN)
    assert window.next_open(before) == opening
    assert window.next_open(before).isoformat() == "2026-03-29T03:00:00+02:00"
    assert not window.contains((opening - INSTANT).astimezone(BERLIN))
    assert window.contains(opening.astimezone(BERLIN))
    assert window.closes(opening.astimezone(BERLIN)) == opening + timedelta(hours=1)


def test_a_start_in_the_doubled_hour_opens_once():
    window = RebootWindow.parse("Sun 02:30", "10m")
    first, second = (at("2026-10-25 02:30", BERLIN).replace(fold=fold) for fold in (0, 1))
    assert window.contains(first)
    assert not window.contains(second)
    assert window.next_open(second) == at("2026-11-01 02:30", BERLIN)


@pytest.mark.parametrize(
    ("day", "closes"),
    [("2026-03-28", "2026-03-29T05:00:00+02:00"), ("2026-10-24", "2026-10-25T03:00:00+01:00")],
)
def test_a_window_over_the_change_is_as_long_as_ever(day, closes):
    end = RebootWindow.parse("23:00", "5h").closes(at(f"{day} 23:00", BERLIN))
    assert end is not None
    assert end.isoformat() == closes


def test_time_to_start_counts_what_goes_by_not_what_the_clock_shows():
    window = RebootWindow.parse("04:00", "1h")
    assert window.time_to_start(at("2026-03-29 01:00", BERLIN)) == timedelta(hours=2)
    assert window.time_to_start(at("2026-10-25 01:00", BERLIN)) == timedelta(hours=4)


def test_a_skipped_midnight_opens_on_its_own_day():
    zone = ZoneInfo("America/Sao_Paulo")  # 2018-11-04 began at 01:00
    opening = RebootWindow.parse("Sun 00:00", "1h").next_open(at("2018-11-03 12:00", zone))
    assert opening.isoformat() == "2018-11-04T01:00:00-02:00"


def test_a_day_that_a_zone_left_out_has_no_window():
    apia = ZoneInfo("Pacific/Apia")  # went from Thursday 29 to Saturday 31 December 2011
    window = RebootWindow.parse("Fri 02:30", "1h")
    assert not window.contains(at("2011-12-31 00:30", apia))
    assert window.next_open(at("2011-12-24 00:00", apia)) == at("2012-01-06 02:30", apia)


def test_a_time_without_a_zone_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="has no time zone"):
        RebootWindow.parse("02:00", "1h").contains(datetime(2026, 1, 1))  # noqa: DTZ001


def test_is_written_as_it_is_configured():
    assert str(RebootWindow.parse("sat 9:05", "90m")) == "Sat 09:05 for 1h30m"
    assert str(RebootWindow.parse("23:05", "11h")) == "23:05 for 11h"


ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Scoresbysund", "Australia/Lord_Howe",
        "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia", "Antarctica/Troll",
    )
]  # fmt: skip
STARTS = st.builds(
    WindowStart,
    st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
    st.none() | st.integers(0, 6),
)


@st.composite
def windows(draw):
    start = draw(STARTS)
    longest = timedelta(hours=24 if start.day is None else 168) - INSTANT
    return RebootWindow(start, draw(st.timedeltas(timedelta(0), longest)))


# Around the changes of the clock, where windows go wrong, far oftener than chance would.
CHANGES = [
    "2011-12-30",
    "2018-11-04",
    "2024-03-31",
    "2026-03-08",
    "2026-03-29",
    "2026-10-04",
    "2026-10-25",
    "2026-11-01",
]
DAYS = st.sampled_from(CHANGES).map(utc)
MOMENTS = st.builds(lambda day, shift: day + shift, DAYS, st.timedeltas(timedelta(days=-9), timedelta(days=9))) | (
    st.datetimes(datetime(1972, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
)
NOWS = st.builds(datetime.astimezone, MOMENTS, st.sampled_from(ZONES))


@given(windows(), NOWS)
def test_open_next_and_closes_agree(window, now):
    opening, to_start, closes = window.next_open(now), window.time_to_start(now), window.closes(now)
    moment = now.astimezone(UTC)
    assert moment + to_start == opening.astimezone(UTC)
    assert window.contains(now) == (to_start <= timedelta(0)) == (closes is not None)
    if closes is not None:
        assert moment <= closes.astimezone(UTC) == opening.astimezone(UTC) + window.length


@given(windows(), NOWS, st.floats(0, 1, exclude_max=True))
def test_from_a_closed_moment_to_the_next_opening_it_stays_closed(window, now, part):
    to_start = window.time_to_start(now)
    if to_start > timedelta(0):
        between = (now.astimezone(UTC) + to_start * part).astimezone(now.tzinfo)
        assert between.astimezone(UTC) >= window.next_open(now).astimezone(UTC) or not window.contains(between)
        assert window.contains(window.next_open(now))


@given(windows(), NOWS)
def test_opens_when_the_clock_first_shows_the_start(window, now):
    opening = window.next_open(now)
    before = (opening.astimezone(UTC) - timedelta(seconds=1)).astimezone(now.tzinfo)
    start = opening.replace(hour=window.start.at.hour, minute=window.start.at.minute, fold=0)
    shown, shown_before = opening.replace(tzinfo=None), before.replace(tzinfo=None)
    if shown != start.replace(tzinfo=None):  # the start was skipped: the clock jumped over it to the opening
        assert shown - shown_before > timedelta(seconds=1)
        assert any(shown_before < day.replace(tzinfo=None) < shown for day in (start, start - timedelta(days=1)))
    else:
        assert opening.fold == 0 or opening.utcoffset() == start.utcoffset()
        assert window.start.falls_on(opening.date())


@given(st.text(alphabet="0123456789:satSAT \n") | st.text(), st.text(alphabet="0123456789.-+hms") | st.text())
def test_any_text_is_read_or_refused(start, length):
    try:
        assert isinstance(RebootWindow.parse(start, length), RebootWindow)
    except UsageError as error:
        assert str(error).startswith("the window's")  # noqa: PT017 (most texts are refused, some are not)
