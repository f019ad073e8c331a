"""`unlock --stale` frees only what its question was about: the slot changes between the question and the answer.

The real tool asks on a terminal; etcd is real, v2 and v3.
"""

import json
from dataclasses import replace

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.semaphore import Semaphore
from tests.contract.fleets import NEED, api, ctl, fleet, root
from tests.harness.asked import asked

__all__ = ["api", "ctl", "fleet", "root"]


def lock(fleet, story):
    return fleet(lambda store: story(RebootLock(store, fleet.group)))


def gives_back_and_is_locked_by_hand(fleet, claim):
    async def story(lock):
        await lock.release(claim)
        await lock.take(replace(claim, kind=MANUAL, nonce="of alice", who="alice", reason="disk swap"))

    lock(fleet, story)


def gives_back_and_takes_again(fleet, claim):
    async def story(lock):
        await lock.release(claim)
        await lock.take(replace(claim, nonce="the next"))

    lock(fleet, story)


def commits(fleet, claim):
    lock(fleet, lambda lock: lock.commit(claim))


def is_present_again(fleet, claim):
    fleet.present(claim.hostname, state="waiting", **NEED)


def is_unlocked_by_a_colleague(fleet, claim):
    lock(fleet, lambda lock: LockAdmin(lock.guarded).unlock(claim.holder))


CHANGES = [
    (gives_back_and_is_locked_by_hand, "that is another claim than the one that was shown", True),
    (gives_back_and_takes_again, "that is another claim than the one that was shown", True),
    (commits, "is past its point of no return by now", True),
    (is_present_again, "is present again", True),
    (is_unlocked_by_a_colleague, "holds no slot in", False),
]


@pytest.mark.parametrize(("change", "sentence", "held"), CHANGES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_slot_that_changes_after_the_question_is_not_freed_and_the_next_is(ctl, fleet, change, sentence, held):
    fleet.slots(3)
    lost, gone = fleet.claim("n1"), fleet.claim("n2")
    fleet.holds(lost)
    fleet.holds(gone)
    with asked(fleet.flags, "unlock", "--stale", "--reason", "its disk is dead") as tool:
        tool.asks("Free the slot of n1")
        change(fleet, lost)
        tool.answer("y")
        tool.asks("Free the slot of n2")
        assert "not unlocked: " in tool.said
        assert sentence in tool.said.replace("\n", " ")
        tool.answer("y")
        assert tool.ends() == 1
        assert f"unlocked {gone.holder}, which was held" in tool.said
        assert "Error: a slot was not freed, as said above" in tool.said
    left = [one["id"] for one in json.loads(ctl("status", "--json").out)["holders"]]
    assert left == ([lost.holder] if held else [])


def test_a_lost_machine_past_its_commit_is_freed_with_the_warning_of_unlock(ctl, fleet):
    fleet.present("n1", state="rebooting", **NEED)
    fleet.holds(fleet.claim("n1"), committed=True)
    machine_id = fleet.claim("n1").holder

    async def expires(store):
        await store.revoke((await store.get(keys.node_key(fleet.group, machine_id))).entry)

    fleet(expires)
    ended = ctl("unlock", "--stale", "--yes", "--reason", "its disk is dead")
    assert (ended.status, ended.out) == (0, "")
    assert "Warning: n1 is past its point of no return; it was not seen for 15 min or longer" in ended.err


def test_a_lock_without_a_record_is_freed_only_while_the_semaphore_stays_as_it_was(ctl, fleet):
    """A node of CoreOS locksmith that released and took again looks the same: only the version tells."""

    async def taken_again(store):
        key = keys.semaphore_key(fleet.group)
        bare = semaphore.encode(Semaphore(2, ("a-go-node",)))
        await store.swap(key, bare, (await store.get(key)).version)

    fleet(taken_again)
    with asked(fleet.flags, "unlock", "--stale") as tool:
        tool.asks("Free the slot of a-go-node")
        fleet(taken_again)
        tool.answer("y")
        assert tool.ends() == 1
        assert "whether that is still the same lock cannot be told" in tool.said.replace("\n", " ")
    assert "unlocked a-go-node" in ctl("unlock", "--stale", "--yes").err


def test_scripts_are_told_what_was_freed_and_what_was_not(fleet):
    fleet.holds(fleet.claim("n1"))
    with asked(fleet.flags, "unlock", "--stale", "--json") as tool:
        tool.asks("Free the slot of n1")
        is_present_again(fleet, fleet.claim("n1"))
        tool.answer("y")
        assert tool.ends() == 1
        line = next(line for line in tool.said.splitlines() if line.startswith("{"))
    fields = json.loads(line)
    assert (fields["freed"], [one["id"] for one in fields["refused"]]) == ([], [fleet.claim("n1").holder])
