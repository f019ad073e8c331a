from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import UsageError
from locksmith.window.blackout import Blackout
from locksmith.window.duration import format_duration, parse_duration
from locksmith.window.window import Window
from locksmith.window.windows import Opening, Windows
from tests.harness.windows import original

PACIFIC = timezone(timedelta(hours=-7), "PDT")
BERLIN = ZoneInfo("Europe/Berlin")
INSTANT = timedelta(microseconds=1)


def at(text, zone=PACIFIC):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def time_to_start(windows, now):
    opening = windows.opening(now)
    opens = opening.opens if opening else windows.next_open(now)
    return opens.astimezone(UTC) - now.astimezone(UTC)


def closes(windows, now):
    opening = windows.opening(now)
    return opening and opening.closes


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
    window = original(start, length)
    assert format_duration(time_to_start(window, at(now))) == to_start
    assert window.contains(at(now)) == (parse_duration(to_start) <= timedelta(0))


def test_both_ends_are_inside_and_nothing_beyond():
    window = original("02:00", "1h")
    first, last = at("2015-05-21 02:00"), at("2015-05-21 03:00")
    assert [window.contains(now) for now in (first - INSTANT, first, last, last + INSTANT)] == [
        False,
        True,
        True,
        False,
    ]
    assert closes(window, first) == last
    assert closes(window, last + INSTANT) is None
    assert window.opening(last) == Opening(first, last)
    assert window.next_open(last) == last
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
        ("saturday 14:00", "1h"),
        ("14:00 CET", "1h"),
    ],
)
def test_reads_what_the_original_reads(start, length):
    assert original(start, length)


@pytest.mark.parametrize(
    ("start", "length", "sentence"),
    [
        (
            "",
            "1h",
            "the window's start '' is not a start: write a time like 23:05, days and a time like Mon..Fri 23:05",
        ),
        ("14", "1h", "the window's start '14' is not a start: write a time"),
        ("14:00x", "1h", "the window's start '14:00x' is not a start: '14:00x' is no time"),
        ("14:00:60", "1h", "the window's start '14:00:60' is not a start: '14:00:60' is no time"),
        ("-1:00", "1h", "the window's start '-1:00' is not a start: '-1:00' is no time"),
        ("14:00 Mars", "1h", "the window's start 'Mars' is no time zone here: write one of IANA's names"),
        ("14:00 Europe/../Berlin", "1h", "is not a start"),
        ("sat 14:00 1234", "1h", "the window's start 'sat 14:00 1234' is not a start: write a time"),
        ("foo 14:00", "1h", "the window's start 'foo 14:00' is not a start: 'foo' is none of Mon, Tue"),
        ("Fri..Mon 14:00", "1h", "a week ends with Sun, so write 'Fri..Mon' as two, like Fri..Sun,Mon"),
        ("Mon..Foo 14:00", "1h", "'Mon..Foo' is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ("2nd 14:00", "1h", "after it comes a weekday, as in 2nd Tue 22:00"),
        ("2nd,6th Tue 14:00", "1h", "'2nd,6th' is none of 1st, 2nd, 3rd, 4th, 5th, last"),
        ("*-13-* 14:00", "1h", "'*-13-*' is no date: write it like 2026-12-24"),
        ("*:*:* ", "1h", "that is oftener than once a minute"),
        ("1" * 999, "1h", "is too long for a start"),
        ("25:00", "1h", "'25:00' is no time: the hour is 0 to 23 and the minute 0 to 59"),
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
        original(start, length)
    assert sentence in str(refused.value)


def test_the_longest_windows_are_just_shorter_than_their_period():
    assert original("14:00", "23h59m59s")
    assert original("sat 14:00", "167h59m59s")


def test_a_start_in_the_skipped_hour_opens_right_after_it():
    window = original("02:30", "1h")
    opening = utc("2026-03-29 01:00")  # 02:00 in winter is 03:00 in summer
    before = at("2026-03-29 01:59", BERLIN)
    assert window.next_open(before) == opening
    assert str(window.next_open(before)) == "2026-03-29 03:00:00+02:00"
    assert not window.contains((opening - INSTANT).astimezone(BERLIN))
    assert window.contains(opening.astimezone(BERLIN))
    assert closes(window, opening.astimezone(BERLIN)) == opening + timedelta(hours=1)


def test_a_start_in_the_doubled_hour_opens_once():
    window = original("Sun 02:30", "10m")
    first, second = (at("2026-10-25 02:30", BERLIN).replace(fold=fold) for fold in (0, 1))
    assert window.contains(first)
    assert not window.contains(second)
    assert window.next_open(second) == at("2026-11-01 02:30", BERLIN)


@pytest.mark.parametrize(
    ("day", "closes"),
    [("2026-03-28", "2026-03-29 05:00:00+02:00"), ("2026-10-24", "2026-10-25 03:00:00+01:00")],
)
def test_a_window_over_the_change_is_as_long_as_ever(day, closes):
    opening = original("23:00", "5h").opening(at(f"{day} 23:00", BERLIN))
    assert opening is not None
    assert str(opening.closes) == closes


def test_time_to_start_counts_what_goes_by_not_what_the_clock_shows():
    window = original("04:00", "1h")
    assert time_to_start(window, at("2026-03-29 01:00", BERLIN)) == timedelta(hours=2)
    assert time_to_start(window, at("2026-10-25 01:00", BERLIN)) == timedelta(hours=4)


def test_a_skipped_midnight_opens_on_its_own_day():
    zone = ZoneInfo("America/Sao_Paulo")  # 2018-11-04 began at 01:00
    opening = original("Sun 00:00", "1h").next_open(at("2018-11-03 12:00", zone))
    assert str(opening) == "2018-11-04 01:00:00-02:00"


def test_a_day_that_a_zone_left_out_has_no_window():
    apia = ZoneInfo("Pacific/Apia")  # went from Thursday 29 to Saturday 31 December 2011
    window = original("Fri 02:30", "1h")
    assert not window.contains(at("2011-12-31 00:30", apia))
    assert window.next_open(at("2011-12-24 00:00", apia)) == at("2012-01-06 02:30", apia)


def test_a_time_without_a_zone_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="has no time zone"):
        original("02:00", "1h").contains(datetime(2026, 1, 1))  # noqa: DTZ001


def test_is_written_as_it_is_configured():
    assert str(Window.original("Sat  9:05", "90m")) == "Sat 9:05 for 1h30m"
    text = "Mon..Fri *-*-* 23:05 Europe/Berlin for 11h"
    assert str(Window.parse(text)) == text
    windows = Windows((Window.parse(text), Window.parse("2nd Sat 10:00 for 2h")), (Blackout.parse("2026-12-24"),))
    assert str(windows) == f"{text}, 2nd Sat 10:00 for 2h, but not 2026-12-24"
    assert str(Windows((), (Blackout.parse("Fri"),))) == "at any time, but not Fri"


@given(st.text(alphabet="0123456789:satSAT \n") | st.text(), st.text(alphabet="0123456789.-+hms") | st.text())
def test_any_text_is_read_or_refused(start, length):
    try:
        assert isinstance(Window.original(start, length), Window)
    except UsageError as error:
        assert str(error).startswith("the window's")  # noqa: PT017 (most texts are refused, some are not)


@given(st.text(alphabet="0123456789:.,~*-/ MonTueFri2ndlastUTCfor h") | st.text())
def test_any_window_and_blackout_is_read_or_refused_in_one_line(text):
    for kind in (Window, Blackout):
        try:
            assert str(kind.parse(text)) == " ".join(text.split())
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 (as above)
