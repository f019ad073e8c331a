"""The point of no return in the loop: what the store and the journal are told of it, and what a failed try leaves."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from locksmith.agent.journal import Phase, PreRebootState
from locksmith.errors import OlderJournalError, StoreUnavailableError
from locksmith.lock.answer import Denied
from locksmith.lock.records.claim import DAEMON
from tests.builders.loops import DENIED, Bench, for_a_while, raising
from tests.sim.virtual_time import run


@dataclass
class Committing(Bench):
    """Notes the versions for which a commit is asked; each look before a reboot finds another unit that has failed."""

    versions: list[str] = field(default_factory=list)
    looks: int = 0

    async def commit(self, claim):
        self.versions.append(claim.version)
        return await super().commit(claim)

    async def before(self, need):
        self.looks += 1
        return PreRebootState(need.trigger if need else "", failed_units=(f"{self.looks}.service",))


def entry(bench: Bench):
    found = bench.journal.read().entry
    assert found is not None
    return found


def test_the_store_is_told_what_is_wanted_at_the_point_of_no_return():
    bench = Committing()

    def update_again() -> None:
        bench.version = "1.2.4"

    bench.does["request"] = update_again
    for_a_while(bench, 1)
    assert bench.versions == ["1.2.4"]
    assert (entry(bench).before.trigger, entry(bench).before.version) == ("update_engine", "1.2.4")


def test_where_the_wish_has_no_version_any_more_the_store_is_told_that_of_the_claim():
    bench = Committing()

    def forget() -> None:
        bench.version = ""

    bench.does["request"] = forget
    for_a_while(bench, 1)
    assert bench.versions == ["1.2.3"]


def test_what_had_failed_before_the_hooks_is_written_down_with_what_fails_now():
    bench = Committing()
    for_a_while(bench, 1)
    assert entry(bench).before.failed_units == ("1.service", "2.service")


@pytest.mark.parametrize(
    "commit",
    [raising(StoreUnavailableError("no endpoint answers")), lambda: Denied("spacing", "too soon")],
    ids=["no answer", "a denial"],
)
def test_a_commit_that_did_not_come_off_leaves_a_claim_before_the_point_of_no_return(commit):
    bench = Committing(does={"commit": commit})
    for_a_while(bench, 1)
    assert "reboot" not in bench.calls
    assert entry(bench).phase is Phase.REQUESTED


def test_a_denial_of_the_commit_is_the_reason_to_wait_and_no_commit_is_tried_again():
    bench = Bench(does={"commit": lambda: Denied("spacing", "the last reboot was a minute ago")})
    for_a_while(bench, 1)
    assert bench.calls == ["request", "commit"]
    assert "the last reboot was a minute ago" in bench.shown[-1]


@dataclass
class Completing(Bench):
    """A machine that has rebooted for version 1.2.4, which followed the 1.2.3 that its claim was made for."""

    need: bool = False
    completed: list[str] = field(default_factory=list)

    def rebooted(self) -> "Completing":
        self.leave_entry(Phase.REQUESTED, "locksmithd", boot="boot-0")
        self.journal.commit("left", PreRebootState("update_engine", version="1.2.4"))
        return self

    async def complete(self, claim):
        self.completed.append(claim.version)
        await super().complete(claim)


def test_the_store_is_told_for_which_version_the_reboot_was():
    bench = Completing().rebooted()
    for_a_while(bench, 1)
    assert bench.completed == ["1.2.4"]
    assert bench.journal.read().entry is None


def test_a_store_that_knows_a_later_reboot_keeps_the_claim_and_gets_the_failure():
    bench = Completing(does={"complete": raising(OlderJournalError("failed", "it was rolled back"))}).rebooted()
    for_a_while(bench, 5)
    assert bench.calls == ["complete", "report_failure"]
    assert entry(bench).claim.state == "failed"


def test_a_machine_watches_the_store_that_it_has_asked():
    async def main(_loop):
        bench = Bench(does={"request": lambda: DENIED})
        agent = bench.agent()
        agent._strategies.watched = replace(agent._target, endpoints=("of an earlier claim",))
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(1)
        assert agent._strategies.watched == agent._target
        task.cancel()
        await asyncio.wait([task])

    run(main)


def test_a_commit_that_fails_is_not_tried_again_before_a_pause():
    bench = Bench()

    def fails() -> None:
        if bench.calls.count("commit") < 9:
            raise StoreUnavailableError("no endpoint answers")

    bench.does["commit"] = fails
    for_a_while(bench, 1)
    assert bench.calls == ["request", "commit"]


def unsent(bench: Bench, boot: str, endpoint: str) -> None:
    """Leave a claim of this machine for which no slot was ever asked for."""
    bench.leave_entry(Phase.REQUESTED, DAEMON, endpoint=endpoint, boot=boot)
    journal = bench.journal
    found = journal.read().entry
    journal.clear("left")
    assert found is not None
    journal._silent = lambda *_: True
    journal.begin(found)


@pytest.mark.parametrize(("endpoint", "asked"), [("elsewhere", False), ("memory", True)])
@pytest.mark.parametrize(("boot", "call"), [("boot-1", "abort"), ("boot-0", "complete")])
def test_a_store_that_was_never_asked_for_a_slot_is_asked_for_no_release(boot, call, endpoint, asked):
    bench = Bench(need=False)
    unsent(bench, boot, endpoint)
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.unsent
    for_a_while(bench, 60)
    assert bench.calls == [call] * asked
    assert bench.journal.read().entry is None


def test_no_slot_is_released_in_words_where_the_strategy_has_none(caplog):
    caplog.set_level("INFO")
    bench = Bench(need=False)
    bench.leave_entry(Phase.COMMITTED, DAEMON, boot="boot-0")
    for_a_while(bench, 60)
    assert bench.calls == ["complete"]
    assert "the slot is released" not in caplog.messages
