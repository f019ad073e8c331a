import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locksmith.config.keys import DAEMON_VARIABLES, FLAGS, KEYS, TOOL_VARIABLES
from locksmith.config.load import examine_daemon, load_daemon, load_tool
from locksmith.config.model import Config
from locksmith.config.problems import Problems
from locksmith.config.show import describe
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.window.blackout import Blackout
from locksmith.window.window import Window
from locksmith.window.window_set import WindowSet

DOCS = Path(__file__).parents[3] / "docs/configuration.md"


CALENDAR = """
[window]
open = ["Mon..Fri 02:00 for 3h", "2nd Tue 22:00 for 4h"]
blackouts = ["last Fri"]
zone = "Europe/Berlin"
sets = ["nights"]
min-remaining = "20m"
splay = "25%"
require-synced-clock = true
[window-sets.nights]
open = ["23:00 for 2h"]
zone = "UTC"
"""


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


class Machine:
    """A folder that stands for the root of a machine."""

    def __init__(self, root):
        self.paths = Paths(root)
        self.file = self.paths.config
        self.file.parent.mkdir(parents=True)

    def write(self, text):
        self.file.write_text(text)
        return self

    def drop_in(self, name, text):
        path = self.file.with_name("locksmith.toml.d") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def secret(self, name, text="x\n"):
        path = self.file.parent / name
        path.write_text(text)
        return path

    def daemon(self, environ=None, flags=None):
        return load_daemon(self.paths, environ or {}, flags or {})

    def tool(self, environ=None, flags=None):
        return load_tool(self.paths, environ or {}, flags or {})

    def refusal(self, environ=None, flags=None):
        with pytest.raises(UsageError) as refused:
            self.daemon(environ, flags)
        return str(refused.value)


def test_a_machine_without_any_configuration_has_the_defaults(machine):
    assert machine.daemon() == machine.tool() == Config()
    assert machine.daemon().strategy == "reboot"
    assert machine.daemon().store.endpoints == ("http://127.0.0.1:2379", "http://127.0.0.1:4001")


@pytest.mark.parametrize(
    ("grace", "written", "limit"),
    [
        ("5m", "", timedelta(hours=1)),
        ("45m", "", timedelta(minutes=90)),
        ("5m", "0s", timedelta(0)),
        ("5m", "5m", timedelta(minutes=5)),
    ],
)
def test_users_may_hold_a_slot_for_an_hour_or_for_twice_a_longer_time_of_theirs(machine, grace, written, limit):
    line = f'limit = "{written}"' if written else ""
    assert machine.write(f'[sessions]\ngrace = "{grace}"\n{line}').daemon().sessions_limit == limit


@pytest.mark.parametrize(
    "text",
    [
        "http://ops:hush@a:9090",
        "https://hush@a",
        "ops:hush@a:9090",
        "http://ops:hush@a:x",
        "http://ops:hush@[::1",
        "http://ops:hu/sh@a",
        "http://a/?token=hush",
        "http://a#hush",
    ],
)
@pytest.mark.parametrize("line", ["[alerts]\nalertmanager = {0!r}", "[etcd]\nendpoints = [{0!r}]"])
def test_no_url_has_a_secret_in_it_and_the_error_does_not_show_it(machine, text, line):
    said = machine.write(line.format(text)).refusal()
    assert "must " in said
    assert not {"hush", "hu/sh"} & set(re.findall(r"hu.?sh", said))


ALERTS = "[alerts]\nalertmanager = 'https://a'\n"


def test_who_asks_the_alert_servers_is_in_files(machine):
    for name in ("password", "ca.pem"):
        machine.secret(name).chmod(0o600)
    folder = machine.file.parent
    text = f"{ALERTS}username = 'ops'\npassword-file = '{folder}/password'\ncafile = '{folder}/ca.pem'"
    config = machine.write(text).daemon()
    assert (config.alerts.username, config.alerts.password_file) == ("ops", folder / "password")
    assert config.alerts.cafile == folder / "ca.pem"
    assert config.cautions == ()
    [caution] = machine.write(text.replace("https", "http").partition("cafile")[0]).daemon().cautions
    assert caution.startswith("the secret of alerts.password-file is sent to http://a without TLS, so others on the")
    machine.drop_in("50.toml", f"[alerts]\ntoken-file = '{folder}/password'")
    assert machine.write(text).daemon().alerts.token_file == folder / "password"
    assert machine.daemon().alerts.username == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{ALERTS}username = 'ops'", "alerts.username is set without alerts.password-file"),
        (f"{ALERTS}username = 'o:s'\npassword-file = 'PASSWORD'", "alerts.username must not have a colon"),
        (f"{ALERTS}password-file = 'PASSWORD'", "alerts.password-file is set without alerts.username"),
        (
            f"{ALERTS}username = 'o'\npassword-file = 'PASSWORD'\ntoken-file = 'PASSWORD'",
            "alerts.token-file excludes alerts.username",
        ),
        ("[alerts]\ntoken-file = 'PASSWORD'", "alerts.token-file is set without alerts.alertmanager"),
        ("[alerts]\nalertmanager='http://a'\ncafile = 'PASSWORD'", "alerts.cafile has no use"),
        (f"{ALERTS}token-file = '/none'", "alerts.token-file names /none, which cannot be read"),
        (f"{ALERTS}cafile = '/none'", "alerts.cafile names /none, which cannot be read"),
    ],
)
def test_what_contradicts_itself_about_who_asks_is_refused(machine, text, says):
    password = machine.secret("password", "hush\n")
    said = machine.write(text.replace("PASSWORD", str(password))).refusal()
    assert says in said
    assert "hush" not in said


def test_the_tool_needs_no_secret_of_the_alert_servers(machine):
    assert machine.write(f"{ALERTS}token-file = '/none'").tool().alerts.token_file == Path("/none")


def test_all_problems_are_named_at_once_and_none_that_only_follows_from_another(machine):
    machine.write("""
        stratgy = "off"
        [etcd]
        endpoints = ["ftp://a"]
        username = "ops"
        [window]
        open = ["02:00 for 0s"]
        [health]
        units = ["kubelet"]
        [sessions]
        grace = "5m"
        limit = "1m"
    """)
    machine.drop_in("50.toml", "[reboot]\nlimit = 'soon'\n[halt]\nafter = 'never'")
    problems = Problems()
    config = examine_daemon(machine.paths, {"LOCKSMITHD_GRUOP": "web", "LOCKSMITHD_DEBUG": "x"}, {}, problems)
    named = [" ".join(problem.partition(": ")[2].split()[:2]) for problem in problems.found]
    files = ["stratgy is", "etcd.endpoints must", "window.open cannot", "health.units has"]
    assert named == [
        *files,
        "reboot.limit 'soon'",
        "halt.after must",
        "did you",
        "debug must",
        "sessions.limit must",
    ]
    assert problems.found[6].endswith("did you mean LOCKSMITHD_GROUP?")
    assert config.store.username == "ops"
    with pytest.raises(UsageError, match=r"stratgy .*\(and 8 more: `locksmithd --check-config` names each\)$"):
        machine.daemon({"LOCKSMITHD_GRUOP": "web", "LOCKSMITHD_DEBUG": "x"})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("LOCKSMITHD_STRATEGY", "did you mean LOCKSMITHD_REBOOT_STRATEGY"),
        ("LOCKSMITHD_ENDPOINTS", "did you mean LOCKSMITHD_ENDPOINT"),
        ("LOCKSMITHD_FLEET", "known are LOCKSMITHD_DEBUG, "),
    ],
)
def test_a_variable_that_would_be_ignored_is_refused(machine, name, near):
    said = machine.refusal({name: "x"})
    assert said.startswith(f"{name} is not a variable of the configuration: {near}")
    assert machine.daemon({name: "", "LOCKSMITH_ROOT": "/", "LOCKSMITHCTL_X": "y"}) == Config()
    with pytest.raises(UsageError, match="did you mean LOCKSMITHCTL_GROUP"):
        machine.tool({"LOCKSMITHCTL_GROPU": "x"})


@pytest.mark.parametrize(
    ("unit", "hint"),
    [
        ("kubelet", "did you mean kubelet.service?"),
        ("getty@.service", "name an instance of the template"),
        ("kubelet.unit", "did you mean kubelet.unit.service?"),
        ("a b.service", "it must be like kubelet.service"),
    ],
)
def test_a_unit_that_systemd_cannot_know_is_refused(machine, unit, hint):
    said = machine.write(f"[health]\nunits = ['ssh.service', '{unit}']").refusal()
    assert f"health.units has {unit!r}, which is no name of a unit: {hint}" in said


@pytest.mark.parametrize(
    "unit", ["getty@tty1.service", r"dev-by\x2duuid.device", "a:b_c.timer", "boot-complete.target"]
)
def test_each_name_of_systemds_is_a_unit(machine, unit):
    assert machine.write(f"[health]\nunits = ['{unit}']").daemon().health.units == (unit,)


@pytest.mark.parametrize(
    "text",
    [
        "[window]\nopen = ['02:00 for 0s', '03:00 for 1h']",
        "[window]\nstart = '02:00'\nlength = '0s'",
        "[window-sets.nights]\nopen = ['02:00 for 0s']",
    ],
)
def test_a_window_that_lasts_no_time_is_refused(machine, text):
    assert "no reboot would ever begin in" in machine.write(text).refusal()


def test_files_that_look_like_drop_ins_and_are_ignored_are_named(machine):
    machine.drop_in("10-group.toml", "strategy = 'etcd-lock'\netcd.endpoints = ['http://10.0.0.1:2379']")
    ignored = [machine.drop_in("20-etcd.conf", "x"), machine.file.with_name("locksmithd.toml")]
    ignored[1].write_text("group = 'db'")
    machine.drop_in(".hidden.toml", "x")
    said = machine.daemon().cautions
    assert [caution.partition(" is ignored: ")[0] for caution in said] == [str(path) for path in ignored]
    assert said[0].endswith("only locksmith.toml, and the files in locksmith.toml.d that end in .toml, are read")


def test_a_limit_that_leaves_no_user_the_whole_time_is_refused(machine):
    said = machine.write('[sessions]\ngrace = "5m"\nlimit = "4m59s"').refusal()
    assert "sessions.limit must be 0s (no limit) or at least sessions.grace, 5m" in said


def test_every_key_of_the_file_is_read(machine):
    files = {name: machine.secret(name) for name in ("ca.pem", "crt.pem", "key.pem", "m.pem", "mkey.pem")}
    password = machine.secret("password", "s3cret\n")
    config = machine.write(f"""
        strategy = "etcd-lock"
        group = "prod/database"
        dry-run = true
        adopt = true
        debug = true
        [etcd]
        endpoints = ["https://a:2379/", "https://b:2379"]
        api = 2
        cafile = "{files["ca.pem"]}"
        certfile = "{files["crt.pem"]}"
        keyfile = "{files["key.pem"]}"
        username = "locksmith"
        password-file = "{password}"
        timeout = "1.5s"
        [window]
        start = "Sat 23:05"
        length = "11h"
        [metrics]
        enabled = false
        address = "::1"
        port = 9999
        certfile = "{files["m.pem"]}"
        keyfile = "{files["mkey.pem"]}"
        [reboot]
        limit = "20m"
        settle = "30s"
        retry = "1h"
    """).daemon()
    assert (config.strategy, config.group, config.dry_run, config.adopt, config.debug) == (
        "etcd-lock", "prod/database", True, True, True,
    )  # fmt: skip
    assert (config.store.endpoints, config.store.api) == (("https://a:2379", "https://b:2379"), 2)
    assert (config.store.cafile, config.store.keyfile) == (files["ca.pem"], files["key.pem"])
    assert (config.store.username, config.store.password, config.store.timeout) == ("locksmith", "s3cret", 1.5)
    assert config.window.own.windows == (Window.original("Sat 23:05", "11h"),)
    assert (config.metrics.enabled, config.metrics.address, config.metrics.port) == (False, "::1", 9999)
    assert config.metrics.certfile == files["m.pem"]
    assert config.reboot.limit == timedelta(minutes=20)
    assert set(config.origins.values()) == {str(machine.file), f"{password}, which {machine.file} names"}


def test_each_source_overrides_the_one_before(machine):
    assert machine.daemon().group == ""
    machine.write('group = "file"')
    assert machine.daemon().group == "file"
    machine.drop_in("10-a.toml", 'group = "first"')
    assert machine.daemon().group == "first"
    machine.drop_in("20-b.toml", 'group = "second"')
    assert machine.daemon().group == "second"
    environ = {"LOCKSMITHD_GROUP": "environment"}
    assert machine.daemon(environ).group == "environment"
    assert machine.daemon(environ, {"group": "flag"}).group == "flag"


def test_a_drop_in_overrides_single_keys_of_a_table(machine):
    machine.write('[etcd]\napi = 2\nendpoints = ["http://a:1"]\n[window]\nstart = "02:00"\nlength = "1h"')
    machine.drop_in("10-api.toml", "[etcd]\napi = 3")
    machine.drop_in("20-window.toml", '[window]\nlength = "2h"')
    config = machine.daemon()
    assert (config.store.api, config.store.endpoints) == (3, ("http://a:1",))
    assert config.window.own.windows == (Window.original("02:00", "2h"),)


def test_other_files_beside_the_drop_ins_are_left_alone(machine):
    machine.drop_in("10-a.toml~", "rubbish")
    machine.drop_in(".10-a.toml", "rubbish")
    machine.drop_in("README", "rubbish")
    assert machine.daemon() == Config()


def test_drop_ins_need_no_file_before_them(machine):
    machine.drop_in("10-a.toml", 'group = "a"')
    assert machine.daemon().group == "a"


def test_an_empty_variable_counts_as_unset(machine):
    machine.write('strategy = "etcd-lock"\ngroup = "file"')
    empty = dict.fromkeys(DAEMON_VARIABLES, "")
    assert machine.daemon(empty).strategy == "etcd-lock"
    assert machine.daemon(empty).group == "file"


def test_an_empty_flag_is_said_and_means_none(machine):
    machine.write('group = "file"\n[etcd]\ncafile = "/nowhere"\nendpoints = ["https://a"]')
    config = machine.daemon({"LOCKSMITHD_GROUP": "environment"}, {"group": "", "etcd_cafile": ""})
    assert (config.group, config.store.cafile) == ("", None)


@pytest.mark.parametrize(("flags"), [{}, {"group": None, "debug": None, "endpoint": ()}])
def test_a_flag_that_was_not_given_sets_nothing(machine, flags):
    assert machine.daemon(flags=flags).origins == {}


def test_the_daemons_environment_is_the_originals(machine):
    ca, crt, key = (str(machine.secret(name)) for name in ("ca.pem", "crt.pem", "key.pem"))
    config = machine.daemon(
        {
            "REBOOT_STRATEGY": "etcd-lock",
            "LOCKSMITHD_ENDPOINT": "https://a:2379, https://b:2379",
            "LOCKSMITHD_ETCD_API": "2",
            "LOCKSMITHD_ETCD_CAFILE": ca,
            "LOCKSMITHD_ETCD_CERTFILE": crt,
            "LOCKSMITHD_ETCD_KEYFILE": key,
            "LOCKSMITHD_ETCD_USERNAME": "u",
            "LOCKSMITHD_ETCD_PASSWORD": "p",
            "LOCKSMITHD_GROUP": "prod",
            "LOCKSMITHD_DEBUG": "t",
            "LOCKSMITHD_REBOOT_WINDOW_START": "Thu 23:00",
            "LOCKSMITHD_REBOOT_WINDOW_LENGTH": "1h30m",
            "LOCKSMITHCTL_GROUP": "the tool's",
        }
    )
    assert (config.strategy, config.group, config.debug) == ("etcd-lock", "prod", True)
    assert (config.store.endpoints, config.store.api) == (("https://a:2379", "https://b:2379"), 2)
    assert [str(path) for path in (config.store.cafile, config.store.certfile, config.store.keyfile)] == [ca, crt, key]
    assert (config.store.username, config.store.password) == ("u", "p")
    assert config.window.own.windows == (Window.original("Thu 23:00", "1h30m"),)


def test_the_tools_environment_is_its_own(machine):
    machine.write('strategy = "etcd-lock"\ngroup = "file"')
    environ = {"REBOOT_STRATEGY": "off", "LOCKSMITHD_GROUP": "the daemon's", "LOCKSMITHCTL_ENDPOINT": "http://a"}
    config = machine.tool(environ)
    assert (config.strategy, config.group, config.store.endpoints) == ("etcd-lock", "file", ("http://a",))


def test_of_two_variables_for_one_key_the_prefixed_wins(machine):
    config = machine.daemon(
        {
            "LOCKSMITHD_REBOOT_WINDOW_START": "01:00",
            "REBOOT_WINDOW_START": "never looked at",
            "REBOOT_WINDOW_LENGTH": "1h",
        }
    )
    assert config.window.own.windows == (Window.original("01:00", "1h"),)
    assert config.origins["window.length"] == "REBOOT_WINDOW_LENGTH"


def test_a_window_of_the_environment_replaces_the_files(machine):
    machine.write('[window]\nstart = "Sat 02:00"\nlength = "100h"')
    environ = {"REBOOT_WINDOW_START": "03:00", "REBOOT_WINDOW_LENGTH": "1h"}
    assert machine.daemon(environ).window.own.windows == (Window.original("03:00", "1h"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(text, True) for text in ("1", "t", "T", "TRUE", "true", "True")]
    + [(text, False) for text in ("0", "f", "F", "FALSE", "false", "False")],
)
def test_booleans_of_the_environment_are_gos(machine, text, expected):
    machine.write(f"debug = {'false' if expected else 'true'}")
    assert machine.daemon({"LOCKSMITHD_DEBUG": text}).debug is expected


def test_endpoints_of_flags_add_up(machine):
    config = machine.tool(flags={"endpoint": ("http://a:1,http://b:1", "http://c:1/", "http://a:1")})
    assert config.store.endpoints == ("http://a:1", "http://b:1", "http://c:1")


def test_a_ca_alone_is_fine(machine):
    ca = machine.secret("ca.pem")
    config = machine.daemon({"LOCKSMITHD_ETCD_CAFILE": str(ca), "LOCKSMITHD_ENDPOINT": "https://a"})
    assert (config.store.cafile, config.store.certfile) == (ca, None)


def test_a_later_password_replaces_an_earlier_password_file(machine):
    machine.write('[etcd]\nusername = "u"\npassword-file = "/nowhere"')
    assert machine.daemon({"LOCKSMITHD_ETCD_PASSWORD": "p"}).store.password == "p"


def test_a_later_password_file_replaces_an_earlier_password(machine):
    machine.write('[etcd]\nusername = "u"\npassword = "old"')
    machine.drop_in("10-secret.toml", f'[etcd]\npassword-file = "{machine.secret("password", "new")}"')
    assert machine.daemon().store.password == "new"


def test_the_tool_does_not_need_the_daemons_certificate(machine):
    machine.write('[metrics]\ncertfile = "/nowhere/crt"\nkeyfile = "/nowhere/key"')
    assert machine.tool().metrics.port == 9563
    assert "metrics.certfile names /nowhere/crt, which cannot be read" in machine.refusal()


def test_the_tool_may_ask_an_endpoint_without_the_files_tls(machine):
    machine.write(f'[etcd]\nendpoints = ["https://a"]\ncafile = "{machine.secret("ca.pem")}"')
    assert machine.tool(flags={"endpoint": ("http://127.0.0.1:1",)}).store.endpoints == ("http://127.0.0.1:1",)


FILE = "/etc/locksmith/locksmith.toml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("strategy = ", f"{FILE} is not TOML: Invalid value (at end of document)"),
        ("group = 'a'\ngroup = 'b'", f"{FILE} is not TOML: Cannot overwrite a value (at end of document)"),
        ("x = " + "[" * 5000, f"{FILE} is not TOML that can be read: it is nested too deeply"),
        ("stratgy = 'off'", f"{FILE}: stratgy is not a key of the configuration: did you mean strategy?"),
        ("dry_run = true", f"{FILE}: dry_run is not a key of the configuration: did you mean dry-run?"),
        ("[etcd]\nendpoint = 'x'", "etcd.endpoint is not a key of the configuration: did you mean etcd.endpoints?"),
        ("[etc]\napi = 3", "etc.api is not a key of the configuration: did you mean etcd.api?"),
        ("[windows]", "windows is not a key of the configuration: did you mean window or window.sets or window-sets?"),
        ("[window]\nqqq = 1", "window.qqq is not a key of the configuration: known are window.start, window.length"),
        (
            "qqq = 1",
            "known are strategy, group, dry-run, adopt, debug, window-sets, [alerts], [etcd], [fleet-lock], ",
        ),
        ("'etcd.api' = 3", '"etcd.api" is not a key of the configuration'),
        ("etcd = 3", f"{FILE}: etcd must be a table, not a whole number"),
        ("[[etcd]]\napi = 3", f"{FILE}: etcd must be a table, not a list"),
        ("group = 3", f"{FILE}: group must be a string, not a whole number"),
        ("[group]\na = 1", f"{FILE}: group must be a string, not a table"),
        ("dry-run = 'yes'", f"{FILE}: dry-run must be true or false, not a string"),
        ("dry-run = 1", f"{FILE}: dry-run must be true or false, not a whole number"),
        ("strategy = ''", f"{FILE}: strategy must not be empty"),
        ("strategy = 'best-effort'", "use 'etcd-lock' where etcd runs, or 'reboot' to do without a lock"),
        ("group = '.'", f"{FILE}: group '.' cannot be used"),
        ("group = '..'", f"{FILE}: group '..' cannot be used"),
        ('group = "a\\nb"', f"{FILE}: group must not have control characters in it"),
        ("[etcd]\napi = 4", f"{FILE}: etcd.api must be a whole number from 2 to 3, not 4"),
        ("[etcd]\napi = true", f"{FILE}: etcd.api must be a whole number from 2 to 3, not true or false"),
        ("[etcd]\napi = '3'", f"{FILE}: etcd.api must be a whole number from 2 to 3, not a string"),
        ("[etcd]\nendpoints = 'http://a'", f"{FILE}: etcd.endpoints must be a list of URLs, not a string"),
        ("[etcd]\nendpoints = []", f"{FILE}: etcd.endpoints must name one endpoint at least"),
        ("[etcd]\nendpoints = [1]", f"{FILE}: etcd.endpoints must be a string, not a whole number"),
        ("[etcd]\nendpoints = ['a:2379']", "must be URLs like http://10.0.0.1:2379 or https://etcd.example:2379"),
        ("[etcd]\nendpoints = ['http://']", "must be URLs like"),
        ("[etcd]\nendpoints = ['ftp://a']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://a:x']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://a:0']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://[::1']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://a b']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://a/v3']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://a?b']", "must be URLs like"),
        ("[etcd]\nendpoints = ['http://u:hush@a']", "must not have a user or a password in the URL"),
        ("[etcd]\nendpoints = ['http://u:hush@a:x']", "must not have a user or a password in the URL"),
        ("[etcd]\nendpoints = ['http://u:hush@[::1']", "must not have a user or a password in the URL"),
        ("[etcd]\ncafile = 'ca.pem'", f"{FILE}: etcd.cafile must be a path from the root on (or empty for none)"),
        ("[etcd]\ncafile = '/nowhere'", f"{FILE}: etcd.cafile names /nowhere, which cannot be read: No such file"),
        ("[etcd]\ncafile = '/'", f"{FILE}: etcd.cafile names /, which cannot be read: it is not a file"),
        ("[etcd]\ncafile = '/dev/null'", "names /dev/null, which cannot be read: it is not a file"),
        ("[etcd]\ncertfile = '/a'", f"{FILE}: etcd.certfile is set without etcd.keyfile: set both or neither"),
        ("[etcd]\nkeyfile = '/a'", f"{FILE}: etcd.keyfile is set without etcd.certfile: set both or neither"),
        ("[etcd]\nusername = 'u'", f"{FILE}: etcd.username is set without a password: name a file"),
        ("[etcd]\npassword = 'hush'", f"{FILE}: etcd.password is set without etcd.username"),
        ("[etcd]\nusername = 'u'\npassword-file = '/nowhere'", "etcd.password-file names /nowhere, which cannot be"),
        ("[etcd]\npassword = 'hush'\npassword-file = '/a'", "etcd.password excludes etcd.password-file: keep one"),
        ("[etcd]\npassword = ['hush']", f"{FILE}: etcd.password must be a string, not a list"),
        ("[etcd]\ntimeout = 5", f"{FILE}: etcd.timeout must be a string, not a whole number"),
        ("[etcd]\ntimeout = '5'", f"{FILE}: etcd.timeout '5' is not a duration: give each number a unit"),
        ("[etcd]\ntimeout = '0s'", f"{FILE}: etcd.timeout must be longer than 0s and at most 1m, not '0s'"),
        ("[etcd]\ntimeout = '2m'", f"{FILE}: etcd.timeout must be longer than 0s and at most 1m, not '2m'"),
        ("[window]\nstart = '02:00'", f"{FILE}: window.start is set without window.length: set both or neither"),
        ("[window]\nlength = '0s'", f"{FILE}: window.length is set without window.start: set both or neither"),
        ("[window]\nstart = 02:00:00\nlength = '1h'", f"{FILE}: window.start must be a string, not a date or a time"),
        (
            "[window]\nstart = '25:00'\nlength = '1h'",
            f"{FILE}: window.start '25:00' is not a start: '25:00' is no time: the hour is 0 to 23",
        ),
        ("[window]\nstart = ''\nlength = ''", f"{FILE}: window.start '' is not a start"),
        ("[window]\nstart = '02:00'\nlength = '1j'", f"{FILE}: window.length '1j' is not a duration"),
        ("[window]\nstart = '02:00'\nlength = '24h'", f"{FILE}: the window's length 24h is too long"),
        ("[window]\nstart = '02:00'\nlength = '-1h'", f"{FILE}: the window's length -1h is negative"),
        (
            "[window]\nopen = ['Foo 02:00 for 1h']",
            f"{FILE}: window.open cannot be used: the window's start 'Foo 02:00' is not a start: 'Foo' is none of Mon",
        ),
        (
            "[window]\nopen = ['02:00']",
            f"{FILE}: window.open cannot be used: '02:00' is not a window: write a start and",
        ),
        ("[window]\nblackouts = ['x']", f"{FILE}: window.blackouts cannot be used: 'x' is not a blackout: write days"),
        ("[window]\nzone = 'Mars'", f"{FILE}: window.zone cannot be used: 'Mars' is no time zone here"),
        ("[window]\nsplay = '120%'", f"{FILE}: window.splay must be a share from 0% to 100%, like 25%, not '120%'"),
        (
            "[window]\nstart = '02:00'\nlength = '1h'\nopen = ['02:00 for 1h']",
            f"{FILE}: window.open excludes window.start: write that window as `START for LENGTH` into window.open",
        ),
        pytest.param(
            "[window]\nstart = '02:00'\nlength = '1h'\nmin-remaining = '2h'",
            f"{FILE}: window.min-remaining is 2h, and no window is ever open for longer than 1h: no reboot would ever",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "[window]\nopen = ['02:00 for 3h', '05:00 for 1h']\nblackouts = ['04:00 for 30m']\nmin-remaining = '150m'",
            f"{FILE}: window.min-remaining is 2h30m, and no window is ever open for longer than 2h: no reboot would",
            marks=pytest.mark.slow,
        ),
        (
            "[window]\nopen = ['*-02-30 02:00 for 3h']",
            f"{FILE}: window.open leaves no time for a reboot (*-02-30 02:00 for 3h): change a window or a blackout",
        ),
        pytest.param(
            "[window]\nsets = ['a']\nblackouts = ['Mon..Sun']\n[window-sets.a]\nopen = ['02:00 for 1h']",
            f"{FILE}: window.sets leaves no time for a reboot (02:00 for 1h, but not Mon..Sun): change a",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "[window]\nblackouts = ['Mon..Sun']",
            f"{FILE}: window.blackouts leaves no time for a reboot (at any time, but",
            marks=pytest.mark.slow,
        ),
        ("[window-sets.a]\nzone = 'UTC'", f"{FILE}: window-sets has the set 'a' with neither a window nor a blackout"),
        ("[window-sets.a]\nwhen = 1", f"{FILE}: window-sets has a.when, which is no key of a set: known are open"),
        ("window-sets = {a = 1}", f"{FILE}: window-sets must have a table for 'a', not a whole number"),
        ("[window-sets.a]\nopen = ['x']", f"{FILE}: window-sets has the set 'a', which cannot be used: 'x' is not a"),
        ("[metrics]\nport = 65536", f"{FILE}: metrics.port must be a whole number from 0 to 65535, not 65536"),
        ("[reboot]\nmax-per-day = 0", f"{FILE}: reboot.max-per-day must be a whole number from 1 to 24, not 0"),
        ("[reboot]\nmax-per-day = 25", f"{FILE}: reboot.max-per-day must be a whole number from 1 to 24, not 25"),
        ("[metrics]\naddress = ''", f"{FILE}: metrics.address must not be empty"),
        ("[metrics]\ncertfile = '/a'", f"{FILE}: metrics.certfile is set without metrics.keyfile"),
        ("[reboot]\nlimit = '-1m'", f"{FILE}: reboot.limit must be longer than 0s and at most 24h, not '-1m'"),
        ("[reboot]\nlimit = '10s'", f"{FILE}: reboot.limit must leave reboot.settle shorter than reboot.limit"),
    ],
)
def test_a_file_is_refused_with_a_sentence(machine, text, sentence):
    refusal = machine.write(text).refusal()
    assert sentence in refusal.replace(str(machine.paths.root), "")
    assert refusal.startswith(str(machine.file))
    assert "hush" not in refusal


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"REBOOT_STRATEGY": "best-effort"}, "REBOOT_STRATEGY: strategy 'best-effort' is gone, as it rebooted without"),
        (
            {"REBOOT_WINDOW_START": "02:00"},
            "REBOOT_WINDOW_START is set without REBOOT_WINDOW_LENGTH: a window needs both",
        ),
        (
            {"LOCKSMITHD_REBOOT_WINDOW_LENGTH": "1h", "LOCKSMITHD_REBOOT_WINDOW_START": ""},
            "LOCKSMITHD_REBOOT_WINDOW_LENGTH is set without LOCKSMITHD_REBOOT_WINDOW_START: a window needs both",
        ),
        ({"LOCKSMITHD_GROUP": ".."}, "LOCKSMITHD_GROUP: group '..' cannot be used"),
        ({"LOCKSMITHD_GROUP": "\udcff"}, "LOCKSMITHD_GROUP: group must not have control characters in it, nor bytes"),
        ({"LOCKSMITHD_DEBUG": "yes"}, "LOCKSMITHD_DEBUG: debug must be true or false, not 'yes'"),
        ({"LOCKSMITHD_ETCD_API": "v3"}, "LOCKSMITHD_ETCD_API: etcd.api must be a whole number from 2 to 3, not 'v3'"),
        ({"LOCKSMITHD_ETCD_API": "1"}, "LOCKSMITHD_ETCD_API: etcd.api must be a whole number from 2 to 3, not 1"),
        ({"LOCKSMITHD_ENDPOINT": "http://a,"}, "LOCKSMITHD_ENDPOINT: etcd.endpoints must be URLs like"),
        ({"LOCKSMITHD_ETCD_CERTFILE": "/a"}, "LOCKSMITHD_ETCD_CERTFILE: etcd.certfile is set without etcd.keyfile"),
        ({"LOCKSMITHD_ETCD_CAFILE": "/nowhere"}, "LOCKSMITHD_ETCD_CAFILE: etcd.cafile names /nowhere, which cannot be"),
        ({"LOCKSMITHD_ETCD_USERNAME": "u"}, "LOCKSMITHD_ETCD_USERNAME: etcd.username is set without a password"),
    ],
)
def test_a_variable_is_refused_with_a_sentence(machine, environ, sentence):
    assert machine.refusal(environ).startswith(sentence)


def test_a_variable_alone_is_no_window_even_beside_the_files(machine):
    machine.write('[window]\nstart = "02:00"\nlength = "1h"')
    assert "is set without" in machine.refusal({"REBOOT_WINDOW_START": "03:00"})


def test_a_flag_is_refused_with_a_sentence(machine):
    assert machine.refusal(flags={"etcd_api": 4}).startswith("--etcd-api: etcd.api must be a whole number")
    assert machine.refusal(flags={"endpoint": ("x",)}).startswith("--endpoint: etcd.endpoints must be URLs")


def test_a_ca_for_endpoints_without_tls_is_refused(machine):
    refusal = machine.refusal({"LOCKSMITHD_ETCD_CAFILE": str(machine.secret("ca.pem"))})
    assert refusal.startswith("LOCKSMITHD_ETCD_CAFILE: etcd.cafile has no use, as no endpoint begins with https://")


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n"])
def test_a_password_file_must_be_one_line(machine, content):
    path = machine.secret("password", content)
    refusal = machine.write(f"[etcd]\nusername = 'u'\npassword-file = '{path}'").refusal()
    assert refusal.endswith(f"names {path}, which must be one line of text with the password alone")


def test_a_broken_drop_in_is_named(machine):
    path = machine.drop_in("10-group.toml", "grop = 'x'")
    assert machine.refusal() == f"{path}: grop is not a key of the configuration: did you mean group?"


def test_a_file_that_cannot_be_read_never_counts_as_absent(machine):
    machine.file.symlink_to("nowhere")
    assert machine.refusal() == f"{machine.file} cannot be read: No such file or directory"
    machine.file.unlink()
    os.mkfifo(machine.file)
    assert machine.refusal() == f"{machine.file} cannot be read: it is not a file"
    machine.file.unlink()
    machine.file.write_bytes(b"group = '\xff'")
    assert f"{machine.file} is not TOML: 'utf-8' codec" in machine.refusal()
    machine.write("").secret("locksmith.toml.d")
    assert machine.refusal() == f"{machine.file}.d cannot be read: Not a directory"


LOOPBACK = ["http://127.0.0.1:2379", "http://127.1.2.3:2379", "https://localhost:2379", "http://[::1]:2379"]
LOOPBACK += ["http://etcd.localhost:1", "http://LOCALHOST.:1", "http://0.0.0.0:2379", "http://[::ffff:127.0.0.1]:2379"]
ELSEWHERE = ["http://10.0.0.1:2379", "http://[fd00::1]:2379", "http://etcd1:2379", "http://localhost.example:2379"]


def cautions_of(machine, endpoints, strategy="etcd-lock"):
    machine.write(f'strategy = "{strategy}"\netcd.endpoints = {json.dumps(endpoints)}\n')
    return machine.daemon().cautions


@pytest.mark.parametrize("endpoint", LOOPBACK)
def test_a_daemon_whose_endpoints_are_all_on_its_machine_is_warned(machine, endpoint):
    [caution] = cautions_of(machine, [endpoint])
    assert f"all etcd.endpoints are on this machine itself ({endpoint})" in caution
    assert "all may reboot at once" in caution
    assert machine.tool().cautions == (), "the tool is asked too often to say it each time"


@pytest.mark.parametrize("endpoint", ELSEWHERE)
def test_one_endpoint_elsewhere_is_enough(machine, endpoint):
    assert cautions_of(machine, ["http://127.0.0.1:2379", endpoint]) == ()


def test_the_default_endpoints_are_warned_of_too_and_no_strategy_without_a_lock_is(machine):
    machine.write('strategy = "etcd-lock"')
    assert len(machine.daemon().cautions) == 1
    assert cautions_of(machine, LOOPBACK[:1], "reboot") == ()


def test_check_config_shows_every_value_and_its_origin_but_no_password(machine):
    machine.write('[etcd]\nusername = "u"\npassword = "hush"\n[window]\nstart = "sat 2:00"\nlength = "90m"')
    config = machine.daemon({"LOCKSMITHD_GROUP": "prod"}, {"debug": True})
    rows = {key: (value, origin) for key, value, origin in describe(config)}
    assert list(rows) == [name for name in KEYS if name != "etcd.password-file"]
    assert rows["group"] == ('"prod"', "LOCKSMITHD_GROUP")
    assert rows["debug"] == ("true", "--debug")
    assert rows["window.start"] == ('"sat 2:00"', str(machine.file))
    assert rows["window.length"] == ('"1h30m"', str(machine.file))
    assert rows["etcd.api"] == ("3", "the defaults")
    assert rows["etcd.endpoints"] == ('["http://127.0.0.1:2379", "http://127.0.0.1:4001"]', "the defaults")
    assert rows["etcd.cafile"] == ("(not set)", "the defaults")
    assert rows["etcd.password"] == ('"***"', str(machine.file))
    assert "hush" not in repr(config)


def test_what_is_shown_can_be_written_into_a_file(machine):
    machine.write('group = "a\\"b"\n[window]\nstart = "sat 2:00"\nlength = "90m"\n[etcd]\ntimeout = "0.25s"')
    config = machine.daemon()
    lines = [f"{key} = {value}" for key, value, _ in describe(config) if value != "(not set)"]
    assert machine.write("\n".join(lines)).daemon() == config


def test_a_whole_calendar_can_be_shown_and_written_back(machine):
    machine.write(CALENDAR)
    config = machine.daemon()
    lines = [f"{key} = {value}" for key, value, _ in describe(config) if value != "(not set)"]
    assert machine.write("\n".join(lines)).daemon() == config


def test_windows_blackouts_and_sets_come_together(machine):
    window = machine.write(CALENDAR).daemon().window
    assert window.own == WindowSet.parse(
        ["Mon..Fri 02:00 for 3h", "2nd Tue 22:00 for 4h"], ["last Fri"], "Europe/Berlin"
    )
    assert window.known == {"nights": WindowSet.parse(["23:00 for 2h"], [], "UTC")}
    assert (window.sets, window.least, window.splay, window.synced) == (("nights",), timedelta(minutes=20), 0.25, True)


def test_a_drop_in_replaces_a_set_of_windows_by_its_name(machine):
    machine.write('[window-sets.a]\nopen = ["01:00 for 1h"]\n[window-sets.b]\nopen = ["02:00 for 1h"]')
    machine.drop_in("10.toml", '[window-sets.b]\nopen = ["03:00 for 1h"]')
    known = machine.daemon().window.known
    assert known == {"a": WindowSet.parse(["01:00 for 1h"], []), "b": WindowSet.parse(["03:00 for 1h"], [])}


def test_a_window_of_the_environment_replaces_windows_and_sets_but_no_blackout(machine):
    machine.write(CALENDAR)
    window = machine.daemon({"REBOOT_WINDOW_START": "03:00", "REBOOT_WINDOW_LENGTH": "1h"}).window
    assert window.own.windows == (Window.original("03:00", "1h"),)
    assert (window.sets, window.own.blackouts) == ((), (Blackout.parse("last Fri"),))


def test_the_documented_calendars_can_be_used(machine):
    example = re.findall(r"```toml\n(.*?)```", DOCS.with_name("windows.md").read_text(), re.DOTALL)[0]
    assert machine.write(example).daemon().window.own.windows


def test_the_documentation_names_every_key_variable_and_flag_with_its_default():
    text = DOCS.read_text()
    variables = [*DAEMON_VARIABLES, *TOOL_VARIABLES]
    names = {name.rpartition(".")[2] for name in KEYS} | {f"--{flag}" for flag in FLAGS} | set(variables)
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
    shown = [value for _, value, _ in describe(Config()) if value != "(not set)"]
    assert [value for value in shown if f"`{value}`" not in text] == []


def test_the_documented_example_can_be_used(machine):
    example = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    for name in re.findall(r'"/etc/locksmith/(\S+)"', example):
        machine.secret(name)
    config = machine.write(example.replace("/etc/locksmith", str(machine.file.parent))).daemon()
    assert config.strategy == "etcd-lock"
    assert config != replace(Config(), strategy="etcd-lock")


NAMES = st.sampled_from([part for name in KEYS for part in name.split(".")] + ["x", '"a.b"', "[etcd]", "[[window]]"])
VALUES = st.sampled_from(
    ["1", "true", "'x'", "''", "[1]", "{}", "{a = 1}", "02:00:00", "nan", "'1h'", "['http://a']", "[", '"\\u0000"']
)
LINES = st.builds("{} = {}".format, NAMES, VALUES) | NAMES.map("[{}]".format) | st.text(max_size=10)
TOML_LIKE = st.lists(LINES, max_size=6).map("\n".join) | st.text()


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(text=TOML_LIKE)
def test_any_text_is_a_configuration_or_refused(machine, text):
    machine.file.write_bytes(text.encode(errors="surrogatepass"))
    try:
        assert isinstance(machine.daemon(), Config)
    except UsageError as error:
        assert str(error).startswith(str(machine.file))  # noqa: PT017 (most texts are refused, some are not)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(environ=st.dictionaries(st.sampled_from(sorted(DAEMON_VARIABLES)), st.text(max_size=12), max_size=5))
def test_any_environment_is_a_configuration_or_refused(machine, environ):
    try:
        assert isinstance(machine.daemon(environ), Config)
    except UsageError as error:
        assert "REBOOT_" in str(error) or "LOCKSMITHD_" in str(error)  # noqa: PT017 (as above)


def test_a_calendar_that_cannot_be_read_is_named_beside_a_window_that_is_wrong(machine):
    machine.write('[window]\nopen = ["Mon..Fri 25:00 for 1h"]\nblackout-calendars = ["/nowhere.ics"]')
    problems = Problems()
    examine_daemon(machine.paths, {}, {}, problems)
    assert [one.partition(": ")[2][:18] for one in problems.found] == ["window.open cannot", "window.blackout-ca"]
