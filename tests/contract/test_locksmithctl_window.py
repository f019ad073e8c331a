"""`window`: what is open and what comes next, of a specification, a machine, a group and a set; on real etcd."""

import json
import os
import uuid
from datetime import UTC, datetime

import pytest

from locksmith.lock.records import keys
from tests.contract.fleets import api, ctl, fleet, root
from tests.harness.ctl import plain

__all__ = ["api", "ctl", "fleet", "root"]

SPEC = ("--spec", "Mon..Fri 22:00 for 4h", "--blackout", "*-12-20..*-01-06", "--zone", "Europe/Berlin")


@pytest.fixture
def alone(ctl):
    """The tool on a machine that names no group, as an operator has it."""
    ctl.flags = [flag for flag in ctl.flags if not flag.startswith("-group")]
    return ctl


@pytest.fixture
def name():
    """A set's name that no other test uses: sets belong to no group."""
    return f"nights/{uuid.uuid4()}"


def configure(root_folder, text):
    file = root_folder / "etc/locksmith/locksmith.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_specification_is_checked_without_a_node_and_without_etcd(alone):
    alone.flags = ["-endpoint=http://127.0.0.1:1"]
    ended = alone("window", *SPEC, "--at", "2026-12-10T23:00", "--next", "2")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "the specification: Mon..Fri 22:00 Europe/Berlin for 4h, but not *-12-20..*-01-06 Europe/Berlin",
        "open at Thu 2026-12-10 23:00 CET, until Fri 2026-12-11 02:00 CET, for another 3 h",
        "next:",
        "  Thu 2026-12-10 22:00 CET  until Fri 2026-12-11 02:00 CET",
        "  Fri 2026-12-11 22:00 CET  until Sat 2026-12-12 02:00 CET",
        "",
        "December 2026",
        "Mon  Tue  Wed  Thu  Fri  Sat  Sun",
        "      1*   2*   3*   4*   5*   6",
        " 7*   8*   9*  10*  11*  12*  13",
        "14*  15*  16*  17*  18*  19*  20x",
        "21x  22x  23x  24x  25x  26x  27x",
        "28x  29x  30x  31x",
        "* a window is open on that day, x a blackout",
    ]


def test_a_closed_window_says_when_it_opens_also_over_a_change_of_the_clock(alone):
    spec = ("--spec", "04:00 for 1h", "--zone", "Europe/Berlin", "--at", "2026-10-25T01:00")
    assert "closed at Sun 2026-10-25 01:00 CEST; opens Sun 2026-10-25 04:00 CET, in 4 h" in alone("window", *spec).out


def test_the_month_of_the_next_openings_is_drawn_with_its_year(alone):
    spec = ("--spec", "last Fri 22:00 for 4h", "--zone", "Europe/Berlin", "--at", "2026-11-29T12:00", "--next", "2")
    lines = alone("window", *spec).out.splitlines()
    assert [line for line in lines if line[:3] in {"Nov", "Dec", "Jan"}] == [
        "November 2026",
        "December 2026",
        "January 2027",
    ]
    assert "21   22   23   24   25*  26*  27" in lines


def test_starts_of_every_minute_are_answered_within_a_second_of_work(alone):
    before = os.times()
    spec = ("--spec", "minutely for 10s", "--min-remaining", "30s", "--at", "2026-11-29T23:59:30")
    assert "no opening is to come" in alone("window", *spec).out
    after = os.times()
    # With the start of Python; of the work, because other tests may run at the same time.
    assert after.children_user - before.children_user < 4


def test_too_little_that_is_left_is_closed_for_a_reboot(alone):
    spec = ("--spec", "22:00 for 4h", "--zone", "UTC", "--at", "2026-05-02T01:30", "--min-remaining", "1h")
    [_, state, *_] = alone("window", *spec).out.splitlines()
    assert state == (
        "closed at Sat 2026-05-02 01:30 UTC (open, but only for 30 min: a reboot begins with 1h at least); "
        "opens Sat 2026-05-02 22:00 UTC, in 20 h 30 min"
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (("22:00 for 2h", "--min-remaining", "8h"), "is ever open for longer than 2h, and 8h must be left"),
        (("*-02-30 22:00 for 2h",), "no window is ever open"),
        (("02:00 for 1h", "--blackout", "Mon..Sun"), "no window is ever open"),
    ],
)
def test_windows_in_which_no_reboot_would_ever_begin_are_shown_with_a_warning(alone, spec, sentence):
    alone.flags = ["-endpoint=http://127.0.0.1:1"]
    ended = alone("window", "--spec", *spec, "--at", "2026-12-10T12:00")
    assert (ended.status, "and no opening is to come" in ended.out) == (0, True)
    assert ended.err.startswith("the specification: no reboot would ever begin: ")
    assert ended.err.endswith(f"{sentence}\n")


def test_a_set_that_is_never_open_is_written_with_a_warning(alone, name):
    ended = alone("window", "set", name, "--open", "02:00 for 1h", "--blackout", "Mon..Sun")
    assert "where a machine has no other window, no reboot would ever begin: no window is ever open" in ended.err
    assert alone("window", "set", name, "--blackout", "Fri").err.startswith("before it was: 02:00 for 1h, but not")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--spec", "Foo 22:00 for 4h"), "the window's start 'Foo 22:00' is not a start: 'Foo' is none of Mon, Tue"),
        (("--spec", "22:00"), "'22:00' is not a window: write a start and a length, like Mon..Fri 02:00 for 3h"),
        (("--blackout", "christmas"), "'christmas' is not a blackout: write days like 2026-12-24"),
        (("--spec", "22:00 for 4h", "--zone", "Mars"), "--zone: 'Mars' is no time zone here"),
        (
            ("--spec", "22:00 for 4h", "--at", "noon"),
            "--at must be a time like 18:30, 2026-12-24 or 2026-12-24T18:30, not 'noon'",
        ),
        (
            ("--spec", "22:00 for 4h", "--at", "9999-12-31T23:59-12:00"),
            "--at must be a time like 18:30, 2026-12-24 or 2026-12-24",
        ),
        (
            ("--spec", "22:00 for 4h", "--at", "0001-01-01T00:00"),
            "--at must be a time like 18:30, 2026-12-24 or 2026-12-24T18:30",
        ),
        (("--spec", "22:00 for 4h", "--min-remaining", "x"), "--min-remaining: 'x' is not a duration"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(alone, args, sentence):
    assert sentence in alone.fails("window", *args, status=2)


def test_json_has_what_a_script_needs(alone):
    fields = json.loads(alone("window", *SPEC, "--at", "2026-12-10T12:00", "--next", "1", "--json").out)
    [found] = fields["windows"]
    assert (found["open"], found["closes"], found["opens"]) == (False, None, "2026-12-10T21:00:00Z")
    assert found["next"] == [{"opens": "2026-12-10T21:00:00Z", "closes": "2026-12-11T01:00:00Z"}]
    assert found["month"]["2026-12-24"] == {"open": False, "blackout": True}
    assert found["windows"] == ["Mon..Fri 22:00 Europe/Berlin for 4h"]


def test_a_machine_shows_its_own_windows_and_those_of_its_sets(alone, name, tmp_path):
    configure(tmp_path, 'window.open = ["Sat 10:00 for 2h"]\nwindow.blackouts = ["last Fri"]\nwindow.zone = "UTC"')
    [first, *_] = alone("window").out.splitlines()
    assert first == "this machine: Sat 10:00 UTC for 2h, but not last Fri UTC"
    configure(tmp_path, "")
    assert alone("window").out == "this machine: a reboot is allowed at any time\n"
    configure(tmp_path, f'window.open = ["Sat 10:00 for 2h"]\nwindow.sets = ["{name}"]')
    assert f"there is no set of windows '{name}'" in alone.fails("window")
    alone("window", "set", name, "--open", "02:00 for 1h", "--zone", "UTC")
    assert "this machine: Sat 10:00 for 2h, 02:00 UTC for 1h" in alone("window").out


def test_a_group_shows_the_windows_of_its_machines_alike_ones_together(ctl, fleet):
    assert "shows itself: see `locksmithctl nodes`" in plain(ctl.fails("window"))
    for number in (1, 2):
        fleet.present(f"n{number}", windows=("02:00 UTC for 3h",), blackouts=("*-12-24 UTC",))
    fleet.present("n3")
    at = ("--at", "2026-05-01T12:00")
    out = ctl("window", *at).out
    assert f"group {fleet.group} (n1 and n2): 02:00 UTC for 3h, but not *-12-24 UTC" in out
    assert f"group {fleet.group} (n3): a reboot is allowed at any time" in out
    assert out == ctl("window", "--group", fleet.group, *at).out


def test_a_set_is_written_shown_replaced_and_removed(alone, name):
    done = alone("window", "set", name, "--open", "Mon..Fri 02:00 for 3h", "--zone", "Europe/Berlin", "--reason", "x")
    assert (done.out, done.err) == (f"set {name}: Mon..Fri 02:00 Europe/Berlin for 3h\n", "")
    shown = json.loads(alone("window", "show", name, "--json").out)["sets"][name]
    assert (shown["open"], shown["zone"], shown["reason"]) == (["Mon..Fri 02:00 for 3h"], "Europe/Berlin", "x")
    assert alone("window", "show", name).out.startswith(f"{name}: Mon..Fri 02:00 Europe/Berlin for 3h (by ")
    done = alone("window", "set", name, "--blackout", "last Fri")
    assert done.err == "before it was: Mon..Fri 02:00 Europe/Berlin for 3h\n"
    assert f"set {name}: at any time, but not last Fri" in alone("window", "--set", name).out
    assert "is removed; a machine whose window.sets still names it does not reboot" in alone("window", "rm", name).out
    assert f"there is no set of windows '{name}'" in alone.fails("window", "rm", name)
    assert f"there is no set of windows '{name}'" in alone.fails("window", "show", name)


def test_a_set_of_nothing_is_refused_and_nothing_is_written(alone, name):
    assert "a set needs --open or --blackout at least once" in alone.fails("window", "set", name, status=2)
    assert "is not a window" in alone.fails("window", "set", name, "--open", "02:00", status=2)
    assert "there is no set" in alone.fails("window", "show", name)


def test_a_set_with_a_window_that_lasts_no_time_is_refused(alone, name):
    said = alone.fails("window", "set", name, "--open", "03:00 for 1h", "--open", "02:00 for 0s", status=2)
    assert "the window '02:00 for 0s' lasts no time" in said
    assert alone("window", "show", name).status == 1


def test_a_set_that_cannot_be_read_is_said_and_written_anew(alone, fleet, name):
    fleet(lambda store: store.create(keys.window_key(name), b'{"open":["x"]}'))
    assert "'x' is not a window" in alone("window", "show", name).err
    assert "not a set of windows" in alone.fails("window", "--set", name)
    assert "the set before it could not be read" in alone("window", "set", name, "--open", "02:00 for 1h").err


def test_the_time_is_now_without_another(alone):
    shown = json.loads(alone("window", "--spec", "00:00 for 24h", "--json").out)
    assert abs(datetime.fromisoformat(shown["at"]) - datetime.now(UTC)).total_seconds() < 60
    assert shown["windows"][0]["open"] is True
