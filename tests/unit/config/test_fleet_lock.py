"""The table [fleet-lock]: what is read, what is refused, and what is only a caution."""

import pytest

from locksmith.agent.fleet_lock import API, FleetLockSettings
from locksmith.agent.identity import Target
from locksmith.config.load import load_daemon, load_tool
from locksmith.config.shown import other_lock, read_shown, shown
from locksmith.daemon.assembly import target_of
from locksmith.errors import UsageError
from locksmith.host.paths import Paths

SERVER = 'strategy = "fleet-lock"\n[fleet-lock]\nurl = "https://fl.example/base/"\n'


def daemon(folder, text):
    paths = Paths(folder)
    paths.config.parent.mkdir(parents=True, exist_ok=True)
    paths.config.write_text(text.replace("FILE", str(folder / "file")))
    return load_daemon(paths, {}, {})


@pytest.mark.parametrize("url", ["https://fl.example/base", "https://fl.example/base/", "https://fl.example/base//"])
def test_the_base_url_keeps_its_path(tmp_path, url):
    config = daemon(tmp_path, SERVER.replace("https://fl.example/base/", url))
    assert config.fleet_lock.url == "https://fl.example/base"
    assert target_of(config) == Target("fleet-lock", "", API, ("https://fl.example/base",))
    assert config.cautions == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('strategy = "fleet-lock"\n', 'strategy is "fleet-lock" without fleet-lock.url: name the server there'),
        (SERVER.replace("https:", "ftp:"), "fleet-lock.url must be a URL like https://fleetlock.example"),
        (SERVER.replace("fl.ex", "me:pw@fl.ex"), "fleet-lock.url must not have a user or a password"),
        (SERVER.replace("base/", "?a=b"), "without a query"),
        (SERVER.replace("base", "b\u00e4se"), "fleet-lock.url must be ASCII"),
        (SERVER.replace("base/", "v1/pre-reboot"), "fleet-lock.url must be the base URL"),
        ('group = "a_b"\n' + SERVER, "group must have letters, digits, dots and hyphens alone"),
        (SERVER + 'period = "0s"\n', "fleet-lock.period must be longer than 0s"),
        (SERVER + 'username = "u"\n', "fleet-lock.username is set without fleet-lock.password-file"),
        (SERVER + 'password-file = "FILE"\n', "fleet-lock.password-file is set without fleet-lock.username"),
        (SERVER + 'username = "u:v"\npassword-file = "FILE"\n', "fleet-lock.username must not have a colon"),
        (SERVER + 'username = "u"\npassword-file = "FILE"\ntoken-file = "FILE"\n', "excludes fleet-lock.username"),
        (SERVER + 'token-file = "FILE-not"\n', "cannot be read"),
        (SERVER + 'certfile = "FILE"\n', "fleet-lock.certfile is set without fleet-lock.keyfile"),
        (SERVER + 'cafile = "FILE-not"\n', "cannot be read"),
        (SERVER.replace("https:", "http:") + 'cafile = "FILE"\n', "fleet-lock.cafile has no use"),
        (SERVER + '[window]\nsets = ["nights"]\n', "window.sets names 'nights', which is not in [window-sets]"),
        (SERVER + "retry = 1\n", "fleet-lock.retry is not a key of the configuration"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, text, problem):
    (tmp_path / "file").write_text("hush-hush-1\n")
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(UsageError) as refused:
        daemon(tmp_path, text)
    assert problem in str(refused.value)


def test_stored_windows_are_for_a_machine_that_names_a_store(tmp_path):
    config = daemon(tmp_path, SERVER + '[window]\nsets = ["nights"]\n[etcd]\nendpoints = ["http://10.0.0.1:2379"]\n')
    assert config.window.stored == ("nights",)


def test_a_server_without_the_strategy_is_a_caution(tmp_path):
    config = daemon(tmp_path, SERVER.replace('"fleet-lock"', '"reboot"'))
    assert ["the strategy is reboot, which asks no FleetLock server" in one for one in config.cautions] == [True]


def test_a_secret_without_tls_is_a_caution_but_on_this_machine(tmp_path):
    (tmp_path / "file").write_text("hush-hush-1\n")
    (tmp_path / "file").chmod(0o600)
    text = SERVER.replace("https://fl.example/base/", "http://{}:3333") + 'token-file = "FILE"\n'
    [caution] = daemon(tmp_path, text.format("fl.example")).cautions
    assert "fleet-lock.token-file is sent to http://fl.example:3333 without TLS" in caution
    assert daemon(tmp_path, text.format("127.0.0.1")).cautions == ()


def test_only_the_configured_server_is_shown_the_secret(tmp_path):
    file = tmp_path / "file"
    own = FleetLockSettings(url="https://a/x", id="n", username="u", password_file=file, certfile=file, keyfile=file)
    there = own.at(Target("fleet-lock", "", API, ("https://a/y",), client="old"))
    assert (there.url, there.id, there.password_file, there.certfile) == ("https://a/y", "old", file, file)
    for other in ("https://a.evil/x", "http://a/x", "https://a:444/x"):
        there = own.at(Target("fleet-lock", "", API, (other,)))
        assert (there.url, there.username, there.password_file, there.certfile) == (other, "", None, None)


def test_the_tool_finds_the_server_of_the_running_daemon(tmp_path):
    own = daemon(tmp_path, SERVER + 'id = "n1"\n')
    said = read_shown(shown(own))
    daemon_paths = Paths(tmp_path)
    daemon_paths.config.write_text('strategy = "off"\n')
    tool = load_tool(daemon_paths, {}, {}, said)
    assert target_of(tool) == target_of(own)
    assert not other_lock(tool, said)
    assert "fleet-lock.id" in other_lock(
        load_tool(daemon_paths, {}, {}, read_shown(shown(own) | {"fleet-lock.id": '"n2"'})), said
    )
