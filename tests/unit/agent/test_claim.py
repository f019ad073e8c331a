"""The claim that a machine makes for its own reboot, and whose permission it asked for."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.agent.claim import new_entry
from locksmith.agent.facts import Boot, RebootNeed
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Journal, JournalEntry, Phase, PreRebootState, entry_for, target_of
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.lock.records.cause import Cause
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
TARGET = Target("etcd-lock", "web", 3, ("http://a",))
BEFORE = PreRebootState("update_engine", "flatcar 1.0")


def made(need: RebootNeed, rechecked: datetime | None = None) -> JournalEntry:
    snapshot = Snapshot(NOW, Boot("boot-1", 2), Settings(), journal=Journal(rechecked=rechecked), needs=(need,))
    return new_entry(Member("n1", "web-1"), TARGET, snapshot, BEFORE)


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        (RebootNeed("update_engine", "1.2.3", NOW), "update_engine 1.2.3"),
        (RebootNeed("kernel", "", NOW), "kernel"),
        (RebootNeed("kernel", "6.1", NOW, reason="a new kernel is installed"), "a new kernel is installed"),
    ],
)
def test_a_new_claim_says_whose_it_is_and_why_and_in_which_boot_it_was_made(need, reason):
    entry = made(need, rechecked=NOW)
    claim = Claim(
        "n1",
        REBOOT,
        entry.claim.nonce,
        NOW,
        who=DAEMON,
        hostname="web-1",
        boot_id="boot-1",
        userspace=2,
        version=need.version,
        system="flatcar 1.0",
        reason=reason,
        rechecked=NOW,
        causes=(Cause(need.trigger, need.version),),
    )
    assert entry == JournalEntry(
        claim, "etcd-lock", "web", 3, ("http://a",), Phase.REQUESTED, Boot("boot-1", 2), DAEMON, before=BEFORE
    )


def test_no_two_claims_are_the_same():
    need = RebootNeed("update_engine", "1.2.3", NOW)
    assert len(made(need).claim.nonce) == 32
    assert made(need).claim.nonce != made(need).claim.nonce


def test_a_claim_keeps_whose_permission_it_asked_for():
    claim = Claim("n1", REBOOT, "nonce", NOW)
    named = replace(TARGET, client="web-1")
    entry = entry_for(claim, TARGET, Boot("boot-1"), by="locksmithctl", before=PreRebootState())
    assert target_of(entry) == TARGET
    assert target_of(entry_for(claim, named, Boot("boot-1"), by=DAEMON, before=PreRebootState())).client == "web-1"
    assert target_of(replace(entry, group="db")) == replace(TARGET, group="db")
