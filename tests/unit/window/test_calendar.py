"""Calendar expressions: systemd's, checked against `systemd-analyze calendar`, and the nth weekdays that are ours."""

import random
import re
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from locksmith.window.calendar import Calendar

BASE = datetime(2026, 11, 25, 21, tzinfo=UTC)

DOCUMENTED = """
    Sat,Thu,Mon..Wed,Sat..Sun       | Mon,Sun 12-*-* 2,1:23      | Wed *-1               | Wed..Wed,Wed *-1
    Wed, 17:48                      | Wed..Sat,Tue 12-10-15 1:2:3 | *-*-7 0:0:0          | 10-15
    monday *-12-* 17:00             | Mon,Fri *-*-3,1,2 *:30:45  | 12,14,13,12:20,10,30  | 12..14:10,20,30
    mon,fri *-1/2-1,3 *:30:45       | 03-05 08:05:40             | 08:05:40              | 05:40
    Sat,Sun 12-05 08:05:40          | Sat,Sun 08:05:40           | 2003-03-05 05:40      | 05:40:23.4200004/3.1700005
    2003-02..04-05                  | 2003-03-05 05:40 UTC       | 2003-03-05            | 03-05
    hourly | daily | daily UTC | monthly | weekly | weekly Pacific/Auckland | yearly | annually | *:2/3 | quarterly
    Mon-Fri | Mon-Fri 02:00 | mon-WED,Sat 02:00 | Monday-Friday, 02:00 | Mon-Mon *-12-* 02:00 | Mon-Fri 02:00 UTC
    anually | biannually | bi-annually | Semi-Annually | MINUTELY | @1900000000 | Tue @1900000000 | @1900000000 UTC
    Mon..Fri *-*-* 02:00 | *-*~1 22:00 | Mon *-05~07/1 | *-02~03 | *-*-1,15 22:00 | semiannually | minutely
"""
REFUSED = [
    "14",
    "25:00",
    "14:60",
    "24:00",
    "Fri..Mon 14:00",
    "Fri-Mon 14:00",
    "Mon- 14:00",
    "Mon - Fri 14:00",
    "Mon-Wed-Fri 14:00",
    "Mon.Fri 14:00",
    "Mon minutely",
    "half-yearly",
    "@1900000000.5",
    "@99999999999",
    "@",
    "14:00 foo",
    "*-13-01",
    "*-*-32",
    "*/2:00",
    "5..3:00",
    "1:0/0",
]
"""What systemd refuses too."""


def starts(calendar, base=BASE):
    found = calendar.instants(base.date() - timedelta(days=1), UTC)
    return [moment for moment in islice(found, 5000) if moment > base]


def asked(expression):
    """Ask systemd: None where it refuses, else the next six times."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    said = subprocess.run(
        [program, "calendar", "--iterations=6", f"--base-time={BASE:%F %T} UTC", expression],
        env={"TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if said.returncode:
        return None
    return re.findall(r"(?:Next elapse|Iter\. #\d+|\(in UTC\)): \w+ (\S+ \S+) UTC", said.stdout)


def agree(expression):
    theirs = asked(expression)
    if theirs is None:
        with pytest.raises(ValueError, match="is not a start"):
            Calendar.parse(expression)
        return
    try:
        calendar = Calendar.parse(expression)
    except ValueError as error:
        if "oftener than once a minute" in str(error):
            return  # systemd runs a thing every second, a window opens every minute at most
        raise
    ours = [f"{moment:%F %T}" for moment in starts(calendar)[: len(theirs)]]
    # systemd tells times in another zone than the asking one in both.
    assert ours == (theirs[: len(ours)] if ours else theirs), expression


@pytest.mark.slow
@pytest.mark.parametrize("expression", [part.strip() for part in re.split(r"[|\n]", DOCUMENTED) if part.strip()])
def test_what_systemds_manual_shows_means_the_same_here(expression):
    agree(expression)


@pytest.mark.parametrize("expression", REFUSED)
def test_what_systemd_refuses_is_refused_here(expression):
    assert asked(expression) is None
    with pytest.raises(ValueError, match=r"is not a start|is no time zone"):
        Calendar.parse(expression)


class Words:
    """Draws expressions in the documented part of systemd's syntax, right ones and slightly wrong ones."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def number(self, low, high):
        return f"{self.rng.randint(low, high if self.rng.random() < 0.95 else high + 3):0{self.rng.choice([1, 2])}}"

    def part(self, low, high):
        text = self.number(low, high)
        if self.rng.random() < 0.3:
            text += f"..{self.number(low, high)}"
        return f"{text}/{self.number(0, max(1, (high - low) // 2))}" if self.rng.random() < 0.25 else text

    def field(self, low, high, most=3):
        if self.rng.random() < 0.3:
            return "*"
        return ",".join(self.part(low, high) for _ in range(self.rng.randint(1, most)))

    def weekdays(self):
        days = ["Mon", "tue", "Wed", "thursday", "Fri", "Saturday", "Sun"]
        parts = [self.rng.choice(days) for _ in range(self.rng.randint(1, 2))]
        return ",".join(f"{day}..{self.rng.choice(days)}" if self.rng.random() < 0.4 else day for day in parts)

    def date(self):
        # With several days counted from the end systemd 252 counts a month's end anew for each: it refuses some.
        end = self.rng.random() < 0.2
        day = f"{self.field(1, 12)}~{self.field(1, 28, most=1)}" if end else f"{self.field(1, 12)}-{self.field(1, 31)}"
        year = self.rng.choice(["*", "2027", "26..30", "2024/2", "98", "2026..2028", self.field(2020, 2040)])
        return day if self.rng.random() < 0.5 else f"{year}-{day}"

    def clock(self):
        seconds = self.rng.choice(["", "", "", ":0", ":15/30", ":1.5", ":1.2345678", f":{self.field(0, 59)}"])
        return f"{self.field(0, 23)}:{self.field(0, 59)}{seconds}"

    def expression(self):
        chosen = [make() for make in (self.weekdays, self.date, self.clock) if self.rng.random() < 0.55]
        return " ".join(chosen or [self.clock()])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_drawn_expressions_are_accepted_as_by_systemd_and_mean_the_same(seed):
    words = Words(seed)
    for _ in range(25):
        agree(words.expression())


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("2nd Tue 22:00", ["2026-12-08", "2027-01-12", "2027-02-09"]),
        ("1st,3rd Sat 22:00", ["2026-12-05", "2026-12-19", "2027-01-02"]),
        ("last Fri 22:00", ["2026-11-27", "2026-12-25", "2027-01-29"]),
        ("LAST Sat,Sun 22:00", ["2026-11-28", "2026-11-29", "2026-12-26"]),
        ("5th Mon *-*-* 22:00", ["2026-11-30", "2027-03-29", "2027-05-31"]),
        ("2nd Tue *-1,4,7,10-* 22:00", ["2027-01-12", "2027-04-13", "2027-07-13"]),
    ],
)
def test_nth_weekdays_of_a_month(expression, days):
    found = starts(Calendar.parse(expression))[:3]
    assert [f"{moment:%F}" for moment in found] == days
    assert {f"{moment:%T}" for moment in found} == {"22:00:00"}


def test_a_zone_of_its_own_comes_before_the_machines():
    tokyo = Calendar.parse("02:00 Asia/Tokyo")
    assert next(tokyo.instants(date(2026, 7, 1), ZoneInfo("America/New_York"))) == datetime(2026, 6, 30, 17, tzinfo=UTC)


def test_several_starts_in_a_skipped_hour_open_at_one_instant():
    spring = Calendar.parse("02:00,30 Europe/Berlin").instants(date(2026, 3, 29), UTC)
    assert [next(spring), next(spring)] == [datetime(2026, 3, 29, 1, tzinfo=UTC)] * 2


def test_a_day_that_never_comes_ends_with_the_calendar():
    assert list(Calendar.parse("*-02-30 10:00").instants(date(2026, 1, 1), UTC)) == []


def test_the_last_two_working_days_of_a_month_are_two_expressions():
    parts = [Calendar.parse(text) for text in ("Mon..Fri *-*~1,2", "Thu,Fri *-*~3,4")]
    for month in range(12 * 30):
        year, number = 2020 + month // 12, month % 12 + 1
        end = (date(year, number, 28) + timedelta(days=4)).replace(day=1)
        days = [end - timedelta(days=back) for back in range(1, 29)]
        working = [day for day in days if day.weekday() < 5][:2]
        assert [day for day in days if any(part.falls_on(day) for part in parts)] == working


def test_every_second_week_counts_from_its_date_across_years_of_53_weeks():
    calendar = Calendar.parse("Sat 22:00 every 2 weeks from 2026-12-05 UTC")
    days = [moment.date() for moment in islice(calendar.instants(date(2020, 1, 1), UTC), 60)]
    assert days == [date(2026, 12, 5) + timedelta(weeks=2 * number) for number in range(60)]


def test_every_third_week_has_all_its_weekdays_from_the_date_on():
    calendar = Calendar.parse("Tue-Thu 02:00 every 3 weeks from 2026-12-02")
    days = [moment.day for moment in islice(calendar.instants(date(2026, 11, 1), UTC), 5)]
    assert days == [2, 3, 22, 23, 24]  # the Tuesday before the date is none


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Sat 22:00 every 2 weeks", "write it like Sat 22:00 every 2 weeks from 2026-12-05"),
        ("Sat 22:00 every 1 weeks from 2026-12-05", "every 2 to 52 weeks"),
        ("Sat 22:00 every 53 weeks from 2026-12-05", "every 2 to 52 weeks"),
        ("Sat 22:00 every 2 weeks from 2026-02-30", "is no date"),
        ("Sat 22:00 every 2 weeks from 20261205", "is no date"),
        ("Sat 22:00 every 2 weeks from 2026-12-06", "is a Sunday"),
        ("22:00 every 2 weeks from 2026-12-05", "needs weekdays"),
        ("2nd Sat 22:00 every 2 weeks from 2026-12-12", "excludes 2nd Sat"),
        ("Sat 22:00 every 2 weeks from 2026-12-05 every 2 weeks from 2026-12-05", "is not a start"),
    ],
)
def test_weeks_that_could_be_misread_are_refused(text, why):
    with pytest.raises(ValueError, match=why):
        Calendar.parse(text)
