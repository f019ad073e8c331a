"""Every state of one FleetLock client between two servers; each rule of the servers, taken away, breaks something."""

import pytest

from tests.model.desk import Protocol, World, explore
from tests.model.lock import BrokenRuleError, must_end

FAULTS = World(losses=1, kills=2, acts=0, others=0)
PEOPLE = World(losses=1, kills=0, acts=1, others=1)


@pytest.mark.parametrize("beginning", [FAULTS, PEOPLE], ids=["killed twice", "an operator, and another machine"])
def test_in_every_state_a_client_that_reboots_holds_a_slot_and_an_end_can_be_reached(beginning):
    found = explore(beginning)
    must_end(found)
    assert len(found.states) > 5_000


@pytest.mark.parametrize(
    ("rule", "beginning"),
    [
        ("commits", PEOPLE),
        ("waits_for_a_slot", PEOPLE),
        ("takes_with_its_place", FAULTS),
        ("releases_what_it_saw", FAULTS),
        ("compares", FAULTS),
    ],
)
def test_a_rule_that_is_taken_away_lets_a_client_reboot_without_a_slot(rule, beginning):
    with pytest.raises(BrokenRuleError, match="the client reboots and holds no slot"):
        explore(beginning, Protocol(**{rule: False}))


def test_servers_that_make_a_claim_for_each_call_leave_a_client_waiting_for_itself():
    found = explore(FAULTS, Protocol(looks_up=False))
    with pytest.raises(BrokenRuleError, match="nothing leads to the end from here"):
        must_end(found)
