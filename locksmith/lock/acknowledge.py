"""`resume` of a group: the reboots that went wrong are acknowledged in several swaps, each of them right by itself.

Each acknowledgement is about one claim, so a part of them is a correct state: the group stays halted while enough
others are left. A swap is decided before the next begins, and none acknowledges what went wrong after the first read.
If an operator was shown what had gone wrong, the first read must find the same, and no swap acknowledges anything else.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from locksmith.errors import ConflictError, CorruptValueError, OutcomeUnknownError
from locksmith.lock.chunks import WRITES
from locksmith.lock.claim_reader import Holders, read_holders
from locksmith.lock.errors import ChangedIncidentsError
from locksmith.lock.guarded import Guarded, raw
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import incident, keys, node
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.shown import shown as shown_to_people
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.protocol import Delete, Entry, Put, Reading


@dataclass(frozen=True, slots=True)
class _Tried:
    """A swap that is not known to be done: what it acknowledged, and the semaphore's version it started from.

    `lost`: it has no answer. Otherwise its guard failed, and only on v2 some of it may be written all the same.
    """

    incidents: tuple[Incident, ...]
    version: int
    lost: bool


class Acknowledgement:
    """One `resume`, in the words of an operator. `done` is filled with what is acknowledged so far.

    `shown` is what the operator was shown, each in the words of `seen` (None: nothing, and it is told afterwards).
    """

    def __init__(
        self,
        guarded: Guarded,
        words: str,
        done: list[Incident] | None = None,
        shown: Collection[Incident] | None = None,
    ) -> None:
        self.done = [] if done is None else done
        self._guarded = guarded
        self._store = guarded.store
        self._words = words
        self._shown = None if shown is None else {seen(one) for one in shown}
        self._wanted: set[str] | None = None
        self._tried: _Tried | None = None

    async def compare(self) -> None:
        """Raise `ChangedIncidentsError` if what went wrong is not what was shown; writes nothing."""
        self._want((await self._read())[-1])

    async def some(self) -> bool:
        """Acknowledge some of what went wrong, in one swap; False: nothing of it is left.

        `ChangedIncidentsError`: it is not what was shown.
        """
        reading, noted, holders, known, found = await self._read()
        decided = self._settle(found, holders, reading.version)
        if self._wanted is None:
            self._want(found)
        left = [one for one in found if self._is_wanted(one)]
        nonces = {claim.nonce for claim in holders.claims.values()}
        held = [one for one in left if one.claim.nonce in nonces]
        now = held[:WRITES]
        also: list[Put | Delete] = [self._put(one, holders) for one in now]
        if len(held) <= WRITES and noted is not None:
            now = left
            also.append(self._without(known, noted))
        if also or not decided:
            await self._swap(Put(self._guarded.key, raw(reading), reading.version), also, now)
        return len(now) < len(left)

    async def _read(self) -> tuple[Reading, Entry | None, Holders, list[Incident], list[Incident]]:
        """Give the semaphore, what is noted of expired slots, who holds the others, and what of both went wrong."""
        group = self._guarded.group
        semaphore, reading = await self._guarded.semaphore()
        noted = (await self._store.get(keys.incidents_key(group))).entry
        holders = await read_holders(self._store, group, semaphore.holders, reading.version, self._is_gone)
        known = _noted(noted)
        found = incidents(holders.claims.values(), holders.present, known, self._guarded.clock())
        return reading, noted, holders, known, found

    def _want(self, found: list[Incident]) -> None:
        if self._shown is not None and self._shown != {seen(one) for one in found}:
            raise ChangedIncidentsError
        self._wanted = {one.claim.nonce for one in found}

    def _is_gone(self, machine_id: str, entry: Entry) -> bool:
        leased = bool(entry.lease)
        return not node.shows_machine(entry.value, entry.key, machine_id, self._guarded.clock(), leased=leased)

    async def _swap(self, same: Put, also: list[Put | Delete], now: list[Incident]) -> None:
        try:
            await self._store.swap(same.key, same.value, same.version, also=also)
        except (OutcomeUnknownError, ConflictError) as error:
            self._tried = _Tried(tuple(now), same.version, lost=isinstance(error, OutcomeUnknownError))
            raise
        self.done += now

    def _settle(self, found: list[Incident], holders: Holders, version: int) -> bool:
        """Take note of what the last swap has done, where that failed; False: it may be done still."""
        tried, self._tried = self._tried, None
        if tried is None:
            return True
        left, decided = {one.claim.nonce for one in found}, not tried.lost or version != tried.version
        for one in tried.incidents:
            now = holders.claims.get(one.claim.holder)
            written = now is not None and now.nonce == one.claim.nonce and now.acknowledged == self._words
            if written or (tried.lost and decided and one.claim.nonce not in left):
                self.done.append(one)
        return decided

    def _put(self, one: Incident, holders: Holders) -> Put:
        record = holders.records[one.claim.holder]
        return Put(record.key, claim_record.encode(replace(one.claim, acknowledged=self._words)), record.version)

    def _is_wanted(self, one: Incident) -> bool:
        if self._shown is not None:
            return seen(one) in self._shown
        return self._wanted is None or one.claim.nonce in self._wanted

    def _without(self, known: list[Incident], noted: Entry) -> Put | Delete:
        """Remove what is noted of expired slots, but for those that expired after the first read."""
        later = [one for one in known if not self._is_wanted(one)]
        return Put(noted.key, incident.encode(later), noted.version) if later else Delete(noted.key, noted.version)


def seen(one: Incident) -> tuple[str, str, str]:
    """Give what tells an incident from others for an operator: which claim, what is wrong, and the words for it."""
    return one.claim.nonce, one.how, shown_to_people(one).why


def _noted(entry: Entry | None) -> list[Incident]:
    """Give what is noted of expired slots; what cannot be read is none, and goes with the acknowledgement."""
    try:
        return incident.decode(entry.value, entry.key) if entry else []
    except CorruptValueError:
        return []
