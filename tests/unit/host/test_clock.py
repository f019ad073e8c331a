"""Local time, with the zone's rules: the next window is right across a change of daylight saving."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time

from locksmith.host import clock
from tests.harness.windows import original


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")


@pytest.mark.usefixtures("berlin")
def test_the_clock_shows_local_time():
    with freeze_time("2026-07-01 12:00:00"):
        assert clock.local_clock()() == datetime(2026, 7, 1, 14, 0, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.usefixtures("berlin")
def test_a_window_after_the_change_of_the_clock_is_where_the_wall_will_show_it():
    with freeze_time("2026-10-24 20:00:00"):  # 22:00 in Berlin, hours before summer time ends
        now = clock.local_clock()()
    opens = original("04:00", "1h").next_open(now)
    assert opens is not None
    assert opens.astimezone(UTC) == datetime(2026, 10, 25, 3, 0, tzinfo=UTC)
    assert opens.astimezone(UTC) - now.astimezone(UTC) == timedelta(hours=7)


def test_without_tz_the_machines_own_zone_is_read(monkeypatch, tmp_path):
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    monkeypatch.setattr(clock, "LOCALTIME", tmp_path / "localtime")
    with freeze_time("2026-01-01 00:00:00"):
        assert clock.local_clock()().hour == 9


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", ":"])
def test_a_zone_that_does_not_exist_is_utc(monkeypatch, tmp_path, zone):
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr(clock, "LOCALTIME", tmp_path / "missing")
    assert clock.local_zone() is UTC
