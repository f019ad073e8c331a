"""The claims that a machine has ended through a server: a late request for one of them takes no slot.

A request may lie unread in the socket of a server that stands still. Meanwhile the machine asks another server, and
ends its claim there. Without a mark in the store the late request would take a slot that no machine knows of. So the
end of a claim is written before its release, under `ended/<id>`, and each take through a server depends on that key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.errors import ConflictError, CorruptValueError, LockError
from locksmith.lock.records import keys
from locksmith.lock.records.claim import Claim
from locksmith.store.meter import Meter
from locksmith.store.observed import ObservedStore
from locksmith.store.protocol import Also, Check, Entry, Reading, Store
from locksmith.util import jsonread, limits
from locksmith.util.records import SCHEMA, dump

MOST = 16
"""How many claims are remembered: a machine makes some more while a server stands still."""
TRIES = 5


class EndedError(LockError):
    """Not done: the machine has ended this claim. It knows that, so this request came late."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The nonces, the last at the end, and the version of their key."""

    nonces: tuple[str, ...]
    version: int

    def refuse(self, claim: Claim) -> None:
        """`EndedError`: the claim was ended."""
        if claim.nonce in self.nonces:
            raise EndedError(f"the claim {claim.nonce} of {claim.holder} was ended: this request came late")


def read(reading: Reading, key: str) -> Ended:
    """Read what a machine has ended; `CorruptValueError`: it cannot be read."""
    if reading.entry is None:
        return Ended((), reading.version)
    try:
        fields = jsonread.load_record(reading.entry.value, limits.LOCAL)
        nonces = jsonread.read(fields, "nonces", list)
    except jsonread.BadJsonError as error:
        raise CorruptValueError(key, f"not a list of ended claims: {error}") from None
    return Ended(tuple(map(str, nonces)), reading.version)


async def end(store: Store, group: str, claim: Claim) -> None:
    """Write that a claim has ended, unless that is written already. Errors are the store's, `CorruptValueError`."""
    key = keys.ended_key(group, claim.holder)
    for left in reversed(range(TRIES)):
        ended = read(await store.get(key), key)
        if claim.nonce in ended.nonces:
            return
        fields = {"schema": SCHEMA, "nonces": [*ended.nonces, claim.nonce][-MOST:]}
        try:
            await store.swap(key, dump(fields), ended.version)
        except ConflictError:
            if not left:
                raise
        else:
            return


class UnlessEnded(ObservedStore):
    """The store of one request: a claim enters the semaphore only if it was not ended by then.

    On v3 and memory the write itself depends on that. On v2 it is read between the semaphore and its swap: the end is
    written before the fence of the abort, and after that fence the swap fails.
    """

    def __init__(self, store: Store, group: str, claim: Claim) -> None:
        super().__init__(store, Meter())
        self._group, self._claim = group, claim
        self._key = keys.ended_key(group, claim.holder)
        self._ended: Ended | None = None
        self._takes = True

    def release(self) -> None:
        """Guard nothing from now on: the claim is released."""
        self._takes = False

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings; `EndedError`: it is the semaphore, and the claim was ended."""
        if not self._takes or key != keys.semaphore_key(self._group):
            return await super().swap(key, value, version, also, ttl=ttl)
        if self._ended is None or not self.transactional:
            self._ended = read(await self.get(self._key), self._key)
        self._ended.refuse(self._claim)
        guard = [Check(self._key, self._ended.version)] if self.transactional else []
        try:
            return await super().swap(key, value, version, [*also, *guard], ttl=ttl)
        except ConflictError:
            self._ended = None
            raise

    def knows_ended(self, reading: Reading) -> None:
        """Take what was just read of the key; `EndedError`: the claim was ended."""
        self._ended = read(reading, self._key)
        self._ended.refuse(self._claim)
