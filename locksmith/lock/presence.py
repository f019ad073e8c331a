"""This machine as the others of its group see it: `nodes/<id>`, written when it changes, otherwise only kept alive.

It expires unless it is kept, so "gone" means "not seen for that long" by the store's own clock. Where it has been
replaced by the record of a boot that this machine never had, there is another machine with its id.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from locksmith.errors import ConflictError, CorruptValueError, HostError
from locksmith.lock.admission import Watermark
from locksmith.lock.presence_sweep import sweep
from locksmith.lock.put_off import PutOff
from locksmith.lock.records import keys, node
from locksmith.lock.records.node import TTL, Node
from locksmith.store.meter import Meter
from locksmith.store.protocol import Entry, Store
from locksmith.util.ratelimit import RateLimit

log = logging.getLogger(__name__)

KEEP_AFTER = 300.0
"""Seconds after which an unchanged record is prolonged: one request."""
CLONE_MEMORY = 1000.0
"""Seconds for which a clone counts as there after it was last seen: each of the two writes its record within them."""
BURST, PER_SECOND = 5, 0.2
"""How often it is written at most; what changes faster is written when it has come to rest."""
HOLD_OFF = 20.0
"""Seconds after a failure before `show` tries again; `confirm` does not wait for them."""


class Runs(Protocol):
    """The runs in which this machine has shown itself, across reboots (host/shown_runs.py)."""

    def known(self) -> Collection[str]:
        """Give the last ones. `HostError`: they cannot be read."""
        ...

    def add(self, run: str) -> None:
        """Remember one. `HostError`: it did not reach the disk."""
        ...


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is in the store, as far as is known, and when it was written or prolonged."""

    node: Node
    entry: Entry
    kept: float


@dataclass(frozen=True, slots=True)
class _Clone:
    name: str
    run: str
    seen: float


class Presence:
    """The record of one machine. Errors are those of the store.

    A disk that cannot be read or written keeps nothing from the group: it is logged, and remembered here alone.
    `spread` gives the seconds over which a large group spreads what all its machines have to show at one moment.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        machine_id: str,
        runs: Runs | None = None,
        meter: Meter | None = None,
        *,
        mark: Watermark | None = None,
        spread: Callable[[], float] = float,
    ) -> None:
        self._store = store
        self._group = group
        self._key = keys.node_key(group, machine_id)
        self._machine_id = machine_id
        self._runs = runs or _NoRuns()
        self._shown_in: set[str] = set()
        self._complained: set[str] = set()
        self._meter = meter or Meter()
        self._mark = mark
        self._shown: _Shown | None = None
        self._pace = RateLimit(BURST, PER_SECOND)
        self._held_off = float("-inf")
        self._put_off = PutOff(spread, machine_id)
        self._clone: _Clone | None = None
        self.arrivals = 0
        """How often this machine wrote a record where there was none, or that of another run."""

    @property
    def written(self) -> Node | None:
        """Give what is in the store, as far as is known."""
        return self._shown.node if self._shown else None

    @property
    def clone(self) -> str:
        """Name another machine that was seen with this one's id a short while ago, for a person; empty: none was."""
        clone = self._present_clone()
        return clone.name if clone else ""

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when news that were put off are to be shown."""
        self._put_off.wake = wake

    async def show(self, now: Node) -> None:
        """Write what this machine does if that is news, or prolong the record when it is time.

        While it holds a slot it writes instead: a lease that is prolonged does not show that its machine is there.
        No caller depends on this write: a call that comes too soon after others, or after a failure, does nothing. In a
        large group news are put off, unless they are about a slot.
        """
        shown = self._shown
        news = shown is None or shown.node != replace(
            self._marked(now), since=shown.node.since, written=shown.node.written
        )
        due = shown is None or _now() - shown.kept >= KEEP_AFTER
        if not news or now.lasts or (shown and shown.node.lasts):
            self._put_off.over()
        elif self._put_off.holds(_now()):
            return
        if not (news or due) or _now() < self._held_off or not self._pace.allows(_now()):
            return
        self._held_off = _now() + HOLD_OFF
        self._put_off.fails(self._held_off)
        if shown is None or news or now.lasts:
            await self._write(now, float(now.lasts or TTL))
        else:
            await self._keep(shown, now)
        self._held_off = float("-inf")
        self._put_off.over()

    async def confirm(self, now: Node, longer: float) -> None:
        """Write, before the point of no return, that this machine goes down, to expire `longer` seconds later.

        So a record that is gone says that its machine is lost. A clone is found here at the latest.
        """
        # Even if the lease is extended while the machine is down, the record counts no longer than this.
        await self._write(replace(now, lasts=int(TTL + longer)), TTL + longer)

    async def leave(self) -> None:
        """End the record, as this machine's daemon stops and holds nothing. Errors are the store's."""
        shown, self._shown = self._shown, None
        if shown is not None:
            await self._store.revoke(shown.entry)

    async def close(self) -> None:
        """Let go of the store; without `leave` the record stays until it expires."""
        await self._store.close()

    async def _write(self, now: Node, ttl: float) -> None:
        shown = self._shown
        if shown is not None:
            begun = shown.node.since if (shown.node.state, shown.node.code) == (now.state, now.code) else now.since
            now = self._marked(replace(now, since=begun))
            with contextlib.suppress(ConflictError):
                self._note(now, await self._store.update(shown.entry, node.encode(now), ttl))
                return
        try:
            await self._write_anew(now, ttl)
        except ConflictError:
            # Another writer was faster: a clone, or a late request of an earlier boot.
            await self._write_anew(now, ttl)

    async def _keep(self, shown: _Shown, now: Node) -> None:
        try:
            await self._store.renew(shown.entry, TTL)
        except ConflictError:
            await self._write(now, TTL)
        else:
            self._note(shown.node, shown.entry)

    async def _write_anew(self, now: Node, ttl: float) -> None:
        """Look whose record there is, and write this machine's in its place."""
        found = (await self._store.get(self._key)).entry
        if found is not None:
            self._look_at(found, now)
        self._remember(now.run)
        now = self._marked(now)
        record = node.encode(now)
        if found is None:
            self._note(now, await self._store.create(self._key, record, ttl=ttl))
            self.arrivals += 1
            return
        # Never gone in between, or a machine that is well would count as lost. A clone hears of it: its entry ends.
        self._note(now, await self._store.replace(found, record, ttl))
        self.arrivals += 1
        if not found.lease:
            await sweep(self._store, self._group, Random(self._machine_id))  # noqa: S311 - who sweeps, no secret

    def _look_at(self, found: Entry, now: Node) -> None:
        """Tell a clone's record from one of an earlier run of this machine, or of its daemon.

        A clone's is of a run or of hardware that this machine never had, or says that it has seen this one.
        """
        try:
            other = node.decode(found.value, found.key, self._machine_id)
        except CorruptValueError as error:
            log.info("%s", error)
            return
        if _is_of_this_run(other, now):
            return
        if other.clone_boot in {now.run, now.boot_id} or not self._was_own(other, now):
            self._clone = _Clone(f"{other.name} (boot {other.run})", other.run, _now())
            log.warning("%s has this machine's id %s too", self._clone.name, self._machine_id)

    def _was_own(self, other: Node, now: Node) -> bool:
        """Whether a record is of an earlier run of this machine."""
        same_hardware = bool(now.hardware) and other.hardware == now.hardware
        if other.hardware and now.hardware and not same_hardware:
            return False
        known = set(self._shown_in)
        with self._best_effort("the runs in which this machine has shown itself are not known"):
            known |= set(self._runs.known())
        # One that has lost its files knows none of its runs: its hardware has to say it.
        return other.run in known or (same_hardware and not known)

    def _remember(self, run: str) -> None:
        self._shown_in.add(run)
        with self._best_effort("the next start may take this one's record for a clone's"):
            self._runs.add(run)

    def _marked(self, now: Node) -> Node:
        clone = self._present_clone()
        return replace(now, clone=clone.name if clone else "", clone_boot=clone.run if clone else "")

    def _present_clone(self) -> _Clone | None:
        if self._clone is not None and _now() - self._clone.seen > CLONE_MEMORY:
            self._clone = None
        self._meter.clones(int(self._clone is not None))
        return self._clone

    @contextlib.contextmanager
    def _best_effort(self, otherwise: str) -> Iterator[None]:
        """Do without what this machine's disk refuses; the log says so once."""
        try:
            yield
        except HostError as error:
            log.log(logging.DEBUG if otherwise in self._complained else logging.WARNING, "%s: %s", error, otherwise)
            self._complained.add(otherwise)

    def _note(self, now: Node, entry: Entry) -> None:
        self._shown = _Shown(now, entry, _now())
        if self._mark is not None:
            with self._best_effort("a store that goes back in time may not be noticed after a restart"):
                self._mark.keep()
        self._meter.present(time.time())


def _is_of_this_run(other: Node, now: Node) -> bool:
    """Whether it is this run's own record: also one of an earlier version, which did not say which run it was."""
    if (other.boot_id, other.hostname) != (now.boot_id, now.hostname):
        return False
    return other.instance == now.instance or not (other.instance and now.instance)


class _NoRuns:
    """Remembers nothing across restarts."""

    def known(self) -> Collection[str]:
        return ()

    def add(self, run: str) -> None:
        del run


def _now() -> float:
    return asyncio.get_running_loop().time()
