"""Files that other users of the machine can read, change, lock or replace. Root is needed, as for the daemon."""

import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from locksmith.errors import HostError
from locksmith.host.coordinator import Coordinator, CoordinatorState
from locksmith.host.trust import changeable_by_others, read_regular, readable_by_others
from locksmith.lock.records import keys, node, semaphore
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.semaphore import Semaphore
from locksmith.util.zincati import client_of
from tests.contract.fleets import MACHINE, NEED, ctl, fleet, root
from tests.contract.programs import program
from tests.harness.waiting import until

__all__ = ["ctl", "fleet", "root"]

NOBODY = 65534
ID, OTHER = "cafe" + "1" * 28, "2" * 32

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of other users need root")


@pytest.fixture
def api():
    return 3


@pytest.fixture
def public(monkeypatch):
    """Give a folder that every user can enter, as the tests' own is not; the tool's files lie there too."""
    folder = Path(tempfile.mkdtemp(prefix="locksmith-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "etc").mkdir()
    (folder / "etc/machine-id").write_text(f"{MACHINE}\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secrets/password"
    path.parent.mkdir(mode=0o755)
    path.write_text("pass: word\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def told(tmp_path, ctl):
    """Give what the tool says with this configuration, and its status."""

    def call(text):
        file = tmp_path / "etc/locksmith/locksmith.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return ctl("status")

    return call


def give_to_a_group(path):
    """Let a group of others write a file."""
    os.chown(path, 0, 12345)
    path.chmod(0o620)


def with_file(path):
    return f'[etcd]\nusername = "locksmith"\npassword-file = "{path}"\n'


def locked_by_nobody(path):
    """Have a user without rights hold the lock of a file, until their standard input ends."""
    command = ["/usr/bin/flock", "--timeout", "5", str(path), "sh", "-c", "echo ready; read _"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.chmod(0o606), "every user can change {path}: `chmod go-w {path}`"),
        (give_to_a_group, "the group 12345 can change {path}: `chmod g-w"),
        (lambda path: os.chown(path, NOBODY, 0), "{path} belongs to the user nobody, who can change it: `chown root"),
        (lambda path: path.parent.chmod(0o777), "every user can change {folder}: `chmod go-w {folder}`"),
        (lambda path: os.chown(path.parent, NOBODY, 0), "{folder} belongs to the user nobody, who can change it"),
    ],
)
def test_a_password_file_that_others_can_change_is_refused_with_the_command(told, secret, change, sentence):
    assert "other users" not in told(with_file(secret)).err
    change(secret)
    ended = told(with_file(secret))
    assert ended.status == 2
    assert f"etcd.password-file names {secret}, which other users can change: " in ended.err
    assert sentence.format(path=secret, folder=secret.parent) in ended.err


def test_a_link_is_as_good_as_its_target_and_the_way_there(told, secret, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(secret)
    assert "other users" not in told(with_file(link)).err
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "password").write_text("x")
    link.unlink()
    link.symlink_to("aside/../aside/password")
    assert "other users" not in told(with_file(link)).err
    aside.chmod(0o777)
    assert f"every user can change {aside}" in told(with_file(link)).err


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device", "empty", "large", "binary", "loop", "lines"])
def test_a_password_file_that_is_none_is_refused_at_once(told, tmp_path, kind):
    path = tmp_path / "odd"
    match kind:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "folder":
            path.mkdir(0o700)
        case "socket":
            os.mknod(path, 0o600 | stat.S_IFSOCK)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case _:
            path.write_bytes({"empty": b"", "large": b"x" * 5000, "binary": b"\xff\0\x80", "lines": b"a\nb\n"}[kind])
    ended = told(with_file(path))
    assert (ended.status, ended.out) == (2, "")
    assert f"etcd.password-file names {path}, which " in ended.err


def test_a_configuration_that_is_a_pipe_does_not_hang_a_program(tmp_path, ctl):
    (tmp_path / "etc/locksmith").mkdir()
    os.mkfifo(tmp_path / "etc/locksmith/locksmith.toml")
    ended = ctl("status")
    assert (ended.status, "it is not a file" in ended.err) == (2, True)


@pytest.mark.parametrize("where", ["etc/locksmith/locksmith.toml", "etc/locksmith"])
def test_a_configuration_that_others_can_change_is_not_used_by_root(told, tmp_path, where):
    assert told('group = "web"\n').status == 0
    place = tmp_path / where
    place.chmod(0o777)
    ended = told('group = "web"\n')
    assert ended.status == 2
    assert f"is not used, because other users can change it: every user can change {place}: `chmod go-w" in ended.err


def test_a_configuration_with_tables_in_tables_without_end_is_refused_at_once(told):
    ended = told("a." * 20_000 + "a = 1\n")
    assert (ended.status, "nested too deeply" in ended.err) == (2, True)
    assert "more than the 262144 bytes" in told("#" * 300_000).err


def test_the_tool_warns_of_secrets_that_others_can_read(ctl, public):
    secret, file = public / "password", public / "etc/locksmith/locksmith.toml"
    file.parent.mkdir()
    secret.write_text("pass: word")
    file.write_text(with_file(secret))
    said = ctl("status").err
    assert f"Warning: every user can read {secret}, which has a secret in it: `chmod go-rwx {secret}`" in said
    os.chown(secret, 0, 12345)
    secret.chmod(0o640)
    assert f"Warning: the group 12345 can read {secret}" in ctl("status").err
    secret.chmod(0o600)
    assert "Warning" not in ctl("status").err
    file.write_text('[etcd]\nusername = "locksmith"\npassword = "pass: word"\n')
    said = ctl("status").err
    assert f"Warning: every user can read {file}" in said
    assert "pass: word" not in said


def test_a_secret_in_a_folder_that_others_cannot_enter_needs_no_warning(secret):
    secret.chmod(0o644)
    secret.parent.chmod(0o700)
    assert readable_by_others(secret) == ""


def test_the_daemon_warns_of_secrets_at_its_start_and_with_check_config(site, public):
    async def story(node):
        secret = node.paths.root / "password"
        secret.write_text("x")
        node.configure(site.settings(etcd={"username": "u", "password-file": str(secret)}))
        status, said = await node.run("locksmithd", "--check-config")
        assert (status, f"Warning: every user can read {secret}" in said) == (0, True)
        await node.start_daemon()
        await node.says(f"WARNING every user can read {secret}, which has a secret in it: `chmod go-rwx {secret}`")

    site.folder = public
    site.play(story, running=False)


def test_no_machine_reboots_while_others_can_remove_a_hook_that_was_refused(site):
    async def story(node):
        folder = program(node, "pre-reboot.d/10-drain", "true").parent
        folder.chmod(0o777)
        node.need_reboot("2.0")
        await node.says(f"waiting (host): the folder {folder} is not used, because other users can change it")
        assert node.machine.reboots == 0
        folder.chmod(0o755)
        await node.rebooted(limit=60)

    site.play(story)


@pytest.mark.parametrize("folder", ["state", "run"])
def test_the_daemon_does_not_begin_where_others_can_change_what_it_remembers(site, folder):
    async def story(node):
        place = getattr(node.paths, folder)
        place.mkdir(parents=True)
        os.chown(place, NOBODY, NOBODY)
        await node.start_daemon()
        assert await node.ended() == (2 if folder == "run" else 1), "/run/locksmith is one of the configuration's"
        assert f"the folder {place} is not used, because other users can change it" in node.said
        assert f"`chown root {place}`" in node.said
        os.chown(place, 0, 0)
        place.chmod(0o755)
        await node.start_daemon()
        await node.says("idle")

    site.play(story, running=False)


@pytest.mark.parametrize("change", ["program", "folder"])
def test_a_check_that_others_can_change_is_never_run_and_holds_the_reboot(site, tmp_path, change):
    async def story(node):
        folder = node.paths.program_folders("check")[0]
        folder.mkdir(parents=True)
        program, ran = folder / "mine", tmp_path / "ran"
        program.write_text(f"#!/bin/sh\ntouch {ran}\n")
        program.chmod(0o755)
        place = program if change == "program" else folder
        place.chmod(0o777)
        node.need_reboot("4081.2.0")
        await node.says("because other users can change it: every user can change")
        assert f"`chmod go-w {place}`" in node.said
        assert not ran.exists()
        assert node.machine.reboots == 0
        place.chmod(0o755)
        code, said = await node.tool("recheck")
        assert code == 0, said
        await until(lambda: node.machine.reboots == 1 and ran.exists(), "an operator who has put it right waits")

    site.play(story)


def test_a_user_who_locks_the_old_coordinator_conf_is_of_no_account(public):
    path = public / "coordinator.conf"
    earlier = Coordinator(path)
    earlier.set("reboot", CoordinatorState.RUNNING)
    earlier.close()
    foreign = locked_by_nobody(path)
    coordinator = Coordinator(path)
    try:
        for state in (CoordinatorState.REBOOT_PLANNED, CoordinatorState.REBOOTING):
            coordinator.set("reboot", state)
            assert f"STATE={state}\n" in path.read_text()
            assert subprocess.run(["flock", "--nonblock", path, "true"], check=False).returncode == 1
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
        with pytest.raises(HostError, match="two reboot coordinators"):
            Coordinator(path).set("reboot", CoordinatorState.RUNNING)
    finally:
        coordinator.close()
        foreign.communicate(b"")


def test_a_daemon_keeps_coordinator_conf_though_a_user_holds_its_lock(site, public):
    async def story(node):
        path = node.paths.coordinator
        path.parent.mkdir(parents=True)
        path.write_text("NAME=locksmithd\nSTRATEGY=reboot\nSTATE=running\n")
        foreign = locked_by_nobody(path)
        try:
            await node.start_daemon()
            await until(lambda: "STRATEGY=etcd-lock" in path.read_text(), "the daemon writes its own file")
            await node.says("idle")
            assert "coordinator" not in node.said
        finally:
            foreign.communicate(b"")

    site.folder = public
    site.play(story, running=False)


def test_what_leads_to_a_file_is_looked_at_link_by_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text("x")
    (tmp_path / "way").symlink_to(real)
    assert changeable_by_others(tmp_path / "way/file") == ""
    os.lchown(tmp_path / "way", NOBODY, NOBODY)
    assert changeable_by_others(tmp_path / "way/file").startswith(f"{tmp_path / 'way'} belongs to the user nobody")
    assert read_regular(tmp_path / "way/file", 1) == b"x"
    with pytest.raises(OSError, match="more than the 0 bytes"):
        read_regular(tmp_path / "way/file", 0)


def present(fleet, machine_id, hostname):
    """Have a machine show itself with an id and a host name of its own."""
    found = replace(fleet.present("x", **NEED), machine_id=machine_id, hostname=hostname)
    key = keys.node_key(fleet.group, machine_id)
    fleet(lambda store: store.create(key, node.encode(found), ttl=60))

    async def gone(store):
        key = keys.node_key(fleet.group, f"x-{'0' * 28}")
        await store.delete(key, (await store.get(key)).version)

    fleet(gone)


def held(fleet):
    """Name the ids that are held back."""
    listing = fleet(lambda store: store.list(keys.holds_prefix(fleet.group)))
    return [entry.key.rpartition("/")[2] for entry in listing.entries]


@pytest.mark.parametrize("command", [("hold", "--reason", "x"), ("unhold",), ("why",)], ids=lambda words: words[0])
def test_a_host_name_that_is_the_beginning_of_another_id_is_asked_about(ctl, fleet, command):
    present(fleet, ID, "web1")
    present(fleet, OTHER, "cafe")
    said = ctl.fails(command[0], "cafe", *command[1:])
    assert f"{OTHER} (cafe, by its host name), {ID} (web1, by the beginning of its id)" in said
    assert held(fleet) == []
    assert ctl(command[0], OTHER, *command[1:]).status == 0
    assert ctl(command[0], "web1", *command[1:]).status == 0


def test_a_hold_of_a_machine_is_not_one_of_an_id_that_was_locked_by_hand(ctl, fleet):
    """The id `web1` is no machine: a hold of it would hold nothing back."""
    present(fleet, ID, "web1")
    fleet.slots(3)
    fleet.holds(fleet.claim("web1", MANUAL, "alice"))
    assert ctl("hold", "web1", "--reason", "x").status == 0
    assert held(fleet) == [ID, client_of(ID)]


def test_a_lock_by_hand_gives_no_machine_the_name_of_its_operators_host(ctl, fleet):
    present(fleet, ID, "admin1")
    fleet.slots(3)
    fleet.holds(replace(fleet.claim("rack", MANUAL, "alice"), hostname="admin1"))
    assert ctl("hold", "admin1", "--reason", "x").status == 0
    assert held(fleet) == [ID, client_of(ID)]


def test_lock_and_unlock_by_host_name_are_about_the_machine_or_the_exact_holder(ctl, fleet):
    present(fleet, ID, "web1")
    fleet.slots(3)
    assert ctl("lock", "web1", "--reason", "x").status == 0
    assert [one["id"] for one in json.loads(ctl("status", "--json").out)["holders"]] == [ID]
    bare = semaphore.encode(Semaphore(3, (ID, "web1")))

    async def bare_lock(store):
        key = keys.semaphore_key(fleet.group)
        await store.swap(key, bare, (await store.get(key)).version)

    fleet(bare_lock)
    assert ctl("unlock", "web1").status == 0
    assert [one["id"] for one in json.loads(ctl("status", "--json").out)["holders"]] == [ID]
    assert ctl("unlock", "web1").status == 0
    assert json.loads(ctl("status", "--json").out)["holders"] == []


@pytest.mark.parametrize("kind", ["link", "folder", "file"])
def test_the_command_against_others_works_when_it_is_pasted(public, kind):
    """`chown` without -h changes what a link leads to, and leaves the link."""
    place = public / "it's a secret; $(id)"
    match kind:
        case "link":
            (public / "target").write_text("x")
            place.symlink_to(public / "target")
        case "folder":
            place.mkdir(mode=0o777)
            place.chmod(0o777)
        case "file":
            place.write_text("x")
            place.chmod(0o666)
    os.lchown(place, NOBODY, 12345)
    for _ in range(3):
        if problem := changeable_by_others(place):
            command = problem.partition(": `")[2].removesuffix("`")
            subprocess.run(["/bin/sh", "-c", command], check=True, cwd=public)
    assert changeable_by_others(place) == ""


@pytest.mark.parametrize(("members", "refused"), [([], False), (["daemon"], False), (["daemon", "alice"], True)])
def test_the_group_that_a_user_alone_is_in_is_no_group_of_others(public, monkeypatch, members, refused):
    """Many systems give each user such a group, and have files be writable for it (umask 002)."""
    user = pwd.getpwnam("daemon")
    group = grp.struct_group(("daemon", "x", user.pw_gid, members))
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: group)
    monkeypatch.setattr(os, "geteuid", lambda: user.pw_uid)
    secret = public / "folder/password"
    secret.parent.mkdir()
    secret.write_text("x")
    for path, mode in ((secret, 0o664), (secret.parent, 0o775)):
        os.chown(path, user.pw_uid, user.pw_gid)
        path.chmod(mode)
    said = changeable_by_others(secret)
    assert said == (f"the group {user.pw_gid} can change {secret.parent}: `chmod g-w {secret.parent}`" * refused)
