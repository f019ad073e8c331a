"""What the daemon shows of its configuration to every user of the machine, and how the tool reads it."""

import pytest

from locksmith.config.load import load_daemon, load_tool
from locksmith.config.shown import SHOWN, other_lock, read_shown, shown
from locksmith.errors import UsageError
from locksmith.host.paths import Paths

FILE = """
strategy = "etcd-lock"
[window]
open = ["Mon..Fri 02:00 for 3h", "Sat 03:00 for 1h"]
blackouts = ["*-12-20..*-01-06"]
zone = "Europe/Berlin"
sets = ["night", "stored"]
min-remaining = "10m"
splay = "50%"
require-synced-clock = true
[window-sets.night]
open = ["22:00 for 2h"]
"""

SECRETS = {
    "LOCKSMITHD_ETCD_USERNAME": "hidden-user",
    "LOCKSMITHD_ETCD_PASSWORD": "hidden-password",
}


def paths(folder, text: str = FILE) -> Paths:
    found = Paths(folder)
    found.config.parent.mkdir(parents=True)
    found.config.write_text(text)
    return found


@pytest.mark.parametrize(
    "environ",
    [{}, {"LOCKSMITHD_GROUP": 'a "worker" \\ ü'}, {"REBOOT_WINDOW_START": "Fri 22:00", "REBOOT_WINDOW_LENGTH": "2h"}],
)
def test_the_tool_has_the_daemons_lock_and_windows_from_what_it_shows(tmp_path, environ):
    own = load_daemon(paths(tmp_path), environ, {"endpoint": ("http://10.0.0.1:2379,http://10.0.0.2:2379",)})
    Paths(tmp_path).config.write_text('group = "changed"\nstrategy = "off"\n[window]\nopen = ["Sun 01:00 for 1h"]')
    tool = load_tool(Paths(tmp_path), {}, {}, read_shown(shown(own)))
    assert (tool.group, tool.strategy, tool.store, tool.window) == (own.group, own.strategy, own.store, own.window)
    assert not other_lock(tool, read_shown(shown(own)))


def test_the_tool_knows_the_daemons_dry_run_and_calendars_after_the_file_changed(tmp_path):
    calendar = tmp_path / "holidays.ics"
    calendar.write_text(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\nDTSTART;VALUE=DATE:20261224\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    text = f'dry-run = true\n[window]\nblackout-calendars = ["{calendar}"]\n'
    own = load_daemon(paths(tmp_path, text), {}, {})
    Paths(tmp_path).config.write_text("")
    tool = load_tool(Paths(tmp_path), {}, {}, read_shown(shown(own)))
    assert (tool.dry_run, tool.window) == (True, own.window)
    assert tool.window.of_file


def test_no_secret_is_shown(tmp_path):
    alerts = '[alerts]\nalertmanager = "http://alerts:9093"\nusername = "hidden"\npassword-file = "/hidden"\n'
    text = FILE + alerts + '[metrics]\nkeyfile = "/hidden"\n'
    text = text.replace("[metrics]\nkeyfile", '[metrics]\ncertfile = "/hidden"\nkeyfile')
    found = paths(tmp_path, text.replace('"/hidden"', f'"{tmp_path}/hidden"'))
    (tmp_path / "hidden").write_text("-")
    said = shown(load_daemon(found, SECRETS, {}))
    assert "hidden" not in str(said)
    assert said.keys() <= SHOWN


@pytest.mark.parametrize("name", ["strategy", "group", "etcd.endpoints", "etcd.api"])
def test_settings_without_the_lock_are_an_error(tmp_path, name):
    said = shown(load_daemon(paths(tmp_path), {}, {}))
    with pytest.raises(UsageError, match=name):
        read_shown({key: value for key, value in said.items() if key != name})


@pytest.mark.parametrize("value", ["", "1\nx = 2", "nan", '"', "[[[[", "'\x00'", "[" * 9999, "2027-01-01", "3" * 5000])
def test_settings_that_cannot_be_read_are_an_error(tmp_path, value):
    said = shown(load_daemon(paths(tmp_path), {}, {}))
    with pytest.raises(UsageError, match="group"):
        read_shown({**said, "group": value})


def test_what_a_later_version_shows_in_addition_is_ignored(tmp_path):
    said = shown(load_daemon(paths(tmp_path), {}, {}))
    assert read_shown({**said, "later.key": "{{"}) == read_shown(said)


def test_some_of_the_daemons_endpoints_are_its_own_store(tmp_path):
    own = load_daemon(paths(tmp_path), {}, {"endpoint": ("http://a:2379,http://b:2379",)})
    daemon = read_shown(shown(own))
    assert not load_tool(Paths(tmp_path), {}, {"endpoint": ("http://b:2379",)}, daemon).conflicts
    [conflict] = load_tool(Paths(tmp_path), {}, {"endpoint": ("http://b:2379,http://c:2379",)}, daemon).conflicts
    assert "--endpoint says http://b:2379,http://c:2379" in conflict
