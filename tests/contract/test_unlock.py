"""`unlock` in scripts and at a terminal: the slot of a machine that is not through its reboot needs a yes.

The real tool; etcd is real, v2 and v3.
"""

import json

import pytest

from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import FAILED, MANUAL, UNHEALTHY
from locksmith.lock.records.states import NOT_HEALTHY
from tests.contract.fleets import MACHINE, NEED, api, ctl, fleet, root
from tests.harness.asked import asked
from tests.harness.waiting import until

__all__ = ["api", "ctl", "fleet", "root"]


def held(ctl) -> list[str]:
    return [one["id"] for one in json.loads(ctl("status", "--json").out)["holders"]]


def went_wrong(fleet, claim, how: str, failure: str) -> None:
    fleet(lambda store: RebootLock(store, fleet.group).report_failure(claim, how, failure))


def committed(fleet, name: str = "n1", **shown):
    """Have a machine past its point of no return, which is present and shows this."""
    fleet.present(name, **{"state": "rebooting", "claim": f"of {name}", **NEED, **shown})
    claim = fleet.claim(name)
    fleet.holds(claim, committed=True)
    return claim


SICK = f"{NOT_HEALTHY}web"
SHOWN = [
    ({"state": "rebooting"}, "n1 is rebooting or about to, which nothing stops now"),
    ({"state": "verifying", "reason": "web.service has not started yet"}, "n1 has rebooted, and has not proved itself"),
    (
        {"state": "verifying", "reason": SICK},
        "n1 has rebooted, and has not proved itself healthy yet: web",
    ),
    ({"state": "releasing"}, "n1 has rebooted, and releases its slot by itself"),
    ({"state": "stuck", "reason": "no shutdown began"}, "n1 is stuck in its reboot: no shutdown began"),
    ({"state": "waiting", "reason": "no bus"}, "n1 is past its point of no return, and waiting: no bus"),
    ({"state": "idle", "claim": ""}, "n1 has rebooted, and does not know its claim any more"),
]


@pytest.mark.parametrize(("shown", "sentence"), SHOWN, ids=[sentence for _, sentence in SHOWN])
def test_a_script_frees_no_slot_of_a_machine_that_is_not_through_its_reboot(ctl, fleet, shown, sentence):
    claim = committed(fleet, **shown)
    refused = ctl.fails("unlock", claim.holder)
    assert sentence in refused
    assert "another machine may go down as well; nothing was unlocked" in refused
    assert held(ctl) == [claim.holder]
    ended = ctl("unlock", "--force", claim.holder)
    assert (ended.status, ended.out) == (0, "")
    assert f"Warning: {sentence}" in ended.err
    assert held(ctl) == []


@pytest.mark.parametrize(("how", "word"), [(UNHEALTHY, "UNHEALTHY"), (FAILED, "FAILED")])
def test_a_machine_that_came_up_sick_keeps_its_slot_when_its_unit_stops(ctl, fleet, how, word):
    """`ExecStopPost=locksmithctl unlock`: the next machine would go down."""
    claim = committed(fleet, state=how)
    went_wrong(fleet, claim, how, "web.service has failed")
    assert f"n1 has rebooted and is {word}: web.service has failed" in ctl.fails("unlock", claim.holder)
    assert held(ctl) == [claim.holder]


def test_a_machine_whose_presence_cannot_be_read_counts_as_there(ctl, fleet):
    fleet.holds(fleet.claim("n1"), committed=True)
    key = keys.node_key(fleet.group, fleet.claim("n1").holder)
    fleet(lambda store: store.create(key, b"rubbish", ttl=60))
    assert "what it shows of itself cannot be read" in ctl.fails("unlock", fleet.claim("n1").holder)


def test_a_record_that_cannot_be_read_hides_no_reboot(ctl, fleet):
    claim = committed(fleet)
    key = keys.holder_key(fleet.group, claim.holder)

    async def rubbish(store):
        await store.swap(key, b"rubbish", (await store.get(key)).version)

    fleet(rubbish)
    assert "and is rebooting" in ctl.fails("unlock", claim.holder)
    assert ctl("unlock", "--force", claim.holder).status == 0


def test_scripts_free_what_else_they_may(ctl, fleet):
    """A claim before its point of no return, a lost machine's, a manual lock: as with CoreOS locksmith."""
    fleet.slots(3)
    fleet.present("n1", state="preparing", **NEED)
    for claim in (fleet.claim("n1"), fleet.claim("rack", MANUAL, "alice")):
        fleet.holds(claim)
        ended = ctl("unlock", claim.holder)
        assert (ended.status, ended.out, "Warning" in ended.err) == (0, "", False)
    fleet.holds(fleet.claim("n2"), committed=True)
    assert (
        "n2 is past its point of no return; it was not seen for 15 min" in ctl("unlock", fleet.claim("n2").holder).err
    )
    assert held(ctl) == []


@pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, 0), ("n", 1, 1)])
def test_on_a_terminal_it_says_what_the_machine_does_and_asks(ctl, fleet, answer, status, left):
    claim = committed(fleet, state="verifying")
    with asked(fleet.flags, "unlock", claim.holder) as tool:
        tool.asks("has not proved itself healthy yet. Without its slot another machine may go down as well.")
        tool.answer(answer)
        assert tool.ends() == status
    assert len(held(ctl)) == left


def test_what_changes_after_the_question_is_not_freed(ctl, fleet):
    claim = committed(fleet, state="verifying")
    with asked(fleet.flags, "unlock", claim.holder) as tool:
        tool.asks("Free it all the same?")
        went_wrong(fleet, claim, UNHEALTHY, "web.service has failed")
        tool.answer("y")
        assert tool.ends() == 1
        assert "was written since it was shown" in tool.said.replace("\n", " ")
    assert held(ctl) == [claim.holder]


def test_manual_ends_a_manual_lock_and_nothing_else(ctl, fleet):
    fleet.slots(2)
    claim = committed(fleet)
    assert ctl("lock", "--reason", "podman auto-update").status == 0
    assert f"unlocked {MACHINE}, which was held manually" in ctl("unlock", "--manual").err
    again = ctl("unlock", "--manual")
    assert (again.status, again.out) == (0, "")
    assert f"nothing to unlock: {MACHINE} holds no slot" in again.err
    assert again.err.count(fleet.group) == 1
    other = ctl("unlock", "--manual", claim.holder)
    assert (other.status, other.out) == (0, "")
    assert "has no manual lock. Its slot stays: it is held by n1 for its reboot since " in other.err
    fleet.present("n2")
    assert f"nothing to unlock: {fleet.claim('n2').holder} (n2) holds no slot" in ctl("unlock", "--manual", "n2").err
    assert held(ctl) == [claim.holder]


def test_manual_frees_neither_a_claim_before_its_commit_nor_a_legacy_lock(ctl, fleet):
    fleet.slots(2)
    fleet.holds(fleet.claim("n1"))
    bare = b'{"semaphore":0,"max":2,"holders":["a-go-node","%s"]}' % fleet.claim("n1").holder.encode()

    async def taken(store):
        key = keys.semaphore_key(fleet.group)
        await store.swap(key, bare, (await store.get(key)).version)

    fleet(taken)
    for holder in (fleet.claim("n1").holder, "a-go-node"):
        fields = json.loads(ctl("unlock", "--manual", holder, "--json").out)
        assert (fields["freed"], fields["undone"]) == (False, None)
    assert len(held(ctl)) == 2


@pytest.mark.parametrize("other", ["--stale", "--force"])
def test_manual_stands_alone(ctl, other):
    assert "--manual ends a manual lock only" in ctl.fails("unlock", "--manual", other, status=2)


def test_the_history_says_how_far_the_reboot_had_come(ctl, fleet):
    claim = committed(fleet, state="verifying")
    ctl("unlock", "--force", claim.holder, "--reason", "its disk is dead")
    [event] = json.loads(ctl("history", "--json").out)["events"]
    assert "n1 has rebooted, and has not proved itself healthy yet" in event["detail"]


def test_a_unit_that_stops_on_a_sick_machine_sends_no_other_machine_down(site):
    """With real daemons: `ExecStopPost=locksmithctl unlock` on a machine that came up sick."""

    async def story(first, second):
        first.need_reboot("4081.2.0")
        await until(lambda: first.machine.reboots == 1, "the first goes down")
        first.machine.failed_units = ["web.service"]
        await first.says("unhealthy: web.service has failed")
        second.need_reboot("4081.2.0")
        await second.says("waiting (halt): the group is halted: n1 is unhealthy: web.service has failed")

        status, said = await first.tool("unlock")
        assert (status, "n1 has rebooted and is UNHEALTHY: web.service has failed" in said) == (1, True)
        status, said = await first.tool("unlock", "--manual")
        assert (status, "nothing to unlock: " in said) == (0, True)
        assert (site.lock.holders, second.reboots) == ([first.machine_id], 0)

        status, said = await second.tool("unlock", "--force", "N1", "--reason", "web.service is not needed")
        assert (status, f"unlocked {first.machine_id} (n1), which was held by n1 for its reboot" in said) == (0, True)
        await second.rebooted()

    site.play(story, nodes=2, health={"limit": "1s"})
