"""For how long the places of a group's clients last still: which of them a call need not keep.

A place expires `POLLED_TTL` seconds (lock/queue.py) after it was written or prolonged. The mirror tells when it was
written, the server itself when it has prolonged it. What another server has prolonged is not known here, so it is
prolonged once more.
"""

import asyncio
from collections.abc import Collection
from typing import Final, NamedTuple

from locksmith.lock.queue_places import read
from locksmith.lock.records import keys
from locksmith.server.group_mirror import Mirror
from locksmith.store.protocol import Entry, Store

MUST_LAST: Final = 800.0
"""Seconds for which a place must last still if a call does not keep it.

Its client calls every 330 seconds at the latest, and one of its calls may be lost.
"""


class _Kept(NamedTuple):
    """A version of a place: when it was written, and when it was last written or prolonged, in the loop's time."""

    version: int
    written: float
    kept: float


_UNKNOWN = _Kept(-1, float("-inf"), float("-inf"))


class KeptPlaces:
    """The places of one group, as far as this server knows when they were kept."""

    def __init__(self, mirror: Mirror, group: str) -> None:
        self._mirror = mirror
        self._prefix = keys.waiters_prefix(group)
        self._places: dict[str, _Kept] = {}
        mirror.on_change(self._changed)

    def lasts(self, place: Entry, ttl: float) -> bool:
        """Tell whether a place that lasts for `ttl` seconds each time need not be kept now."""
        return _now() - self._of(place).kept <= ttl - MUST_LAST

    def shows(self, place: Entry, ttl: float) -> bool:
        """Tell whether a place was written so lately that the next in the queue does not take its client for gone.

        Others do not see that a place was prolonged, so that does not count.
        """
        return _now() - self._of(place).written <= ttl - MUST_LAST

    def suits(self, place: Entry, ttl: float) -> bool:
        """Tell whether a place need not be written: it has a lease of its own of that length, and shows."""
        as_it_is = read(place, lambda found: (found.lasts, found.shared))
        return bool(place.lease) and as_it_is == (int(ttl), False) and self.shows(place, ttl)

    async def renew(self, store: Store, place: Entry, ttl: float) -> None:
        """Prolong a place, unless it lasts for long enough; `ConflictError`: it is gone."""
        if not self.lasts(place, ttl):
            asked = _now()
            await store.renew(place, ttl)
            self._prolonged(place, asked)

    def _prolonged(self, place: Entry, asked: float) -> None:
        """Note that a place was prolonged, by a request that was sent then."""
        if self._mirror.replica.get(place.key).entry is not None:
            self._places[place.key] = _Kept(place.version, self._of(place).written, asked)

    def _of(self, place: Entry) -> _Kept:
        known = self._places.get(place.key, _UNKNOWN)
        return known if known.version == place.version else _UNKNOWN

    def _changed(self, changed: Collection[str]) -> None:
        """Note places that were written: since the moment for which the mirror was known to be right, at the latest."""
        age = self._mirror.freshness.age
        for key in changed:
            if not key.startswith(self._prefix):
                continue
            entry = self._mirror.replica.get(key).entry
            if entry is None or age is None:
                self._places.pop(key, None)
            elif self._of(entry) is _UNKNOWN:
                self._places[key] = _Kept(entry.version, _now() - age, _now() - age)


def _now() -> float:
    return asyncio.get_running_loop().time()
