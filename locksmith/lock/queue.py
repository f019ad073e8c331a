"""The queue of those who wait for a slot: order and quiet, never safety; the semaphore alone gives slots.

Each has a place, a key of its own, which expires unless it is kept (places.py): who crashes leaves the queue by itself.
The first ones watch just the place before their own, so that one who goes wakes one. A place far back holds no watch:
its owner reads the queue again after a time that grows with the places before it. The cost does not (queue_sight.py).

A lease may fail to end a place: each change of etcd's leader starts it again, and a copied keyspace has none. So the
first writes its place instead of prolonging it. The second, which watches it, removes a place that stands unchanged for
too long. A place that has no lease belongs to no machine: a machine that sees it removes it.

Above 300 lines, in one piece: each method makes, keeps or watches the same place.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from random import Random

from locksmith.errors import ConflictError, OutcomeUnknownError, StoreError, StoreUnavailableError
from locksmith.lock import places
from locksmith.lock.answer import QueuePosition
from locksmith.lock.errors import PlaceGoneError
from locksmith.lock.queue_halt import halts_all
from locksmith.lock.queue_places import Place, Places, is_shared, read, remove_place
from locksmith.lock.queue_sight import KNOWN, LONG, QueueSight, Sight, known_for
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import FIRST, HaltAfter
from locksmith.lock.unchanged import Unchanged
from locksmith.store.protocol import Entry, Store

log = logging.getLogger(__name__)

TTL = 90.0
"""Seconds after which a place expires that no machine keeps: three heartbeats of the loop."""
POLLED_TTL = 1200.0
"""Seconds after which the place of a client expires that no call keeps: a server may keep it at each second call only,
the client calls every 5.5 minutes at the latest, and one of its calls may be lost."""
FAR_TTL = 900.0
"""The same, of one with more than `LONG` before it: 100,000 of them would be prolonged 3,000 times a second."""
KEEP_AFTER = 25.0
"""Seconds after which a place is prolonged when its claim asks again; a little less than a heartbeat."""
KEEP_FAR_AFTER = 300.0
"""The same, of a place that lasts for `FAR_TTL`."""
CHECK_AFTER = 30.0
"""Seconds after which one of the first reads the queue again even if its watch is silent: a frozen member is silent."""
LONGEST_CHECK_AFTER = 600.0
LOOKS = 25
"""How often in a row the queue is read: after each removal of places that belong to no machine."""
FIRST_LASTS = 180.0
"""Seconds for which the place of the first may stand unchanged: the longest step of a loop, a pause, a heartbeat."""
LEAVE_LIMIT = 5.0
"""Seconds to give a place up that is not needed any more; then it expires by itself."""
SECOND = 2
"""The position from which the first is watched."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """What one saw of the queue, at which revision, and until when it may be believed, in the loop's time.

    `ahead` are places before the own one, in order, the one right before last. None: it is the first, or stands far
    back and watches none.
    """

    queued: QueuePosition
    ahead: tuple[Entry, ...]
    revision: int
    ends: float

    @property
    def before(self) -> Entry | None:
        """The place right before, where there is one to watch."""
        return self.ahead[-1] if self.ahead else None

    def moved_up(self) -> "QueueView | None":
        """Give what is known once the place right before is gone; None: the queue must be read for that.

        The others before it may have gone too. The watch of the next one begins at the same revision, so it tells that.
        """
        queued, ahead = self.queued, self.ahead[:-1]
        if not queued.exact or (queued.position != SECOND and not ahead):
            return None
        predecessor = _name(ahead[-1]) if ahead else ""
        moved = replace(
            queued, position=queued.position - 1, waiters=max(1, queued.waiters - 1), predecessor=predecessor
        )
        return replace(self, queued=moved, ahead=ahead)


class Queue:
    """One claim's place in a group's queue. Errors are the store's."""

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        ttl: float = TTL,
        rng: Random | None = None,
        halt_after: HaltAfter = FIRST,
        unchanged: Unchanged | None = None,
    ) -> None:
        self._store = store
        self._group = group
        self._ttl = ttl
        self._rng = rng or Random()  # noqa: S311 - when to view, no secret
        self._places = Places(store, group, ttl, str(halt_after))
        self._place: Place | None = None
        self._view: QueueView | None = None
        self._sight = QueueSight(store, group)
        # Whether it was the first when it last read the queue, also where that is believed no more.
        self._first = False
        self._unchanged = unchanged or Unchanged()

    def stands(self, claim: Claim) -> bool:
        """Whether this claim has a place, as far as is known here."""
        return self._place is not None and self._place.claim.nonce == claim.nonce

    async def stand(self, claim: Claim, slots: int = 1) -> QueueView:
        """Enter the queue for a claim, or keep its place, and say where that is; `slots` are those of the group.

        A place that was lost (expired while the store or this program was away) is taken again, at the end.
        """
        place = self._place
        if place is None or not self.stands(claim):
            place = await self._enter(claim, slots)
        elif self._is_to_keep(place):
            place = await self._keep(place)
        if self._view is None or _now() >= self._view.ends:
            self._view = await self._observe_all(place)
        self._first = self._view.queued.position == 1
        if self._first and self._place is not None and self._place.found and claim.is_clients:
            # Once for each call of the client: the second sees by it that the client still calls.
            self._place = await self._write(self._place, self._ttl)
        return self._view

    async def wait(self, view: QueueView) -> bool:
        """Wait until the one before is gone or has written its place, True; or until it is time to check again, False.

        If the place before is gone, this place knows its new position, and does not read the queue to learn it.
        """
        limit = max(0.0, view.ends - _now())
        if view.before is None:
            await asyncio.sleep(limit)
            return False
        change = await self._store.wait(view.before.key, view.revision, limit=limit)
        if change is not None and change.removed and self._view is view:
            self._view = view.moved_up()
        elif self._view is view:
            self._view = None
        return change is not None

    def resume(self, claim: Claim, ticket: Entry, entry: Entry) -> None:
        """Take over a place that another run, or another server, has made; `stand` prolongs it first."""
        self._place, self._view = self._places.resumed(claim, ticket, entry), None

    def place(self, claim: Claim) -> Entry | None:
        """Give the place of a claim, as far as is known here."""
        return self._place.entry if self._place is not None and self.stands(claim) else None

    def entries(self, claim: Claim) -> tuple[Entry, ...]:
        """Give the place of a claim and its ticket, as far as they are known here: what a take removes."""
        if self._place is None or not self.stands(claim):
            return ()
        return tuple(dict.fromkeys((self._place.entry, self._place.ticket)))

    def keys(self, claim: Claim) -> tuple[str, ...]:
        """Name the keys of which one exists while a claim has a place, in any version of locksmith."""
        return (places.ticket_key(self._group, claim), places.older_key(self._group, claim))

    def left(self) -> None:
        """Take note that the place is gone."""
        self._place = self._view = None

    def doubt(self) -> None:
        """Take note that the place may not stand as it is known here: another server may have written it."""
        if self._place is not None:
            self._place = replace(self._place, uncertain=True)

    def look_again(self) -> None:
        """Forget what was seen of the queue."""
        self._view = None

    async def leave(self, claim: Claim) -> None:
        """Give the claim's place up, also one that an earlier run of this program had; without one, nothing."""
        place, self._view = self._place, None
        known = place is not None and self.stands(claim)
        if place is not None and known and not place.uncertain:
            await self._places.remove(place)
        else:
            await self._places.remove_of(claim, place.entry.key if place is not None and known else "")
        if known:
            self._place = None

    async def leave_soon(self, claim: Claim) -> None:
        """Do what `leave` does, for a short time; if that fails, the place expires by itself."""
        try:
            async with asyncio.timeout(LEAVE_LIMIT):
                await self.leave(claim)
        except (StoreError, TimeoutError) as error:
            log.info("this machine's place in the queue is not removed yet, it expires by itself: %s", error)

    async def halts_all(self, incidents: int) -> bool:
        """Tell whether so many incidents halt every machine in the queue."""
        return await halts_all(self._store, self._group, incidents)

    async def abandon(self) -> None:
        """Remove the place that is known here, of any claim."""
        if self._place is not None:
            await self.leave(self._place.claim)

    async def _enter(self, claim: Claim, slots: int = 1) -> Place:
        self._place = self._view = None
        self._place, ahead = await self._places.enter(claim)
        if self._sight.entered(ahead, slots):
            self._view = self._view_from_afar(ahead + 1, known_for(slots))
        return self._place

    def _is_to_keep(self, place: Place) -> bool:
        keep_after = KEEP_AFTER if place.ttl <= self._ttl else KEEP_FAR_AFTER
        return _now() - place.kept >= keep_after or self._ttl_of(place) < place.ttl

    def _ttl_of(self, place: Place) -> float:
        """Say how long a place is to last: one that will be among the first is not to stay when its machine is gone."""
        if self._view is None:
            return place.ttl
        return max(FAR_TTL, self._ttl) if self._view.queued.position > LONG else self._ttl

    async def _keep(self, place: Place) -> Place:
        """Prolong the place; as the first, write it: the second sees by that whose it is."""
        try:
            ttl = self._ttl_of(place)
            own = place.entry.lease and not is_shared(place.entry)
            if self._first or place.uncertain or ttl != place.ttl or not own:
                self._place = await self._write(place, ttl)
            else:
                self._place = await self._places.renew(place)
        except ConflictError:
            return await self._enter_again(place.claim)
        return self._place

    async def _enter_again(self, claim: Claim) -> Place:
        """Make a place in the stead of one that is gone; a client's may have been removed by its steady-state."""
        if claim.is_clients:
            raise PlaceGoneError(f"the place of {claim.holder} in the queue is gone")
        return await self._enter(claim)

    async def _write(self, place: Place, ttl: float) -> Place:
        """Write the place once more. Where the answer is lost, it is looked for before the next step."""
        try:
            return await self._places.write(place, ttl)
        except OutcomeUnknownError:
            self._place = None
            raise
        except asyncio.CancelledError:
            self._place = replace(place, uncertain=True)
            raise

    async def _clear(self, sight: Sight) -> bool:
        """Remove the places before one's own that belong to no machine; True: there were any, check again."""
        left = sight.leaseless
        if not left and sight.position == len(sight.before) + 1 == SECOND and self._is_deserted(sight.before[0]):
            left = sight.before
        for place in left:
            log.info("removing %s: it belongs to no machine that is there", place.key)
            with contextlib.suppress(ConflictError):
                await remove_place(self._store, place)
        return bool(left)

    def _is_deserted(self, first: Entry) -> bool:
        """Tell whether the machine of the first place is of those that write it, and has not for too long.

        A client of the server calls every few minutes: its place stands for as long as it says.
        """
        stood, found = self._unchanged.stood(first, _now()), read(first, lambda found: found)
        if found is None or not (found.beat or found.polls):
            return False
        return stood > (max(FIRST_LASTS, found.lasts) if found.polls else FIRST_LASTS)

    def _view_from_afar(self, position: int, known: int) -> QueueView:
        """Put off the first read of a machine that enters far back: thousands that enter at one moment would all read.

        A machine among the first knows that when it enters, and reads the queue at once.
        """
        later = _now() + self._rng.uniform(0, lasts(position, known))
        return QueueView(QueuePosition(position, position, exact=False, counted=False), (), 0, later)

    async def _observe_all(self, place: Place) -> QueueView:
        for _ in range(LOOKS):
            at = _now()
            sight = await self._sight.observe(place.entry)
            if sight.own is not None and _is_same(sight.own, place.entry):
                if await self._clear(sight):
                    continue
                return self._view_of(sight, at)
            if place.claim.is_clients and sight.own is not None and sight.own.created == place.entry.created:
                # It has lost its lease, as in a copied keyspace: its client still calls.
                place = await self._write(replace(place, entry=sight.own), self._ttl)
                continue
            place = await self._enter_again(place.claim)
            if self._view is not None:
                return self._view
        raise StoreUnavailableError(f"the place {place.entry.key} in the queue disappears as soon as it is made")

    def _view_of(self, sight: Sight, at: float) -> QueueView:
        before = sight.before[-1] if sight.before else None
        queued = QueuePosition(
            sight.position, sight.length, _name(before) if before else "", sight.exact, sight.counted
        )
        # Who comes near does so at different moments.
        far = before is None and sight.position > 1
        longer = lasts(sight.position, sight.known) * self._rng.uniform(0.7, 1) if far else CHECK_AFTER
        return QueueView(queued, sight.before, sight.revision, at + longer)


def lasts(position: int, known: int = KNOWN) -> float:
    """Say for how many seconds one who stands far back believes what it saw: as many as so many do not go in."""
    return min(LONGEST_CHECK_AFTER, max(CHECK_AFTER, CHECK_AFTER * position / known))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _is_same(entry: Entry, own: Entry) -> bool:
    """Tell whether an entry is one's own place, and expires as that does: one that lost its lease is made again."""
    return (entry.key, entry.created, bool(entry.lease)) == (own.key, own.created, True)


def _name(entry: Entry) -> str:
    return read(entry, lambda found: found.name) or places.name_in(entry.key)
