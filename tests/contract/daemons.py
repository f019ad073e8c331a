"""Stories of real daemons: a group of their own on a real etcd, and what happened to its lock."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from locksmith.lock import places
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.keys import group_prefix, node_key, semaphore_key
from locksmith.store.connect import open_store
from tests.harness.delay_proxy import DelayProxy, delay_proxy
from tests.harness.etcd import Etcd
from tests.harness.node import Node
from tests.harness.waiting import until

STORY_LIMIT = 180.0

QUICK = {"settle": "300ms", "limit": "1s", "retry": "1s"}
"""[reboot] for stories in which a reboot fails."""

CLOSED = {"start": time.strftime("%a %H:%M", time.localtime(time.time() + 3 * 86400)), "length": "1h"}
"""[window] for stories in which it is closed: it opens in three days."""


@dataclass(frozen=True)
class Moment:
    """The lock after one write: who held it, and each record's state by its holder."""

    holders: list[str]
    states: dict[str, str]


class Lock:
    """The lock of one group, as etcd has it: `api` 3."""

    def __init__(self, etcd: Etcd, group: str) -> None:
        self._etcd = etcd
        self._group = group
        self.key = semaphore_key(group)

    @property
    def holders(self) -> list[str]:
        """Who holds it now."""
        keys = self._read(0)
        return _holders(keys[self.key]["value"]) if self.key in keys else []

    @property
    def version(self) -> int:
        """The version of the semaphore."""
        return int(self._read(0)[self.key]["mod_revision"])

    @property
    def record(self) -> dict[str, Any]:
        """The only holder's record."""
        [value] = [entry["value"] for key, entry in self._read(0).items() if "/holders/" in key]
        record: dict[str, Any] = json.loads(value)
        return record

    @property
    def waiters(self) -> list[str]:
        """Who stands in line for it now, in no order."""
        return [places.name_in(key) for key in self._read(0) if "/waiters/" in key]

    @property
    def history(self) -> list[Moment]:
        """What it was after each write, the oldest first."""
        moments: list[Moment] = []
        revision = 0
        while self.key in (keys := self._read(revision)):
            records = {key.rpartition("/")[2]: entry["value"] for key, entry in keys.items() if "/holders/" in key}
            states = {holder: json.loads(value)["state"] for holder, value in records.items()}
            moments.insert(0, Moment(_holders(keys[self.key]["value"]), states))
            revision = int(keys[self.key]["mod_revision"]) - 1
        return moments

    @property
    def story(self) -> list[str]:
        """How it went, where one machine alone had it: `held` and `committed`, `free`, and so on."""
        return [next(iter(moment.states.values()), "free") for moment in self.history]

    def values(self) -> dict[str, str]:
        """Read every value of the group as it is now."""
        return {key: entry["value"] for key, entry in self._read(0).items()}

    def put(self, value: bytes, key: str = "") -> None:
        """Write the raw value of the semaphore, or of another key."""
        self._etcd.call("/v3/kv/put", key=_encode(key or self.key), value=base64.b64encode(value).decode())

    def raw(self) -> str:
        """Read the raw value of the semaphore."""
        value: str = self._read(0)[self.key]["value"]
        return value

    async def take(self, holder: str, kind: str = MANUAL) -> Claim:
        """Take a slot for somebody else than a daemon."""
        claim = Claim(holder, kind, f"nonce of {holder}", datetime.now(UTC), "alice", reason="disk swap")
        await self._with(lambda lock: lock.take(claim))
        return claim

    async def release(self, claim: Claim) -> None:
        """Give it back."""
        assert await self._with(lambda lock: lock.release(claim))

    async def set_max(self, slots: int) -> None:
        """Change the number of slots."""
        await self._with(lambda lock: LockAdmin(lock.guarded).set_max(slots))

    async def _with(self, act: Callable[[RebootLock], Awaitable[Any]]) -> Any:
        lock = RebootLock(open_store(self._etcd.settings()), self._group)
        try:
            return await act(lock)
        finally:
            await lock.close()

    def _read(self, revision: int) -> dict[str, dict[str, Any]]:
        """All keys of the group as they were at a revision (0: as they are)."""
        prefix = group_prefix(self._group)
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = self._etcd.call("/v3/kv/range", key=_encode(prefix), range_end=_encode(end), revision=revision)
        entries = answer.get("kvs", [])
        return {_decode(kv["key"]): {**kv, "value": _decode(kv.get("value", ""))} for kv in entries}


class Site:
    """A folder for nodes, and a group of theirs. `endpoints` is where they are told to look for etcd."""

    def __init__(self, etcd: Etcd, group: str, folder: Path) -> None:
        self.etcd = etcd
        self.group = group
        self.folder = folder
        self.lock = Lock(etcd, group)
        self.endpoints = list(etcd.endpoints)
        self.reachable = True

    def settings(self, **changes: Any) -> str:
        """Write a locksmith.toml: top-level keys by name (`_` for `-`), tables as mappings."""
        keys: dict[str, Any] = {"strategy": "etcd-lock", "group": self.group}
        tables: dict[str, dict[str, Any]] = {
            "etcd": {"endpoints": self.endpoints, "timeout": "1s"},
            "metrics": {"enabled": False},
        }
        for name, value in changes.items():
            if isinstance(value, dict):
                tables[name] = tables.get(name, {}) | value
            else:
                keys[name.replace("_", "-")] = value
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        return "\n".join(lines)

    def node(self, name: str = "n1", *, running: bool = True, **changes: Any) -> Node:
        """Make a node whose configuration has these changes. Under `etcd-lock` it must hold the lock to go down."""

        def look(event: str) -> None:
            if event == "down" and "strategy" not in changes and self.reachable:
                assert node.machine_id in self.lock.holders, "it goes down without holding the lock"

        settings = self.settings(**changes)
        node = Node(name, self.folder, settings, running=running, reboot_time=lambda: 0.05, on_event=look)
        return node

    def node_record(self, node: Node) -> str:
        """Read the presence of a node, as it stands in the store; empty where it has none."""
        return self.lock.values().get(node_key(self.group, node.machine_id), "")

    async def is_free(self, limit: float = 45.0) -> None:
        """Wait until nobody holds the lock."""
        await until(lambda: not self.lock.holders, "the slot is given back", limit)

    def play_stopped(self, story: Callable[..., Awaitable[None]], **changes: Any) -> None:
        """Run a story of one node whose daemon does not run yet."""
        self.play(story, running=False, **changes)

    def play(self, story: Callable[..., Awaitable[None]], *, nodes: int = 1, **changes: Any) -> None:
        """Run a story of one node, or of more."""

        async def scene() -> None:
            async with asyncio.timeout(STORY_LIMIT), AsyncExitStack() as stack:
                names = [f"n{number}" for number in range(1, nodes + 1)]
                await story(*[await stack.enter_async_context(self.node(name, **changes)) for name in names])

        asyncio.run(scene())

    @contextmanager
    def etcd_away(self) -> Iterator[None]:
        """End etcd for a while: connections are refused."""
        [member] = self.etcd.members
        member.kill()
        self.reachable = False
        try:
            yield
        finally:
            member.start()
            self.reachable = True

    @contextmanager
    def etcd_frozen(self) -> Iterator[None]:
        """Halt etcd for a while: connections are made, and nothing answers."""
        [member] = self.etcd.members
        member.freeze()
        self.reachable = False
        try:
            yield
        finally:
            member.thaw()
            self.reachable = True

    @contextmanager
    def delay_proxy(self) -> Iterator[DelayProxy]:
        """Have the nodes reach etcd on a way on which requests can be held up."""
        with delay_proxy(self.etcd.endpoints[0]) as way:
            self.endpoints = [way.url]
            yield way


def _holders(value: str) -> list[str]:
    return json.loads(value)["holders"] or []


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()
