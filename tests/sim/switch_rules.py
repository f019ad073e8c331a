"""What may never happen where another cluster answers: until an operator says that it counts, no part acts by it.

`network.py` tells each write of who has seen another cluster. Here are the rules for machines, by what their disks say.
"""

import asyncio
from dataclasses import dataclass, field

from locksmith.lock.records import keys
from locksmith.lock.records import order as order_record
from tests.sim.daemon import GROUP
from tests.sim.machine import SimMachine
from tests.sim.network import SimServer, StoreBefore
from tests.sim.story import Story

RESUME = keys.resume_key(GROUP)


@dataclass
class SwitchRules:
    """The rules of one simulation."""

    story: Story
    server: SimServer
    switched: float = float("-inf")
    """When another cluster took the place of the one before, the last time."""
    top: dict[str, int] = field(default_factory=dict)
    """How far each cluster has come."""

    def switches(self) -> None:
        """Take note that another cluster is about to take the place of this one."""
        self.switched = asyncio.get_running_loop().time()

    def wrote(self, before: StoreBefore) -> None:
        """Take note of an operator's word, and of how far the cluster has come."""
        self.note_revision()
        raw = self.server.value(RESUME) if RESUME in before.found else None
        order = order_record.decode(raw, RESUME, order_record.RESTORED) if raw else None
        if order is not None and order.cluster == self.server.cluster:
            self.server.words |= dict.fromkeys((order.cluster, one) for one in order.replaces)

    def note_revision(self) -> None:
        """Take note of how far the cluster has come: by a write, or with a backup of the cluster before."""
        self.top[self.server.cluster] = max(self.top.get(self.server.cluster, 0), self.server.revision)

    def strays(self, author: str, call: str) -> None:
        """Judge a write of who has seen another cluster."""
        self.story.breaks(f"{author} writes ({call}) to a cluster that counts by no operator's word")

    def acts(self, machine: SimMachine | None, what: str) -> None:
        """Judge a take, or a commit, of a machine. What it sent before it could know is none of its own."""
        if machine is None or self.server.sent <= self.switched:
            return
        seen = machine.noted().clusters.own
        if not self.server.counts_for(seen):
            self.story.breaks(f"{machine.name} {what} in another cluster than it has seen")

    def answers(self, server: str, name: str, cluster: str, revision: int) -> None:
        """Judge where an answer says that it was given."""
        if revision > self.top.get(cluster, revision):
            self.story.breaks(f"{server} answers {name} by a revision to which that cluster never came")
