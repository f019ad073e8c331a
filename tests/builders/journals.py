"""Entries of the reboot journal, as the tests of its file write them."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from locksmith.agent.facts import Boot
from locksmith.agent.journal import FailedAttempt, Journal, JournalEntry, Phase
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import REBOOT, Claim

ME = "1c09ca98649c4c7abc779cd04c96812e"
SINCE = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
FAILURE = FailedAttempt(SINCE, "logind said no")


def entry(nonce: str = "a", by: str = "locksmithd") -> JournalEntry:
    claim = Claim(ME, REBOOT, nonce, SINCE, who=by, boot_id="boot-1", version="1.2.3", extra={"rack": 7})
    return JournalEntry(
        claim, "etcd-lock", "prod/db", 3, ("http://a:2379", "http://b:2379"), Phase.REQUESTED, Boot("boot-1", 5), by
    )


def committed(what: JournalEntry) -> JournalEntry:
    return replace(what, phase=Phase.COMMITTED, claim=what.claim.committed())


def again(journal: JournalFile) -> Journal:
    """Read as the next process does."""
    return JournalFile(Paths(journal.path.parents[3]), ME).read()


def write_for_ever(root: Path) -> None:
    journal = JournalFile(Paths(root), ME)
    while True:
        journal.begin(entry())
        os.write(1, b"\n")
        journal.commit("a")
        journal.clear("a")
