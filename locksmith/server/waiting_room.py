"""The machines of a group that wait for a slot, and have others before them: what they ask is answered from the mirror.

They cost the store nothing for each call, so ten thousand of them cost what ten cost. Who is near the front asks the
store as every machine does, with all its rules and guards. So this decides one thing alone: whether it is too early
to ask. Where the mirror is wrong, or not current, a machine waits a little longer, or asks the store for nothing.

Near the front are the first two in the queue, and as many as slots are free. The second watches the first, which may be
gone. A place without a lease belongs to no machine, and does not count.
"""

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from locksmith.errors import CorruptValueError
from locksmith.lock import denials, places
from locksmith.lock.answer import Denied, QueuePosition
from locksmith.lock.queue_places import read
from locksmith.lock.queue_sight import known_for
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import HELD, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.group_mirror import Mirror
from locksmith.store.protocol import Entry

FRONT: Final = 2
"""How many places ask the store at least: the first, and the second, which removes the first when that is gone."""


class WaitingRoom:
    """One group. All answers are from memory, and at once; `wait` waits. `called` hears whose place is to be kept."""

    def __init__(self, mirror: Mirror, group: str, called: Callable[[Entry], None]) -> None:
        self._mirror, self._group, self._called = mirror, group, called
        self._prefix = keys.waiters_prefix(group)
        self._lock_key = keys.semaphore_key(group)
        self._semaphore = Semaphore()
        self._front: dict[str, None] = {}
        self._waiting: dict[str, list[asyncio.Future[bool]]] = {}
        mirror.on_change(self._changed)

    def answer(self, claim: Claim, revision: int) -> Denied | None:
        """Answer a request for a slot; None: the store is to be asked. `revision`: what its machine has seen of it."""
        if revision > self._mirror.proven_revision or (place := self.place(claim)) is None:
            return None
        self._called(place)
        return denials.queued(self._position(place))

    @property
    def revision(self) -> int:
        """The store's revision that an answer is of."""
        return self._mirror.proven_revision

    def place(self, claim: Claim) -> Entry | None:
        """Give the place of a claim that waits here; None: it is near the front, has no place, or that is not known."""
        if claim.taken is not None or claim.state != HELD:
            return None
        place = self._place(places.name_of(claim))
        if place is None or read(place, lambda found: found.nonce) != claim.nonce:
            return None
        ended = self._mirror.replica.get(keys.ended_key(self._group, claim.holder)).entry
        return None if ended is not None and claim.nonce.encode() in ended.value else place

    def is_near(self, place: str) -> bool:
        """Tell whether the key of a place is one near the front."""
        return place in self._front

    def place_of(self, machine: str) -> Entry | None:
        """Give the place of a machine that waits here for any claim."""
        return self._place(machine)

    def _place(self, name: str) -> Entry | None:
        if not self._mirror.freshness.current or name in self._semaphore.holders:
            return None
        replica = self._mirror.replica
        ticket = replica.get(keys.ticket_key(self._group, name)).entry
        number = places.number_of_ticket(ticket.value) if ticket is not None else None
        if number is None:
            return None
        place = replica.get(places.numbered_key(self._group, name, number)).entry
        return None if place is None or not place.lease or place.key in self._front else place

    def wait(self, place: Entry, limit: float) -> "asyncio.Future[bool]":
        """Wait until it is worth asking for the claim of a place that waits here; False after `limit` seconds.

        A future, and no task: thousands wait at one moment.
        """
        self._called(place)
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting.setdefault(place.key, []).append(waiting)
        ends = loop.call_later(limit, partial(tell, waiting, worth=False))
        waiting.add_done_callback(partial(self._end, place.key, ends))
        return waiting

    def _end(self, place: str, ends: asyncio.TimerHandle, waiting: "asyncio.Future[bool]") -> None:
        ends.cancel()
        others = self._waiting[place]
        others.remove(waiting)
        if not others:
            del self._waiting[place]

    def _position(self, place: Entry) -> QueuePosition:
        """Say where a place stands; of one far back only about, so that it is no news whenever the first one leaves."""
        replica = self._mirror.replica
        before, waiters = replica.rank(self._prefix, place.key), replica.count(self._prefix)
        if before > known_for(self._semaphore.max):
            return QueuePosition(rounded_down(before) + 1, waiters, exact=False)
        predecessor = replica.get(replica.name_at(self._prefix, before - 1)).entry if before else None
        name = ""
        if predecessor is not None:
            name = read(predecessor, lambda found: found.name) or places.name_in(predecessor.key)
        return QueuePosition(before + 1, waiters, name)

    def _changed(self, changed: Collection[str]) -> None:
        """Wake who has come near the front, or has lost its place. Of the others none is woken."""
        moved = [key for key in changed if key.startswith(self._prefix)]
        if self._lock_key in changed:
            self._semaphore = self._read_semaphore()
        elif changed and not moved:
            return
        self._front = dict.fromkeys(self._nearest(max(FRONT, self._semaphore.available)))
        replica = self._mirror.replica
        for key in (*self._front, *(key for key in moved if replica.get(key).entry is None)):
            for waiting in self._waiting.get(key, ()):
                tell(waiting, worth=True)

    def _nearest(self, wanted: int) -> list[str]:
        """Name the first places that belong to machines."""
        replica, found, rank = self._mirror.replica, list[str](), 0
        while len(found) < wanted and (key := replica.name_at(self._prefix, rank)):
            rank += 1
            entry = replica.get(key).entry
            if entry is not None and entry.lease:
                found.append(key)
        return found

    def _read_semaphore(self) -> Semaphore:
        entry = self._mirror.replica.get(self._lock_key).entry
        try:
            return semaphore.decode(entry.value, entry.key) if entry is not None else Semaphore()
        except CorruptValueError:  # the first two report it
            return Semaphore(0)


def rounded_down(number: int) -> int:
    """Keep the first digit of a number: 9,432 becomes 9,000."""
    step = int(10 ** (len(str(number)) - 1))
    return number - number % step


def tell(waiting: "asyncio.Future[bool]", *, worth: bool) -> None:
    """End a wait, unless it has ended, and tell whether it is worth asking."""
    if not waiting.done():
        waiting.set_result(worth)
