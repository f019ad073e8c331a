"""What an operator was shown, compared with what is there when the slot is to be freed."""

from dataclasses import replace

import pytest

from locksmith.lock.holder import HolderState
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.protocol import Entry, Reading
from tests.builders.locks import claim


def holder_state(claimed: Claim | None, *, version: int = 7, record: int = 6) -> HolderState:
    entry = Entry("key", b"", version, 1)
    found = Entry("record", claim_record.encode(claimed), record, 1) if claimed else None
    return HolderState("n1", Semaphore(1, ("n1",)), Reading(entry, version), found, claimed)


HELD = claim("n1")
COMMITTED = HELD.committed()
WENT_WRONG = HELD.committed().gone_wrong(claim_record.FAILED, "rolled back")
REOPENED = replace(COMMITTED, state=claim_record.HELD)


@pytest.mark.parametrize(
    ("then", "now", "change"),
    [
        (HELD, COMMITTED, "n1 is past its point of no return by now: it reboots, or is about to"),
        (WENT_WRONG, COMMITTED, "n1 is past its point of no return by now: it reboots, or is about to"),
        (COMMITTED, COMMITTED, "the record of n1 was written since it was shown"),
        (COMMITTED, WENT_WRONG, "the record of n1 was written since it was shown"),
        (COMMITTED, REOPENED, "the record of n1 was written since it was shown"),
        (HELD, WENT_WRONG, "the record of n1 was written since it was shown"),
    ],
)
def test_a_record_that_was_written_since_says_whether_the_machine_reboots(then, now, change):
    assert ShownHolder(holder_state(then)).change(holder_state(now, record=8), present=False) == change


def test_an_id_without_a_record_is_the_same_only_while_the_semaphore_is():
    shown = ShownHolder(holder_state(None))
    assert shown.change(holder_state(None), present=True) == ""
    assert "whether that is still the same lock cannot be told" in shown.change(
        holder_state(None, version=8), present=True
    )
    assert ShownHolder(holder_state(HELD)).change(holder_state(HELD, version=8), present=True) == ""
