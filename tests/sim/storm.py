"""The storm: updates, and all that befalls machines, the store and people, each at a time drawn from the plan."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any

from locksmith.lock import places
from locksmith.lock.queue import TTL
from locksmith.lock.records import waiter
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.waiter import Waiter
from locksmith.store.protocol import ABSENT, Position, Put
from tests.sim.daemon import GROUP, TARGET
from tests.sim.machine import MIDNIGHT, PERSON
from tests.sim.network import SimServer
from tests.sim.node import Node
from tests.sim.people import Operator
from tests.sim.plan import STORMY, Plan
from tests.sim.rules import Rules
from tests.sim.story import Story

OTHERS = "elsewhere/a-key-of-others"


@dataclass
class Storm:
    """The storm of one plan. `begin` lets something happen beside all else."""

    plan: Plan
    nodes: Sequence[Node]
    server: SimServer
    story: Story
    operator: Operator
    rules: Rules
    begin: Callable[[Coroutine[Any, Any, None]], None]
    cut_off: Callable[[float, Sequence[float]], None] = lambda _since, _until: None
    """Cuts all off from the store, until the first of these times, and then each until one of the others."""

    def let_loose(self) -> None:
        """Begin everything."""
        plan, faults = self.plan, self.plan.faults
        for node in self.nodes:
            self.begin(self._updates(node))
            if plan.calendars.packages:
                self.begin(self._upgrades(node))
        if plan.busy and not faults.restores and not faults.switches:
            # An operator is there all night, or the first reboot that goes wrong would be the last.
            for minute in range(1, int(STORMY / 60)):
                self.begin(_later(minute * 60, partial(self.operator.attempt, self.operator.resume)))
        self._at_times("operator", plan.operator_acts, lambda _node: self.operator.act())
        self._at_times("power", faults.power_cuts, self._cut_power)
        self._at_times("block", faults.blocked, self._block)
        self._at_times("clock", faults.clock_steps, self._step_clock)
        self._at_times("person", faults.others_reboot, self._reboot_by_hand)
        self._at_times("restart", faults.restarts, self._restart)
        self._at_times("soft reboot", faults.soft_reboots, self._reboot_softly)
        self._at_times("compaction", faults.compactions, self._compact)
        self._at_times("expiry", faults.expiries, self._expire)
        self._at_times("restore", faults.restores, self._restore)
        self._at_times("switch", faults.switches, self._switch)
        self._at_times("full disk", faults.full_disks, self._fill_disk)
        self._at_times("unable", faults.unable, self._disable)
        self._at_times("ahead", faults.ahead, self._see_more)
        self._at_times("elections", faults.elections, self._elect)
        self._at_times("copy", faults.copies, self._copy)
        self._at_times("astray", faults.astray, self._lead_astray)
        for number in range(faults.misdirected):
            rng = plan.draw(f"misdirected {number}")
            begins = rng.choice((0.0, rng.uniform(0, STORMY)))
            self.begin(_later(begins, partial(self._misdirect, rng.choice(self.nodes), rng)))
        self._at_times("script", faults.scripts, self._stop_a_unit)
        self._at_times("vanishing", faults.vanishings, self._vanish)

    def _at_times(self, name: str, times: int, act: Callable[[Node], Coroutine[Any, Any, None]]) -> None:
        rng = self.plan.draw(name)
        for _ in range(times):
            node = rng.choice(self.nodes)
            self.begin(_later(rng.uniform(0, STORMY), partial(act, node)))

    async def _updates(self, node: Node) -> None:
        """Let the engine finish an update or two, and sometimes drop it again."""
        machine, rng, loop = node.machine, self.plan.draw(f"{node.machine.name} updates"), asyncio.get_running_loop()
        for version in count() if self.plan.busy else range(rng.randint(1, 2)):
            await asyncio.sleep(rng.uniform(0, self.plan.busy or STORMY / 3))
            if self.plan.busy and loop.time() > STORMY:
                return
            if self.plan.busy and machine.is_wanted:
                continue
            machine.engine.wants(f"{version + 1}.0.0")
            self.story.tell(machine.name, f"has update {machine.engine.need} and wants a reboot")
            node.wake()
            if rng.random() < self.plan.faults.engine_reset:
                await asyncio.sleep(rng.uniform(0, 60))
                machine.engine.reset()
                self.story.tell(machine.name, "has its update reset")

    async def _upgrades(self, node: Node) -> None:
        """Let packages want a reboot, and sometimes be content again without one."""
        machine, rng = node.machine, self.plan.draw(f"{node.machine.name} packages")
        await asyncio.sleep(rng.uniform(0, STORMY))
        machine.packages.wants("of-the-night")
        self.story.tell(machine.name, "has packages that want a reboot")
        node.wake()
        if rng.random() < 0.3:
            await asyncio.sleep(rng.uniform(0, 60))
            machine.packages.reset()
            self.story.tell(machine.name, "has packages that want none any more")

    async def _cut_power(self, node: Node) -> None:
        node.machine.cut_power()

    async def _block(self, node: Node) -> None:
        rng = self.plan.draw(f"block {asyncio.get_running_loop().time()}")
        await node.machine.block(rng.uniform(0.1, rng.choice((5, 120))))

    async def _step_clock(self, node: Node) -> None:
        step = self.plan.draw(f"step {asyncio.get_running_loop().time()}").uniform(-300, 300)
        node.machine.set_clock(timedelta(seconds=step))
        self.story.tell(node.machine.name, f"has its clock stepped by {step:.1f} s")

    async def _reboot_by_hand(self, node: Node) -> None:
        if node.machine.on:
            node.machine.go_down(PERSON)

    async def _reboot_softly(self, node: Node) -> None:
        if node.machine.on:
            node.machine.reboot_softly()

    async def _compact(self, _node: Node) -> None:
        self.story.tell("STORE", "forgets its past")
        self.server.compact()

    async def _expire(self, _node: Node) -> None:
        leased = self.server.leased()
        if leased:
            key = self.plan.draw(f"expiry {asyncio.get_running_loop().time()}").choice(leased)
            self.story.tell("STORE", f"loses {key.rpartition('rebootlock/')[2]} before its time")
            self.server.lose(key)

    async def _restore(self, _node: Node) -> None:
        """Go back to a backup of some minutes ago: made now, restored later."""
        rng, backup = self.plan.draw(f"restore {asyncio.get_running_loop().time()}"), self.server.backup()
        self.story.tell("STORE", "is backed up")
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(min(rng.uniform(1, 300), STORMY - now))
        self.rules.went_back(backup.revision)
        self.story.tell("STORE", f"goes back from revision {self.server.revision} to {backup.revision}")
        self.server.restore(backup)
        self.operator.store_went_back = True
        self.rules.is_back()
        if self.plan.faults.traffic:
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 60))))
            self.story.tell("STORE", f"is written to by others, {self.plan.faults.traffic} times")
            self.server.author = "OTHERS"
            for number in range(self.plan.faults.traffic):
                self.server.commit([Put(OTHERS, str(number).encode(), self.server.read(OTHERS).version)])

    async def _switch(self, _node: Node) -> None:
        """Let another cluster take the place of the store, with what a backup of some minutes ago holds.

        Each server and each machine reaches it at a time of its own. An operator says that it counts, soon or late.
        """
        loop, before = asyncio.get_running_loop(), self.server.cluster
        rng, backup = self.plan.draw(f"switch {loop.time()}"), self.server.backup()
        self.story.tell("STORE", "is backed up")
        await asyncio.sleep(min(rng.uniform(1, 300), STORMY - loop.time()))
        if before != self.server.cluster:
            return  # another switch was faster
        now = loop.time()
        self.cut_off(
            now, [now + rng.uniform(0, 20), *(now + rng.choice((0.0, rng.uniform(1, 150))) for _ in range(99))]
        )
        self.rules.switches(backup.revision)
        self.server.switch(backup, f"{int(before, 16) + 1:x}")
        self.story.tell("STORE", f"is cluster {self.server.cluster} from now on, of revision {backup.revision}")
        self.operator.clusters_before.append(before)
        self.operator.store_went_back = True
        self.rules.is_back()
        await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 60), rng.uniform(60, 400))))
        await self.operator.insist(self.operator.replace_clusters)

    async def _fill_disk(self, node: Node) -> None:
        rng = self.plan.draw(f"full disk {asyncio.get_running_loop().time()}")
        node.machine.fill_disk(min(rng.uniform(30, 400), STORMY - asyncio.get_running_loop().time()))

    async def _disable(self, node: Node) -> None:
        loop, rng = asyncio.get_running_loop(), self.plan.draw(f"unable {asyncio.get_running_loop().time()}")
        node.machine.unable_until = min(STORMY, loop.time() + rng.uniform(100, 900))
        self.story.tell(node.machine.name, f"cannot look at the other keyspace until {node.machine.unable_until:.0f}")

    async def _lead_astray(self, node: Node) -> None:
        """Let a machine reach another cluster alone. (One without memory would believe it, as docs/safety.md says.)"""
        if node.machine.is_served or not node.machine.knows_its_cluster:
            return
        loop, rng = asyncio.get_running_loop(), self.plan.draw(f"astray {asyncio.get_running_loop().time()}")
        node.machine.astray_until = min(STORMY, loop.time() + rng.uniform(30, 300))
        self.story.tell(node.machine.name, f"reaches another cluster alone until {node.machine.astray_until:.0f}")
        node.wake()

    async def _misdirect(self, node: Node, rng: Random) -> None:
        """Name a wrong endpoint in a machine's configuration. Some lead to the store after a while, as a name may."""
        loop, machine = asyncio.get_running_loop(), node.machine
        if machine.is_served:
            return  # it has none
        machine.endpoints = (f"wrong since {loop.time():.0f}",)
        corrected = min(STORMY, loop.time() + rng.uniform(30, 400))
        machine.wrong_until = rng.choice((math.inf, rng.uniform(loop.time(), corrected)))
        self.story.tell(machine.name, f"has a wrong endpoint, until {corrected:.0f}")
        await self._restart(node)
        await asyncio.sleep(corrected - loop.time())
        machine.endpoints, machine.wrong_until = TARGET.endpoints, math.inf
        self.story.tell(machine.name, "has its endpoint corrected")
        await self._restart(node)

    async def _stop_a_unit(self, node: Node) -> None:
        if node.machine.on:
            await self.operator.attempt(partial(self.operator.stop_a_unit, node.machine.name))

    async def _vanish(self, _node: Node) -> None:
        """Let a machine that waits for a slot lose its power, and stay off for longer than any place may stay."""
        holders = self.rules.semaphore().holders
        waiting = [one.machine for one in self.nodes if one.machine.name in self.server.line()]
        able = [machine for machine in waiting if machine.on and machine.name not in holders]
        if able:
            rng = self.plan.draw(f"vanishing {asyncio.get_running_loop().time()}")
            machine = rng.choice(able)
            machine.off_for = rng.uniform(100, 900)
            machine.cut_power()

    async def _see_more(self, node: Node) -> None:
        """Let a machine have the mark of a store that has come further, as a restored store makes it."""
        if node.process is None:
            return
        self.story.tell(node.machine.name, "believes to have seen more of the store")
        node.machine.is_ahead = True
        ahead = Position(self.server.revision + 1_000_000, self.server.cluster)
        node.process.seen.answered(ahead, node.process.seen.sending())
        node.process.seen.keep()

    async def _elect(self, _node: Node) -> None:
        """Let a machine go from the queue for good, and leaders change all the time."""
        rng = self.plan.draw("elections of leaders")
        self._leave_behind("gone", TTL)
        while asyncio.get_running_loop().time() < STORMY:
            self.story.tell("STORE", "has another leader")
            self.server.elect()
            await asyncio.sleep(rng.uniform(5, 60))

    async def _copy(self, _node: Node) -> None:
        self._leave_behind("left", TTL)
        self.story.tell("STORE", "is a copy: no key has a lease")
        self.server.strip()

    def _leave_behind(self, name: str, ttl: float) -> None:
        """Leave a place in the queue that is of no machine any more."""
        self.story.tell(name, "goes for good, and stands in the queue")
        claim = Claim(name, REBOOT, f"nonce of {name}", MIDNIGHT, hostname=name)
        self.server.author, number = name, self.server.revision
        place = Put(places.place_key(GROUP, claim, number), waiter.encode(Waiter.of(claim)), ABSENT)
        ticket = Put(places.ticket_key(GROUP, claim), str(number).encode(), ABSENT)
        self.server.join(place, ticket, (), ttl)

    async def _restart(self, node: Node) -> None:
        if node.process is not None:
            await node.process.stop()


async def _later(seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(seconds)
    await act()
