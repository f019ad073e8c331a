"""A fleet whose update appears on all machines in one second: they come to the store one after another."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from locksmith.agent.observe import Observer
from locksmith.agent.snapshot import Snapshot
from locksmith.lock import arrival
from locksmith.lock.group_size import FIRST_WITHIN
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys
from locksmith.store.memory import MemoryStore
from tests.sim.daemon import GROUP, Parts, Process
from tests.sim.machine import SimMachine
from tests.sim.network import QUEUE, Network, Outages, SimServer, StoreBefore
from tests.sim.node import Node
from tests.sim.plan import Faults
from tests.sim.story import Story
from tests.sim.virtual_time import run

MACHINES = 60
PER_SECOND = 4
SPREAD = MACHINES / PER_SECOND
MOST = 4 * PER_SECOND
"""How many may come within one second: each has drawn its own moment."""
NODES = keys.nodes_prefix(GROUP)


class Fleet:
    """Machines that are up for a while, and what they write in which second after their update has appeared."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.story = Story(replay=".venv/bin/pytest tests/sim/test_arrival.py")
        self.server = SimServer()
        self.server.witness = self.wrote
        self.since = float("inf")
        self.came: Counter[int] = Counter()
        self.shown: Counter[int] = Counter()
        self.queued: set[str] = set()

    def node(self, name: str) -> Node:
        machine = SimMachine(name, Random(name), self.story, Faults)
        node = Node(machine, self.process, Random(name))
        machine.lost_power, machine.booted = node.lose_power, node.start
        node.start()
        return node

    def process(self, machine: SimMachine) -> Process:
        def store(process: Process) -> MemoryStore:
            network = Network(self.server, machine.name, machine.rng, Faults, Outages(), process.pause)
            return MemoryStore(self.server, network)

        return Process(
            machine, self.parts, machine.rng, self.story, store, lambda _: None, lambda _: None, lambda *_: None
        )

    def wrote(self, author: str, before: StoreBefore) -> None:
        second = asyncio.get_running_loop().time() - self.since
        if second < 0:
            return
        for key in before.found:
            if key.startswith(QUEUE) and author not in self.queued:
                self.queued.add(author)
                self.came[int(second)] += 1
            if key.startswith(NODES):
                self.shown[int(second)] += 1


def update(parts: Parts) -> Fleet:
    """Let the update appear, and watch the fleet for as long as it spreads."""
    fleet = Fleet(parts)

    async def main(_loop):
        nodes = [fleet.node(f"n{number}") for number in range(MACHINES)]
        await asyncio.sleep(FIRST_WITHIN + 60)
        fleet.since = asyncio.get_running_loop().time()
        for node in nodes:
            node.machine.engine.wants("1.0")
            node.wake()
        await asyncio.sleep(SPREAD + 5)
        fleet.since = float("inf")  # each daemon that stops now ends its presence
        fleet.story.check()

    run(main)
    return fleet


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(arrival, "PER_SECOND", PER_SECOND)


class AllAtOnce(Observer):
    """Asks as soon as it is able to."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), arrival=timedelta())


class Chatty(Presence):
    """Shows its news at once."""

    def __init__(self, *args, **named) -> None:
        named.pop("spread")
        super().__init__(*args, **named)


def test_an_update_of_all_machines_brings_them_to_the_queue_one_after_another():
    fleet = update(Parts())
    assert len(fleet.queued) == MACHINES
    assert max(fleet.came.values()) <= MOST
    assert max(fleet.shown.values()) <= MOST


def test_machines_that_ask_as_soon_as_they_can_are_noticed():
    assert max(update(Parts(observer=AllAtOnce)).came.values()) > MOST


def test_machines_that_show_their_news_at_once_are_noticed():
    assert max(update(Parts(presence=Chatty)).shown.values()) > MOST
