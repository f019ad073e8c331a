"""A double of airlock's lock: byte for byte what it writes (coreos/airlock, internal/lock), with its faults.

It makes the key where there is none, guards each write by the key's version, writes at every release, and does not try
again after a lost race.
"""

import contextlib
import json
from bisect import bisect_left, insort
from typing import Any

from locksmith.errors import ConflictError
from locksmith.lock.records.keys import query_escape
from locksmith.store.protocol import Reading, Store


class AirlockError(Exception):
    """airlock answers 500."""


def written(slots: int, *holders: str) -> bytes:
    """Give a semaphore as airlock's Go encoder writes it; ids of its clients need no escapes."""
    return json.dumps({"total_slots": slots, "holders": sorted(holders)}, separators=(",", ":")).encode()


class Airlock:
    """One server of a group."""

    def __init__(self, store: Store, group: str, slots: int) -> None:
        self._store = store
        self._slots = slots
        self.key = f"com.coreos.airlock/groups/{query_escape(group)}/v1/semaphore"

    async def pre_reboot(self, client: str) -> None:
        """Take a slot, or keep it."""
        reading, fields = await self.read()
        holders = fields["holders"]
        at = bisect_left(holders, client)
        if holders[at : at + 1] == [client]:
            return
        if len(holders) >= fields["total_slots"]:
            raise AirlockError(f"all {fields['total_slots']} semaphore slots currently locked")
        insort(holders, client)
        await self._set(fields, reading)

    async def steady_state(self, client: str) -> None:
        """Release what a client has; it writes in any case."""
        reading, fields = await self.read()
        fields["holders"] = [one for one in fields["holders"] if one != client]
        await self._set(fields, reading)

    async def read(self) -> tuple[Reading, dict[str, Any]]:
        """Make the semaphore where there is none, and read it."""
        with contextlib.suppress(ConflictError):
            await self._store.create(self.key, written(self._slots))
        reading = await self._store.get(self.key)
        assert reading.entry is not None
        return reading, json.loads(reading.entry.value)

    async def _set(self, fields: dict[str, Any], reading: Reading) -> None:
        try:
            await self._store.swap(self.key, written(fields["total_slots"], *fields["holders"]), reading.version)
        except ConflictError:
            raise AirlockError("conflict on semaphore detected, aborting") from None
