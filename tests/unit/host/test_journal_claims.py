"""What the journal writes into a claim after it was made: its hooks, its slot, what went wrong; and into no other."""

import json
from dataclasses import replace

import pytest

from locksmith.agent.journal import Hooks, Journal, JournalEntry, PreRebootState, target_of
from locksmith.errors import HostError
from locksmith.host.journal import JournalFile
from locksmith.host.paths import Paths
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.past import LastReboot
from tests.builders.journals import FAILURE, ME, SINCE, again, committed, entry


@pytest.fixture
def journal(tmp_path) -> JournalFile:
    return JournalFile(Paths(tmp_path), ME)


def kept(journal: JournalFile) -> JournalEntry:
    found = again(journal).entry
    assert found is not None
    return found


def test_the_hooks_are_written_with_the_moment_at_which_the_claim_got_its_slot(journal):
    journal.begin(entry())
    journal.hooks("a", Hooks.BEGUN, SINCE)
    assert kept(journal) == replace(entry(), hooks=Hooks.BEGUN, claim=replace(entry().claim, taken=SINCE))
    journal.hooks("a", Hooks.PREPARED, SINCE.replace(year=2030))
    assert (kept(journal).hooks, kept(journal).claim.taken) == (Hooks.PREPARED, SINCE)
    journal.hooks("a", Hooks.FINISHED)
    assert (kept(journal).hooks, kept(journal).claim.taken) == (Hooks.FINISHED, SINCE)


def test_what_went_wrong_is_written_into_the_claim(journal):
    journal.begin(entry())
    journal.commit("a")
    journal.report_failure("a", UNHEALTHY, "web.service has failed")
    assert kept(journal) == replace(
        committed(entry()), claim=committed(entry()).claim.gone_wrong(UNHEALTHY, "web.service has failed")
    )


@pytest.mark.parametrize("found", [Journal(), Journal(entry("b"))], ids=["no claim", "another claim"])
def test_a_claim_that_is_gone_gets_no_hooks_and_no_blame(journal, found):
    if found.entry is not None:
        journal.begin(found.entry)
    journal.hooks("a", Hooks.BEGUN, SINCE)
    journal.report_failure("a", UNHEALTHY, "web.service has failed")
    assert again(journal) == found


def test_how_the_machine_was_at_the_commit_stands_there_with_the_claim(journal):
    before = PreRebootState("update-engine", "flatcar 1.0", ("x.service",), "1.2.4")
    journal.begin(entry())
    journal.commit("a", before)
    assert kept(journal).before == before
    journal.commit("a")
    assert kept(journal).before == before


def test_a_reboot_that_is_done_ends_the_failures_and_recheck_forgets_both(journal):
    journal.begin(entry())
    journal.fail("a", FAILURE)
    journal.clear("a", done=LastReboot("1.2.3", SINCE))
    assert again(journal) == Journal(done=LastReboot("1.2.3", SINCE))
    journal.begin(entry())
    journal.fail("a", FAILURE)
    journal.forgive(SINCE)
    waits = replace(entry(), claim=replace(entry().claim, rechecked=SINCE))
    assert again(journal) == Journal(waits, rechecked=SINCE)


def test_a_recheck_counts_for_a_claim_that_waits_and_not_for_one_past_its_commit(journal):
    """What keeps it from its slot may be the very thing that a recheck has ignored."""
    journal.begin(entry())
    journal.forgive(SINCE)
    assert kept(journal).claim.rechecked == SINCE
    journal.commit("a")
    journal.forgive(SINCE.replace(year=2030))
    assert kept(journal).claim.rechecked == SINCE


def test_a_journal_of_another_machine_that_cannot_be_moved_aside_stops_the_machine(journal):
    JournalFile(Paths(journal.path.parents[3]), "another machine").begin(entry())
    journal.path.with_name("journal.of-another-machine.json").mkdir()
    with pytest.raises(HostError, match="is of another machine and cannot be moved aside"):
        journal.begin(entry())


def test_every_name_in_the_journal_is_one_that_the_next_version_reads(journal):
    """The file outlives an update of locksmith itself: its names are a format."""
    journal.begin(replace(entry(), before=PreRebootState("kernel", "debian 12", ("x.service",), "6.1")))
    journal.fail("a", FAILURE)
    fields = json.loads(journal.path.read_text())
    assert set(fields) == {"schema", "machine_id", "hardware", "entry", "failure", "done", "rechecked"}
    assert set(fields["failure"]) == {"at", "reason", "version", "tries"}
    assert set(fields["entry"]) == {
        "holder", "claim", "strategy", "group", "api", "endpoints", "phase", "boot_id", "userspace", "by", "hooks",
        "before",
    }  # fmt: skip
    assert set(fields["entry"]["before"]) == {"trigger", "system", "failed_units", "version"}
    journal.clear("a", done=LastReboot("6.1", SINCE))
    assert json.loads(journal.path.read_text())["done"] == {"at": "2026-05-01T02:10:00Z", "version": "6.1"}


def test_the_cluster_of_a_claim_is_written_as_soon_as_it_is_known_and_stays(tmp_path):
    known: list[str] = [""]
    asked = []

    def cluster(api, endpoints):
        asked.append((api, tuple(endpoints)))
        return known[0]

    journal = JournalFile(Paths(tmp_path), ME, cluster=cluster)
    journal.begin(entry())
    assert kept(journal).cluster == ""
    known[0] = "a1"
    journal.hooks("a", Hooks.BEGUN)
    assert kept(journal).cluster == "a1"
    known[0] = "b2"
    journal.commit("a")
    assert kept(journal).cluster == "a1", "the claim was made there, whatever counts by now"
    assert set(asked) == {(entry().api, entry().endpoints)}
    assert target_of(kept(journal)).cluster == "a1"
