"""One way to name a machine, for all commands, on real etcd, v2 and v3; and what is shown of a machine's name."""

import json
import os
import pty
import re
import subprocess

import pytest

from locksmith.cli.session import act
from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.history import History
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import DAEMON, MANUAL, REBOOT, Claim
from locksmith.lock.records.event import HOLD
from locksmith.lock.records.node import Node
from tests.contract.fleets import NEED, NOW, TOOL, api, ctl, fleet, root
from tests.harness.ctl import plain

__all__ = ["api", "ctl", "fleet", "root"]

N1 = "7f3a" + "1" * 28
N10 = "7f3b" + "2" * 28
WAYS = [N1, N1.upper(), N1[:4], "n1.example.com", "N1.Example.COM", "n1"]


@pytest.fixture
def machines(fleet):
    """Two machines with names like those of a real fleet, and three slots."""
    fleet.slots(3)
    for machine_id, name in ((N1, "n1.example.com"), (N10, "n10.example.com")):
        is_there(fleet, machine_id, name)


def is_there(fleet, machine_id: str, name: str, **changes) -> None:
    record = Node(machine_id, name, "boot", fleet.group, "etcd-lock", **{"state": "idle", "since": NOW, **changes})
    fleet(lambda store: store.create(keys.node_key(fleet.group, machine_id), node.encode(record), ttl=60))


def reboots(fleet, machine_id: str, name: str) -> None:
    claim = Claim(machine_id, REBOOT, f"of {name}", NOW, DAEMON, name, reason="update-engine 4081.2.0")
    fleet.holds(claim)


def held(ctl) -> list[str]:
    return [one["id"] for one in json.loads(ctl("status", "--json").out)["holders"]]


@pytest.mark.usefixtures("machines")
@pytest.mark.parametrize("name", WAYS)
def test_every_command_takes_every_name(ctl, name):
    assert ctl("lock", name, "--reason", "disk swap").status == 0
    assert held(ctl) == [N1]
    assert "locked by" in ctl("why", name).out
    assert "manual" in ctl("history", "--machine", name, "--json").out
    assert ctl("unlock", name).status == 0
    assert held(ctl) == []
    assert ctl("hold", name, "--reason", "a demo").status == 0
    assert list(json.loads(ctl("nodes", "--json").out)["held_back"]) == [N1]
    assert "no longer held back" in ctl("unhold", name).out
    events = json.loads(ctl("history", "--machine", name, "--json").out)["events"]
    assert [(one["act"], one["id"]) for one in events] == [(act, N1) for act in ("lock", "unlock", "hold", "unhold")]


@pytest.mark.usefixtures("machines")
def test_a_slot_for_a_reboot_is_freed_by_the_name_of_its_machine(ctl, fleet):
    """Today: `unlock n1` says "holds no slot" while n1 holds one."""
    reboots(fleet, N1, "n1.example.com")
    assert f"unlocked {N1} (n1.example.com), which was held by n1.example.com for its reboot" in ctl("unlock", "n1").err
    assert f"n10 holds no slot in group {fleet.group}: it is {N10} (n10.example.com" in ctl.fails("unlock", "n10")


@pytest.mark.parametrize(
    "command", [["why"], ["hold", "--reason", "x"], ["unhold"], ["lock"], ["history", "--machine"]]
)
def test_a_name_of_two_machines_lists_both(ctl, fleet, command):
    is_there(fleet, N1, "n1.example.com")
    is_there(fleet, N10, "n1.example.org")
    line = ctl.fails(*command, "n1")
    assert f"name one of {N1} (n1.example.com, by its short host name), {N10} (n1.example.org" in line
    assert held(ctl) == []


def test_of_two_machines_with_one_name_unlock_means_the_one_that_holds(ctl, fleet):
    is_there(fleet, N1, "n1.example.com")
    is_there(fleet, N10, "n1.example.org")
    reboots(fleet, N10, "n1.example.org")
    assert ctl("unlock", "n1").status == 0
    fleet.slots(2)
    reboots(fleet, N10, "n1.example.org")
    reboots(fleet, N1, "n1.example.com")
    assert "n1 is more than one machine" in ctl.fails("unlock", "n1")
    assert held(ctl) == [N1, N10]


def test_people_lock_by_names_that_no_machine_has(ctl, fleet):
    ended = ctl("lock", "n7.example.com", "--reason", "disk swap")
    assert (ended.status, ended.out) == (0, "")
    assert "the slot is held under that name, and keeps no machine from its reboot" in ended.err
    assert held(ctl) == ["n7.example.com"]
    assert "was locked already" in ctl("lock", "N7").err
    is_there(fleet, N1, "n7.example.com")
    told = ctl("why", "n7").out
    assert "n7.example.com needs no reboot" in told
    assert "A slot is held under the name n7.example.com, which does not keep this machine from its reboot" in told
    assert re.search(r"n7\.example\.com +manual", ctl("nodes").out)
    assert re.search(r"n7\.example\.com 7f3a1111 {2}idle", ctl("nodes").out)
    [command] = re.findall("`locksmithctl (unlock [^`]*)`", plain(told))
    assert ctl(*command.split()).status == 0
    assert held(ctl) == []


def test_an_absent_id_still_works(ctl):
    for command in (["lock"], ["unlock"], ["hold", "--reason", "x"], ["unhold"], ["why"]):
        assert ctl(*command, N1.upper()).status == 0
    assert "no machine of the group is called n9" in ctl.fails("hold", "n9", "--reason", "x")


def test_a_hold_binds_no_name_that_an_operator_has_locked(ctl):
    """It would report success, and hold nothing back."""
    ctl("lock", "rack")
    assert "no machine of the group is called rack" in ctl.fails("hold", "rack", "--reason", "x")


@pytest.mark.usefixtures("machines")
def test_the_beginning_of_a_name_frees_nothing(ctl):
    ctl("lock", "node-10")
    assert "node-1 holds no slot" in ctl.fails("unlock", "node-1")
    assert held(ctl) == ["node-10"]


@pytest.mark.usefixtures("machines")
def test_the_exact_id_of_a_holder_comes_first(ctl, fleet):
    """As with CoreOS locksmith: `unlock ID` frees what stands in the semaphore as ID."""
    reboots(fleet, N1, "n1.example.com")
    fleet.holds(Claim("n1", MANUAL, "by hand", NOW, "alice", "desk"))
    assert "unlocked n1, which was held manually by alice" in ctl("unlock", "n1").err
    assert held(ctl) == [N1]


@pytest.mark.usefixtures("machines")
def test_manual_means_the_manual_lock_of_that_name(ctl, fleet):
    reboots(fleet, N1, "n1.example.com")
    fleet.holds(Claim("n1.example.com", MANUAL, "by hand", NOW, "alice", "desk"))
    assert "unlocked n1.example.com, which was held manually" in ctl("unlock", "--manual", "n1").err
    assert held(ctl) == [N1]


def test_no_slot_is_free_says_who_since_when_and_why(ctl, fleet):
    fleet.present("n2", state="rebooting", **NEED)
    fleet.holds(fleet.claim("n2"), committed=True)
    line = ctl.fails("lock", "n9")
    assert re.search(
        r"no slot is free: max is 1, held by n2 since \d\d:\d\d \(rebooting: update-engine 4081.2.0\)", line
    )
    fleet(lambda store: LockAdmin(Guarded(store, fleet.group)).unlock(fleet.claim("n2").holder))
    ctl("lock", "rack", "--reason", "disk swap")
    waited = ctl("lock", "n9", "--wait", "--timeout", "200ms")
    assert re.search(r": no slot is free: .* held by rack since .* \(locked by \w+: disk swap\)", waited.err)


@pytest.mark.usefixtures("machines")
def test_nodes_shows_whole_ids_where_asked_and_names_what_is_locked(ctl):
    ctl("lock", "n1", "--reason", "disk swap " * 9)
    lines = ctl("nodes", "--ids").out.splitlines()
    assert [line.split()[:3] for line in lines[2:]] == [
        ["MACHINE", "ID", "STATE"],
        ["n1.example.com", N1, "manual"],
        ["n10.example.com", N10, "idle"],
    ]
    assert lines[3].endswith("disk swap")
    assert N1 not in ctl("nodes").out


def on_a_terminal(fleet, *command: str) -> list[str]:
    """Run the tool with its standard output on a terminal; give the lines."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [TOOL, *fleet.flags, *command], check=True, stdin=subprocess.DEVNULL, stdout=theirs, timeout=30
    )
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    return said.replace("\r\n", "\n").splitlines()


@pytest.mark.usefixtures("machines")
def test_status_shows_names_on_a_terminal_and_to_scripts_what_it_always_did(ctl, fleet):
    reboots(fleet, N10, "n10.example.com")
    for name in ("n1", "rack"):
        ctl("lock", name)
    head = ["Available: 0", "Max: 3", ""]
    assert ctl("status").out.splitlines() == [*head, "MACHINE ID", N1, N10, "rack"]
    assert on_a_terminal(fleet, "status") == [
        *head,
        f"MACHINE ID{' ' * 22}  NAME",
        f"{N1}  n1.example.com",
        f"{N10}  n10.example.com",
        "rack",
    ]


def test_status_on_a_terminal_without_holders_names_the_group(fleet, capfd):
    assert on_a_terminal(fleet, "status") == ["Available: 1", "Max: 1"]
    assert f"(group {fleet.group})" in capfd.readouterr().err


@pytest.mark.usefixtures("machines")
def test_the_history_of_one_machine_has_the_records_of_earlier_versions(ctl, fleet):
    old = act(HOLD, "a demo", f"n1 ({N1})")
    fleet(lambda store: History(store, fleet.group).add(old))
    ctl("lock", "n10")
    events = json.loads(ctl("history", "--machine", "n1", "--json").out)["events"]
    assert [one["act"] for one in events] == ["hold"]
    assert "no machine is called n9" in ctl.fails("history", "--machine", "n9")
