"""Two machines of one id, as copied images make them: once they have met neither reboots, and none undoes the other."""

import asyncio
import copy
from random import Random

import pytest

from locksmith.lock.presence import KEEP_AFTER, Presence
from locksmith.lock.records import semaphore
from locksmith.store.memory import MemoryStore
from tests.sim.daemon import Parts, Process
from tests.sim.machine import SimMachine
from tests.sim.network import Network, Outages, SimServer, StoreBefore
from tests.sim.node import Node
from tests.sim.older_records import ReadsNewNames, TranslatedJournal, Translation, WritesNewNames
from tests.sim.plan import Faults
from tests.sim.rules import KEY
from tests.sim.story import BrokenRuleError, Story
from tests.sim.virtual_time import run

SEEDS = range(15)
MET = KEEP_AFTER + 60.0
"""Seconds after which two that are up have found each other."""
LONG = 3600.0


class World:
    """A store, and two machines of the id `n1`: the second one is made when the first has run for a while."""

    def __init__(self, seed: int, parts: Parts = Parts(), *, firmware: bool = True) -> None:  # noqa: B008 - immutable
        self.parts = dict.fromkeys(("original", "copy"), parts)
        self.firmware = firmware
        self.rng = Random(seed)
        self.story = Story(replay=f".venv/bin/pytest tests/sim/test_twins.py -k {seed}")
        self.server = SimServer()
        self.server.witness = self.wrote
        self.up: dict[str, float] = {}
        self.took = ""

    def node(self, host: str, original: "Node | None" = None) -> Node:
        """Put a machine up; a copy has the disk of the original as it is now."""
        rng = Random(f"{self.rng.random()} {host}")
        machine = SimMachine("n1", rng, self.story, Faults, host=host, hardware=host if self.firmware else "")
        if original is not None:
            machine.disk = copy.deepcopy(original.machine.disk)
        node = Node(machine, self.process, rng)
        machine.lost_power, machine.booted = node.lose_power, lambda: self.boot(node)
        self.boot(node)
        return node

    def boot(self, node: Node) -> None:
        self.up[node.machine.host] = asyncio.get_running_loop().time()
        node.start()

    def process(self, machine: SimMachine) -> Process:
        def store(process: Process) -> MemoryStore:
            network = Network(self.server, machine.host, machine.rng, Faults, Outages(), process.pause)
            return MemoryStore(self.server, network)

        return Process(
            machine,
            self.parts[machine.host],
            machine.rng,
            self.story,
            store,
            self.asked,
            lambda _machine: None,
            lambda *_: None,
        )

    def asked(self, machine: SimMachine) -> None:
        """Judge an order to reboot."""
        now = asyncio.get_running_loop().time()
        self.story.tell(machine.host, "orders its reboot")
        if len(self.up) > 1 and all(now - since > MET for since in self.up.values()):
            self.story.breaks(f"{machine.host} reboots, and has met its twin")

    def wrote(self, author: str, before: StoreBefore) -> None:
        """Judge a write: the machine that releases the slot took it."""
        was, now = held(before), held(self.server)
        if now and not was:
            self.took = author
        if was and not now and author != self.took:
            self.story.breaks(f"{author} gave back what {self.took} had taken")


def held(values: SimServer | StoreBefore) -> tuple[str, ...]:
    raw = values.value(KEY)
    return semaphore.decode(raw, KEY).holders if raw else ()


async def need(world: World, node: Node, version: str) -> None:
    node.machine.engine.wants(version)
    world.story.tell(node.machine.host, "wants a reboot")
    node.wake()


def shown(node: Node) -> str:
    """Say what its daemon shows."""
    return node.process.shown if node.process else ""


def meet(seed: int, parts: Parts = Parts(), *, firmware: bool = True, in_a_claim: bool = True) -> None:  # noqa: B008
    """Have two machines of one id live side by side, and want reboots; their disks may be copied `in_a_claim`."""

    async def main(_loop):
        world = World(seed, parts, firmware=firmware)
        original = world.node("original")
        await asyncio.sleep(world.rng.uniform(0, 2000))
        if world.rng.random() < 0.5:
            await need(world, original, "1.0")
            await asyncio.sleep(world.rng.uniform(0, 200))
        copied = world.rng.random() < 0.5 and (in_a_claim or not original.machine.claims)
        clone = world.node("copy", original if copied else None)
        await asyncio.sleep(world.rng.uniform(0, 2000))
        for node, version in ((original, "2.0"), (clone, "2.1")):
            await asyncio.sleep(world.rng.uniform(0, 400))
            await need(world, node, version)
        await asyncio.sleep(LONG)
        world.story.check()
        assert all("clone" in shown(node) for node in (original, clone)), world.story.lines[-20:]
        assert held(world.server) == ()

    run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_twins_find_each_other_and_none_reboots(seed):
    meet(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_so_do_containers_which_have_no_firmware_of_their_own(seed):
    """A copy of one that is made during a claim is what locksmith cannot tell from it (docs/safety.md)."""
    meet(seed, firmware=False, in_a_claim=False)


def copy_during_a_claim(*, firmware: bool) -> None:
    """Copy the disk of a machine that has its slot and goes down; the copy is up before the original is again."""

    async def main(_loop):
        world = World(0, firmware=firmware)
        original = world.node("original")
        gone = asyncio.Event()

        def lost_power() -> None:
            original.lose_power()
            gone.set()

        original.machine.lost_power = lost_power
        await need(world, original, "1.0")
        await gone.wait()
        world.node("copy", original)
        await asyncio.sleep(LONG)
        world.story.check()

    run(main)


def test_a_disk_that_was_copied_during_a_claim_releases_nothing():
    copy_during_a_claim(firmware=True)
    with pytest.raises(BrokenRuleError, match="copy gave back what original had taken"):
        copy_during_a_claim(firmware=False)  # this is what the rule sees, and what is said of containers


OLDER = Parts(journal=TranslatedJournal, names=Translation())
"""Of an earlier version: its records have other names."""


def meet_of_two_versions(seed: int, older: str, parts: Parts = Parts()) -> None:  # noqa: B008 - immutable
    """Copy the disk of a container, so that the clone's first record alone says that there are two; see both refuse."""

    async def main(_loop):
        world = World(seed, parts, firmware=False)
        world.parts[older] = OLDER
        original = world.node("original")
        await asyncio.sleep(world.rng.uniform(1, 2000))
        clone = world.node("copy", original)
        await asyncio.sleep(MET)
        for node, version in ((original, "2.0"), (clone, "2.1")):
            await asyncio.sleep(world.rng.uniform(0, 400))
            await need(world, node, version)
        await asyncio.sleep(LONG)
        world.story.check()
        assert all("clone" in shown(node) for node in (original, clone)), world.story.lines[-20:]

    run(main)


@pytest.mark.parametrize("older", ["original", "copy"])
@pytest.mark.parametrize("seed", SEEDS)
def test_clones_of_two_versions_find_each_other_too(seed, older):
    meet_of_two_versions(seed, older)


@pytest.mark.parametrize(("older", "names"), [("original", ReadsNewNames()), ("copy", WritesNewNames())])
def test_a_daemon_that_forgets_the_older_names_of_a_clone_is_noticed(older, names):
    def meet_all() -> None:
        for seed in SEEDS:
            meet_of_two_versions(seed, older, Parts(names=names))

    with pytest.raises(BrokenRuleError, match="has met its twin"):
        meet_all()


class Blind(Presence):
    """Takes every record for its own."""

    def _look_at(self, found, now):
        pass


def test_a_machine_that_does_not_look_for_its_twin_is_noticed():
    def meet_all() -> None:
        for seed in SEEDS:
            meet(seed, Parts(presence=Blind))

    with pytest.raises(BrokenRuleError, match="has met its twin"):
        meet_all()


def test_a_machine_whose_twin_is_gone_reboots_again():
    async def main(_loop):
        world = World(0)
        original, clone = world.node("original"), world.node("copy")
        await asyncio.sleep(MET)
        await need(world, original, "1.0")
        await asyncio.sleep(1000)
        assert "clone" in shown(original)
        assert clone.process is not None
        clone.process.kill("for good")
        clone.machine.on = False
        await asyncio.sleep(2000)
        assert original.machine.boots == 2

    run(main)
