"""iCalendar files of the configuration: they count, they are shown, and what cannot be read is refused."""

import os
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from locksmith.config.load import load_daemon
from locksmith.config.show import describe
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.window.window_set import union

BERLIN = ZoneInfo("Europe/Berlin")
HOLIDAY = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261224\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR\n"


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "etc/locksmith"
    folder.mkdir(parents=True)
    return folder / "holidays.ics"


@pytest.fixture
def load(tmp_path):
    def load(text):
        Paths(tmp_path).config.write_text(f"[window]\nzone = 'Europe/Berlin'\n{text}")
        return load_daemon(Paths(tmp_path), {}, {})

    return load


def test_the_events_of_a_calendar_are_blackouts(file, load):
    file.write_text(HOLIDAY)
    config = load(f"open = ['02:00 for 1h']\nblackout-calendars = ['{file}']")
    windows = union(config.window.of_file)
    assert windows is not None
    assert not windows.contains(datetime(2030, 12, 24, 2, 30, tzinfo=BERLIN))
    assert windows.contains(datetime(2030, 12, 25, 2, 30, tzinfo=BERLIN))
    shown = {key: (value, origin) for key, value, origin in describe(config)}
    assert shown["window.blackout-calendars"] == (f'["{file}"]', str(file.with_name("locksmith.toml")))


def test_the_events_of_a_calendar_are_windows_in_the_windows_zone(file, load):
    file.write_text(HOLIDAY)
    windows = union(load(f"open-calendars = ['{file}']").window.of_file)
    assert windows is not None
    assert windows.next_open(datetime(2026, 12, 1, tzinfo=BERLIN)) == datetime(2026, 12, 24, tzinfo=BERLIN)
    assert not windows.contains(datetime(2026, 12, 25, 0, 1, tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "cannot be used: it has no event"),
        (HOLIDAY[:60], "is missing|is no line"),
        (HOLIDAY.replace("YEARLY", "WEEKLY"), "only FREQ=YEARLY is supported"),
        ("\xff" + HOLIDAY, "cannot be used: it is not UTF-8"),
        (HOLIDAY + " " * 2**20, "more than the 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("key", ["open-calendars", "blackout-calendars"])
def test_a_calendar_that_cannot_be_used_is_refused_with_its_key(file, load, key, content, why):
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=rf"locksmith.toml: window.{key} names {file}, which .*({why})"):
        load(f"{key} = ['{file}']")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to trust its files")
def test_a_calendar_that_other_users_can_change_is_refused(file, load):
    file.write_text(HOLIDAY)
    file.chmod(0o666)
    with pytest.raises(UsageError, match="is not used, because other users can change it"):
        load(f"blackout-calendars = ['{file}']")


def test_paths_are_from_the_root_on_and_coreos_locksmiths_window_excludes_openings(file, load):
    file.write_text(HOLIDAY)
    with pytest.raises(UsageError, match=r"must have paths from the root on, not 'x.ics'"):
        load("open-calendars = ['x.ics']")
    with pytest.raises(UsageError, match=r"window.open-calendars excludes window.start"):
        load(f"start = '02:00'\nlength = '1h'\nopen-calendars = ['{file}']")


def test_windows_that_a_calendar_takes_away_are_refused(file, load):
    file.write_text(HOLIDAY)
    with pytest.raises(UsageError, match="leaves no time for a reboot"):
        load(f"open = ['2026-12-24 02:00 for 1h']\nblackout-calendars = ['{file}']")
