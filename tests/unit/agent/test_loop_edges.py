"""What the loop does where a port fails late: after a release, at a warning, in its last words."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from locksmith.agent.facts import RebootNeed, TriggerResult
from locksmith.agent.journal import Phase
from locksmith.errors import HostError, OlderJournalError, RebootUnknownError
from locksmith.lock.answer import Denied
from tests.builders.loops import DENIED, Bench, for_a_while, raising
from tests.sim.machine import SimJournal
from tests.sim.virtual_time import run

FULL = HostError("the reboot journal cannot be written: no space left on device")


@dataclass
class FullDisk(Bench):
    """A disk that takes no writes once `full` is set."""

    full: bool = False
    kept: list[SimJournal] = field(default_factory=list)

    @property
    def journal(self) -> SimJournal:
        if not self.kept:
            self.kept.append(SimJournal("n1", self.disk, self.moment))
        return self.kept[0]

    def moment(self, _where: str) -> None:
        if self.full:
            raise FULL

    def fill(self) -> None:
        self.full = True


def test_a_slot_whose_claim_cannot_be_cleared_is_released_once():
    bench = FullDisk(need=False)
    bench.leave_entry(Phase.REQUESTED, "locksmithd", boot="boot-0")
    bench.does["complete"] = bench.fill
    for_a_while(bench, 60)
    assert bench.calls == ["complete"]
    assert bench.journal.read().entry is not None
    bench.full, bench.does = False, {}
    for_a_while(bench, 1)
    assert bench.journal.read().entry is None


def test_after_three_writes_that_failed_the_slot_is_released_without_the_journal():
    bench = FullDisk(does={"commit": lambda: Denied("spacing", "too soon")})
    bench.leave_entry(Phase.REQUESTED, "locksmithd")
    bench.does["request"] = bench.fill
    for_a_while(bench, 60)
    assert bench.calls[-1] == "abort"
    assert bench.calls.count("abort") == 1


def test_an_abort_that_the_store_refuses_as_too_old_keeps_the_claim():
    bench = Bench(need=False, does={"abort": raising(OlderJournalError("failed", "it was rolled back"))})
    bench.leave_entry(Phase.REQUESTED, "locksmithd")
    for_a_while(bench, 3)
    assert "report_failure" in bench.calls
    assert bench.journal.read().entry is not None


def test_an_order_without_a_reply_is_watched_until_the_machine_has_proved_to_stay_up(caplog):
    bench = Bench(does={"reboot": raising(RebootUnknownError("no reply to the reboot"))})
    for_a_while(bench, 10)
    assert bench.calls == ["request", "commit", "reboot"]
    assert "no reply to the reboot; this machine may be going down" in caplog.text
    assert bench.journal.read().entry is not None


def test_a_warning_that_cannot_be_cancelled_does_not_keep_the_slot(caplog):
    class Users:
        async def present(self) -> frozenset[str]:
            return frozenset({"alice"})

        async def warn(self, _at: datetime, _reason: str) -> None:
            bench.need = False

        async def call_off(self) -> None:
            raise HostError("logind does not answer")

    class Warning_(Bench):  # noqa: N801 - not the builtin
        def agent(self, **more: Any):
            return super().agent(users=Users(), **more)

    bench = Warning_()
    for_a_while(bench, 60)
    assert "abort" in bench.calls
    assert "are not told that it is cancelled: logind does not answer" in caplog.text


def test_a_strategy_that_cannot_watch_is_asked_again_after_five_seconds(caplog):
    caplog.set_level("INFO", "locksmith.agent")

    class Blind(Bench):
        async def changed(self, _limit: float) -> bool:
            raise RuntimeError("boom")

    bench = Blind(does={"request": lambda: DENIED})
    for_a_while(bench, 12)
    assert bench.calls == ["request"] * 3
    assert "cannot watch for a free slot: boom" in caplog.text


def test_the_last_words_of_a_daemon_whose_journal_cannot_be_read_say_so():
    class Unreadable:
        def read(self) -> None:
            raise HostError("the reboot journal cannot be read")

    async def main(_loop) -> None:
        agent = Bench().agent(journal=Unreadable())
        assert agent.leave() == "stopping; the reboot journal cannot be read"

    run(main)


@pytest.mark.parametrize(("not_applied", "fails"), [("1.2.3", True), ("1.2.2", False)])
def test_a_version_that_the_boot_did_not_bring_makes_its_reboot_a_failed_one(not_applied, fails):
    class Asked(Bench):
        async def check(self, now, boot):  # noqa: ARG002 - part of the interface
            return TriggerResult(not_applied=not_applied)

    bench = Asked()
    bench.leave_entry(Phase.REQUESTED, "locksmithd", boot="boot-0")
    entry = bench.journal.read().entry
    assert entry is not None
    need = RebootNeed("kernel", "1.2.3", entry.claim.since)
    bench.journal.commit("left", type(entry.before)(need.trigger, version=need.version))
    for_a_while(bench, 3)
    assert ("report_failure" in bench.calls) is fails
