"""Servers that act for one client at the same time: none of them answers that it has lost a race."""

import asyncio
import itertools

import pytest

from locksmith.server.refusal import RefusalKind
from locksmith.store.memory import MemoryStore
from tests.builders.desks import POLL, play
from tests.builders.one_store import G
from tests.harness.fault_script import StepwiseStore


class Paced:
    """A network in which each call takes as long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def carry(self, call):
        await asyncio.sleep(self.seconds)
        return call.apply()


class Before:
    """A network that does something right before the first call of a name arrives."""

    def __init__(self, name: str, act) -> None:
        self.name, self.act = name, act

    async def carry(self, call):
        if call.name == self.name and self.act is not None:
            act, self.act = self.act, None
            await act()
        return call.apply()


@pytest.mark.slow
@pytest.mark.parametrize("store", [MemoryStore, StepwiseStore])
@pytest.mark.parametrize("waits", [False, True])
def test_a_call_that_reaches_two_servers_is_not_refused_because_one_was_faster(store, waits):
    """Zincati would take that for an answer, and call again five minutes later, with its slot committed meanwhile."""

    async def story(fleet, begin, pace):
        if waits:
            await fleet.desk().pre_reboot(G, "c0")
            await fleet.desk().pre_reboot(G, "c1")
            await asyncio.sleep(POLL)
            await fleet.desk().steady_state(G, "c0")
        slow, quick = fleet.desk(Paced(0.003)), fleet.desk(Paced(pace))

        async def later():
            await asyncio.sleep(0.001 * begin)
            return await quick.pre_reboot(G, "c1")

        answers = await asyncio.gather(slow.pre_reboot(G, "c1"), later())
        assert [answer for answer in answers if answer is not None and answer.kind is RefusalKind.STORE] == []
        assert None in answers

    for begin, pace in itertools.product(range(0, 45, 5), (0.001, 0.007)):
        play(lambda fleet, begin=begin, pace=pace: story(fleet, begin, pace), store)


def test_a_place_that_another_server_prolongs_does_not_outlast_a_steady_state():
    """Its lease is another by then, so that the end of the old one removes nothing."""

    async def story(fleet):
        assert await fleet.desk().pre_reboot(G, "c1") is None
        assert await fleet.desk().pre_reboot(G, "c2") is not None
        await asyncio.sleep(POLL)
        late = Before("revoke", lambda: fleet.desk().pre_reboot(G, "c2"))
        assert await fleet.desk(late).steady_state(G, "c2") is None
        assert late.act is None
        assert (await fleet.cycle("c2")).is_idle

    play(story)
