"""The table `[server]`."""

from datetime import timedelta
from ipaddress import ip_network

import pytest

from locksmith.config.load import load_daemon, load_server
from locksmith.config.problems import Problems
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.config.show import describe
from locksmith.config.urls import public_url
from locksmith.errors import UsageError
from locksmith.host.paths import Paths

ANY = 'clients = ["0.0.0.0/0"]\n'


@pytest.fixture
def paths(tmp_path):
    found = Paths(tmp_path)
    found.config.parent.mkdir(parents=True)
    return found


def problems_of(paths, text):
    """What the server would refuse."""
    paths.config.write_text(text)
    problems = Problems()
    load_server(paths, {}, problems)
    return [one.removeprefix(f"{paths.config}: ") for one in problems.found]


def test_without_a_table_the_defaults_serve_no_group(paths):
    paths.config.write_text("")
    assert load_daemon(paths, {}, {}).server == ServerSettings()
    [said] = problems_of(paths, "")
    assert said.startswith("no group is served: write a table [server.groups.NAME] into locksmith.toml")


def test_each_key_is_read_and_shown(paths):
    secret = paths.config.with_name("token")
    secret.write_text("abcdef123456\n")
    paths.config.write_text(f"""
        [server]
        address = "::"
        port = 0
        url = "https://ops.example/locksmith/"
        hook-limit = "1m"
        metrics-clients = ["10.0.0.7"]
        [server.groups.default]
        clients = ["10.0.0.0/8", "192.0.2.7", "10.0.0.0/8", "fd00::/8"]
        limit = "20m"
        window-sets = ["nights"]
        [server.groups.web-1]
        password-file = "{secret}"
    """)
    problems = Problems()
    config = load_server(paths, {}, problems)
    assert problems.found == ()
    server = config.server
    assert (server.address, server.port, server.hook_limit) == ("::", 0, timedelta(minutes=1))
    assert server.metrics_clients == (ip_network("10.0.0.7/32"),)
    networks = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))
    assert server.groups == {
        "default": ServedGroup(networks, limit=timedelta(minutes=20), window_sets=("nights",)),
        "web-1": ServedGroup(password_file=secret),
    }
    shown = {key: value for key, value, _ in describe(config)}
    assert shown["server.port"] == "0"
    assert shown["server.url"] == '"https://ops.example/locksmith"'
    assert (server.prefix, server.is_reached_by_tls) == ("/locksmith", True)
    assert shown["server.metrics-clients"] == '["10.0.0.7/32"]'
    assert shown["server.groups"] == (
        '{"default" = {"clients" = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"], "limit" = "20m", '
        f'"window-sets" = ["nights"]}}, "web-1" = {{"password-file" = "{secret}", "limit" = "15m"}}}}'
    )
    assert "abcdef123456" not in str(shown)


def test_a_drop_in_replaces_a_group_by_its_name(paths):
    paths.config.write_text(f"[server.groups.a]\n{ANY}[server.groups.b]\n{ANY}")
    drop_in = paths.config.with_name("locksmith.toml.d") / "10.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[server.groups.b]\nclients = ["10.0.0.1"]')
    groups = load_daemon(paths, {}, {}).server.groups
    assert [str(groups[name].clients[0]) for name in "ab"] == ["0.0.0.0/0", "10.0.0.1/32"]


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("password-file = '/etc/secret'", 'clients = ["10.0.0.1"]'),
        ("certificates = true", 'clients = ["10.0.0.1"]'),
        ('window-sets = ["nights"]', 'clients = ["10.0.0.1"]'),
        ("", "certificates = true"),
    ],
)
def test_a_drop_in_that_leaves_a_rule_of_its_group_out_is_refused(paths, rule, left):
    """It was to change one rule. Without the others, more clients could reboot, or at more times."""
    paths.config.write_text(f"[server.groups.b]\nclients = ['10.0.0.0/8']\n{rule}")
    drop_in = paths.config.with_name("locksmith.toml.d") / "10.toml"
    drop_in.parent.mkdir()
    drop_in.write_text(f"[server.groups.b]\n{left}")
    with pytest.raises(UsageError) as caught:
        load_daemon(paths, {}, {})
    name = rule.partition(" =")[0] or "clients"
    assert f"{drop_in}: server.groups has the group b without {name}, which an earlier file sets" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groups = 3", "server.groups must be a table of tables, not a whole number"),
        ("groups = {a = 3}", "server.groups must have a table for 'a', not a whole number"),
        ("[server.groups.a]", "server.groups has the group 'a' without a rule that says who its clients are"),
        ("[server.groups.a]\ncertificates = false", "server.groups has the group 'a' without a rule"),
        ("[server.groups.a]\nclients = []", "server.groups has a.clients, which is empty"),
        ("[server.groups.a]\npassword-file = ''", "server.groups has a.password-file, which is empty"),
        (f"[server.groups.'a b']\n{ANY}", "server.groups has the group 'a b', which no FleetLock client can be in"),
        (f"[server.groups.'']\n{ANY}", "server.groups has the group '', which no FleetLock client can be in"),
        (f"[server.groups.'..']\n{ANY}", "server.groups has the group '..', which cannot be used"),
        (f"[server.groups.{'a' * 201}]\n{ANY}", "which no FleetLock client can be in: a name has at most 200"),
        (f"[server.groups.a]\n{ANY}client = 1", "server.groups has a.client, which is no key of a group: known are"),
        ("[server.groups.a]\nclients = '10.0.0.0/8'", "has a.clients, which must be a list of strings, not a string"),
        ("[server.groups.a]\nclients = ['10.1.2.3/8']", "is no range of addresses: did you mean 10.0.0.0/8?"),
        ("[server.groups.a]\nclients = ['web.example']", "is no range of addresses: write ranges like 10.0.0.0/8"),
        ("[server.groups.a]\nclients = ['10.0.0.0/33']", "'10.0.0.0/33', which is no range of addresses: write"),
        (f"[server.groups.a]\n{ANY}limit = '0s'", "has a.limit, which must be longer than 0s and at most 24h"),
        (f"[server.groups.a]\n{ANY}window-sets = 'n'", "has a.window-sets, which must be a list of strings"),
        ("[server.groups.a]\ncertificates = 'yes'", "has a.certificates, which must be true or false"),
        ("[server.groups.a]\npassword-file = 'x'", "has a.password-file, which must be a path from the root on"),
        ("[server.groups.a]\npassword-file = '/none'", "has a.password-file, which names /none, which cannot be read"),
        ("[server.groups.a]\ncertificates = true", "has a.certificates, but no server.client-cafile says who signs"),
        ("prot = 1", "server.prot is not a key of the configuration: did you mean server.port"),
        ("port = 65536", "server.port must be a whole number from 0 to 65535"),
        ("address = ''", "server.address must not be empty"),
        ("certfile = '/x'", "server.certfile is set without server.keyfile: set both or neither"),
        ("client-cafile = '/x'", "server.client-cafile has no use without TLS"),
        (f"certfile = '/x'\nkeyfile = '/x'\n[server.groups.a]\n{ANY}", "server.certfile names /x, which cannot"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_key_and_the_remedy(paths, text, says):
    assert says in problems_of(paths, f"[server]\n{text}")[0]


def test_a_password_that_others_can_change_is_refused_and_a_short_one_warned_of(paths):
    secret = paths.config.with_name("token")
    secret.write_text("short1\n")
    text = f'[server]\naddress = "0.0.0.0"\n[server.groups.a]\npassword-file = "{secret}"'
    secret.chmod(0o666)
    assert "which other users can change" in problems_of(paths, text)[0]
    secret.chmod(0o600)
    assert problems_of(paths, text) == []
    short, plain = load_server(paths, {}, Problems()).cautions
    assert "a password of the group a has less than 12 characters" in short
    assert "the passwords of a are sent to 0.0.0.0 without TLS" in plain


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("# since June\na-password-of-June\n", "a line that begins with #"),
        ("a-password-of-May\n # since June\n", "a line that begins with #"),
        ("a-password-of-May\n \na-password-of-June\n", "1 to 8 lines of text"),
        ("a-password-of-May\n\na-password-of-June\n", "1 to 8 lines of text"),
        (" \t\n", "1 to 8 lines of text"),
        ("#a-password-of-May\n", ""),
    ],
)
def test_no_comment_and_no_blank_line_of_a_file_is_a_password(paths, lines, says):
    secret = paths.config.with_name("passwords")
    secret.write_text(lines)
    secret.chmod(0o600)
    found = problems_of(paths, f'[server.groups.a]\npassword-file = "{secret}"')
    assert [says in one for one in found] == ([True] if says else [])


def test_the_daemon_needs_no_file_of_the_server_and_tells_its_errors(paths):
    paths.config.write_text("[server.groups.a]\npassword-file = '/none'")
    assert load_daemon(paths, {}, {}).server.groups["a"].password_file
    paths.config.write_text("[server.groups.a]\n")
    with pytest.raises(UsageError, match="without a rule"):
        load_daemon(paths, {}, {})


@pytest.mark.parametrize("text", ["start = '03:00'\nlength = '1h'", "blackouts = ['Fri']", "sets = ['night']"])
def test_windows_that_bind_no_client_are_warned_of(paths, text):
    served = f"[server.groups.a]\n{ANY}"
    paths.config.write_text(f"[window]\n{text}\n{served}")
    [said] = load_server(paths, {}, Problems()).cautions
    assert said.startswith("[window] is for this machine's locksmithd alone: the FleetLock clients of a may reboot at ")
    paths.config.write_text(f"[window]\n{text}\n{served}window-sets = ['night']")
    assert load_server(paths, {}, Problems()).cautions == ()
    paths.config.write_text(f"[window]\nzone = 'UTC'\nmin-remaining = '1m'\n{served}")
    assert load_server(paths, {}, Problems()).cautions == ()


@pytest.mark.parametrize("rule", ["password-file = ''", "clients = []"])
def test_a_rule_that_is_empty_is_refused(paths, rule):
    other = ANY if "clients" not in rule else "password-file = '/x'"
    assert "which is empty: leave it out" in problems_of(paths, f"[server.groups.a]\n{rule}\n{other}")[0]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/locksmith", "must be a URL like https://ops.example/locksmith, not '/locksmith'"),
        ("https://olga:secret@ops.example/", "must not have a user or a password in the URL: they are of each caller"),
        ("https://ops.example/l?x=1", "must be a URL like https://ops.example/locksmith, without a query"),
        ("https://ops.example/a%2Fb", "must have a path of letters, digits and . _ ~ - between slashes"),
        ("https://ops.example/a//b", "must have a path of letters, digits and . _ ~ - between slashes"),
        ("https://ops.example/../x", "must have a path of letters, digits and . _ ~ - between slashes"),
        ("https://ops.example/groups/x", "must have a path that does not begin with /groups: "),
    ],
)
def test_a_url_that_no_proxy_can_have_is_refused(paths, url, said):
    found = problems_of(paths, f'[server]\nurl = "{url}"\ngroups.default.certificates = false')
    assert any(one.startswith(f"server.url {said}") for one in found), found
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("url", "prefix", "by_tls"),
    [
        ("", "", False),
        ("http://ops:8080", "", False),
        ("https://ops.example/", "", True),
        ("HTTPS://ops.example/L", "/L", True),
        ("http://o/a/b/", "/a/b", False),
    ],
)
def test_a_url_says_the_path_and_whether_people_come_by_tls(url, prefix, by_tls):
    settings = ServerSettings(url=public_url(url))
    assert (settings.prefix, settings.is_reached_by_tls) == (prefix, by_tls)
