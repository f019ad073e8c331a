"""The reboots that a reboot journal remembers after a claim has ended."""

from datetime import UTC, datetime, timedelta

from locksmith.agent.journal import Journal
from locksmith.lock.records.past import LastReboot
from tests.builders.entries import ENTRY

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)


def reboot(hours: int, nonce: str = "") -> LastReboot:
    return LastReboot(f"{hours}", NOW - timedelta(hours=hours), nonce)


FIRST, SECOND, THIRD = reboot(9, "a"), reboot(6, "b"), reboot(3, "c")
KNOWS = Journal(entry=ENTRY, done=SECOND, earlier=(FIRST,))


def test_a_claim_that_ends_without_a_reboot_leaves_what_was_remembered():
    assert KNOWS.after(None) == Journal(done=SECOND, earlier=(FIRST,))


def test_a_reboot_is_remembered_before_the_earlier_ones_and_once():
    assert KNOWS.after(THIRD) == Journal(done=THIRD, earlier=(FIRST, SECOND))
    again = reboot(5, "b")
    assert KNOWS.after(again) == Journal(done=again, earlier=(FIRST,))
    nameless = reboot(1)
    assert Journal(done=reboot(2)).after(nameless) == Journal(done=nameless, earlier=(reboot(2),))


def test_what_only_the_group_remembered_is_remembered_here_too():
    assert KNOWS.after(None, past=(THIRD,)) == Journal(done=THIRD, earlier=(FIRST, SECOND))
    assert Journal().after(None, past=(FIRST, SECOND)) == Journal(done=SECOND, earlier=(FIRST,))
