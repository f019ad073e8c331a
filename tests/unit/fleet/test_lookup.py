"""What a name means: an id, its beginning, a host name or a short one, in any case; what people locked under a name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import (
    BEGINNING,
    HOST_NAME,
    ID,
    SHORT_NAME,
    Match,
    aliases,
    find,
    find_holder,
    find_machine,
    matches,
)
from locksmith.lock.records.claim import MANUAL, REBOOT, Claim
from locksmith.lock.records.semaphore import Semaphore
from tests.builders.nodes import IDLE, NOW

WEB = "7f3a" + "0" * 28
DB = "7f3b" + "0" * 28
NAMES = {WEB: "web-1.example.com", DB: "DB-1"}


def view(*, holders=(), claims=None, names=NAMES):
    machines = {one: replace(IDLE, machine_id=one, hostname=name) for one, name in names.items()}
    known = {**dict.fromkeys(holders), **(claims or {})}
    return GroupView("web", Semaphore(9, tuple(sorted(known))), known, machines=machines)


@pytest.mark.parametrize(
    ("wanted", "machine_id", "how"),
    [
        (WEB, WEB, ID),
        (WEB.upper(), WEB, ID),
        ("7f3a", WEB, BEGINNING),
        ("7F3A0", WEB, BEGINNING),
        ("web-1.example.com", WEB, HOST_NAME),
        ("WEB-1.Example.com", WEB, HOST_NAME),
        ("web-1", WEB, SHORT_NAME),
        ("Web-1.EXAMPLE", WEB, SHORT_NAME),
        ("db-1", DB, HOST_NAME),
    ],
)
def test_a_machine_is_named_in_any_of_these_ways(wanted, machine_id, how):
    assert find(view(), wanted) == [Match(machine_id, how, NAMES[machine_id])]


@pytest.mark.parametrize("wanted", ["7f3", "web", "web-", "example.com", "db-10", "", ".", "7f3c", "web-1."])
def test_what_is_no_name_of_a_machine_means_none(wanted):
    assert find(view(), wanted) == []


def test_a_name_that_may_mean_two_gives_both_the_likeliest_first():
    assert [one.machine_id for one in find(view(), "7f3a")] == [WEB]
    both = view(names={WEB: "n1.example.com", DB: "n1"})
    assert [(one.machine_id, one.how) for one in find(both, "n1")] == [(DB, HOST_NAME), (WEB, SHORT_NAME)]
    begun = view(names={WEB: "", DB: "7f3a"})
    assert [(one.machine_id, one.how) for one in find(begun, "7f3a")] == [(DB, HOST_NAME), (WEB, BEGINNING)]


def test_a_whole_id_means_that_machine_although_another_is_called_so():
    assert find(view(names={WEB: "n1", DB: WEB}), WEB) == [Match(WEB, ID, "n1")]


def test_a_lock_under_a_host_name_hides_no_machine():
    manual = {"db-1": Claim("db-1", MANUAL, "n", NOW, "alice", "desk")}
    assert find(view(claims=manual), "db-1") == [Match(DB, HOST_NAME, "DB-1")]
    assert find_holder(view(claims=manual), "db-1") == [Match("db-1", ID)]
    assert find_holder(view(claims=manual), "DB-1") == [Match("db-1", ID)]
    assert aliases(view(claims=manual), DB) == ["db-1"]
    assert aliases(view(claims=manual), WEB) == []
    assert aliases(view(holders=["web-1", "web-10"]), WEB) == ["web-1"]


def test_what_is_no_machine_is_named_whole_or_up_to_a_dot():
    """By its beginning `node-1` would free the slot of `node-10`."""
    held = view(holders=["node-10.example.com", "rack"])
    assert [one.machine_id for one in find(held, "RACK")] == ["rack"]
    assert [one.machine_id for one in find(held, "node-10")] == ["node-10.example.com"]
    assert find(held, "node-1") == []
    assert find_machine(held, "rack") == []


def test_a_holder_is_found_by_the_name_of_its_machine():
    claim = Claim(WEB, REBOOT, "n", NOW, "locksmithd", "web-1.example.com")
    assert find_holder(view(claims={WEB: claim}, names={}), "web-1") == [Match(WEB, SHORT_NAME, "web-1.example.com")]
    assert find_holder(view(), "web-1") == []


@given(st.dictionaries(st.text("aB1.-", max_size=4), st.text("aB1.-", max_size=4)), st.text("aB1.-", max_size=4))
def test_case_never_counts(names, wanted):
    assert matches(names, wanted.upper()) == matches(names, wanted.lower())
