"""What the loop remembers between two turns."""

from datetime import timedelta

import pytest

from locksmith.agent.facts import Blocker, Checks, TriggerResult
from locksmith.agent.memory import Asked, ClaimMemory, Memory, Stopwatch


def test_checks_are_as_old_as_their_answer():
    blockers = (Blocker("alerts", "an alert fires"),)
    assert Asked(5.0, blockers, 3.0).checks(12.0) == Checks(timedelta(seconds=7), blockers)


@pytest.mark.parametrize(
    ("holds", "lasts"),
    [([True, True, True], [0, 10, 20]), ([True, False, True], [0, 0, 0]), ([False, True, True], [0, 0, 10])],
)
def test_what_is_so_lasts_from_when_it_was_first_seen_without_a_break(holds, lasts):
    lasting = Stopwatch()
    found = [lasting.check(100.0 + 10 * number, holds=one).total_seconds() for number, one in enumerate(holds)]
    assert found == lasts


def test_another_claim_begins_with_what_triggers_and_gates_said_and_nothing_else():
    results, asked = [TriggerResult(error="it does not answer")], Asked(5.0, (), 3.0)
    memory = Memory(ClaimMemory("one", had=True, committed=True, looked=7.0, results=results, asked=asked))
    memory.forget("another")
    assert memory.claim == ClaimMemory("another", looked=7.0, results=results, asked=asked)


def test_while_there_is_no_claim_what_a_rehearsal_has_found_is_kept():
    memory = Memory()
    memory.claim.rehearsed = found = Asked(5.0, (), 3.0)
    memory.follow(None)
    assert memory.claim.rehearsed is found
