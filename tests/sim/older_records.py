"""Records with the names that earlier versions gave to their fields, in the store and in the reboot journal.

A daemon of an earlier version is the real one whose records are translated: what this version calls `failure` it
writes and reads as `trouble`. A new name is an unknown field to it, which it keeps.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from locksmith.lock.records import keys, older_names
from locksmith.store.protocol import Also, Entry, Listing, Put, Reading, Store
from tests.sim.machine import SimJournal

HOLDERS, NODES = keys.holders_prefix(""), keys.nodes_prefix("")
UNKNOWN = "unknown "
"""What the name of a field begins with that the daemon is not to know."""

Names = Mapping[str, str]


class Translation:
    """What an older daemon reads where there is a record, and what it leaves there where it writes one."""

    def reads(self, raw: bytes, names: Names) -> bytes:
        """Give a record as the daemon understands it."""
        hidden = {new: UNKNOWN + new for new in names.values()}
        return _renamed(raw, {**hidden, **names})

    def writes(self, raw: bytes, names: Names) -> bytes:
        """Give what it writes; a name that it does not know stays."""
        older = {new: old for old, new in names.items()}
        return _renamed(_without(raw, names), {**older, **{UNKNOWN + new: new for new in names.values()}})


class ReadsNewNames(Translation):
    """What a daemon of this version reads that knows no older name."""

    def reads(self, raw: bytes, names: Names) -> bytes:
        """Hide the older names."""
        return _renamed(raw, {old: UNKNOWN + old for old in names})

    def writes(self, raw: bytes, names: Names) -> bytes:
        """Keep them."""
        return _renamed(raw, {UNKNOWN + old: old for old in names})


class WritesNewNames(Translation):
    """What a daemon of this version writes that does not think of older ones."""

    def reads(self, raw: bytes, names: Names) -> bytes:
        """Read as it does."""
        del names
        return raw

    def writes(self, raw: bytes, names: Names) -> bytes:
        """Leave the older names out."""
        return _without(raw, names)


class TranslatedJournal(SimJournal):
    """The reboot journal of a daemon that has other names."""

    names = Translation()

    def _load(self) -> bytes | None:
        raw = super()._load()
        return None if raw is None else _with_claim(raw, self.names.reads)

    def _store(self, raw: bytes) -> None:
        super()._store(_with_claim(raw, self.names.writes))


class JournalOfNewNames(TranslatedJournal):
    """That of a daemon which knows no older name."""

    names = ReadsNewNames()


class TranslatedStore:
    """A store as a daemon uses it that has other names."""

    def __init__(self, store: Store, names: Translation) -> None:
        self._own = store
        self._names = names

    def __getattr__(self, name: str) -> Any:
        """Leave alone what has no record."""
        return getattr(self._own, name)

    async def get(self, key: str) -> Reading:
        """Read one key."""
        return self._reading(await self._own.get(key))

    async def read(self, wanted: Sequence[str]) -> Sequence[Reading]:
        """Read several keys."""
        return [self._reading(one) for one in await self._own.read(wanted)]

    async def list(self, prefix: str, *, limit: int = 0, last_before: int | None = None) -> Listing:
        """Read the keys below a prefix."""
        found = await self._own.list(prefix, limit=limit, last_before=last_before)
        return replace(found, entries=tuple(map(self._seen, found.entries)))

    async def range(self, start: str, end: str, *, limit: int = 0, at: int = 0) -> Listing:
        """Read the keys between two."""
        found = await self._own.range(start, end, limit=limit, at=at)
        return replace(found, entries=tuple(map(self._seen, found.entries)))

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> Entry:
        """Write a key that must not exist."""
        return self._seen(await self._own.create(key, self._written(key, value), ttl=ttl))

    async def swap(
        self, key: str, value: bytes, version: int, also: Sequence[Also] = (), *, ttl: float | None = None
    ) -> Entry:
        """Write a key and its siblings."""
        more = [replace(one, value=self._written(one.key, one.value)) if isinstance(one, Put) else one for one in also]
        return self._seen(await self._own.swap(key, self._written(key, value), version, more, ttl=ttl))

    async def update(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write a new value over an entry that expires."""
        return self._seen(await self._own.update(entry, self._written(entry.key, value), ttl))

    async def replace(self, entry: Entry, value: bytes, ttl: float) -> Entry:
        """Write over another's entry that expires."""
        return self._seen(await self._own.replace(entry, self._written(entry.key, value), ttl))

    def _reading(self, found: Reading) -> Reading:
        return replace(found, entry=self._seen(found.entry)) if found.entry else found

    def _seen(self, entry: Entry) -> Entry:
        return replace(entry, value=_of_record(self._names.reads, entry.key, entry.value))

    def _written(self, key: str, value: bytes) -> bytes:
        return _of_record(self._names.writes, key, value)


def _of_record(translate: Callable[[bytes, Names], bytes], key: str, raw: bytes) -> bytes:
    for prefix, names in ((HOLDERS, older_names.CLAIM), (NODES, older_names.NODE)):
        if key.startswith(prefix):
            return translate(raw, names)
    return raw


def _with_claim(raw: bytes, translate: Callable[[bytes, Names], bytes]) -> bytes:
    fields = json.loads(raw)
    if fields.get("entry"):
        claim = json.dumps(fields["entry"]["claim"]).encode()
        fields["entry"]["claim"] = json.loads(translate(claim, older_names.CLAIM))
    return json.dumps(fields).encode()


def _renamed(raw: bytes, names: Names) -> bytes:
    return _written({names.get(name, name): value for name, value in json.loads(raw).items()})


def _without(raw: bytes, names: Names) -> bytes:
    return _written({name: value for name, value in json.loads(raw).items() if name not in names})


def _written(fields: Mapping[str, Any]) -> bytes:
    """Write it as the records are written: the rules search their bytes."""
    return json.dumps(fields, separators=(",", ":")).encode()
