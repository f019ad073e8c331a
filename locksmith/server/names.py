"""What people call a client's machine: its host name, where a machine of the group is known whose id it derives from.

A machine may run our daemon, for its presence, and Zincati too. Names are for people: nothing depends on them.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from locksmith.errors import CorruptValueError, StoreError
from locksmith.lock.pages import read_all
from locksmith.lock.records import keys, member, node
from locksmith.lock.records.claim import FLEETLOCK
from locksmith.store.protocol import Store
from locksmith.util.zincati import zincati_id

log = logging.getLogger(__name__)

FRESH = 600.0
"""Seconds for which the names of a group are not read again, whether or not a client is among them."""
READ_LIMIT = 3.0
"""Seconds for reading them: the client waits."""
MOST_NAMES = 100_000
"""Names that are kept of a group."""
AT_ONCE = 500
"""Machines whose ids are derived before other calls have their turn."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The host names of a group's machines, by the ids that their clients may have; when they were read."""

    known: dict[str, str]
    at: float


class ClientNames:
    """The names of the clients of all groups. No call raises, except if it is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[str, _Names] = {}

    async def of(self, group: str, client: str) -> str:
        """Give the host name of a client's machine; where it is not known, the client's id."""
        names, now = self._groups.get(group), asyncio.get_running_loop().time()
        if names is None or now - names.at > FRESH:
            known = names.known if names else {}
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(READ_LIMIT):
                    known = await self._read(group)
            names = self._groups[group] = _Names(known, now)
        return names.known.get(client) or client

    async def _read(self, group: str) -> dict[str, str]:
        found: dict[str, str] = {}
        machines = await self._machines(group)
        for number, (machine_id, hostname) in enumerate(machines[: MOST_NAMES // 2]):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            with suppress(ValueError):
                found[zincati_id(machine_id)] = hostname
            found[machine_id] = hostname
        return found

    async def _machines(self, group: str) -> list[tuple[str, str]]:
        """Name the machines of a group: those that are remembered, and those of older versions that show themselves."""
        found: list[tuple[str, str]] = []
        for entry in await read_all(self._store, keys.nodes_prefix(group)):
            with suppress(CorruptValueError):
                shown = node.decode(entry.value, entry.key, keys.unsegment(entry.key.rpartition("/")[2]))
                if shown.strategy != FLEETLOCK:
                    found.append((shown.machine_id, shown.hostname))
        for prefix in (keys.members_prefix(group), keys.absent_prefix(group)):
            for entry in await read_all(self._store, prefix):
                with suppress(CorruptValueError):
                    known = member.decode(entry.value, entry.key, keys.unsegment(entry.key.rpartition("/")[2]))
                    found.append((known.machine_id, known.hostname))
        return found
