"""What the loop makes of failures: how long it pauses, and what it remembers of them."""

from dataclasses import replace
from random import Random

from locksmith.agent.facts import StoredFailure
from locksmith.agent.journal import Phase
from locksmith.agent.steps import ReportFailure, Wait
from locksmith.errors import HostError
from locksmith.lock.records.claim import UNHEALTHY
from tests.builders.loops import DENIED, START, Bench, for_a_while
from tests.sim.machine import SimJournal
from tests.sim.virtual_time import run


class Drawn(Random):
    """Notes between what it draws, and gives the least."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.bounds.append((a, b))
        return a


def test_after_three_failures_each_pause_may_be_twice_as_long_up_to_a_minute():
    async def main(_loop):
        agent, drawn = Bench().agent(), Drawn()
        agent._arriving._rng = drawn
        pauses = []
        for _ in range(8):
            step = agent._error("etcd", "no endpoint answers", None)
            assert isinstance(step, Wait)
            assert step.until is not None
            pauses.append((step.until - START).total_seconds())
        assert pauses == [5, 5, 5, 5, 10, 20, 30, 30]
        assert drawn.bounds == [(5, 10), (10, 20), (20, 40), (30, 60), (30, 60)]

    run(main)


def test_what_was_reported_stands_though_the_disk_does_not_take_it(monkeypatch):
    def full(*_args) -> None:
        raise HostError("no space left on device")

    monkeypatch.setattr(SimJournal, "report_failure", full)

    async def main(_loop):
        bench = Bench()
        bench.leave_entry(Phase.COMMITTED, "locksmithd", boot="boot-0")
        agent = bench.agent()
        entry = agent._observer.read_journal().entry
        assert entry is not None
        await agent._performer.report_failure(entry, ReportFailure(UNHEALTHY, "web.service has failed"))
        assert agent._memory.claim.gone_wrong == StoredFailure(UNHEALTHY, "web.service has failed")
        seen = agent._observer.read_journal().entry
        assert seen is not None
        assert (seen.claim.state, seen.claim.failure) == (UNHEALTHY, "web.service has failed")
        assert bench.calls == ["report_failure"]

    run(main)


def test_a_failure_without_a_slot_elsewhere_counts_as_known_and_asks_no_store():
    """Its claim is for a lock of an earlier configuration, which this machine never asked: that store may be gone."""

    async def main(_loop):
        bench = Bench()
        bench.leave_entry(Phase.REQUESTED, "locksmithd", endpoint="moved")
        agent = bench.agent()
        entry = agent._observer.read_journal().entry
        assert entry is not None
        entry = replace(entry, unsent=True)
        await agent._performer.report_failure(entry, ReportFailure(UNHEALTHY, "web.service has failed"))
        assert agent._memory.claim.acknowledged is True
        assert bench.calls == []

    run(main)


def test_a_strategy_in_which_nothing_changes_is_asked_at_the_heartbeat():
    class Still(Bench):
        async def changed(self, _limit):
            return False

    bench = Still(does={"request": lambda: DENIED})
    for_a_while(bench, 80)
    assert len(bench.calls) == 3
