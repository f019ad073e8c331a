"""The line of those who wait for a slot: order and quiet, never safety; the semaphore alone gives slots.

Each has a key of its own below `waiters/`, which expires unless it is kept, and stands where that was created: who
crashes leaves the line by itself. Everybody watches just the key before its own, so that one who goes wakes one.

A lease may fail to end a place: each change of etcd's leader starts it again, and a copied keyspace has none. So the
first writes its place instead of prolonging it. The second, which watches it, removes a place that stands unchanged for
too long, or has no lease: it belongs to no machine.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from locksmith import keys, waiter
from locksmith.errors import ConflictError, CorruptValueError, OutcomeUnknownError, StoreUnavailableError
from locksmith.fleet import Claim
from locksmith.halt import FIRST, HaltAfter, parse_halt_after
from locksmith.kv.store import Entry, Store, remove
from locksmith.sightings import Sightings
from locksmith.snapshot import Line
from locksmith.waiter import Waiter, waiter_key

log = logging.getLogger(__name__)

TTL = 90.0
"""Seconds after which a place expires that nobody keeps: three heartbeats of the loop."""
KEEP_AFTER = 25.0
"""Seconds after which a place is prolonged when its claim asks again; a little less than a heartbeat."""
KNOWN = 50
"""How many places before its own one looks at; the last of them is the one to watch."""
LOOK_AFTER = 30.0
"""Seconds after which one of the first looks again whatever its watch says: a frozen member is silent."""
LOOKS_PER_SECOND = 10.0
"""Looks of all who stand further back together: each costs etcd a walk over the whole line."""
LONGEST_LOOK_AFTER = 600.0
LOOKS = 25
"""How often in a row one looks at the line: after each removal of places that belong to no machine."""
FIRST_LASTS = 180.0
"""Seconds for which the place of the first may stand unchanged: the longest step of a loop, a pause, a heartbeat."""
SEEN_FOR_HALT = 1000
"""How many places, the first ones, a halted machine compares its rule with: 280 kB in one request."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one saw of the line, at which revision, and until when it may be believed, in the loop's time.

    `before` is the one right before; None: it is the first, or stands so far back that it has not looked yet.
    """

    line: Line
    before: Entry | None
    revision: int
    ends: float


@dataclass(frozen=True, slots=True)
class _Place:
    """`doubtful`: a write of it was cut off, and it may stand otherwise than in `entry` by now."""

    claim: Claim
    entry: Entry
    kept: float
    doubtful: bool = False


class Queue:
    """One claim's place in a group's line. Errors are the store's."""

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        ttl: float = TTL,
        rng: Random | None = None,
        halt_after: HaltAfter = FIRST,
    ) -> None:
        self._store = store
        self._group = group
        self._ttl = ttl
        self._halt_after = halt_after
        self._rng = rng or Random()  # noqa: S311 - when to look, no secret
        self._place: _Place | None = None
        self._look: Look | None = None
        # Whether it was the first at its last look, also where that is believed no more.
        self._first = False
        self._sightings = Sightings()

    def stands(self, claim: Claim) -> bool:
        """Whether this claim has a place, as far as is known here."""
        return self._place is not None and self._place.claim.nonce == claim.nonce

    async def stand(self, claim: Claim) -> Look:
        """Stand in line for a claim, or keep its place, and say where that is.

        A place that was lost (expired while the store or this program was away) is taken anew, at the end.
        """
        place = self._place
        if place is None or not self.stands(claim):
            place = await self._enter(claim)
        elif _now() - place.kept >= KEEP_AFTER:
            place = await self._keep(place)
        if self._look is None or _now() >= self._look.ends:
            self._look = await self._look_around(place)
        self._first = self._look.line.position == 1
        return self._look

    async def wait(self, look: Look) -> bool:
        """Wait until the one before is gone, True; or until it is time to look again, False."""
        limit = max(0.0, look.ends - _now())
        if look.before is None:
            await asyncio.sleep(limit)
            return False
        return await self._store.wait(look.before.key, look.revision, limit=limit) is not None

    def place(self, claim: Claim) -> Entry | None:
        """Give the place of a claim, as far as is known here."""
        return self._place.entry if self._place is not None and self.stands(claim) else None

    def left(self) -> None:
        """Take note that the place is gone."""
        self._place = self._look = None

    def look_again(self) -> None:
        """Believe no more in what was seen of the line."""
        self._look = None

    async def leave(self, claim: Claim) -> None:
        """Give the claim's place up, also one that an earlier run of this program had; without one, nothing."""
        place, self._look = self._place, None
        known = place is not None and self.stands(claim)
        if place is not None and known and not place.doubtful:
            await self._store.revoke(place.entry)
        elif (found := (await self._store.get(waiter_key(self._group, claim))).entry) and _nonce(found) == claim.nonce:
            await remove(self._store, found)
        if known:
            self._place = None

    async def halts_all(self, incidents: int) -> bool:
        """Tell whether so many incidents halt every machine in the queue, by the rule that each of them has written.

        Only the first `SEEN_FOR_HALT` are asked. A rule that is not known halts.
        """
        prefix = keys.waiters_prefix(self._group)
        places = (await self._store.list(prefix, limit=SEEN_FOR_HALT)).entries
        rules = {rule for place in places if (rule := _halt_after(place)) is not None}
        if not rules:
            return True
        relative = any(rule.percent is not None for rule in rules)
        machines = await self._store.count(keys.nodes_prefix(self._group)) if relative else 0
        limits = [rule.of(machines) for rule in rules]
        return all(limit is not None and incidents >= limit for limit in limits)

    async def abandon(self) -> None:
        """Give up the place that is known here, whosever it is."""
        if self._place is not None:
            await self.leave(self._place.claim)

    async def _enter(self, claim: Claim) -> _Place:
        key, record = waiter_key(self._group, claim), waiter.encode(Waiter.of(claim, str(self._halt_after)))
        self._place = self._look = None
        try:
            prefix = keys.waiters_prefix(self._group)
            entry, position = await self._store.enter(key, record, prefix, ttl=self._ttl)
        except ConflictError:
            # It may be the first one's: its look is not put off.
            self._place = _Place(claim, await self._again(key, record, claim), _now())
            return self._place
        self._place = _Place(claim, entry, _now())
        self._look = self._look_from_afar(position)
        return self._place

    async def _again(self, key: str, record: bytes, claim: Claim) -> Entry:
        """Take over the place that an earlier run of this program had, or put this claim's in the stead of another."""
        found = (await self._store.get(key)).entry
        if found is not None and _nonce(found) == claim.nonce:
            if not found.lease:
                return await self._store.replace(found, record, self._ttl)
            await self._store.renew(found, self._ttl)
            return found
        if found is not None:
            await remove(self._store, found)
        return await self._store.create(key, record, ttl=self._ttl)

    async def _keep(self, place: _Place) -> _Place:
        """Prolong the place; as the first, write it: the second sees by that whose it is."""
        try:
            if self._first:
                place = replace(place, entry=await self._beat(place))
            else:
                await self._store.renew(place.entry, self._ttl)
        except ConflictError:
            return await self._enter(place.claim)
        self._place = replace(place, kept=_now())
        return self._place

    async def _beat(self, place: _Place) -> Entry:
        """Write the place once more. Where the answer is lost, it is looked for before the next step."""
        now = waiter.decode(place.entry.value, place.entry.key)
        try:
            return await self._store.update(place.entry, waiter.encode(replace(now, beat=now.beat + 1)), self._ttl)
        except OutcomeUnknownError:
            self._place = None
            raise
        except asyncio.CancelledError:
            self._place = replace(place, doubtful=True)
            raise

    async def _clear(self, before: Sequence[Entry]) -> bool:
        """Remove the places right before one's own that belong to no machine; True: there were any, look again."""
        left = list(itertools.takewhile(lambda place: not place.lease, reversed(before)))
        if not left and len(before) == 1 and self._is_deserted(before[0]):
            left = [before[0]]
        for place in left:
            log.info("removing %s: it belongs to no machine that is there", place.key)
            with contextlib.suppress(ConflictError):
                await remove(self._store, place)
        return bool(left)

    def _is_deserted(self, first: Entry) -> bool:
        """Tell whether the machine of the first place is of those that write it, and has not for too long."""
        stood = self._sightings.stood(first, _now())
        return stood > FIRST_LASTS and bool(_read(first, lambda found: str(found.beat or "")))

    def _look_from_afar(self, position: int) -> Look | None:
        """Put off the first look of one who came far back: of thousands who come at one moment all would look.

        Whoever came among the first knows it from its very coming, and looks at once.
        """
        if position <= KNOWN:
            return None
        later = _now() + self._rng.uniform(0, lasts(position))
        return Look(Line(position, position, exact=False), None, 0, later)

    async def _look_around(self, place: _Place) -> Look:
        for _ in range(LOOKS):
            at = _now()
            prefix, own_and_older = keys.waiters_prefix(self._group), place.entry.created + 1
            seen = await self._store.list(prefix, limit=KNOWN + 1, last_before=own_and_older)
            if any(_is_same(entry, place.entry) for entry in seen.entries):
                before = seen.entries[:-1]
                if await self._clear(before):
                    continue
                exact = len(before) < KNOWN
                line = Line(len(before) + 1, seen.total, _name(before[-1]) if before else "", exact)
                ends = at + (LOOK_AFTER if exact else lasts(seen.total))
                return Look(line, before[-1] if before else None, seen.revision, ends)
            place = await self._enter(place.claim)
            if self._look is not None:
                return self._look
        raise StoreUnavailableError(f"the place {place.entry.key} in the line is gone as soon as it is taken")


def lasts(waiters: int) -> float:
    """Say for how many seconds one who stands far back in a line of that length believes what it saw."""
    return min(LONGEST_LOOK_AFTER, max(LOOK_AFTER, waiters / LOOKS_PER_SECOND))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _halt_after(entry: Entry) -> HaltAfter | None:
    """Read by which rule the machine of a place halts; None: it does not say, or not in words known here."""
    words = _read(entry, lambda found: found.halt_after)
    try:
        return parse_halt_after(words) if words else None
    except ValueError:
        return None


def _is_same(entry: Entry, own: Entry) -> bool:
    """Tell whether an entry is one's own place, and expires as that does: one that lost its lease is taken anew."""
    return (entry.key, entry.created, bool(entry.lease)) == (own.key, own.created, True)


def _nonce(entry: Entry) -> str | None:
    return _read(entry, lambda found: found.nonce)


def _name(entry: Entry) -> str:
    return _read(entry, lambda found: found.name) or keys.unsegment(entry.key.rpartition("/")[2])


def _read(entry: Entry, part: Callable[[Waiter], str]) -> str | None:
    try:
        return part(waiter.decode(entry.value, entry.key))
    except CorruptValueError:
        return None
