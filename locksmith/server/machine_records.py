"""What a machine without etcd reads of its group, and the records of its own that it writes: its presence.

The daemon decides what it shows, and finds a clone of itself, as with etcd (lock/presence.py). Here each write is
checked: its key is the machine's own (permissions.py decides), and its value is such a record. A lease is never taken
from a call: it is that of the entry in the store.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from locksmith.errors import ConflictError, CorruptValueError, ForbiddenError, LocksmithError
from locksmith.lock import machine_wire as wire
from locksmith.lock.absence import note_absent, tidy
from locksmith.lock.records import keys, member, node
from locksmith.server.identity import Identity
from locksmith.server.permissions import Action, require
from locksmith.server.shared_renewals import SharedRenewals
from locksmith.store.protocol import ABSENT, Also, Delete, Entry, Fingerprint, Put, Store
from locksmith.util.jsonread import BadJsonError, read

READABLE = frozenset(
    {"semaphore", "resume", "freeze", "incidents", "holders", "nodes", "members", "absent", "hold", "spacing"}
)
"""What a machine may read of its group, by the first part of a key below the group's folder."""
LEAST_TTL = 1.0
LOOK_AFTER, LOOK_LIMIT = 300.0, 5.0
"""Seconds between two looks for machines of a group that are gone, and for each."""

CREATE, UPDATE, REPLACE, RENEW, REVOKE, SWAP, DELETE = (
    *("create", "update", "replace", "renew", "revoke", "swap", "delete"),
)
_OWN = {keys.node_key: node.decode, keys.member_key: member.decode, keys.absent_key: member.decode}
"""The records that a machine writes of itself: of each, its key, and what reads it."""
_OF_ENTRY = {UPDATE, REPLACE, REVOKE, DELETE}
_WITH_TTL = {CREATE, UPDATE, REPLACE, RENEW}
_WITH_VALUE = {CREATE, UPDATE, REPLACE, SWAP}


class MachineRecords:
    """The calls that are about keys, and no claim. Errors are the store's, `ForbiddenError` and `BadJsonError`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._next_look: dict[str, float] = {}
        self._looking: set[asyncio.Task[None]] = set()

    async def answer(
        self,
        store: Store,
        group: str,
        who: Identity,
        call: str,
        fields: dict[str, Any],
        *,
        renewals: SharedRenewals | None = None,
    ) -> dict[str, Any]:
        """Give the answer to a call, with the `revision` at which it was given (0: it is not known)."""
        if call == wire.HELLO:
            return {"answer": wire.DONE, "revision": (await store.get(keys.semaphore_key(group))).revision}
        if call == wire.READ:
            return await self._read(store, group, who, fields)
        if call == wire.COUNT:
            return {"answer": wire.DONE, "count": await store.count(keys.nodes_prefix(group)), "revision": 0}
        if call == wire.KNOWS:
            digest, version = read(fields, "digest", str), read(fields, "version", int)
            knows = await store.knows(Fingerprint(keys.semaphore_key(group), version, digest))
            return {"answer": wire.DONE, "knows": {True: "yes", False: "no", None: "unknown"}[knows], "revision": 0}
        return await self._write(store, group, who, fields, renewals)

    async def _read(self, store: Store, group: str, who: Identity, fields: dict[str, Any]) -> dict[str, Any]:
        asked = read(fields, "keys", list)
        if not 0 < len(asked) <= wire.MOST_KEYS or not all(isinstance(key, str) for key in asked):
            raise BadJsonError(f"the field 'keys' must be a list of 1 to {wire.MOST_KEYS} keys")
        if len(set(asked)) < len(asked) or max(map(len, asked)) > wire.LONGEST_KEY:
            raise BadJsonError(f"each key must be there once, with at most {wire.LONGEST_KEY} characters")
        require(who, Action.ACT, group, who.name)
        prefix = keys.group_prefix(group)
        for key in asked:
            part = key.removeprefix(prefix).partition("/")[0] if key.startswith(prefix) else ""
            if part not in READABLE and not key.startswith(keys.windows_prefix()):
                raise ForbiddenError(f"a machine of the group {group} may not read {key:.200}")
        readings = list(await store.read(asked))
        # On v2 the keys are read one after another: the first is the oldest answer.
        return {
            "answer": wire.DONE,
            "readings": wire.encode_readings(readings),
            "revision": min(one.revision for one in readings),
        }

    async def _write(
        self, store: Store, group: str, who: Identity, fields: dict[str, Any], renewals: SharedRenewals | None
    ) -> dict[str, Any]:
        write, key, ttl = read(fields, "write", str), read(fields, "key", str), read(fields, "ttl", float, 0.0)
        machine = _named(group, key)
        require(who, Action.ACT, group, machine)
        own = {of(group, machine): decode for of, decode in _OWN.items()}
        if write in _WITH_TTL and not LEAST_TTL <= ttl <= node.LONGEST:
            raise BadJsonError("the field 'ttl' must be a number of seconds, of a year at most")
        value = wire.decode_bytes(fields, "value") if write in _WITH_VALUE else b""
        if write in _WITH_VALUE:
            try:
                record = own[key](value, key, machine)
            except CorruptValueError as error:
                raise BadJsonError(f"the value is {error.problem.partition(';')[0]}") from None
            if isinstance(record, node.Node) and record.group != group:
                raise BadJsonError("the record names another group")
        entry: Entry | None = None
        if write == CREATE:
            entry = await store.create(key, value, ttl=ttl)
        elif write == SWAP and own[key] is member.decode:  # presence always has a lease
            entry = await store.swap(key, value, read(fields, "version", int), _also(group, who, fields))
        elif write == RENEW:
            version = read(fields, "version", int)
            if renewals is None or not renewals.promised(key, version, ttl):
                await _renewed(store, key, version, ttl)
        elif write in _OF_ENTRY:
            entry = await _rewritten(store, write, Put(key, value, read(fields, "version", int)), ttl)
        else:
            raise BadJsonError("the field 'write' names no write")
        self._look_in_time(store, group)
        return {"answer": wire.DONE, "revision": 0, **({"entry": wire.encode_entry(entry)} if entry else {})}

    def _look_in_time(self, store: Store, group: str) -> None:
        """Look now and then for machines that are gone: without etcd no machine can do that (lock/membership.py)."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look.setdefault(group, now + LOOK_AFTER):
            return
        self._next_look[group] = now + LOOK_AFTER
        looking = asyncio.ensure_future(self._look(store, group))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    async def _look(self, store: Store, group: str) -> None:
        with suppress(LocksmithError, TimeoutError):
            async with asyncio.timeout(LOOK_LIMIT):
                await note_absent(store, group, self._clock())
                await tidy(store, group, self._clock())


async def _renewed(store: Store, key: str, version: int, ttl: float) -> None:
    """Prolong an entry, if it still has its version."""
    now = (await store.get(key)).entry
    if now is None or now.version != version:
        raise _changed(key)
    await store.renew(now, ttl)


async def _rewritten(store: Store, write: str, put: Put, ttl: float) -> Entry | None:
    """Write over an entry, or remove it, if it still has its version."""
    now = (await store.get(put.key)).entry
    if now is None or now.version != put.version:
        if write == REVOKE:
            return None
        raise _changed(put.key)
    if write == UPDATE:
        return await store.update(now, put.value, ttl)
    if write == REPLACE:
        return await store.replace(now, put.value, ttl)
    if write == REVOKE and now.lease:
        await store.revoke(now)
    else:
        await store.delete(now.key, now.version)
    return None


def _named(group: str, key: str) -> str:
    """Give the machine whose record a key is; empty: it is no record that a machine writes of itself."""
    machine = key.rpartition("/")[2]
    return machine if machine and key in {of(group, machine) for of in _OWN} else ""


def _also(group: str, who: Identity, fields: dict[str, Any]) -> list[Also]:
    """Give the removal that goes with a swap: of another record of the machine."""
    if "gone" not in fields:
        return []
    gone, version = read(fields, "gone", str), read(fields, "gone_version", int)
    require(who, Action.ACT, group, _named(group, gone))
    if version == ABSENT:
        raise BadJsonError("the field 'gone_version' must be that of a record")
    return [Delete(gone, version)]


def _changed(key: str) -> ConflictError:
    return ConflictError(f"{key} has changed, or has expired")
