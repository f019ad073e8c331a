"""What the group knows of a machine whose disk does not: the record's commits, its last reboot, an orphaned claim."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import CorruptValueError, OlderJournalError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission import GroupRules
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.errors import RepeatedError
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.cause import Cause
from locksmith.lock.records.claim import COMMITTED, DAEMON, FAILED, HELD, REBOOT, Claim
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.past import LastReboot
from locksmith.lock.records.reboot import RebootRecord
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.harness.fault_script import StepwiseStore

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
CLAIM = Claim(
    "n1", REBOOT, "first", NOW, who=DAEMON, hostname="web-1", boot_id="boot-1", userspace=7, version="1.2.3", taken=NOW
)
AGAIN = replace(CLAIM, nonce="second", boot_id="boot-2")
MEMORY = keys.reboot_key("", "n1")

both_manners = pytest.mark.parametrize("kind", [MemoryStore, StepwiseStore], ids=["transactions", "stepwise"])


class Bench:
    """One lock of one machine, and its clock."""

    def __init__(self, kind: type[MemoryStore] = MemoryStore) -> None:
        self.server = MemoryServer()
        self.now = NOW
        self.lock = RebootLock(
            kind(self.server), "", clock=lambda: self.now, rules=GroupRules(repeat=DAY.total_seconds(), max_per_day=3)
        )

    def remembered(self) -> RebootRecord | None:
        entry = self.server.read(MEMORY).entry
        return reboot_record.decode(entry.value, MEMORY) if entry else None

    async def reboots(self, claim: Claim = CLAIM) -> None:
        """Take, commit, and release after the boot."""
        await self.lock.take(claim)
        await self.lock.commit(claim)
        assert await self.lock.release(claim.committed(), rebooted=True)


@both_manners
async def test_a_journal_that_does_not_know_the_commit_releases_nothing(kind):
    bench = Bench(kind)
    await bench.lock.take(CLAIM)
    await bench.lock.commit(CLAIM)
    for act in (bench.lock.release, bench.lock.take):
        with pytest.raises(OlderJournalError, match="rolled back") as caught:
            await act(CLAIM)
        assert caught.value.state == FAILED
    assert (await bench.lock.read()).semaphore.holders == ("n1",)
    assert await bench.lock.release(CLAIM.committed())


async def test_a_journal_that_does_not_know_a_report_hears_its_words():
    bench = Bench()
    await bench.lock.take(CLAIM)
    await bench.lock.commit(CLAIM)
    await bench.lock.report_failure(CLAIM.committed(), "unhealthy", "web.service has failed")
    with pytest.raises(OlderJournalError, match=r"web\.service has failed") as caught:
        await bench.lock.release(CLAIM.committed())
    assert caught.value.state == "unhealthy"
    assert await bench.lock.release(CLAIM.committed().gone_wrong("unhealthy", "web.service has failed"))


async def test_a_commit_that_is_tried_again_is_no_older_journal():
    bench = Bench()
    await bench.lock.take(CLAIM)
    await bench.lock.commit(CLAIM)
    await bench.lock.commit(CLAIM)  # its answer was lost
    await bench.lock.commit(CLAIM.committed().reopened())
    [record] = (await bench.lock.read()).claims.values()
    assert isinstance(record, Claim)
    assert (record.state, record.commits) == (COMMITTED, 2)


@pytest.mark.parametrize(("state", "commits"), [(HELD, 0), (COMMITTED, 1), ("unhealthy", 1)])
def test_a_record_of_an_earlier_version_counts_its_commits_by_its_state(state, commits):
    from locksmith.lock.records import claim as claim_record  # noqa: PLC0415

    old = claim_record.encode(replace(CLAIM, state=state)).replace(b',"commits":0', b"")
    assert claim_record.decode(old, "k", "n1").commits == commits


@both_manners
async def test_the_group_remembers_what_a_machine_rebooted_for(kind):
    bench = Bench(kind)
    await bench.reboots()
    assert bench.remembered() == RebootRecord("1.2.3", NOW, "first", "boot-1", 7, (Cause("", "1.2.3"),))
    with pytest.raises(RepeatedError, match=r"rebooted for update 1\.2\.3 already.*`locksmithctl recheck`"):
        await bench.lock.take(AGAIN)
    assert (await bench.lock.read()).semaphore.holders == ()


@pytest.mark.parametrize(
    "again",
    [
        replace(AGAIN, version="1.2.4"),
        replace(AGAIN, version=""),
        replace(AGAIN, boot_id="boot-1", userspace=7),
        replace(AGAIN, rechecked=NOW),
    ],
    ids=["another version", "an unknown version", "nothing came of the reboot", "an operator allows it"],
)
async def test_what_is_no_repetition_takes_a_slot(again):
    bench = Bench()
    await bench.reboots()
    await bench.lock.take(again)
    assert (await bench.lock.read()).semaphore.holders == ("n1",)


@both_manners
async def test_a_repetition_is_refused_at_the_commit_too(kind):
    """A claim for another version may be for the old one by then: the update was withdrawn."""

    bench = Bench(kind)
    await bench.reboots()
    other = replace(AGAIN, version="1.2.4")
    await bench.lock.take(other)
    with pytest.raises(RepeatedError):
        await bench.lock.commit(AGAIN)
    await bench.lock.commit(other)
    await bench.lock.commit(other.committed().reopened())  # an answer was lost


@pytest.mark.parametrize("later", [DAY, -DAY], ids=["a day later", "a clock that was set back a day"])
async def test_a_repetition_is_refused_for_a_day_at_most(later):
    bench = Bench()
    await bench.reboots()
    bench.now += later
    await bench.lock.take(AGAIN)


@both_manners
async def test_a_reboot_that_did_not_come_about_is_forgotten(kind):
    bench = Bench(kind)
    await bench.lock.take(CLAIM)
    await bench.lock.commit(CLAIM)
    assert await bench.lock.release(CLAIM.committed())
    assert bench.remembered() is None


async def test_one_that_did_not_come_about_leaves_the_memory_of_an_earlier_one():
    bench = Bench()
    await bench.reboots()
    other = replace(AGAIN, version="1.2.4")
    await bench.lock.take(other)
    assert await bench.lock.release(other)
    assert bench.remembered() == RebootRecord("1.2.3", NOW, "first", "boot-1", 7, (Cause("", "1.2.3"),))


async def test_an_unlock_of_a_machine_that_is_down_does_not_forget_its_reboot():
    bench = Bench()
    await bench.lock.take(CLAIM)
    await bench.lock.commit(CLAIM)
    await LockAdmin(bench.lock.guarded).unlock("n1")
    with pytest.raises(RepeatedError):
        await bench.lock.take(AGAIN)


async def test_a_memory_that_cannot_be_read_is_no_permission_until_an_operator_rechecks():
    bench = Bench()
    bench.server.put(MEMORY, b"rubbish", 0)
    with pytest.raises(CorruptValueError, match=r"reboots/n1: .* `locksmithctl recheck`"):
        await bench.lock.take(CLAIM)
    await bench.lock.take(replace(CLAIM, rechecked=NOW))


async def test_a_recheck_brings_a_machine_back_that_stays_out_of_the_queue():
    bench = Bench()
    bench.server.put(MEMORY, b"rubbish", 0)
    waits = replace(CLAIM, taken=None)
    machine = QueuedLock(bench.lock, Queue(MemoryStore(bench.server), ""))
    for _ in range(2):
        with pytest.raises(CorruptValueError):
            await machine.take(waits)
    away = await machine.take(waits)
    assert isinstance(away, Denied)
    assert away.code == "take_fails"
    assert await machine.take(replace(waits, rechecked=NOW)) == Granted()
    await machine.close()


async def test_a_machine_whose_commit_would_be_a_repetition_hears_what_it_has_rebooted_for():
    bench = Bench()
    await bench.reboots()
    machine = QueuedLock(bench.lock, Queue(MemoryStore(bench.server), ""))
    assert await machine.take(replace(AGAIN, version="1.2.4", taken=None)) == Granted()
    refused = await machine.commit(AGAIN)
    assert isinstance(refused, Denied)
    assert refused.past == (LastReboot("1.2.3", NOW, "first", (Cause("", "1.2.3"),)),)
    await machine.close()


@both_manners
async def test_a_reboot_that_did_not_come_about_leaves_those_before_it(kind):
    bench = Bench(kind)
    await bench.reboots()
    before = bench.remembered()
    other = replace(AGAIN, version="1.2.4")
    await bench.lock.take(other)
    await bench.lock.commit(other)
    assert bench.remembered() != before
    await bench.lock.release(other.committed())
    with pytest.raises(RepeatedError):
        await bench.lock.take(replace(AGAIN, nonce="third"))


@both_manners
async def test_the_group_counts_the_reboots_of_a_day_for_a_machine_that_forgot_them(kind):
    bench = Bench(kind)
    for number in range(3):
        claim = replace(CLAIM, nonce=f"n-{number}", boot_id=f"boot-{number}", version=f"1.2.{number}")
        await bench.reboots(claim)
    fourth = replace(CLAIM, nonce="fourth", boot_id="boot-4", version="1.2.4")
    with pytest.raises(RepeatedError, match="its triggers have caused 3 reboots in 24 hours") as caught:
        await bench.lock.take(fourth)
    assert (caught.value.code, len(caught.value.past)) == ("max_per_day", 3)
    await bench.lock.take(replace(fourth, who="alice", version=""))  # an operator's `locksmithctl reboot`


async def test_an_operators_reboot_in_between_hides_none_and_does_not_count():
    bench = Bench()
    await bench.reboots()
    await bench.reboots(replace(CLAIM, nonce="order", boot_id="boot-2", who="alice", version=""))
    with pytest.raises(RepeatedError):
        await bench.lock.take(replace(CLAIM, nonce="again", boot_id="boot-3"))
    await bench.reboots(replace(CLAIM, nonce="new", boot_id="boot-3", version="1.2.4"))
    await bench.lock.take(replace(CLAIM, nonce="third", boot_id="boot-4", version="1.2.5"))


SHOWN = Node("n1", "web-1", "boot-2", "", "etcd-lock", "idle", NOW, userspace=9, claim="")


@pytest.mark.parametrize(
    ("shown", "orphaned"),
    [
        (SHOWN, True),
        (replace(SHOWN, claim="another"), True),
        (replace(SHOWN, claim="first"), False),
        (replace(SHOWN, claim=None), False),
        (replace(SHOWN, boot_id="boot-1", userspace=7), False),
        (replace(SHOWN, boot_id="boot-1", userspace=9), True),
        (replace(SHOWN, boot_id="boot-1", userspace=0), False),
    ],
    ids=["none", "another", "its own", "does not say", "not rebooted", "rebooted softly", "without systemd"],
)
def test_a_claim_that_its_machine_has_forgotten_is_orphaned(shown, orphaned):
    found = incidents([CLAIM.committed()], {"n1": shown}, [], NOW + timedelta(seconds=TTL))
    assert [one.how for one in found] == (["orphaned"] if orphaned else [])
    assert not orphaned or "`locksmithctl unlock --force n1`" in found[0].describe()


@pytest.mark.parametrize("claim", [CLAIM, replace(CLAIM.committed(), who="alice"), replace(CLAIM, kind="manual")])
def test_a_claim_that_may_still_be_its_machines_is_none(claim):
    assert incidents([claim], {"n1": SHOWN}, [], NOW) == []


@pytest.mark.parametrize(("after", "orphaned"), [(1, True), (0, False), (-60, False)])
def test_an_operators_reboot_that_its_machine_forgot_is_orphaned_once_it_is_present(after, orphaned):
    """Its daemon may not have run before: a presence of an earlier boot says nothing of the claim."""
    shown = replace(SHOWN, since=NOW + timedelta(seconds=after))
    found = incidents([replace(CLAIM.committed(), who="alice")], {"n1": shown}, [], NOW + DAY)
    assert [one.how for one in found] == (["orphaned"] if orphaned else [])


def test_an_earlier_versions_presence_says_nothing_of_claims():
    key = keys.node_key("", "n1")
    old = node.encode(SHOWN).replace(b',"claim":""', b"")
    assert node.decode(old, key, "n1").claim is None
