"""Several windows and blackouts: what is open, until when, and what comes next."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.errors import UsageError
from locksmith.window import openings
from locksmith.window import windows as windows_module
from locksmith.window.blackout import Blackout
from locksmith.window.calendar import Calendar
from locksmith.window.clock_changes import instant
from locksmith.window.month import month
from locksmith.window.openings import pieces
from tests.harness.windows import plan

BERLIN = ZoneInfo("Europe/Berlin")
INSTANT = timedelta(microseconds=1)


def at(text, zone=BERLIN):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def opening(windows, now):
    found = windows.opening(now)
    assert found is not None
    return found


def shown(windows, since, count=4, zone=BERLIN):
    found = islice(windows.upcoming(at(since, zone)), count)
    return [f"{one.opens or 0:%a %d %H:%M}-{one.closes:%a %d %H:%M}" if one.closes else "open" for one in found]


def test_any_of_several_windows_is_enough():
    nights = plan("Mon..Thu 22:00 for 2h", "2nd Sat 10:00 for 8h")
    assert shown(nights, "2026-12-09 12:00", 3) == [
        "Wed 09 22:00-Thu 10 00:00",
        "Thu 10 22:00-Fri 11 00:00",
        "Sat 12 10:00-Sat 12 18:00",
    ]


def test_an_overnight_window_belongs_to_the_day_it_starts_on():
    friday = plan("Fri 23:00 for 4h")
    assert friday.contains(at("2026-11-28 02:59"))  # Saturday
    assert not friday.contains(at("2026-11-27 02:00"))


def test_windows_that_meet_are_one_opening():
    weekdays = plan("Mon..Fri 00:00 for 24h")
    assert shown(weekdays, "2026-11-28 12:00", 2) == ["Mon 30 00:00-Sat 05 00:00", "Mon 07 00:00-Sat 12 00:00"]
    assert opening(weekdays, at("2026-12-01 12:00")).left(at("2026-12-01 12:00")) == timedelta(days=3, hours=12)


def test_what_is_always_open_has_no_end_that_can_be_seen():
    always = plan("00:00 for 24h")
    assert opening(always, at("2026-11-28 12:00")).closes is None
    assert shown(always, "2026-11-28 12:00") == ["open"]
    assert always.next_open(at("2026-11-28 12:00"), timedelta(days=300)) == at("2026-11-28 12:00")


def test_a_blackout_wins_over_a_window_and_cuts_it():
    cut = plan("22:00 for 4h", but=["2026-11-27", "Sat 23:00 for 1h"])
    assert shown(cut, "2026-11-26 12:00") == [
        "Thu 26 22:00-Fri 27 00:00",
        "Sat 28 00:00-Sat 28 02:00",
        "Sat 28 22:00-Sat 28 23:00",
        "Sun 29 00:00-Sun 29 02:00",
    ]
    assert not cut.contains(at("2026-11-27 00:00"))
    assert cut.contains(at("2026-11-28 00:00"))
    assert not cut.contains(at("2026-11-28 00:00") - INSTANT)


def test_blackouts_alone_leave_the_rest_open():
    rest = plan(but=["*-12-20..*-01-06"])
    assert rest.contains(at("2026-12-19 23:59"))
    assert not rest.contains(at("2027-01-06 23:59"))
    assert rest.next_open(at("2026-12-24 00:00")) == at("2027-01-07 00:00")
    assert opening(rest, at("2026-12-19 00:00")).closes == at("2026-12-20 00:00")


@pytest.mark.parametrize(
    ("blackout", "closed", "open_"),
    [
        ("2026-12-24", ["2026-12-24 00:00", "2026-12-24 23:59"], ["2026-12-23 23:59", "2026-12-25 00:00"]),
        ("*-12-24..26", ["2027-12-24 00:00", "2026-12-26 23:59"], ["2026-12-27 00:00"]),
        ("2026-12-20..2027-01-06", ["2026-12-20 00:00", "2027-01-06 12:00"], ["2027-01-07 00:00", "2027-12-24 00:00"]),
        ("*-12-20 .. *-01-06", ["2026-12-20 00:00", "2028-01-06 12:00"], ["2027-01-07 00:00", "2027-12-19 00:00"]),
        (
            "2026-12-24 18:00..2026-12-27 6:00",
            ["2026-12-24 18:00", "2026-12-27 05:59"],
            ["2026-12-24 17:59", "2026-12-27 06:00"],
        ),
        ("*-02-28..*-02-29", ["2027-02-28 23:59", "2028-02-29 23:59"], ["2027-03-01 00:00"]),
        ("last Fri", ["2026-11-27 12:00", "2026-12-25 12:00"], ["2026-11-20 12:00"]),
        ("Fri 12:00 for 60h", ["2026-11-27 12:00", "2026-11-29 23:59"], ["2026-11-30 00:00"]),
        ("2026-12-24 UTC", ["2026-12-24 01:00", "2026-12-25 00:59"], ["2026-12-24 00:59", "2026-12-25 01:00"]),
        ("2026-12-24..2026-12-24 UTC", ["2026-12-24 01:00"], ["2026-12-24 00:59"]),
    ],
)
def test_blackouts(blackout, closed, open_):
    rest = plan(but=[blackout])
    assert [rest.contains(at(moment)) for moment in closed] == [False] * len(closed)
    assert [rest.contains(at(moment)) for moment in open_] == [True] * len(open_)


@pytest.mark.parametrize(
    ("blackout", "sentence"),
    [
        ("christmas", "'christmas' is not a blackout: write days like 2026-12-24"),
        ("Fri 12:00", "the blackout 'Fri 12:00' has a time and no length: write it like Fri 12:00 for 12h"),
        ("2026-12-24..*-01-01", "both its ends have a year, or both have *"),
        ("2026-12-24..2026-12-20", "it ends before it begins"),
        ("2026-02-30..2026-03-20", "the blackout '2026-02-30..2026-03-20' cannot be: day is out of range"),
        ("2026-12-20..2026-12-21 Mars", "'Mars' is no time zone here"),
        ("Fri 12:00 for ever", "the window's length 'ever' is not a duration"),
        ("Fri 12:00 for 0s", "the blackout 'Fri 12:00 for 0s' cannot be: it lasts no time"),
        ("Fri 12:00 for 300h", "is too long: at most 168h"),
    ],
)
def test_what_is_no_blackout_is_refused_with_a_sentence(blackout, sentence):
    with pytest.raises(UsageError) as refused:
        Blackout.parse(blackout)
    assert sentence in str(refused.value)


@pytest.mark.slow
def test_a_blackout_that_ends_with_the_window_leaves_no_instant_of_it():
    night = plan("00:05 for 3m", "23:00 for 1h", but=["00:04 for 4m"])
    assert not night.contains(at("2026-11-27 00:08"))
    assert night.next_open(at("2026-11-27 00:00")) == at("2026-11-27 00:00")
    assert shown(night, "2026-11-27 00:01", 2) == ["Fri 27 23:00-Sat 28 00:00", "Sat 28 23:00-Sun 29 00:00"]
    assert plan("00:05 for 3m", but=["00:04 for 4m"]).next_open(at("2026-11-27 00:00")) is None
    assert plan("00:05 for 0s").contains(at("2026-11-27 00:05"))


@pytest.mark.slow
def test_what_never_opens_says_so():
    assert plan("*-02-30 10:00 for 2h").next_open(at("2026-11-27 12:00")) is None
    assert plan("02:00 for 1h", but=["Mon..Sun"]).next_open(at("2026-11-27 12:00")) is None
    assert plan("2020-01-01 10:00 for 2h").next_open(at("2026-11-27 12:00")) is None


@pytest.mark.slow
def test_an_opening_with_too_little_left_is_passed_over():
    nights = plan("22:00 for 2h", "Sun 09:00 for 10h")
    assert nights.next_open(at("2026-11-28 23:00"), timedelta(hours=1)) == at("2026-11-28 23:00")
    assert nights.next_open(at("2026-11-28 23:01"), timedelta(hours=1)) == at("2026-11-29 09:00")
    assert nights.next_open(at("2026-11-29 12:00"), timedelta(hours=8)) == at("2026-12-06 09:00")
    assert plan("22:00 for 2h").next_open(at("2026-11-29 12:00"), timedelta(hours=8)) is None
    assert nights.contains(at("2026-11-28 23:00"), timedelta(hours=1))
    assert not nights.contains(at("2026-11-28 23:01"), timedelta(hours=1))


@pytest.mark.slow
def test_a_window_long_enough_once_a_year_is_found_after_ten_thousand_that_are_not():
    windows = plan("*:0/30 for 5m", "*-12-31 02:00 for 3h")
    assert windows.next_open(at("2026-01-01 12:00"), timedelta(hours=3)) == at("2026-12-31 02:00")


@pytest.mark.slow
@pytest.mark.parametrize(
    "windows", [plan("22:00 for 2h"), plan("*:0/30 for 5m"), plan("22:00 for 8h", but=["23:00 for 6h"])], ids=str
)
def test_that_none_is_to_come_is_found_out_once_a_day(windows, monkeypatch):
    passes = []

    def pieces(*about):
        passes.append(about)
        return openings.pieces(*about)

    monkeypatch.setattr("locksmith.window.windows.pieces", pieces)
    moments = [at("2026-11-28 12:00") + timedelta(seconds=30 * number) for number in range(20)]
    assert [windows.next_open(moment, timedelta(hours=8)) for moment in moments] == [None] * 20
    assert len(passes) == 1


def test_each_window_is_in_its_own_zone():
    two = plan("02:00 Asia/Tokyo for 1h", "02:00 for 1h")
    assert shown(two, "2026-11-28 12:00", 2) == ["Sat 28 18:00-Sat 28 19:00", "Sun 29 02:00-Sun 29 03:00"]


def test_a_day_off_is_as_long_as_the_clock_makes_it():
    assert shown(plan("00:00 for 24h", but=["2026-03-29"]), "2026-03-28 12:00", 2) == [
        "Sat 28 00:00-Sun 29 00:00",
        "open",
    ]
    start, end = (opening(plan(but=["2026-03-29"]), at("2026-03-28 12:00")).closes, at("2026-03-30 00:00"))
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=23)


DAYS = ["", "Mon..Fri ", "Sat,Sun ", "2nd Tue ", "last Sun ", "*-*-1,15 ", "*-*~1 "]
WINDOWS = st.builds(
    lambda days, hour, minute, hours: f"{days}{hour:02}:{minute:02} for {hours}h",
    st.sampled_from(DAYS), st.integers(0, 23), st.sampled_from([0, 30, 59]), st.sampled_from([0, 1, 5, 24, 49]),
)  # fmt: skip
BLACKOUTS = st.sampled_from(
    ["Fri", "*-*-1..3", "2026-10-20..2026-10-26", "*-03-28..*-03-30", "Sun 01:30 for 2h", "22:00 for 5h"]
)
PLANS = st.builds(
    lambda windows, but: plan(*windows, but=but), st.lists(WINDOWS, max_size=3), st.lists(BLACKOUTS, max_size=2)
)
NOWS = st.builds(
    lambda start, minutes: (start + timedelta(minutes=minutes)).astimezone(BERLIN),
    st.sampled_from(
        [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)]
    ),
    st.integers(-1440, 4320),
)


@pytest.mark.slow
@settings(max_examples=200)
@given(PLANS, NOWS)
def test_openings_come_in_order_and_never_overlap(windows, now):
    last = None
    for one in islice(windows.upcoming(now), 5):
        if last is not None:
            assert last.closes.astimezone(UTC) <= one.opens.astimezone(UTC)
        assert one.closes is None or one.opens is None or one.opens.astimezone(UTC) <= one.closes.astimezone(UTC)
        last = one


@pytest.mark.slow
@settings(max_examples=200)
@given(PLANS, NOWS, st.floats(0, 1, exclude_max=True), st.sampled_from([timedelta(0), timedelta(hours=3)]))
def test_next_is_the_earliest_and_agrees_with_contains(windows, now, part, least):
    opens = windows.next_open(now, least)
    assert windows.contains(now, least) == (opens is not None and opens.astimezone(UTC) == now.astimezone(UTC))
    assert windows.contains(now) == bool(windows.stretches(now))
    if opens is not None:
        assert windows.contains(opens, least)
        between = now.astimezone(UTC) + (opens.astimezone(UTC) - now.astimezone(UTC)) * part
        assert between >= opens.astimezone(UTC) or not windows.contains(between.astimezone(BERLIN), least)


@pytest.mark.slow
@settings(max_examples=200)
@given(PLANS, NOWS, st.floats(0, 1, exclude_max=True))
def test_it_is_open_until_it_closes_and_not_right_behind(windows, now, part):
    opening = windows.opening(now)
    if opening is None or opening.closes is None:
        return
    closes = opening.closes.astimezone(UTC)
    between = now.astimezone(UTC) + (closes - now.astimezone(UTC)) * part
    assert windows.contains(between.astimezone(BERLIN)) or between == closes
    assert not windows.contains((closes + INSTANT).astimezone(BERLIN))


@pytest.mark.parametrize(("spec", "least"), [("minutely for 10s", 0), ("*:* for 59s", 30), ("minutely for 10s", 30)])
def test_openings_of_every_minute_are_found_without_going_through_the_day(spec, least, monkeypatch):
    passes = []

    def counted(*of):
        passes.append(of)
        return pieces(*of)

    monkeypatch.setattr(windows_module, "pieces", counted)
    now, seconds = datetime(2026, 11, 29, 23, 59, 30, tzinfo=BERLIN), timedelta(seconds=least)
    opens = plan(spec).next_open(now, seconds)
    assert opens == (None if (spec, least) == ("minutely for 10s", 30) else now + timedelta(seconds=30))
    assert len(passes) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "America/Asuncion"])
def test_a_day_of_many_times_has_the_instants_of_each_of_its_times(name):
    zone, first, days = ZoneInfo(name), date(2024, 1, 1), 366
    dense = Calendar.parse("*:0/20")
    each = (instant(first + timedelta(days=number), at, zone) for number in range(days) for at in dense.times)
    assert list(islice(dense.instants(first, zone), days * len(dense.times))) == list(each)


def midnight(day, zone):
    begins = instant(day, time(0), zone)
    assert begins is not None
    return begins


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Asuncion"])
def test_a_month_marks_the_days_that_a_question_for_each_day_marks(zone):
    nights = plan("Fri 22:00 for 4h", "Sun 00:00 for 24h", "Wed *:0/30 for 1m", but=["*-*-10..12", "Fri 23:00 for 1h"])
    for number in range(1, 13):
        days = [day for week in month(nights, date(2026, number, 1), ZoneInfo(zone)) for day in week if day]
        for day in days:
            begin, end = midnight(day.date, ZoneInfo(zone)), midnight(day.date + timedelta(days=1), ZoneInfo(zone))
            assert day.is_open == any(one.start < end for one in nights.opens(begin, end, ZoneInfo(zone)))
            assert day.is_black == any(nights.blacks(begin, end, ZoneInfo(zone)))
