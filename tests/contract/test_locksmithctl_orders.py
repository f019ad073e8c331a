"""`freeze`, `thaw`, `hold`, `unhold`, `resume`, `unlock --stale`: an operator's orders, on real etcd, v2 and v3."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import MANUAL, UNHEALTHY
from locksmith.lock.records.semaphore import Semaphore
from tests.contract.fleets import NEED, NOW, api, ctl, fleet, root
from tests.harness.ctl import plain

__all__ = ["api", "ctl", "fleet", "root"]


def gone_wrong(fleet, name: str) -> None:
    """Have a machine that reboots come up sick."""
    fleet.present(name)
    fleet.holds(fleet.claim(name), committed=True)
    fleet(
        lambda store: RebootLock(store, fleet.group).report_failure(
            fleet.claim(name), UNHEALTHY, "web.service has failed"
        )
    )


def test_a_freeze_says_who_is_too_late_and_what_it_replaces_and_a_thaw_ends_it(ctl, fleet):
    fleet.present("n1", state="rebooting", **NEED)
    fleet.holds(fleet.claim("n1"), committed=True)
    ended = ctl("freeze", "--reason", "the database moves", "--for", "2h")
    assert (ended.status, ended.out.splitlines()[0].startswith(f"group {fleet.group} is frozen until ")) == (0, True)
    assert "n1 is past the point of no return: it reboots, which nothing stops now" in ended.err

    fields = json.loads(ctl("freeze", "--reason", "it moves on", "--json").out)
    assert fields["freeze"]["reason"] == "it moves on"
    assert fields["replaced"]["reason"] == "the database moves"
    assert [one["name"] for one in fields["too_late"]] == ["n1"]
    assert "is frozen by" in ctl("why", "n1").out

    assert "is no longer frozen; that was by " in ctl("thaw").out
    assert ctl("thaw").out == f"nothing to end: group {fleet.group} is not frozen\n"
    acts = [event["act"] for event in json.loads(ctl("history", "--json").out)["events"]]
    assert acts == ["freeze", "freeze", "thaw"]


def test_a_freeze_warns_of_nodes_that_obey_only_the_number_and_fences_them(ctl, fleet):
    bare = semaphore.encode(Semaphore(3, ("a-go-node",)))
    fleet(lambda store: store.create(keys.semaphore_key(fleet.group), bare))
    assert "Warning: a-go-node hold a slot without a record" in ctl("freeze", "--reason", "x").err
    ended = ctl("freeze", "--reason", "x", "--legacy")
    assert (ended.status, "Warning" in ended.err) == (0, False)
    assert json.loads(ctl("status", "--json").out)["max"] == 0
    refused = ctl("freeze", "--reason", "x", "--for", "1h")
    assert (refused.status, "so max would stay 0" in refused.err) == (1, True)
    assert ctl("thaw").status == 0
    assert json.loads(ctl("status", "--json").out)["max"] == 3


def test_a_hold_names_one_machine_and_a_release_lets_it_go(ctl, fleet):
    fleet.present("n1", state="waiting", code="hold", **NEED)
    assert (
        plain(ctl("hold", "n1", "--reason", "a demo runs on it").out)
        == f"n1 is held back in group {fleet.group}; `locksmithctl unhold n1` ends it\n"
    )
    assert "It is held back by" in ctl("why", "n1").out
    assert "held back" in ctl("nodes").out
    assert ctl("unhold", "n1", "--reason", "it is over").out.startswith(
        f"n1 is no longer held back in group {fleet.group}; that was by "
    )
    assert ctl("unhold", "n1").out == f"nothing to end: n1 is not held back in group {fleet.group}\n"
    unknown = ctl("hold", "n9", "--reason", "x")
    assert (unknown.status, "no machine of the group is called n9" in unknown.err) == (1, True)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--until", "18:30", "--for", "1h"), "say the same thing"),
        (("--until", "tomorrow"), "--until must be a time like 18:30, 2026-12-24 or 2026-12-24T18:30"),
        (("--until", "2020-01-01T00:00"), "is past"),
        (("--for", "-1h"), "is past"),
        (("--for", "soon"), "--for: "),
    ],
)
def test_times_that_cannot_be_used_are_bad_usage(ctl, args, sentence):
    ended = ctl("freeze", "--reason", "x", *args)
    assert ended.status == 2
    assert sentence in ended.err


def test_a_freeze_until_a_day_includes_it_and_one_for_days_lasts_so_long(ctl, fleet):
    fleet.slots(1)
    assert "until Sat 2100-12-25 00:00:00" in ctl("freeze", "--reason", "x", "--until", "2100-12-24").out
    frozen = json.loads(ctl("freeze", "--reason", "x", "--for", "2w 1d", "--json").out)["freeze"]
    since, until = (datetime.fromisoformat(frozen[name]) for name in ("since", "until"))
    assert until - since == timedelta(days=15)


def test_an_order_needs_a_reason(ctl):
    assert ctl("freeze").status == 2
    assert ctl("hold", "n1").status == 2


def test_the_group_may_stand_behind_the_order(ctl, fleet):
    other = f"{fleet.group}-b"
    assert ctl("freeze", "--group", other, "--reason", "x", "--yes").out.startswith(f"group {other} is frozen")
    assert ctl("thaw").out == f"nothing to end: group {fleet.group} is not frozen\n"
    assert "no longer frozen" in ctl("thaw", "--group", other).out


def test_resume_acknowledges_by_name_and_once(ctl, fleet):
    gone_wrong(fleet, "n2")
    assert "HALTED" in ctl("nodes").out
    assert json.loads(ctl("nodes", "--json").out)["incidents"][0]["name"] == "n2"
    ended = ctl("resume", "--reason", "repaired")
    assert ended.out.splitlines() == [
        "acknowledged: n2 is unhealthy: web.service has failed",
        f"group {fleet.group} may reboot",
    ]
    assert "HALTED" not in ctl("nodes").out
    assert "UNHEALTHY" in ctl("nodes").out
    assert ctl("resume").out == f"group {fleet.group} may reboot: nothing had gone wrong in it\n"


def test_unlock_stale_frees_lost_and_long_unknown_holders_and_nothing_else(ctl, fleet):
    fleet.slots(5)
    fleet.present("n3", state="rebooting", **NEED)
    fleet.holds(fleet.claim("n3"), committed=True)
    fleet.holds(fleet.claim("n1"), committed=False)
    fleet.holds(fleet.claim("rack", MANUAL, "alice"))
    old = replace(fleet.claim("shelf", MANUAL, "alice"), since=NOW - timedelta(days=3))

    async def long_ago(store):
        lock = RebootLock(store, fleet.group, clock=lambda: NOW - timedelta(days=3))
        await lock.take(old)

    fleet(long_ago)
    asked = ctl("unlock", "--stale")
    assert (asked.status, "no question can be asked" in asked.err) == (2, True)
    both = ctl("unlock", "--stale", "n1")
    assert (both.status, "name no machine with it" in both.err) == (2, True)
    fields = json.loads(ctl("unlock", "--stale", "--yes", "--json").out)
    assert sorted(one["id"].partition("-")[0] for one in fields["freed"]) == ["n1", "shelf"]
    assert sorted(holder["id"].partition("-")[0] for holder in json.loads(ctl("status", "--json").out)["holders"]) == [
        "n3",
        "rack",
    ]
    assert "nothing was freed" in ctl("unlock", "--stale", "--yes").err
