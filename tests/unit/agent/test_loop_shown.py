"""What the group sees of a machine whose daemon stops, or cannot observe, and what a fresh look asks again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from locksmith.agent.facts import Boot
from locksmith.agent.journal import Phase, PreRebootState, entry_for
from locksmith.agent.loop import Agent
from locksmith.agent.settings import Settings
from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock.answer import Answer, Denied
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.node import TTL, Node
from tests.builders.loops import START, Bench, nothing, play, raising

NO_BUS = raising(HostError("the bus does not answer"))


@dataclass
class Presence:
    """The records of one machine, as it shows them."""

    nodes: list[Node] = field(default_factory=list)
    clone: str = ""
    left: bool = False

    async def show(self, now: Node) -> None:
        self.nodes.append(now)

    def listen(self, wake: Callable[[], None]) -> None:
        pass

    async def confirm(self, now: Node, longer: float) -> None:
        pass

    async def leave(self) -> None:
        self.left = True

    async def close(self) -> None:
        pass


def writes(bench: Bench, by: str, phase: Phase) -> Callable[[Agent], None]:
    """Write a claim of alice into the journal, as another program does while the daemon sleeps."""

    def write(agent: Agent) -> None:
        claim = Claim("n1", REBOOT, "hers", START, who="alice")
        journal = bench.journal
        journal.begin(entry_for(claim, agent._target, Boot("boot-1"), by=by, before=PreRebootState()))
        if phase is Phase.COMMITTED:
            journal.commit("hers")

    return write


def test_a_reboot_that_an_operator_has_ordered_is_the_last_thing_that_a_daemon_shows():
    bench, presence = Bench(need=False), Presence()
    play(bench, writes(bench, "locksmithctl", Phase.COMMITTED), presence=presence)
    first, *_, last = presence.nodes
    assert (first.state, first.claim) == ("idle", "")
    assert (last.state, last.reason, last.claim) == ("rebooting", "a reboot was asked for by alice", "hers")
    assert last.since == START + timedelta(seconds=2)
    assert not presence.left


@pytest.mark.parametrize(
    ("by", "phase"), [("locksmithctl", Phase.REQUESTED), (DAEMON, Phase.COMMITTED)], ids=["not ordered", "its own"]
)
def test_no_other_claim_is_shown_as_a_reboot_that_an_operator_has_ordered(by, phase):
    bench, presence = Bench(need=False), Presence()
    play(bench, writes(bench, by, phase), presence=presence)
    assert {node.state for node in presence.nodes} == {"idle"}
    assert not presence.left


def test_a_daemon_that_never_observed_its_machine_does_not_show_what_it_has_not_seen():
    bench, presence = Bench(need=False, while_asked=NO_BUS), Presence()
    bench.leave_entry(Phase.COMMITTED, "locksmithctl")
    play(bench, nothing, presence=presence)
    assert "a reboot was asked for by alice" not in {node.reason for node in presence.nodes}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_machine_that_cannot_observe_itself_shows_whether_it_would_reboot_at_all(dry_run):
    presence = Presence()
    play(Bench(settings=Settings(dry_run=dry_run), while_asked=NO_BUS), nothing, 60, presence=presence)
    last = presence.nodes[-1]
    assert "the bus does not answer" in last.reason
    assert last.dry_run == dry_run


def test_past_its_commit_a_machine_without_its_bus_counts_as_long_as_it_may_go_down():
    """The bus ends before the daemon does: the group must not take a machine that goes down for lost."""
    lasts: dict[bool, set[int]] = {True: set(), False: set()}
    for commits in (True, False):
        presence = Presence()
        bench = Bench(does={} if commits else {"request": lambda: Denied("slot", "held by n2")})

        def loses_its_bus(agent: Agent, bench: Bench = bench) -> None:
            bench.while_asked = NO_BUS
            agent.wake()

        play(bench, loses_its_bus, 30, presence=presence)
        blind = [node for node in presence.nodes if "bus" in node.reason]
        lasts[commits] = {node.lasts for node in blind}
    assert lasts == {True: {int(TTL + Settings().limit.total_seconds())}, False: {int(TTL)}}


def test_who_looks_afresh_asks_a_server_again_however_recently_it_was_asked():
    class Server(Bench):
        asked_again = 0
        server = "the server"

        def recheck(self) -> None:
            self.asked_again += 1

        async def contact(self) -> str:
            return "it answers"

    bench = Server(does={"request": lambda: Denied("slot", "held by n2")})
    play(bench, Agent.recheck)
    assert bench.asked_again == 1
    assert bench.calls == ["request", "request"]


@pytest.mark.parametrize("answer", [Denied("slot", "no", must_release=True), Denied("slot", "no", may_hold=True)])
def test_a_machine_that_may_have_a_slot_keeps_its_claim_when_it_is_stopped(answer):
    bench, presence, words = Bench(), Presence(), []
    bench.does = {"request": lambda: answer, "abort": raising(StoreUnavailableError("no endpoint answers"))}

    play(bench, lambda agent: words.append(agent.leave()), presence=presence)
    assert "keeps its claim" in words[0]
    assert not presence.left
    assert bench.journal.read().entry is not None


def test_a_machine_of_a_small_group_asks_again_once_it_is_woken_after_a_failure():
    bench = Bench(does={"request": raising(StoreUnavailableError("no endpoint answers"))})
    play(bench, Agent.wake, 0.5)
    assert bench.calls == ["request", "request"]


class Newer(Bench):
    """A machine whose update is followed by a newer one while it has the slot."""

    committed: Claim | None = None

    async def request(self, claim: Claim) -> Answer:
        answer = await super().request(claim)
        self.version = "2.0"
        return answer

    async def commit(self, claim: Claim) -> Answer:
        self.committed = claim
        return await super().commit(claim)


def test_a_commit_says_what_the_reboot_is_for_by_now(caplog):
    caplog.set_level("INFO")
    bench = Newer()
    play(bench, nothing)
    assert bench.committed is not None
    assert (bench.committed.version, bench.committed.causes) == ("2.0", (("update_engine", "2.0"),))
    entry = bench.journal.read().entry
    assert entry is not None
    assert entry.before.causes == (("update_engine", "2.0"),)
    [record] = [one for one in caplog.records if one.message == "past the point of no return"]
    assert "2.0" in str(vars(record))
