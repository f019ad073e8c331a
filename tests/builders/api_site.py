"""The API over real sockets, on a fleet in memory; who calls is told by a token."""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from starlette.requests import Request

from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records.event import HELD, REBOOTED, about
from locksmith.lock.records.incident import FIRST
from locksmith.lock.records.node import Node
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.api import Api
from locksmith.server.fleet_metrics import MetricsPage
from locksmith.server.identity import Identity, Role
from locksmith.server.web.fleet import Fleet
from locksmith.server.web.views import GroupPage
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import claim
from tests.builders.few_slots import FewSlots
from tests.builders.fleetlock_site import ANYBODY, Site, request

G = "web/a b"
"""A group whose name is hard for an address."""
TOKENS = {
    "viewer": Identity(Role.VIEWER, "vera"),
    "operator": Identity(Role.OPERATOR, "olaf"),
    "other": Identity(Role.VIEWER, "oscar", frozenset({"db"})),
    "machine": Identity(Role.MACHINE, "n1", frozenset({G})),
}
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
EVIL = '<script>alert("1")</script>'


class ByToken:
    """Knows who calls by a word."""

    async def identify(self, request: Request) -> Identity | Answer:
        word = request.headers.get("authorization", "").removeprefix("Bearer ")
        return TOKENS.get(word) or unauthorized("no credential is known here", 401, {"WWW-Authenticate": "Bearer"})


class ApiSite(Site):
    """A server on a loopback port, with a fleet in memory."""

    def __init__(self, clients=(), more=(), prefix=""):
        self.memory = MemoryServer()
        self.store = MemoryStore(self.memory)
        self.fleet = Fleet(self.store, lambda view, events: GroupPage.prepared(view, events, NOW, FIRST))
        api = Api(self.fleet, ByToken(), {G}, prefix=prefix)
        self.metrics = MetricsPage(self.fleet, ByToken(), clients, {G}, more=more)
        super().__init__(
            FewSlots(), {"web": ANYBODY}, others=[*api.routes(), *self.metrics.routes()], counted=self.metrics.counted
        )

    async def get(self, path, token="viewer", **headers):
        """Give the status, the headers and the body of an answer."""
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), "Connection": "close", **headers}
        reader, writer = await self.connect()
        try:
            writer.write(request(path, b"", sent, "GET", length=False))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        lines = head.decode().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), found, body

    async def json(self, path, token="viewer", **headers):
        """Give the status and the JSON of an answer."""
        status, _, body = await self.get(path, token, **headers)
        return status, json.loads(body)

    async def machine(self, name, state="idle", group=G, **more):
        """Let a machine show itself."""
        shown = Node(name, f"{name}.example", "boot", group, "etcd-lock", state, NOW - MINUTE, **more)
        await self.store.create(keys.node_key(group, name), node.encode(shown), ttl=1e6)

    async def event(self, name, minutes_ago, act=HELD, detail=REBOOTED, **more):
        """Write into the history that a hold of 5 minutes ended."""
        at = NOW - minutes_ago * MINUTE
        made = replace(claim(name, **more), since=at - 6 * MINUTE, taken=at - 5 * MINUTE)
        await self.lock().history.add(about(made, at, act, detail=detail))

    def lock(self, group=G):
        """Give the lock."""
        return RebootLock(self.store, group, clock=lambda: NOW)

    def orders(self):
        """Give what an operator orders with."""
        return OperatorOrders(self.store, G, clock=lambda: NOW)

    async def again(self, group=G):
        """Let the fleet read the group now."""
        await self.fleet.refresh(group)


@contextlib.asynccontextmanager
async def api_site(**more):
    """Open a site with a fleet: n1 reboots, n2 waits, n3 is idle, n4 has rebooted."""
    site = ApiSite(**more)
    needs = {"need": "kernel", "need_version": "6.1", "need_since": NOW - 30 * MINUTE, "need_reasons": (EVIL,)}
    await site.machine("n1", "rebooting", **needs)
    await site.machine("n2", "waiting", code="window", reason=EVIL, windows=("Mon..Fri 02:00 for 3h",), **needs)
    await site.machine("n3")
    await site.machine("n4")
    await site.event("n4", 10)
    lock = site.lock()
    await lock.take(replace(claim("n1"), since=NOW - 5 * MINUTE))
    await lock.commit(replace(claim("n1"), since=NOW - 5 * MINUTE))
    site.door.open()
    try:
        yield site
    finally:
        await site.fleet.close()
        await site.door.close(1)


def at(*parts):
    """Give the path of a call below the group."""
    return "/api/v1/groups/" + "/".join(quote(one, safe="") for one in (G, *parts))
