"""Every state of a small fleet: three machines, two slots, a crash, a lost or late answer, and an operator.

The invariants are those of docs/architecture.md; each rule of the protocol, taken away, breaks one of them.
"""

import os

import pytest

from tests.model.lock import BrokenRuleError, Protocol, explore, must_end, start

WHOLE = "MODEL_FEW" not in os.environ
"""Else the two largest fleets meet fewer faults: the model changes with its own files, and not with the product."""


@pytest.mark.parametrize(
    ("machines", "slots", "faults"),
    [
        (2, 1, {"crashes": 2, "losses": 2 if WHOLE else 1, "acts": 1}),
        (3, 2, {"crashes": 1 if WHOLE else 0, "losses": 1, "acts": 1}),
        (2, 1, {"crashes": 1, "losses": 1, "acts": 1, "rollbacks": 2}),
        (2, 1, {"crashes": 1, "losses": 1, "acts": 2, "freezes": True}),
        (2, 2, {"crashes": 1, "losses": 1, "acts": 0, "ahead": True}),
    ],
    ids=[
        "two machines, one slot, more faults",
        "three machines, two slots",
        "older disks",
        "freezes",
        "releases that read nothing",
    ],
)
def test_in_every_state_the_rules_hold_and_an_end_can_be_reached(machines, slots, faults):
    found = explore(start(machines, slots, **faults))
    must_end(found)
    assert len(found.states) > 20_000


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        ("compares", "takes a slot although none is free"),
        ("settles", "holds a slot, and its journal knows nothing of it"),
        ("journals_first", "holds a slot, and its journal knows nothing of it"),
        ("waits_for_the_boot", "goes down and holds no slot"),
        ("commits", "goes down and holds no slot"),
        ("commits_anew", "goes down and holds no slot"),
        ("heeds_the_record", "hides that its disk is older"),
        ("group_remembers", "reboots once more"),
    ],
)
def test_a_rule_that_is_taken_away_is_missed(rule, breaks):
    with pytest.raises(BrokenRuleError) as caught:
        explore(start(2, 1, crashes=1, losses=1, acts=1, rollbacks=1), Protocol(**{rule: False}))
    assert breaks in caught.value.rule
    assert caught.value.path


@pytest.mark.parametrize("rule", ["checks_what_it_read", "freeze_touches"])
def test_a_freeze_needs_its_touch_and_a_prepared_take_its_checks(rule):
    with pytest.raises(BrokenRuleError, match="although the group is frozen"):
        explore(start(2, 1, crashes=0, losses=0, acts=2, freezes=True), Protocol(**{rule: False}))


def test_a_release_that_reads_nothing_is_guarded_by_what_it_starts_from():
    """Else it throws away the slot of a machine that has taken one since."""
    with pytest.raises(BrokenRuleError, match="goes down and holds no slot"):
        explore(start(2, 2, crashes=0, losses=0, acts=0, ahead=True), Protocol(compares_releases=False))


def test_a_daemon_that_is_not_started_again_leaves_a_slot_for_ever():
    found = explore(start(2, 1, crashes=1, losses=0, acts=0), Protocol(starts_again=False))
    with pytest.raises(BrokenRuleError, match="nothing leads to the end from here"):
        must_end(found)
