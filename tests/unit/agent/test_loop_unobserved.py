"""The loop of a machine that cannot look at itself, or cannot go on with what it holds: who is told, and when."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import Hooks, Phase
from locksmith.agent.settings import Settings
from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.node import Node
from tests.builders.loops import Bench, for_a_while, raising
from tests.sim.virtual_time import VirtualLoop, run

MINUTES = 60
NO_BUS = raising(HostError("the bus does not answer"))


@dataclass
class Blind(Bench):
    """A machine without its bus, in the boot that `comes_up` names; `nodes` is what its group sees of it."""

    does_boot: bool = True
    comes_up: Boot = field(default_factory=lambda: Boot("boot-1"))
    readable: bool = True
    nodes: list[Node] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.while_asked = NO_BUS

    def agent(self, **more):
        if not self.readable:
            more["journal"] = Unreadable()
        agent = super().agent(presence=Presence(self.nodes), **more)
        agent._member = replace(agent._member, boot_id=self.comes_up.boot_id)
        return agent

    async def boot(self) -> Boot:
        if not self.does_boot:
            NO_BUS()
        return self.comes_up

    async def abort(self, claim, reason) -> None:
        self.words.append(reason)
        await super().abort(claim, reason)

    async def report_failure(self, claim, state, failure) -> bool:
        self.words.append(f"{state}: {failure}")
        return await super().report_failure(claim, state, failure)


@dataclass
class Presence:
    """The records of one machine, as it shows them."""

    nodes: list[Node]
    clone: str = ""

    async def show(self, now: Node) -> None:
        self.nodes.append(now)

    def listen(self, wake: Callable[[], None]) -> None:
        pass

    async def confirm(self, now: Node, longer: float) -> None:
        pass

    async def close(self) -> None:
        pass


class Unreadable:
    def read(self):
        raise HostError("the journal cannot be read")


def holding(phase: Phase = Phase.REQUESTED, **more) -> Blind:
    bench = Blind(**more)
    bench.leave_entry(phase, "locksmithd")
    return bench


def test_a_machine_without_its_bus_releases_its_slot_after_three_looks_and_once():
    bench = holding()
    for_a_while(bench, 9)
    assert bench.calls == []
    for_a_while(bench, 12)
    assert bench.words == ["this machine cannot observe itself: the bus does not answer"]
    for_a_while(bench, 20 * MINUTES)
    assert bench.calls == ["abort", "abort"]  # of two daemons, each one


def test_a_machine_whose_release_fails_tries_again_and_accuses_itself_of_nothing():
    bench = holding(does={"abort": raising(StoreUnavailableError("no endpoint answers"))})
    for_a_while(bench, 15 * MINUTES)
    assert set(bench.calls) == {"abort"}
    assert len(bench.calls) > 5


def test_a_machine_that_knows_only_the_kernels_boot_id_releases_a_slot_of_that_boot():
    bench = holding(does_boot=False)
    for_a_while(bench, 12)
    assert bench.calls == ["abort"]


@pytest.mark.parametrize(
    "bench",
    [
        lambda: holding(comes_up=Boot("boot-2"), does_boot=False),
        lambda: holding(comes_up=Boot("boot-1", 1)),
        lambda: holding(Phase.COMMITTED),
    ],
    ids=["another boot", "a soft reboot", "past the point of no return"],
)
def test_a_machine_that_may_have_rebooted_keeps_its_slot_and_becomes_unhealthy(bench):
    bench = bench()
    for_a_while(bench, 9 * MINUTES)
    assert bench.calls == []
    for_a_while(bench, 15 * MINUTES)
    assert bench.words == [f"{UNHEALTHY}: it cannot be examined: the bus does not answer"]
    for_a_while(bench, 15 * MINUTES)
    assert bench.calls == ["report_failure"]  # the journal says so by now


def test_a_machine_whose_hooks_have_begun_keeps_its_slot():
    bench = holding()
    bench.journal.hooks("left", Hooks.BEGUN)
    for_a_while(bench, 9 * MINUTES)
    assert bench.calls == []


def test_the_time_to_prove_itself_ends_to_the_second():
    bench = holding(Phase.COMMITTED, settings=Settings(health=timedelta(seconds=10)))
    for_a_while(bench, 12)
    assert bench.calls == ["report_failure"]


def test_after_the_order_the_machine_waits_for_its_reboot_also_without_a_bus():
    bench = Blind()
    bench.while_asked = lambda: NO_BUS() if "reboot" in bench.calls else None
    for_a_while(bench, 20 * MINUTES)
    assert bench.calls == ["request", "commit", "reboot"]


def test_a_machine_that_holds_nothing_goes_on_trying_to_look_at_itself():
    bench = Blind()
    for_a_while(bench, 10 * MINUTES)
    assert bench.calls == []
    assert len([words for words in bench.shown if "the bus does not answer" in words]) > 8


@pytest.mark.slow
def test_a_healthy_machine_that_cannot_release_its_slot_reports_that_in_ten_minutes():
    def defect() -> None:
        raise RuntimeError("boom")

    bench = Blind(need=False, does={"complete": defect})
    bench.while_asked = lambda: None
    bench.leave_entry(Phase.COMMITTED, "locksmithd", boot="boot-0")
    for_a_while(bench, 9 * MINUTES)
    assert bench.words == []
    for_a_while(bench, 12 * MINUTES)
    assert bench.words[0] == f"{UNHEALTHY}: it cannot be examined: release failed: RuntimeError: boom"


def test_the_group_sees_which_claim_a_machine_knows_of_that_cannot_look_at_itself():
    bench = holding(Phase.COMMITTED)
    for_a_while(bench, 1)
    assert [node.claim for node in bench.nodes] == ["left"]
    assert bench.nodes[0].reason == "the bus does not answer"


def test_the_group_sees_that_a_machine_without_a_bus_has_no_claim():
    bench = Blind()
    for_a_while(bench, 1)
    assert [node.claim for node in bench.nodes] == [""]


def test_a_journal_that_stays_unreadable_counts_as_lost_after_the_time_to_verify():
    bench = Blind(readable=False, settings=Settings(health=timedelta(seconds=10)))
    for_a_while(bench, 12)
    assert [node.claim for node in bench.nodes] == [None, None, ""]


def test_one_look_in_between_begins_the_time_to_prove_itself_again():
    bench = holding(Phase.COMMITTED, comes_up=Boot("boot-1"))

    async def main(_loop: VirtualLoop) -> None:
        agent = bench.agent()
        task = asyncio.ensure_future(agent.run())
        await asyncio.sleep(9 * MINUTES)
        bench.while_asked = lambda: None
        await asyncio.sleep(MINUTES)
        bench.while_asked = NO_BUS
        await asyncio.sleep(8 * MINUTES)
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert "report_failure" not in bench.calls
