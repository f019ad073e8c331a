"""The credentials of locksmith-server in the store: made, revoked and listed by an operator with rights in etcd.

The store has digests of tokens alone (util/tokens.py). A credential that ends has a lease, so no clock decides that. A
revoked one stays, so that its id stays taken; `forget` removes it.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.cas import CasRetry
from locksmith.lock.pages import read_all
from locksmith.lock.records import credential, keys
from locksmith.lock.records.credential import CERTIFICATE, OPERATOR, VIEWER, Credential
from locksmith.store.meter import Meter
from locksmith.store.protocol import ABSENT, Entry, Put, Store, remove
from locksmith.util import tokens
from locksmith.util.tokens import Kind, Token
from locksmith.util.words import quoted

LIMIT: Final = 30.0
"""Seconds for which a write whose race or answer was lost is tried again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A credential as it is in the store. `bad` is what is wrong with a record that cannot be read."""

    entry: Entry
    one: Credential | None
    bad: str = ""

    @property
    def public(self) -> str:
        """The public part of its token."""
        return self.entry.key.rpartition("/")[2]

    @property
    def ended(self) -> bool:
        """Whether it has lost the lease that was to end it, as in a copied keyspace: it counts for nothing then."""
        return self.one is not None and self.one.until is not None and not self.entry.lease

    @property
    def is_revocation(self) -> bool:
        """Whether it is the record that the client certificates of a machine were revoked."""
        return self.entry.key.startswith(keys.certificates_prefix())

    @property
    def is_person(self) -> bool:
        """Whether it is of a viewer or an operator; also a record that cannot be read is."""
        return self.entry.key.startswith(keys.people_prefix())

    @property
    def bars(self) -> bool:
        """Whether it keeps its machine from enrolling; also a revocation that cannot be read does."""
        return self.is_revocation and not (self.one and self.one.enrols)

    def is_of(self, earlier: "Kept") -> bool:
        """Whether this is the credential that was read earlier, which may be revoked since; else it is another one."""
        if self.one is None or earlier.one is None:
            return self.entry == earlier.entry
        return (self.one.digest, self.one.since) == (earlier.one.digest, earlier.one.since)


class CredentialStore:
    """All credentials. Errors are those of the store, and `LockError`."""

    def __init__(
        self, store: Store, rng: Random | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._clock = store, clock
        self._retry = CasRetry(rng or Random(), LIMIT, Meter())  # noqa: S311 - jitter, no secret

    async def open_enrolment(self, new: Credential, ttl: float) -> Token:
        """Make the secret with which machines of one group enrol, for `ttl` seconds."""
        token = tokens.new_token(Kind.ENROLMENT)
        await self._create(keys.enrolments_prefix() + token.public, replace(new, digest=token.digest), ttl)
        return token

    async def close_enrolments(self, group: str) -> int:
        """End the enrolment secrets of a group, and say how many there were."""
        ended = 0
        for kept in await self._read(keys.enrolments_prefix()):
            if kept.one is None or kept.one.groups == (group,):
                await remove(self._store, kept.entry)
                ended += 1
        await self._sweep()
        return ended

    async def add_person(self, new: Credential, ttl: float | None = None) -> Token:
        """Make the token of a viewer or an operator. `LockError`: the name has one that is not revoked."""
        kind = Kind.VIEWER if new.role == VIEWER else Kind.OPERATOR
        token = tokens.new_token(kind, tokens.public_of_person(new.holder))
        key = keys.people_prefix() + token.public
        stands = await self._get(key)
        if stands and not (stands.ended or (stands.one and stands.one.revoked)):
            role = {OPERATOR: "an operator", VIEWER: "a viewer"}.get(stands.one.role if stands.one else "", "enrolled")
            raise LockError(
                f"{new.holder!r} is {role} already: `locksmithctl enroll forget {quoted(new.holder)}` ends that "
                "token, then enrol again"
            )
        if stands:
            await remove(self._store, stands.entry)
        await self._create(key, replace(new, digest=token.digest), ttl)
        return token

    async def read_everything(self) -> Sequence[Kept]:
        """Read machines, people, enrolment secrets and revoked certificates; no sessions."""
        found: list[Kept] = []
        for prefix in (keys.enrolments_prefix(), keys.people_prefix(), keys.machines_prefix()):
            found += await self._read(prefix)
        return [*found, *await self._read(keys.certificates_prefix())]

    async def named(self, name: str, group: str | None = None) -> Sequence[Kept]:
        """Find a person, and a machine by its id, or else machines by their host name; in one group, no person.

        An id means no machine that has it as its host name: each machine says its own.
        """
        person = await self._get(keys.people_prefix() + tokens.public_of_person(name)) if group is None else None
        machines = [kept for kept in await self._read(keys.machines_prefix()) if _is_in(kept, group)]
        by_id = [kept for kept in machines if kept.one and kept.one.holder == name]
        by_name = [kept for kept in machines if kept.one and kept.one.hostname == name]
        return [*([person] if person else []), *(by_id or by_name)]

    async def revoke(self, kept: Kept, who: str) -> bool:
        """Let a credential count no more; False: it was revoked before. It stays, so its id stays taken.

        One that has taken its place since it was read is left as it is.
        """
        sent: list[bytes] = []
        return await self._retry.run(lambda: self._revoke(kept, who, sent))

    async def revoked_certificates(self, machine_id: str) -> Kept | None:
        """Give the revocation of a machine's client certificates, if there is one."""
        return await self._get(keys.certificates_key(machine_id))

    async def revoke_certificates(self, machine_id: str, who: str, host: str) -> bool:
        """Let the client certificates of a machine count no more, and let it not enrol; False: that was so before."""
        now = self._clock()
        new = Credential(CERTIFICATE, machine_id, "", now, who=who, host=host, revoked=now, revoked_by=who)
        key, record = keys.certificates_key(machine_id), credential.encode(new)
        sent: list[bytes] = []

        async def attempt() -> bool:
            stands = await self._get(key)
            if stands and stands.bars:
                await self._tell()  # on v2 an earlier attempt may have written the record alone
                return stands.entry.value in sent
            sent.append(record)
            await self._tell(Put(key, record, stands.entry.version if stands else ABSENT))
            return True

        return await self._retry.run(attempt)

    async def let_enrol(self, revocation: Kept) -> None:
        """Let a machine enrol whose client certificates were revoked: they still count no more.

        Nothing is done if they were revoked once more since that was read.
        """
        key, now = revocation.entry.key, self._clock()

        async def attempt() -> None:
            stands = await self._get(key)
            if stands and stands.is_of(revocation) and stands.bars:
                one = stands.one or Credential(CERTIFICATE, keys.machine_of_certificates(key), "", now, revoked=now)
                await self._store.swap(key, credential.encode(replace(one, enrols=True)), stands.entry.version)

        await self._retry.run(attempt)

    async def forget(self, kept: Kept, who: str) -> None:
        """Remove a credential: it counts no more, and its id may be enrolled again.

        One that has taken its place since it was read is left as it is: the id may be enrolled while this call runs.
        """

        async def attempt() -> None:
            # Revoked first, with the word to the servers: after a removal alone, a server could believe what it keeps.
            await self._revoke(kept, who, [])
            stands = await self._get(kept.entry.key)
            if stands and stands.is_of(kept):
                await remove(self._store, stands.entry)
            if kept.is_revocation:
                await self._tell()  # they count again

        await self._retry.run(attempt)

    async def _revoke(self, kept: Kept, who: str, sent: list[bytes]) -> bool:
        """Revoke it in one attempt. `sent` has the records that earlier attempts have sent: their answers were lost."""
        key = kept.entry.key
        stands = await self._get(key)
        if stands is None or stands.one is None or stands.one.revoked or not stands.is_of(kept):
            await self._tell()  # on v2 an earlier attempt may have written the record alone
            return stands is not None and stands.entry.value in sent
        sent.append(credential.encode(replace(stands.one, revoked=self._clock(), revoked_by=who, until=None)))
        await self._tell(Put(key, sent[-1], stands.entry.version))
        return True

    async def _tell(self, *also: Put) -> None:
        """Have the servers read again what they keep; with a write that goes along, in one transaction on v3."""
        key = keys.credential_changes_key()
        now = await self._store.get(key)
        await self._store.swap(key, secrets.token_hex(16).encode(), now.version, also)

    async def _create(self, key: str, one: Credential, ttl: float | None) -> None:
        raw = credential.encode(one)

        async def attempt() -> None:
            stands = await self._get(key)
            if stands and stands.one and stands.one.digest == one.digest:
                return  # an attempt whose answer was lost
            await self._store.create(key, raw, ttl=ttl)

        await self._retry.run(attempt)
        await self._tell()

    async def _sweep(self) -> None:
        """Remove the counts of enrolment secrets that have ended."""
        prefix = keys.enrolled_key("")
        live = {kept.public for kept in await self._read(keys.enrolments_prefix())}
        for entry in await read_all(self._store, prefix):
            if entry.key.removeprefix(prefix) not in live:
                await remove(self._store, entry)

    async def _get(self, key: str) -> Kept | None:
        entry = (await self._store.get(key)).entry
        return read_kept(entry) if entry else None

    async def _read(self, prefix: str) -> list[Kept]:
        return [read_kept(entry) for entry in await read_all(self._store, prefix)]


def _is_in(kept: Kept, group: str | None) -> bool:
    return kept.one is not None and (group is None or kept.one.groups == (group,))


def read_kept(entry: Entry) -> Kept:
    """Read a credential, or say what is wrong with its record."""
    try:
        return Kept(entry, credential.decode(entry.value, entry.key))
    except CorruptValueError as error:
        return Kept(entry, None, str(error))
