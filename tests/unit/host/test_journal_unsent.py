"""What the reboot journal knows of a claim whose store has not answered: that no slot was asked for."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import JournalEntry, Phase
from locksmith.errors import CorruptValueError, HostError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim

CLAIM = Claim("n1", REBOOT, "nonce", datetime(2026, 5, 1, tzinfo=UTC))
ENTRY = JournalEntry(CLAIM, "etcd-lock", "web", 3, ("http://a",), Phase.REQUESTED, Boot("boot-1"), DAEMON)


def journal(folder, *, silent: bool) -> JournalFile:
    return JournalFile(Paths(folder), "n1", "", silent=lambda _api, _endpoints: silent)


def is_of(_api: int, endpoints: object) -> bool:
    return endpoints == ENTRY.endpoints


def test_a_claim_at_a_silent_store_is_unsent_until_a_slot_is_asked_for(tmp_path):
    first = journal(tmp_path, silent=True)
    first.begin(ENTRY)
    again = journal(tmp_path, silent=False)
    entry = again.read().entry
    assert entry is not None
    assert entry.unsent
    again.asking(is_of)
    assert again.read().entry == replace(entry, unsent=False)


def test_a_claim_at_a_store_that_answers_is_never_unsent(tmp_path):
    one = journal(tmp_path, silent=False)
    one.begin(ENTRY)
    before = one.path.read_bytes()
    one.asking(is_of)
    assert one.path.read_bytes() == before
    assert b"unsent" not in before


def test_what_is_asked_of_another_store_says_nothing_of_the_claim(tmp_path):
    one = journal(tmp_path, silent=True)
    one.begin(ENTRY)
    one.asking(lambda _api, _endpoints: False)
    entry = one.read().entry
    assert entry is not None
    assert entry.unsent


def test_no_slot_is_asked_for_if_the_disk_does_not_take_it(tmp_path):
    one = journal(tmp_path, silent=True)
    one.begin(ENTRY)
    one.path.with_name("journal.new").mkdir()
    for _ in range(2):
        with pytest.raises(HostError, match="cannot be written"):
            one.asking(is_of)
    one.path.with_name("journal.new").rmdir()
    one.asking(is_of)
    entry = one.read().entry
    assert entry is not None
    assert not entry.unsent


@pytest.mark.parametrize("silent", [True, False], ids=["asked for already", "never unsent"])
def test_a_slot_is_released_although_the_disk_is_read_only_since_a_restart(tmp_path, silent):
    """The semaphore is written for that, and to report that the machine is unhealthy."""
    first = journal(tmp_path, silent=silent)
    first.begin(ENTRY)
    first.asking(is_of)
    lock = first.path.with_suffix(".lock")
    lock.unlink()
    lock.mkdir()  # no program can open it for writing
    again = journal(tmp_path, silent=True)
    again.asking(is_of)
    assert again.failed_writes == 0


def test_a_claim_is_forgotten_unless_its_reboot_may_be_under_way(tmp_path):
    one = journal(tmp_path, silent=True)
    one.begin(ENTRY)
    one.commit("nonce")
    with pytest.raises(HostError, match="past the point of no return"):
        one.forget("nonce", "boot-1")
    with pytest.raises(HostError, match="no longer in the reboot journal"):
        one.forget("another", "boot-2")
    one.forget("nonce", "boot-2")
    assert one.read().entry is None


def test_once_a_slot_was_asked_for_the_disk_is_not_read_for_that_again(tmp_path):
    one = journal(tmp_path, silent=True)
    one.begin(ENTRY)
    one.asking(is_of)
    one.path.write_bytes(b"rubbish")
    one.asking(is_of)
    with pytest.raises(CorruptValueError):
        journal(tmp_path, silent=True).asking(is_of)


def test_of_a_copied_disk_no_claim_is_the_own_one(tmp_path):
    journal(tmp_path, silent=True).begin(ENTRY)
    other = JournalFile(Paths(tmp_path), "n2", "", silent=lambda _api, _endpoints: True)
    before = other.path.read_bytes()
    other.asking(is_of)
    assert other.path.read_bytes() == before
