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


class Machine:
    """A machine whose zone changes while a clock runs."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.delenv("TZ", raising=False)
        monkeypatch.setattr(clock, "LOCALTIME", folder / "localtime")
        self.seconds: float = 0.0
        self.file = folder / "localtime"
        monkeypatch.setattr("time.monotonic", lambda: self.seconds)

    def link(self, zone):
        new = self.file.with_name("new")
        new.symlink_to(f"/usr/share/zoneinfo/{zone}")
        new.rename(self.file)

    def later(self, seconds):
        self.seconds += seconds


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def test_a_clock_follows_the_zone_of_the_machine_when_it_has_settled(machine, caplog):
    caplog.set_level("INFO")
    machine.link("Asia/Tokyo")
    now = clock.local_clock()
    zone = now().tzinfo
    machine.later(60)
    assert now().tzinfo is zone
    machine.link("America/New_York")
    assert now().tzinfo is zone
    machine.later(clock.SETTLED)
    assert str(now().tzinfo) == "America/New_York"
    assert caplog.messages == [
        "the time zone of this machine is America/New_York now: windows without a zone follow it"
    ]


def test_a_zone_that_is_away_for_a_moment_is_not_utc(machine):
    machine.link("Asia/Tokyo")
    now = clock.local_clock()
    machine.file.unlink()
    assert str(now().tzinfo) == "Asia/Tokyo"
    machine.later(clock.SETTLED / 2)
    machine.link("Europe/Berlin")
    assert str(now().tzinfo) == "Asia/Tokyo"
    machine.later(clock.SETTLED)
    assert str(now().tzinfo) == "Europe/Berlin"
    machine.file.unlink()
    assert str(now().tzinfo) == "Europe/Berlin"
    machine.later(clock.SETTLED)
    assert now().tzinfo is UTC


def test_a_file_that_is_no_zone_changes_nothing_and_is_told_once(machine, caplog):
    machine.link("Asia/Tokyo")
    now = clock.local_clock()
    machine.file.unlink()
    machine.file.write_text("half a f")
    now()
    machine.later(clock.SETTLED)
    assert [str(now().tzinfo) for _ in range(3)] == ["Asia/Tokyo"] * 3
    [said] = caplog.messages
    assert said.endswith("is no time zone, so Asia/Tokyo stays in use: `timedatectl set-timezone`")
    machine.file.unlink()
    machine.link("Europe/Berlin")
    now()
    machine.later(clock.SETTLED)
    assert str(now().tzinfo) == "Europe/Berlin"


def test_a_zone_of_the_environment_stays(machine, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    now = clock.local_clock()
    machine.link("Europe/Berlin")
    now()
    machine.later(60)
    assert str(now().tzinfo) == "Asia/Tokyo"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", ":"])
def test_a_zone_that_does_not_exist_is_utc(monkeypatch, tmp_path, zone):
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr(clock, "LOCALTIME", tmp_path / "missing")
    assert clock.local_zone() is UTC
