"""What may never happen with machines that wait at servers, checked at every write, at every answer, and now and then.

Nothing here asks the servers: the rules read what machines are told, who called when, and the store's values.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from locksmith.errors import CorruptValueError
from locksmith.lock import machine_wire as wire
from locksmith.lock import places
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.claim import COMMITTED
from locksmith.lock.records.node import TTL
from locksmith.server.shared_renewals import EVERY
from locksmith.store.protocol import Entry
from tests.sim.daemon import GROUP
from tests.sim.network import QUEUE, TIME, Outages, SimServer, StoreBefore
from tests.sim.story import Story

if TYPE_CHECKING:
    from tests.sim.rules import Rules

CALLS = 70.0
"""Seconds between two calls of a machine that waits, at most, where nothing keeps it from calling."""
BOUND = 20.0
"""Seconds after which a server keeps the place of a machine that it has answered."""
LEFT = 420.0
"""Seconds after the last call at which a place is gone: 150 until its server removes it, and 240 if that has died."""
KEPT = TTL - EVERY - 10.0
"""Seconds after an answer for which a presence stays at least that a server has said to be prolonged."""
SELDOM = 10.0
"""Seconds between two looks at that."""
TICKETS = keys.group_prefix(GROUP) + "tickets/"


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that a server answers, how far its machine had seen the store come, and how far that was at the call."""

    server: str
    machine: str
    name: str
    known: int
    came_at: int
    works_since: Callable[[float], bool]
    """Whether that server neither died nor stood still since then."""
    renews: str = ""
    """The key of the record that is to be prolonged, if the call is for that."""


@dataclass
class HubRules:
    """The rules for what the servers of one simulation share between their machines."""

    story: Story
    server: SimServer
    rules: "Rules"
    servers: Sequence[str]
    outages: Outages
    orderly: bool
    """Whether nothing but the servers themselves keeps a place in the queue, or removes one."""
    had: dict[str, None] = field(default_factory=dict)
    """The nonces of claims that have had a slot."""
    committed: dict[str, None] = field(default_factory=dict)
    """The nonces of claims that have passed the point of no return."""
    called: dict[str, float] = field(default_factory=dict)
    """For each machine, when it called any server the last time for the claim of its place."""
    waits: dict[str, tuple[float, Answered]] = field(default_factory=dict)
    """For each nonce, when a server last told its machine where it stands in the queue, and which."""
    renewed: dict[str, tuple[float, Answered]] = field(default_factory=dict)
    """For each presence, when a server last said that it is prolonged, and which."""
    alone: dict[str, float] = field(default_factory=dict)
    """For each ticket without a place: since when."""
    looked: float = 0.0

    def calls(self, machine: str) -> None:
        """Take note of a call that has come to a server, for the claim of a machine."""
        self.called[machine] = _now()

    def answered(self, call: Answered, said: Mapping[str, Any]) -> None:
        """Judge an answer to a machine at the moment when it is given."""
        server, machine = call.server, call.machine
        revision = said["store"]["revision"] if "store" in said and "kind" not in said else 0
        if 0 < revision < call.known <= self.server.revision and self.rules.restored < 0:
            self.story.breaks(f"{server} answers {machine} by an older store than it has seen")
        if 0 < revision < call.came_at <= self.server.revision and call.name == wire.READ and self.rules.restored < 0:
            self.story.breaks(f"{server} gives {machine} a read that is older than its call")
        if "kind" not in said and "store" in said:
            self.rules.clusters.answers(server, machine, said["store"]["cluster"], revision)
        if call.renews and said.get("answer") == wire.DONE:
            self.renewed[call.renews] = _now(), call
        nonce = said.get("nonce", "")
        if said.get("answer") == wire.GRANTED:
            known = self.committed if call.name == wire.COMMIT else self.had
            if nonce not in known:
                self.story.breaks(f"{server} grants the {call.name} of {machine}, and the store knows nothing of it")
        elif call.name == wire.REQUEST and "queued" in said:
            self.waits[nonce] = _now(), call

    def wrote(self, author: str, before: StoreBefore) -> None:
        """Judge one write."""
        for key, entry in before.found.items():
            if key.startswith(QUEUE) and entry is not None and author in (*self.servers, TIME):
                self._judge_end(author, entry)
            if key in self.renewed and author == TIME:
                self._judge_presence(key)
        for holder in self.rules.semaphore().holders:
            record = self.rules.record(holder) if keys.holder_key(GROUP, holder) in before.found else None
            if record is not None:
                self.had[record.nonce] = None
                if record.state == COMMITTED:
                    self.committed[record.nonce] = None

    def _judge_end(self, author: str, entry: Entry) -> None:
        """Judge whether the place of a machine ends, by a server or by its lease, which was just told where it is."""
        if self.server.read(entry.key).entry is not None or not self.orderly:
            return
        try:
            told, call = self.waits.get(waiter.decode(entry.value, entry.key).nonce, (0.0, None))
        except CorruptValueError:
            return
        if call is not None and BOUND < _now() - told < CALLS and self._works(call, told):
            how = "expires" if author == TIME else f"is removed by {author}"
            self.story.breaks(f"the place of {places.name_in(entry.key)} {how}, and it was told that it waits")

    def _judge_presence(self, key: str) -> None:
        """Judge whether a presence expires that a server has said to be prolonged."""
        told, call = self.renewed[key]
        if self.orderly and _now() - told < KEPT and self._works(call, told):
            self.story.breaks(f"the presence of {call.machine} expires, and {call.server} has said that it is kept")

    def _works(self, call: Answered, since: float) -> bool:
        """Tell whether the server that gave an answer could do what it had to do for that."""
        cut = any(end > since and start < _now() for start, end, who in self.outages.times if who in ("", call.server))
        return not cut and call.works_since(since)

    def turn(self) -> None:
        """Judge now and then whether what is of no machine any more leaves the queue."""
        now = _now()
        if not self.orderly or now - self.looked < SELDOM:
            return
        self.looked = now
        tickets = [entry.key for entry in self.server.list(TICKETS, 0, None).entries]
        stand = {places.name_in(entry.key): entry for entry in self.server.list(QUEUE, 0, None).entries}
        for name, entry in stand.items():
            machine = self.rules.machines.get(name)
            if machine is None or not machine.is_served or machine.on:
                continue
            came = self.called.get(name, 0.0)
            if now - came > LEFT:
                self.story.breaks(f"the place of {name} stays for {LEFT:.0f} s after its last call: {entry.key}")
        lonely = [key for key in tickets if keys.unsegment(key.rpartition("/")[2]) not in stand]
        self.alone = {key: self.alone.get(key, now) for key in lonely}
        for key, since in self.alone.items():
            if now - since > LEFT:
                self.story.breaks(f"the ticket {key.rpartition('/')[2]} has no place for {LEFT:.0f} s, and stays")


def _now() -> float:
    return asyncio.get_running_loop().time()
