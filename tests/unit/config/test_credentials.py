"""Credentials: each stands for one key, a contradiction is refused, and the tool finds those of the daemon."""

import os
import re
from pathlib import Path

import pytest

from locksmith.config.credentials import NAMES
from locksmith.config.load import examine_daemon, load_daemon, load_tool
from locksmith.config.problems import Problems
from locksmith.config.show import describe
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.util.tls_files import how_to_renew

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


class Machine:
    def __init__(self, root):
        self.paths, self.folder = Paths(root), root / "given"
        self.environ = {"CREDENTIALS_DIRECTORY": str(self.folder)}
        self.folder.mkdir()
        self.write("")

    def write(self, text):
        self.paths.config.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config.write_text(f"#\n{text}")

    def give(self, *names, folder=None):
        folder = folder or self.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text(f"content-of-{name}")
            (folder / name).chmod(0o400)

    def daemon(self, **environ):
        return load_daemon(self.paths, {**self.environ, **environ}, {})

    def refusal(self, **environ):
        with pytest.raises(UsageError) as refused:
            self.daemon(**environ)
        return str(refused.value)


ALL = """
strategy = "etcd-lock"
[etcd]
endpoints = ["https://10.0.0.1:2379"]
username = "u"
[alerts]
alertmanager = "https://10.0.0.1"
username = "u"
[fleet-lock]
url = "https://10.0.0.1"
username = "u"
"""


UNUSED = (
    "{} sets fleet-lock.url, and the strategy is etcd-lock, which asks no FleetLock server: "
    'write strategy = "fleet-lock", or leave [fleet-lock] out'
)


def test_each_credential_is_the_file_of_its_key(machine):
    machine.write(ALL)
    machine.give(*(name for name in NAMES if not name.endswith(".token")), "other.secret")
    config = machine.daemon()
    rows = {name: (value, origin) for name, value, origin in describe(config)}
    for name, key in NAMES.items():
        if not name.endswith(".token") and name != "etcd.password":
            assert rows[key.name] == (f'"{machine.folder / name}"', f"the credential {name}")
    assert rows["etcd.password"] == ('"***"', "the credential etcd.password")
    assert (config.store.password, config.cautions) == (
        "content-of-etcd.password",
        (UNUSED.format(machine.paths.config),),
    )
    assert "content-of" not in repr(config)


@pytest.mark.parametrize(
    ("credential", "text", "key"),
    [
        ("etcd.key", "etcd.keyfile = '/a'", "etcd.keyfile"),
        ("etcd.ca", "etcd.cafile = '/a'", "etcd.cafile"),
        ("etcd.password", "etcd.username = 'u'\netcd.password-file = '/a'", "etcd.password-file"),
        ("etcd.password", "etcd.username = 'u'\netcd.password = 'hush'", "etcd.password"),
        ("alerts.token", "[alerts]\nalertmanager = 'http://a'\nusername = 'u'", "alerts.username"),
        ("metrics.crt", "metrics.certfile = '/a'", "metrics.certfile"),
        ("etcd.ca", "etcd.cafile = ''", "etcd.cafile"),
        ("etcd.password", "etcd.username = 'u'\netcd.password = ''", "etcd.password"),
        ("alerts.token", "[alerts]\nalertmanager = 'http://a'\nusername = ''", "alerts.username"),
    ],
)
def test_a_credential_and_a_setting_of_the_same_key_exclude_each_other(machine, credential, text, key):
    machine.write(text)
    machine.give(credential)
    assert machine.refusal().startswith(
        f"{machine.paths.config}: {key} excludes the credential {credential} of locksmithd.service: keep one of them"
    )


def test_a_folder_of_credentials_that_does_not_exist_is_refused(machine):
    machine.folder.rmdir()
    said = f"CREDENTIALS_DIRECTORY names the folder {machine.folder}, which does not exist: correct it"
    assert machine.refusal() == said
    assert load_tool(machine.paths, machine.environ, {}).unread == "", "the tool may run without the daemon"
    machine.folder.mkdir()
    assert machine.daemon().store.cafile is None


def test_a_credential_with_a_name_like_those_known_is_named(machine):
    machine.give("etcd.cert", "metrics.pem", "etcd", "other.secret")
    known = f"is not used: known are {', '.join(NAMES)}"
    assert machine.daemon().cautions == (f"the credential etcd.cert {known}", f"the credential metrics.pem {known}")


def test_a_variable_excludes_a_credential_and_its_own_path_does_not(machine):
    machine.give("etcd.ca")
    assert machine.refusal(LOCKSMITHD_ETCD_CAFILE="/a").startswith("LOCKSMITHD_ETCD_CAFILE: etcd.cafile excludes the")
    machine.write(f"etcd.cafile = '{machine.folder}/etcd.ca'\netcd.endpoints = ['https://10.0.0.1:2379']")
    assert machine.daemon().store.cafile == machine.folder / "etcd.ca"


def test_what_a_key_needs_its_credential_needs_too(machine):
    machine.give("etcd.key")
    assert machine.refusal().startswith("the credential etcd.key: etcd.keyfile is set without etcd.certfile")
    (machine.folder / "etcd.key").rename(machine.folder / "etcd.password")
    assert machine.refusal() == "the credential etcd.password: etcd.password-file is set without etcd.username"


def test_a_username_without_a_password_names_both_ways(machine):
    machine.write("etcd.username = 'u'")
    assert "in etcd.password-file, or load the credential etcd.password" in machine.refusal()


def test_the_tool_and_the_check_use_the_running_daemons_or_those_of_their_own_unit(machine):
    machine.write("etcd.username = 'u'")
    machine.give("etcd.password", folder=machine.paths.credentials)
    used = machine.paths.credentials / "etcd.password"
    used.chmod(0o600)
    used.write_text("the-daemons")
    problems = Problems()
    assert examine_daemon(machine.paths, {}, {}, problems).store.password == "the-daemons"
    assert problems.found == ()
    assert load_tool(machine.paths, machine.environ, {}).store.password == "the-daemons", "its own has none"
    machine.give("etcd.password")
    assert load_tool(machine.paths, machine.environ, {}).store.password == "content-of-etcd.password"
    assert load_tool(machine.paths, {}, {"etcd_password": "typed"}).store.password == "typed"
    with pytest.raises(UsageError, match="is set without a password"):
        load_daemon(machine.paths, {}, {})


def test_a_tool_that_cannot_read_them_says_who_can(machine, monkeypatch):
    def listdir(folder, real=os.listdir):
        if Path(folder) == machine.paths.credentials:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr("locksmith.config.credentials.os.listdir", listdir)
    folder = machine.paths.credentials
    said = f"the credentials of locksmithd.service cannot be read (Permission denied: {folder}): run it as root"
    assert load_tool(machine.paths, {}, {}).unread == said
    problems = Problems()
    examine_daemon(machine.paths, {}, {}, problems)
    assert problems.found == (said,)
    with pytest.raises(UsageError, match="Permission denied"):
        load_daemon(machine.paths, {"CREDENTIALS_DIRECTORY": str(folder)}, {})
    machine.write("etcd.username = 'u'")
    with pytest.raises(UsageError, match=r"is set without a password.*; the credentials of locksmithd\.service cannot"):
        load_tool(machine.paths, {}, {})


def test_an_expired_credential_needs_a_restart_and_another_file_none(machine):
    assert how_to_renew(machine.paths.credentials / "etcd.crt").endswith("`systemctl restart locksmithd.service`")
    assert how_to_renew(machine.paths.config) == "renew it, no restart is needed"


def test_the_page_and_the_example_name_the_credentials_that_there_are():
    page = (REPOSITORY / "docs/credentials.md").read_text()
    example = (REPOSITORY / "contrib/systemd/20-credentials.conf").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []
    named = re.findall(r"Credential(?:Encrypted)?=([\w.]+):", page + example)
    assert named
    assert set(named) <= NAMES.keys()
