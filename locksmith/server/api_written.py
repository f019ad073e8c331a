"""Answers of the API in bytes: what was written of a reading of the store is not written again."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from locksmith.fleet.fields import member_fields, node_fields
from locksmith.server import api_answers as answers
from locksmith.server.api_groups import Sight
from locksmith.server.api_http import dump

AT_ONCE: Final = 50
"""Machines that are written before other calls have their turn: 5 ms."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of answers that are kept until the store is read again."""
MOST_KEPT: Final = 1000


@dataclass(slots=True)
class Kept:
    """Answers of the last reading of each group, in bytes, by the group and by what was asked."""

    _of: OrderedDict[tuple[str, ...], bytes] = field(default_factory=OrderedDict)
    _read: dict[str, Sight] = field(default_factory=dict)
    _bytes: int = 0

    def find(self, group: str, asked: tuple[str, ...], sight: Sight) -> bytes | None:
        """Give the answer that was made of this reading; None: there is none."""
        return self._of.get((group, *asked)) if self._read.get(group) is sight else None

    def keep(self, group: str, asked: tuple[str, ...], sight: Sight, body: bytes) -> None:
        """Keep an answer. Those of earlier readings of the group go, and if there are too many, the oldest."""
        if self._read.get(group) is not sight:
            for one in [one for one in self._of if one[0] == group]:
                self._drop(one)
            self._read[group] = sight
        self._drop((group, *asked))
        self._of[group, *asked] = body
        self._bytes += len(body)
        while self._bytes > KEPT_BYTES or len(self._of) > MOST_KEPT:
            self._drop(next(iter(self._of)))

    def _drop(self, key: tuple[str, ...]) -> None:
        self._bytes -= len(self._of.pop(key, b""))


class Machines:
    """The machines of a group as JSON. One that is as it was is not written again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, str]] = {}
        self._written = 0

    async def write(self, seen: answers.Seen, query: Mapping[str, Any]) -> bytes:
        """Write the answer for a query; while many machines are written, other calls have their turns."""
        page = answers.machine_page(seen.view, query)
        self._forget(seen)
        nodes = [await self._one(one.machine_id, one, node_fields) for one in page.nodes]
        absent = [await self._one(one, seen.view.absent[one], member_fields) for one in page.absent]
        head = dump({**seen.head, "group": seen.view.group, "next": page.next})
        return f'{head[:-1]}, "nodes": [{", ".join(nodes)}], "absent": [{", ".join(absent)}]}}'.encode()

    async def _one(self, machine_id: str, record: Any, fields: Callable[[Any], dict[str, object]]) -> str:
        known = self._known.get(machine_id)
        if known is not None and known[0] is record:
            return known[1]
        text = dump(fields(record))
        self._known[machine_id] = (record, text)
        self._written += 1
        if self._written % AT_ONCE == 0:
            await asyncio.sleep(0)
        return text

    def _forget(self, seen: answers.Seen) -> None:
        for one in self._known.keys() - seen.view.machines.keys() - seen.view.absent.keys():
            del self._known[one]
