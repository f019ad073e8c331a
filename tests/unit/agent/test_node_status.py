"""What a machine shows of itself: the step of its loop, in a record that changes seldom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot, RebootNeed, WindowSight
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Journal, JournalEntry, Phase
from locksmith.agent.node_status import describe, describe_unobserved
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Commit, Idle, Wait
from locksmith.lock.answer import Granted
from locksmith.lock.records import node
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.window.splay import Splay
from tests.harness.windows import original

NOW = datetime(2026, 5, 1, 2, 10, 5, 123456, tzinfo=UTC)
MEMBER, TARGET = Member("m1", "n1"), Target("etcd-lock", "web", 3, ("http://127.0.0.1:2379",))
QUIET = Snapshot(NOW, Boot("boot-1"), Settings("etcd-lock"))
NEEDING = replace(QUIET, needs=(RebootNeed("update-engine", "4081.2.0", NOW - timedelta(hours=1)),))


def at(hour: int) -> datetime:
    return NOW.replace(hour=hour, minute=0, second=0, microsecond=0)


def test_an_idle_machine():
    shown = describe(Idle(), QUIET, MEMBER, TARGET)
    assert (shown.name, shown.group, shown.strategy, shown.boot_id) == ("n1", "web", "etcd-lock", "boot-1")
    assert (shown.state, shown.code, shown.need, shown.window_opens) == ("idle", "", "", None)


@pytest.mark.parametrize(
    "step", [Wait("queue", "queued for a slot: number 3 of 9, after n2"), Wait("slot", "held by n7")]
)
def test_in_line_nothing_is_said_that_changes_with_each_slot_given_back(step):
    shown = describe(step, NEEDING, MEMBER, TARGET)
    assert (shown.state, shown.code, shown.reason) == ("waiting", "queue", "queued for a slot")


def test_a_wait_that_ends_shows_when():
    until = NOW + timedelta(minutes=15)
    shown = describe(Wait("retry", "the last reboot failed: no", until), NEEDING, MEMBER, TARGET)
    assert shown.until == until.replace(microsecond=0)


def test_an_error_is_tried_again_every_few_seconds_which_is_no_end():
    shown = describe(Wait("store", "no endpoint answers", NOW + timedelta(seconds=5)), NEEDING, MEMBER, TARGET)
    assert (shown.code, shown.until) == ("store", None)


def test_a_window_shows_when_it_opens_and_while_open_when_it_closes():
    open_now = replace(NEEDING, window=WindowSight(original("02:00", "1h")))
    shown = describe(Idle(), open_now, MEMBER, TARGET)
    assert (shown.window_opens, shown.window_closes) == (at(2), at(3))
    closed = replace(NEEDING, window=WindowSight(original("04:00", "1h")))
    shown = describe(Idle(), closed, MEMBER, TARGET)
    assert shown.window_opens == at(4)
    assert shown.window_closes is None


def test_the_machines_own_moment_in_its_window_is_shown_where_splay_makes_it_later():
    closed = replace(NEEDING, window=WindowSight(original("04:00", "1h")))
    assert describe(Idle(), closed, MEMBER, TARGET).window_moment is None
    splayed = replace(closed, settings=replace(closed.settings, splay=Splay(0.5, "m1")))
    shown = describe(Idle(), splayed, MEMBER, TARGET)
    assert shown.window_opens is not None
    assert shown.window_moment is not None
    assert shown.window_opens < shown.window_moment
    assert node.decode(node.encode(shown), "key", "m1") == shown


def test_a_record_reads_back_as_the_same():
    for step in (Idle(), Commit(), Wait("window", "closed", NOW + timedelta(hours=1))):
        shown = describe(step, NEEDING, MEMBER, TARGET)
        assert node.decode(node.encode(shown), "key", "m1") == shown


def test_only_a_machine_with_a_slot_says_how_long_its_record_counts():
    claim = Claim("m1", "reboot", "nonce", NOW)
    entry = JournalEntry(claim, "etcd-lock", "web", 3, TARGET.endpoints, Phase.REQUESTED, QUIET.boot, DAEMON)
    waiting = replace(NEEDING, journal=Journal(entry))
    held = replace(waiting, answer=Granted())
    back = replace(waiting, boot=Boot("boot-2"))
    seen = [describe(Wait("queue", "queued for a slot"), one, MEMBER, TARGET) for one in (QUIET, waiting, held, back)]
    assert [one.lasts for one in seen] == [0, 0, node.TTL, node.TTL]
    assert [one.written is not None for one in seen] == [False, False, True, True]
    for one in seen:
        assert node.decode(node.encode(one), "key", "m1") == one


def test_a_machine_that_lost_its_bus_on_the_way_down_is_not_lost_earlier():
    step = Wait("bus", "the bus is gone")
    assert describe_unobserved(step, NOW, MEMBER, TARGET, "n", longer=600).lasts == node.TTL + 600


def test_while_it_goes_down_the_record_counts_for_as_long_as_the_reboot_may_take():
    claim = Claim("m1", "reboot", "nonce", NOW)
    entry = JournalEntry(claim, "etcd-lock", "web", 3, TARGET.endpoints, Phase.COMMITTED, QUIET.boot, DAEMON)
    down = replace(NEEDING, journal=Journal(entry))
    seen = describe(Wait("rebooting", "the reboot was asked for"), down, MEMBER, TARGET)
    assert seen.lasts == node.TTL + down.settings.limit.total_seconds()
    back = describe(Wait("verifying", "rebooted"), replace(down, boot=Boot("boot-2")), MEMBER, TARGET)
    assert back.lasts == node.TTL


@pytest.mark.parametrize(("claim", "lasts"), [("n", node.TTL), (None, node.TTL), ("", None)])
def test_an_unobserved_machine_that_may_hold_a_slot_is_not_present_for_ever(claim, lasts):
    """Each change of etcd's leader starts its lease again."""
    shown = describe_unobserved(Wait("host", "the bus is away"), NOW, MEMBER, TARGET, claim)
    assert node.lasts(node.encode(shown), "k", "m1", leased=True) == lasts


def test_what_keeps_a_machine_from_looking_at_itself_fits_into_its_record():
    shown = describe_unobserved(Wait("defect", "x" * 2_000_000), NOW, MEMBER, TARGET, "n")
    assert node.decode(node.encode(shown), "k", "m1").claim == "n"
