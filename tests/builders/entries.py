"""One entry of the reboot journal, as the loop shows it."""

from datetime import UTC, datetime

from locksmith.agent.facts import Boot
from locksmith.agent.journal import JournalEntry, Phase
from locksmith.lock.records.claim import REBOOT, Claim

NOW = datetime(2026, 5, 21, 12, tzinfo=UTC)
BOOT = Boot("b1")
ENTRY = JournalEntry(
    claim=Claim("m1", REBOOT, "n1", NOW),
    strategy="etcd-lock",
    group="",
    api=3,
    endpoints=("http://127.0.0.1:2379",),
    phase=Phase.REQUESTED,
    boot=BOOT,
    by="locksmithd",
)
