"""What an operator sees of a fleet: `why`, `nodes`, `groups` and the live views, on real etcd."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.lock.absence import note_absent
from locksmith.lock.records import keys, member, node
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from tests.contract.fleets import NEED, NOW, TOOL, Fleet, api, ctl, fleet, root
from tests.harness.ctl import Ctl, flags_for, plain
from tests.harness.etcd import wait_until

__all__ = ["api", "ctl", "fleet", "root"]


QUEUED = {"state": "waiting", "code": "queue", "reason": "queued for a slot", **NEED}


def timeless(sentence):
    """Leave out how many seconds something has been so: a second may go by between two calls."""
    return re.sub(r"for \d+ s", "for a moment", sentence)


def test_why_tells_from_any_machine_who_is_before_it(ctl, fleet):
    for name in ("n5", "n7"):
        fleet.present(name, **QUEUED)
    fleet.present("n2", state="rebooting", **NEED)
    fleet.holds(fleet.claim("n2"), committed=True)
    fleet.stands("n5", "n6", "n7")
    for machine in ("n7", "n7-00"):
        ended = ctl("why", machine)
        assert (ended.status, ended.err) == (0, "")
        first, second = ended.out.splitlines()
        assert first.startswith("n7 needs a reboot for update 4081.2.0 (since ")
        assert second.startswith(f"It is third in the queue of group {fleet.group}: n2 has held the slot for ")
        assert second.endswith(" s (rebooting), n5 is next.")
    fields = json.loads(ctl("why", "n7", "--json").out)
    assert (fields["schema"], fields["name"], fields["position"], fields["waiting"]) == (1, "n7", 3, 3)
    assert [timeless(sentence) for sentence in fields["why"]] == [first, timeless(second)]
    assert fields["node"]["need"]["version"] == "4081.2.0"


def test_why_without_a_name_is_about_this_machine(ctl, fleet, tmp_path):
    # Not the id of all these tests, which may still be present in a group of another one.
    (tmp_path / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    ended = ctl("why")
    assert ended.out.startswith("locksmithd does NOT run on this machine"), ended
    assert f" shows no presence in group {fleet.group}." in ended.out, ended


def test_a_machine_that_vanished_is_shown_with_the_time_and_with_what_it_needed(ctl, fleet):
    name, now = f"n3-{'0' * 28}", datetime.now(UTC)
    seen = now - timedelta(hours=2)
    known = Member(name, "n3", seen, "update 4081.2.0", seen)
    fleet.present("n4")
    fleet(lambda store: store.create(keys.member_key(fleet.group, name), member.encode(known)))
    [row] = [line for line in ctl("nodes").out.splitlines() if line.startswith("n3")]
    assert row.split(maxsplit=2)[1] == "absent"
    assert "not seen for 15 min or longer, needed a reboot" in row
    for number in range(3):
        other = Member(f"m{number}", "", seen)
        fleet(lambda store, other=other: store.create(keys.member_key(fleet.group, other.name), member.encode(other)))
    assert fleet(lambda store: note_absent(store, fleet.group, now)) == 4
    since = f"{(now - timedelta(minutes=15)).astimezone():%H:%M}"
    [row] = [line for line in ctl("nodes").out.splitlines() if line.startswith("n3")]
    assert f"not seen since {since}, needed a reboot" in row
    out = ctl("why", "n3").out
    assert f"n3 is not present in group {fleet.group}: not seen since {since}." in out
    assert "It had needed a reboot for 2 h: update 4081.2.0." in out
    command = re.search("`locksmithctl (forget [^`]*)`", plain(out))
    assert command is not None
    assert ctl(*command[1].split()).status == 0
    assert "n3" not in ctl("nodes").out


def test_why_finds_a_machine_of_another_group(ctl, wheel_etcd, api):
    other = Fleet(wheel_etcd, api, f"other-{uuid.uuid4()}")
    name = f"m{uuid.uuid4()}"
    other.present(name)
    ended = ctl("why", name)
    assert ended.out == f"{name} needs no reboot: no trigger asks for one.\n"
    assert f"{name} is in group {other.group}" in ended.err


def test_why_names_the_other_group_in_each_command_so_that_it_works_when_pasted(ctl, wheel_etcd, api):
    other = Fleet(wheel_etcd, api, f"other {uuid.uuid4()}")
    name = f"m{uuid.uuid4()}"
    machine_id = other.present(name).machine_id
    there = Ctl(ctl._monkeypatch, ctl._capfd, *other.flags)
    assert there("hold", name, "--reason", "disk swap").status == 0
    assert there("freeze", "--reason", "release").status == 0
    assert there("lock", machine_id).status == 0
    said = ctl("why", name).out
    again = json.loads(ctl("why", name, "--json").out)["why"]
    assert [re.sub(r"for \d+ s", "for a while", line) for line in again] == [
        re.sub(r"for \d+ s", "for a while", line) for line in said.splitlines()
    ]
    commands = [shlex.split(words) for words in re.findall("`locksmithctl (.*?)`", said)]
    assert {"thaw", "unhold", "unlock"} <= {word for words in commands for word in words}
    for words in commands:
        assert ctl(*words).status == 0
    assert not re.search("held back|frozen|holds a slot", ctl("why", name).out)


def test_why_of_nobody_and_of_two_at_once_is_an_error_that_helps(ctl, fleet):
    assert "see `locksmithctl nodes`" in plain(ctl.fails("why", f"nobody-{uuid.uuid4()}"))
    fleet.present("n1")
    key = keys.node_key(fleet.group, "another-id")
    record = node.encode(Node("another-id", "n1", "b", fleet.group, "etcd-lock", "idle", NOW))
    fleet(lambda store: store.create(key, record, ttl=60))
    line = ctl.fails("why", "n1")
    assert "n1 is more than one machine" in line
    assert "another-id" in line


def test_nodes_shows_everybody_and_what_is_lost_first(ctl, fleet):
    fleet.slots(4)
    fleet.present("n2", state="rebooting", **NEED)
    fleet.present("n4", **QUEUED)
    fleet.present("n5")
    fleet.holds(fleet.claim("n2"), committed=True)
    fleet.holds(fleet.claim("n1"), committed=True)
    fleet.holds(fleet.claim("rack", MANUAL, "alice"))
    fleet.stands("n4")
    ended = ctl("nodes")
    assert (ended.status, ended.err) == (0, "")
    total, _, head, *lines = ended.out.splitlines()
    assert total == f"group {fleet.group}: 3 of 4 slots held, 1 queued, 3 present, 1 LOST, HALTED"
    assert head.split() == ["MACHINE", "STATE", "FOR", "WINDOW", "WHY"]
    assert [line.split()[0] for line in lines] == ["n1", "n2", "rack", "n4", "n5"]
    assert "LOST" in lines[0]
    assert "\x1b" not in ended.out


def test_nodes_shows_machines_by_state_and_by_name(ctl, fleet):
    fleet.slots(2)
    fleet.present("web-1.example.org")
    fleet.present("web-2", **QUEUED)
    fleet.present("db-1")
    fleet.holds(fleet.claim("db-2"), committed=True)
    fleet.stands("web-2")

    def shown(*flags):
        ended = ctl("nodes", *flags)
        assert ended.status == 0
        return [line.split()[0] for line in ended.out.splitlines()[3:]], ended.err

    assert shown("--state", "queued") == (["web-2"], "")
    assert shown("--state", "LOST", "--state", "idle") == (["db-2", "db-1", "web-1.example.org"], "")
    assert shown("--name", "WEB-*") == (["web-2", "web-1.example.org"], "")
    assert shown("--name", "web-1") == (["web-1.example.org"], "")
    assert shown("--name", "web-*", "--state", "idle") == (["web-1.example.org"], "")
    assert shown("--trigger", "update-engine", "--state", "queued") == (["web-2"], "")
    assert shown("--trigger", "kernel")[0] == []
    assert shown("--strategy", "etcd-lock", "--name", "web-*")[0] == shown("--name", "web-*")[0]
    assert shown("--strategy", "another")[0] == []
    names, said = shown("--state", "que")
    assert (names, said) == ([], "no machine here is shown by these filters; the states are LOST, idle and queued\n")
    fields = json.loads(ctl("nodes", "--name", "web-2", "--json").out)
    assert ([one["hostname"] for one in fields["nodes"]], fields["holders"], fields["present"]) == (["web-2"], [], 3)


def test_nodes_shows_all_groups_and_a_group_after_the_command(ctl, wheel_etcd, api):
    groups = [Fleet(wheel_etcd, api, f"g-{uuid.uuid4()}") for _ in range(2)]
    for number, one in enumerate(groups):
        one.present(f"n{number}")
    out = ctl("nodes", "--group", groups[1].group).out
    assert "n1" in out
    assert "n0" not in out
    ctl.flags = [flag for flag in ctl.flags if not flag.startswith("-group")]
    out = ctl("nodes", "--all-groups").out
    assert all(f"group {one.group}: " in out for one in groups)
    only = ctl("nodes", "--all-groups", "--name", "n1").out
    assert groups[1].group in only
    assert groups[0].group not in only
    found = {one["group"]: one["nodes"] for one in json.loads(ctl("nodes", "--all-groups", "--json").out)["groups"]}
    assert [one["hostname"] for one in found[groups[0].group]] == ["n0"]
    refused = ctl("nodes", "--all-groups", "--group", "web")
    assert (refused.status, refused.err) == (2, "Error: --all-groups is about every group: name no group with it\n")


def test_a_pipe_gets_whole_lines_unless_columns_says_otherwise(ctl, fleet, monkeypatch):
    fleet.present("n1", state="waiting", reason="because " * 40)
    assert ("because " * 40).strip() in ctl("nodes").out
    monkeypatch.setenv("COLUMNS", "60")
    lines = ctl("nodes").out.splitlines()[2:]
    assert max(map(len, lines)) <= 60
    assert lines[-1].endswith("…")


@pytest.mark.parametrize("command", ["nodes", "status"])
def test_a_dumb_terminal_gets_blocks_without_control_sequences(fleet, command):
    fleet.present("n1", state="rebooting")
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    said = bytearray()

    def read() -> bytes:
        with contextlib.suppress(BlockingIOError):
            said.extend(os.read(ours, 65536))
        return bytes(said)

    with subprocess.Popen(
        [TOOL, *fleet.flags, command, "--watch"],
        env={**os.environ, "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        try:
            wait_until(lambda: b"0 of 1 slots held" in read(), "the first view is shown")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    assert b"\x1b" not in read()
    os.close(ours)
    os.close(theirs)


def test_nodes_as_json(ctl, fleet):
    fleet.present("n5")
    fleet.holds(fleet.claim("n1"))
    fleet.stands("n5")
    fields = json.loads(ctl("nodes", "--json").out)
    assert (fields["schema"], fields["group"], fields["max"], fields["available"], fields["lost"]) == (
        *(1, fleet.group),
        *(1, 0, 1),
    )
    assert [holder["how"] for holder in fields["holders"]] == ["lost"]
    assert [waiter["hostname"] for waiter in fields["waiters"]] == ["n5"]
    assert [machine["hostname"] for machine in fields["nodes"]] == ["n5"]


def test_nodes_of_an_empty_group(ctl, fleet):
    assert ctl("nodes").out == f"group {fleet.group}: 0 of 1 slots held, 0 queued, 0 present\n"


def test_a_record_that_cannot_be_read_hides_no_other(ctl, fleet):
    fleet.present("n5")
    fleet(lambda store: store.create(keys.node_key(fleet.group, "n6"), b"rubbish", ttl=60))
    ended = ctl("nodes")
    assert "n5" in ended.out
    assert "cannot be read" in ended.err


def test_groups_has_a_line_for_each(ctl, fleet):
    fleet.present("n5")
    fleet.holds(fleet.claim("n1"), committed=True)
    ended = ctl("groups")
    assert "HALTED" in ended.out
    assert ended.out.splitlines()[0].split() == ["GROUP", "MAX", "SHARE", "HELD", "WAITING", "PRESENT", "LOST", "STATE"]
    [fields] = [one for one in json.loads(ctl("groups", "--json").out)["groups"] if one["group"] == fleet.group]
    assert (fields["max"], fields["held"], fields["present"], fields["lost"]) == (1, 1, 1, 1)


@contextlib.contextmanager
def watching(fleet, *args: str):
    """Run a live view whose output is piped; give what it has said so far."""
    said = bytearray()
    with subprocess.Popen([TOOL, *fleet.flags, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output = process.stdout
        assert output is not None
        os.set_blocking(output.fileno(), False)

        def read() -> str:
            said.extend(output.read() or b"")
            return said.decode()

        try:
            yield process, read
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)


def test_a_piped_view_tells_each_change(fleet):
    with watching(fleet, "status", "--watch") as (process, said):
        wait_until(lambda: "0 of 1 slots held" in said(), "the first view is shown")
        fleet.holds(fleet.claim("n1"))
        wait_until(lambda: "1 of 1 slots held" in said(), "the slot is seen to be taken")
        fleet.stands("n5")
        wait_until(lambda: "1. n5, for" in said(), "the line is seen")
    assert process.returncode == 130


def test_a_piped_view_as_json_is_an_object_a_line(fleet):
    with watching(fleet, "nodes", "--watch", "--json") as (_, said):
        wait_until(lambda: said().count("\n") >= 1, "the first view is shown")
        fleet.present("n5")
        wait_until(lambda: said().count("\n") >= 2, "the machine is seen")
        views = [json.loads(line) for line in said().splitlines()]
    assert [view["present"] for view in views[:2]] == [0, 1]


@pytest.mark.parametrize("command", ["status", "nodes"])
def test_a_view_on_a_terminal_is_drawn_in_place(fleet, command):
    fleet.holds(fleet.claim("n1"))
    fleet.present("n5", **QUEUED)
    fleet.stands("n5")
    ours, theirs = pty.openpty()
    said = bytearray()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command_line = [TOOL, *fleet.flags, command, "--watch"]
    with subprocess.Popen(command_line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.set_blocking(ours, False)

        def read() -> str:
            with contextlib.suppress(BlockingIOError, OSError):
                said.extend(os.read(ours, 65536))
            return said.decode(errors="replace")

        wait_until(lambda: "1 of 1 slots held, 1 queued" in read() and "n5" in read(), "the view is drawn")
        wait_until(lambda: "done: 0 of 2" in read(), "the progress is drawn")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: read() is not None and process.poll() is not None, "it ends")
    os.close(ours)
    assert process.returncode == 130
    assert "Traceback" not in said.decode(errors="replace")


def test_without_rich_a_live_view_says_how_to_get_it(fleet, tmp_path):
    hidden = tmp_path / "hidden/rich"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not here')\n")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(hidden.parent)}
    command_line = [TOOL, *fleet.flags, "status", "--watch"]
    done = subprocess.run(
        command_line, check=False, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, timeout=30
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert b"pip install 'locksmith[tool]'" in done.stderr


def test_a_view_outlives_an_etcd_that_goes_away(site):
    flags = flags_for(site.etcd, group=site.group)
    fleet = Fleet(site.etcd, 3, site.group)
    fleet.flags = flags
    with watching(fleet, "status", "--watch") as (process, said):
        wait_until(lambda: "0 of 1 slots held" in said(), "the first view is shown")
        with site.etcd_away():
            wait_until(lambda: "[as it was since" in said(), "it says that the view is old")
        fleet.holds(fleet.claim("n1"))
        wait_until(lambda: "1 of 1 slots held" in said(), "it goes on")
    assert process.returncode == 130


def test_at_the_start_etcd_has_to_be_there(fleet):
    done = subprocess.run(
        [TOOL, "-endpoint", "http://127.0.0.1:1", "status", "--watch"], check=False, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Error: no etcd endpoint could be used")
    del fleet
