"""The claims that a machine has ended through a server: a late request for one of them takes no slot.

A request may lie unread in the socket of a server that stands still. Meanwhile the machine asks another server, and
ends its claim there. Without a mark in the store the late request would take a slot that no machine knows of. So the
end of a claim is written before its release, under `ended/<id>`, and each take through a server depends on that key.

Only the last claims of a machine are remembered, and what is written of a machine that is gone is forgotten with its
other records. Each request says which revision its machine had seen of the store. A request that was sent before the
last forgotten claim had ended takes no slot: it may be one of that claim. Its machine learns the revision, and asks
again. The record of a machine names that revision (`before`). For machines that are gone, `forgotten` is written.
No clock decides.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from locksmith.errors import ConflictError, CorruptValueError, LockError, StoreUnavailableError
from locksmith.lock.chunks import READS
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import ABSENT, Also, Check, Entry, Reading, Store
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump

MOST = 16
"""How many claims are remembered of a machine."""
TRIES = 5


class EndedError(LockError):
    """Not done: the machine has ended this claim. It knows that, so this request came late."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The nonces, the last at the end, the version of their key, and that of the key `forgotten`.

    `before`: the revision before which claims may have ended that are not remembered.
    """

    nonces: tuple[str, ...]
    version: int
    forgotten: int = ABSENT
    before: int = ABSENT

    @property
    def known_since(self) -> int:
        """The revision since which each claim that has ended is remembered."""
        return max(self.before, self.forgotten)

    def refuse(self, claim: Claim, seen: int) -> None:
        """`EndedError`: the claim was ended. `StoreUnavailableError`: it may be, as far as the machine has `seen`."""
        if claim.nonce in self.nonces:
            raise EndedError(f"the claim {claim.nonce} of {claim.holder} was ended: this request came late")
        if seen < self.known_since:
            raise StoreUnavailableError(late(seen, self.known_since))


def late(seen: int, forgotten: int) -> str:
    """Say why a request cannot be told from one of a claim that was ended and forgotten."""
    return (
        f"claims that had ended were forgotten at revision {forgotten} of the store, and this machine had seen "
        f"revision {seen} when it asked: it asks again"
    )


def keys_of(group: str, machine_id: str) -> list[str]:
    """Name the keys on which a take of a machine depends, for `read`."""
    return [keys.ended_key(group, machine_id), keys.forgotten_key(group)]


def read(readings: Sequence[Reading], key: str) -> Ended:
    """Read what a machine has ended, from the readings of `keys_of`; `CorruptValueError`: it cannot be read."""
    reading, forgotten = readings
    if reading.entry is None:
        return Ended((), reading.version, forgotten.version)
    try:
        fields = jsonread.load_record(reading.entry.value, limits.LOCAL)
        nonces, before = jsonread.read(fields, "nonces", list), jsonread.read(fields, "before", int, ABSENT)
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a list of ended claims: {error}") from None
    return Ended(tuple(map(str, nonces)), reading.version, forgotten.version, before)


async def end(store: Store, group: str, claim: Claim, most: int = MOST) -> None:
    """Write that a claim has ended, unless that is written already. Errors are the store's, `CorruptValueError`.

    So many are remembered at `most`.
    """
    key = keys.ended_key(group, claim.holder)
    for left in reversed(range(TRIES)):
        ended = read(await store.read(keys_of(group, claim.holder)), key)
        if claim.nonce in ended.nonces:
            return
        nonces = [*ended.nonces, claim.nonce]
        # The first that is forgotten had ended at the version that was just read, or earlier.
        before = ended.before if len(nonces) <= most else ended.version
        fields = {"schema": SCHEMA, "nonces": nonces[-most:], "before": before}
        try:
            await store.swap(key, dump(fields), ended.version)
        except ConflictError:
            if not left:
                raise
        else:
            return


async def forget(store: Store, group: str, machine_ids: Collection[str]) -> None:
    """Forget what these machines have ended. Errors are the store's."""
    of = [keys.ended_key(group, machine_id) for machine_id in machine_ids]
    found = []
    for start in range(0, len(of), READS):
        found += [reading.entry for reading in await store.read(of[start : start + READS]) if reading.entry]
    if not found:
        return
    key = keys.forgotten_key(group)
    with suppress(ConflictError):  # then another has written it, after these claims had ended
        await store.swap(key, dump({"schema": SCHEMA}), (await store.get(key)).version)
    for entry in found:
        with suppress(ConflictError):  # the machine has ended another claim: it is not gone
            await store.delete(entry.key, entry.version)


class UnlessEnded(ObservedStore):
    """The store of one request: a claim enters the semaphore only if it was not ended by then.

    On v3 and memory the write itself depends on that. On v2 it is read between the semaphore and its swap: the end is
    written before the fence of the abort, and after that fence the swap fails.
    """

    def __init__(self, store: Store, group: str, claim: Claim) -> None:
        super().__init__(store, Meter())
        self._group, self._claim = group, claim
        self._keys = keys_of(group, claim.holder)
        self._key = self._keys[0]
        self._ended: Ended | None = None
        self._takes = True
        self.seen = 0
        """The revision that the machine had seen when it sent the request."""

    def release(self) -> None:
        """Guard nothing from now on: the claim is released."""
        self._takes = False

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Guard nothing meanwhile: what goes wrong with a slot is written for as long as the claim has it."""
        before, self._takes = self._takes, False
        try:
            yield
        finally:
            self._takes = before

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings; `EndedError`: it is the semaphore, and the claim was ended."""
        if not self._takes or key != keys.semaphore_key(self._group):
            return await super().swap(key, value, version, also, ttl=ttl)
        if self._ended is None or not self.transactional:
            self._ended = read(await self.read(self._keys), self._key)
        self._ended.refuse(self._claim, self.seen)
        versions = (self._ended.version, self._ended.forgotten)
        guard = [Check(*one) for one in zip(self._keys, versions, strict=True)] if self.transactional else []
        try:
            return await super().swap(key, value, version, [*also, *guard], ttl=ttl)
        except ConflictError:
            self._ended = None
            raise

    def knows_ended(self, readings: Sequence[Reading]) -> None:
        """Take what was just read of `keys_of`. Errors are those of `Ended.refuse`."""
        self._ended = read(readings, self._key)
        self._ended.refuse(self._claim, self.seen)
