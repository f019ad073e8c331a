"""The store as a client reaches it: calls take time, lose their answers, or arrive long after they were given up."""

import asyncio
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

from locksmith.errors import ConflictError, OutcomeUnknownError, PastGoneError, StoreRefusedError, StoreUnavailableError
from locksmith.lock import places
from locksmith.lock.records import keys
from locksmith.store.memory import Call, MemoryServer, MemoryStore
from locksmith.store.memory_server import Backup
from locksmith.store.protocol import Also, Check, Delete, Entry, Listing, Reading
from tests.harness.fault_script import StepwiseStore
from tests.sim.behalf import ACTS_FOR
from tests.sim.plan import STORMY, Faults, Plan

T = TypeVar("T")

CLUSTER = MemoryServer().cluster
"""The id of the fleet's own cluster."""
LATEST = 60.0
"""Seconds after which a call that was lost reaches a server at the latest."""
DEADLINE = 5.0
"""Seconds a client waits for an answer."""

QUEUE = keys.waiters_prefix("")
TIME = "TIME"
"""The author of what expires in its time."""


@dataclass(slots=True)
class SimServer(MemoryServer):
    """The store in memory that tells `witness` of each write: whose it is, and what it found."""

    author: str = ""
    sent: float = 0.0
    """When the author sent the write that is judged."""
    witness: Callable[[str, "StoreBefore"], None] = lambda _author, _before: None
    refused: Callable[[str, str], None] = lambda _author, _words: None
    """Told of each call that is refused, and why."""
    granted: dict[int, float] = field(default_factory=dict)
    """For how many seconds each lease was granted."""
    reached: list[tuple[float, int]] = field(default_factory=list)
    """When it came to which revision, in this history."""
    words: dict[tuple[str, str], None] = field(default_factory=dict)
    """Which cluster takes the place of which, as an operator has said in it."""
    strayed: Callable[[str, str], None] = lambda _author, _call: None
    """Told of each write of who has seen another cluster, of which no operator has said so."""

    def prolong(self, entry: Entry, ttl: float) -> None:
        """Prolong a lease, and remember for how long."""
        MemoryServer.prolong(self, entry, ttl)
        self.granted[entry.lease] = ttl

    def grant(self, ttl: float) -> int:
        """Make a lease for a note, and remember for how long."""
        lease = MemoryServer.grant(self, ttl)
        self.granted[lease] = ttl
        return lease

    def elect(self) -> None:
        """Start every lease again, as a new leader of etcd does."""
        now = asyncio.get_running_loop().time()
        self._deadlines = {lease: now + self.granted[lease] for lease in self._deadlines}

    def strip(self) -> None:
        """Be a copy of the keyspace: no key has a lease."""
        self._deadlines.clear()
        self._entries = {key: replace(entry, lease=0) for key, entry in self._entries.items()}

    def value(self, key: str) -> bytes | None:
        """Give what a key holds."""
        return _value(self.read(key).entry)

    def line(self) -> list[str]:
        """Name who stands in line, the first first."""
        return _names(self.list(QUEUE, 0, None).entries)

    def revision_at(self, time: float) -> int:
        """Tell to which revision it had come by then; 0: in this history to none."""
        at = bisect_right(self.reached, (time, sys.maxsize))
        return self.reached[at - 1][1] if at else 0

    def restore(self, backup: Backup) -> None:
        """Be again what a backup holds."""
        MemoryServer.restore(self, backup)
        self.reached = [(asyncio.get_running_loop().time(), self.revision)]

    def switch(self, backup: Backup, cluster: str) -> None:
        """Be another cluster, which holds what a backup of this one holds."""
        self.cluster = cluster
        self.restore(backup)

    def counts_for(self, seen: str) -> bool:
        """Whether this cluster counts for who has seen that one (empty: none)."""
        return seen in ("", self.cluster) or (self.cluster, seen) in self.words

    def has_forgotten(self, revision: int) -> bool:
        """Whether it can no longer tell what was at a revision."""
        return revision <= self._compacted

    def leased(self) -> list[str]:
        """Name the keys that expire."""
        return [key for key, entry in self._entries.items() if entry.lease]

    def lose(self, key: str) -> None:
        """Let a key expire before its time, with all others of its lease."""
        self.author = "LEASE"
        self.commit([Delete(one.key, one.version) for one in self._bound_to(self._entries[key].lease)])

    def _expire(self, entry: Entry) -> None:
        """Let a key expire in its time; before that, come back later."""
        author, self.author = self.author, TIME
        try:
            MemoryServer._expire(self, entry)
        finally:
            self.author = author

    def commit(self, changes: Sequence[Also]) -> None:
        """Make the changes in the sight of the witness."""
        found = {change.key: self.read(change.key).entry for change in changes if not isinstance(change, Check)}
        MemoryServer.commit(self, changes)
        self.reached.append((asyncio.get_running_loop().time(), self.revision))
        self.witness(self.author, StoreBefore(self, found))


@dataclass(slots=True)
class StoreBefore:
    """The store as a write found it: `found` has the keys that it changed."""

    server: SimServer
    found: dict[str, Entry | None]

    def value(self, key: str) -> bytes | None:
        """Give what a key held."""
        return _value(self.found[key] if key in self.found else self.server.read(key).entry)

    def gone(self) -> list[str]:
        """Name the keys that the write removed."""
        return [key for key, entry in self.found.items() if entry and self.server.read(key).entry is None]

    def line(self) -> list[str]:
        """Name who stood in line, the first first."""
        return _names(self.places())

    def line_of(self, name: str) -> list[str]:
        """Name who stood in line as `name` sees it: an older version knows but one order, that of creation."""
        stood = self.places()
        older = any(places.number_of(entry.key) is None for entry in stood if places.name_in(entry.key) == name)
        if older:
            return [places.name_in(entry.key) for entry in sorted(stood, key=lambda entry: entry.created)]
        return _names([entry for entry in stood if places.number_of(entry.key) is not None])

    def places(self) -> list[Entry]:
        """Give the places that there were."""
        now = [entry for entry in self.server.list(QUEUE, 0, None).entries if entry.key not in self.found]
        before = [entry for key, entry in self.found.items() if entry and key.startswith(QUEUE)]
        return [*now, *before]


def _is_expected(call: str, error: StoreRefusedError) -> bool:
    """Tell what the store may refuse at any time: a past that is gone, and keys for a lease that has ended."""
    return isinstance(error, PastGoneError) or (call == "bind" and "lease not found" in str(error))


def _value(entry: Entry | None) -> bytes | None:
    return entry.value if entry else None


def _names(stand: Sequence[Entry]) -> list[str]:
    return [
        places.name_in(entry.key) for entry in sorted(stand, key=lambda entry: places.turn(entry.key, entry.created))
    ]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer on its way back: where the store stood when it was given, and when it was asked for."""

    value: T
    revision: int
    sent: float
    cluster: str = ""


def _entries(value: object) -> Iterator[Entry]:
    """Find the entries in an answer of whatever kind."""
    match value:
        case Entry():
            yield value
        case Reading(entry=Entry() as entry):
            yield entry
        case Listing(entries=entries):
            yield from entries
        case list() | tuple():
            for part in value:
                yield from _entries(part)


@dataclass
class Outages:
    """When no client reaches the store, or one does not: since when, until when, who (empty: all)."""

    times: list[tuple[float, float, str]] = field(default_factory=list)

    @classmethod
    def drawn(cls, plan: Plan, machines: Sequence[str]) -> "Outages":
        """Draw when they begin and end."""
        rng, apart = plan.draw("outages"), plan.draw("partitions")
        starts = [rng.uniform(0, STORMY - 120) for _ in range(plan.faults.outages)]
        cut = [(apart.uniform(0, STORMY - 300), apart.choice(machines)) for _ in range(plan.faults.partitions)]
        return cls(
            [
                *((start, start + rng.uniform(2, 120), "") for start in starts),
                *((start, start + apart.uniform(2, 300), name) for start, name in cut),
            ]
        )

    def now(self, client: str) -> bool:
        """Whether this client does not reach it now."""
        if not self.times:
            return False
        time = asyncio.get_running_loop().time()
        return any(start <= time < end and who in ("", client) for start, end, who in self.times)


@dataclass
class Network:
    """One client's way to the server. `faults` is asked at each call, so that they can end."""

    server: SimServer
    client: str
    rng: Random
    faults: Callable[[], Faults]
    outages: Outages
    pause: Callable[[str], Any]
    """Awaited around each call: the place where a process may die."""
    lost: Callable[[], None] = lambda: None
    """Called when an answer gets lost: troubles come in company."""
    tell: Callable[[str], None] = lambda _what: None
    saw: Callable[["Answer[Any]", int], None] = lambda _answer, _version: None
    """Told of each answer that arrives, and of the version of `watched` in it (0: none)."""
    watched: str = ""
    seen: str = ""
    """The cluster that has answered here: the first, or the one that has taken its place."""

    @property
    def is_cut_off(self) -> bool:
        """Whether this client does not reach the server now."""
        return self.outages.now(self.client)

    async def carry(self, call: Call[T]) -> T:
        """Bring a call to the server and its answer back, or give up on it in time."""
        cluster = self.server.cluster
        await self.pause(f"before {call.name}")
        await asyncio.sleep(self.rng.uniform(0.001, 0.02))
        if self.is_cut_off or self.server.cluster != cluster:
            raise StoreUnavailableError("no endpoint answers")
        answer = self._send(call)
        await self.pause(f"while it waits for an answer to its {call.name}")
        try:
            async with asyncio.timeout(DEADLINE):
                result = await answer
        except TimeoutError:
            kind = OutcomeUnknownError if call.write else StoreUnavailableError
            raise kind(f"no answer within {DEADLINE:.0f} s") from None
        await self.pause(f"after {call.name}")
        # A process that has died by now has seen nothing of it.
        versions = [entry.version for entry in _entries(result.value) if entry.key == self.watched]
        self.saw(result, max(versions, default=0))
        if not self.seen or (result.cluster, self.seen) in self.server.words:
            self.seen = result.cluster
        return result.value

    def _send(self, call: Call[T]) -> "asyncio.Future[Answer[T]]":
        """Put a call on the wire: from here on it arrives, or doesn't, whatever becomes of the client."""
        loop, cluster = asyncio.get_running_loop(), self.server.cluster
        answer: asyncio.Future[Answer[T]] = loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        there, back = self._times(call.name)
        if there is not None:
            loop.call_later(there, self._arrive, call, answer, back, (loop.time(), cluster))
        if back is None:
            self.tell(f"an answer is lost, of its {call.name}")
            self.lost()
        return answer

    def _times(self, name: str) -> tuple[float | None, float | None]:
        """Draw how long the request and its answer take; None: it never arrives."""
        faults, rng = self.faults(), self.rng
        if rng.random() < (faults.lost_swap if name == "swap" and faults.lost_swap else faults.lost_answer):
            return rng.choice((None, 0.01, rng.uniform(DEADLINE, 60))), None
        slow = rng.uniform(0.5, 7) if rng.random() < faults.slow_store else 0.0
        return rng.uniform(0.001, 0.01) + slow * rng.random(), rng.uniform(0.001, 0.01) + slow * rng.random()

    def _arrive(
        self, call: Call[T], answer: "asyncio.Future[Answer[T]]", back: float | None, sent_to: tuple[float, str]
    ) -> None:
        behalf, (sent, cluster) = ACTS_FOR.get(), sent_to
        if cluster != self.server.cluster:
            return  # the connection to the cluster before is broken
        self.server.author, self.server.sent = (behalf.machine, behalf.sent) if behalf else (self.client, sent)
        deliver: Callable[[], object]
        try:
            deliver = partial(answer.set_result, Answer(call.apply(), self.server.revision, sent, cluster))
            if call.write and not self.server.counts_for(self.seen):
                self.server.strayed(self.server.author, call.name)
        except (ConflictError, StoreRefusedError) as error:
            if isinstance(error, StoreRefusedError) and not _is_expected(call.name, error):
                self.server.refused(self.client, str(error))
            deliver = partial(answer.set_exception, error)
        if back is not None:
            asyncio.get_running_loop().call_later(back, lambda: answer.done() or deliver())


class SimStore(MemoryStore):
    """A client of the store. While it is cut off, it does not see that another cluster has taken the store's place."""

    async def _carry(self, name: str, key: str, apply: Callable[[], T], *, write: bool = False) -> T:
        network, own = self._faults, self._one.clusters.own
        if own not in ("", self._server.cluster) and isinstance(network, Network) and network.is_cut_off:
            await asyncio.sleep(network.rng.uniform(0.001, 0.02))
            raise StoreUnavailableError("no endpoint answers")
        return await super()._carry(name, key, apply, write=write)


class StepwiseSimStore(SimStore, StepwiseStore):
    """The same, without transactions."""
