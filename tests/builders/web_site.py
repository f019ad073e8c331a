"""The page on a store in memory, asked without a socket."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, Self
from urllib.parse import unquote, urlencode

from locksmith.errors import StoreUnavailableError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import FIRST
from locksmith.lock.records.node import Node
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.app import make_app
from locksmith.server.credentials import SignedIn
from locksmith.server.identity import Identity, Role
from locksmith.server.web.fleet import Fleet
from locksmith.server.web.routes import page_routes
from locksmith.server.web.site import Site
from locksmith.server.web.views import GroupPage
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import claim
from tests.builders.few_slots import FewSlots

OPERATOR = Identity(Role.OPERATOR, "olga")
VIEWER = Identity(Role.VIEWER, "vera")
FORM = "application/x-www-form-urlencoded"
CSRF = "of this session"


class People:
    """Knows one person, or none."""

    def __init__(self, who: Identity | None) -> None:
        self.who = who

    async def identify(self, _request: Any) -> Identity | Answer:
        return self.who or unauthorized("this needs a credential", 401)

    async def sign_in(self, _request: Any, token: str) -> SignedIn | Answer:
        return SignedIn(OPERATOR, "s=1") if token == "right" else unauthorized("this token is not known", 401)

    async def sign_out(self, _request: Any) -> str:
        return "s=; Max-Age=0"

    def csrf_token(self, _request: Any) -> str:
        return CSRF

    def csrf_problem(self, _request: Any, given: str) -> Answer | None:
        return None if given == CSRF else unauthorized("this form is not one of this session")


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def words(self) -> str:
        """What a person reads: without the tags."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    def field(self, name: str) -> str:
        """Give the value of a hidden field of a form."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found is not None, f"no field {name} in {self.words}"
        return unescape(found[1])


class Faults:
    """A store that can be away."""

    def __init__(self) -> None:
        self.down = False

    async def carry(self, call: Any) -> Any:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailableError("no etcd endpoint could be used: https://etcd:2379: refused")
        return call.apply()


@dataclass
class Page:
    """The page, its store, and who looks at it."""

    who: Identity | None = OPERATOR
    server: MemoryServer = field(default_factory=MemoryServer)
    faults: Faults = field(default_factory=Faults)
    prefix: str = ""

    async def __aenter__(self) -> Self:
        self.store = MemoryStore(self.server, self.faults)
        self.people = People(self.who)
        self.now = datetime.now(UTC)

        def words(view: Any, events: Any) -> GroupPage:
            return GroupPage.prepared(view, events, datetime.now(UTC), FIRST)

        self.fleet = Fleet(self.store, words)
        site = Site(self.fleet, self.people, lambda: datetime.now(UTC), prefix=self.prefix)
        self.app = make_app(FewSlots(), {}, page_routes(site, self.store, "srv1"), prefix=self.prefix)
        return self

    @property
    def streams(self) -> int:
        """How many streams are open, and wait for a change."""
        return self.fleet.listeners

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.close()

    async def ask(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        site: str = "",
        kind: str = FORM,
    ) -> Reply:
        """Get a page, or send a form."""
        path, _, query = path.partition("?")
        posted = body if body is not None else urlencode(form).encode() if form is not None else None
        sent = {"content-type": kind} if posted is not None else {}
        sent |= {"sec-fetch-site": site} if site else {}
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET" if posted is None else "POST",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in {"host": "x", **sent}.items()],
            "scheme": "http",
            "server": ("x", 80),
            "state": {},
        }
        messages = [{"type": "http.request", "body": posted or b"", "more_body": False}]
        found: list[Any] = []

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()  # the client stays
            return messages.pop(0)

        async def send(message: Any) -> None:
            found.append(message)

        await self.app(scope, receive, send)
        head = {name.decode(): value.decode() for name, value in found[0]["headers"]}
        text = b"".join(one.get("body", b"") for one in found[1:]).decode()
        return Reply(found[0]["status"], head, text)

    async def slots(self, number: int, group: str = "web") -> None:
        """Set the number of slots."""
        await LockAdmin(RebootLock(self.store, group).guarded).set_max(number)

    async def present(self, machine_id: str, group: str = "web", **more: Any) -> Node:
        """Have a machine show itself."""
        own = Node(machine_id, more.pop("name", machine_id), "boot", group, "etcd-lock", "idle", self.now)
        own = replace(own, **more)
        await self.store.create(keys.node_key(group, machine_id), node.encode(own), ttl=1e6)
        return own

    async def holds(self, machine_id: str, group: str = "web", *, committed: bool = False, **more: Any) -> Claim:
        """Have a machine take a slot."""
        own = claim(machine_id, since=self.now - timedelta(minutes=3), **more)
        lock = RebootLock(self.store, group)
        await lock.take(own)
        if committed:
            await lock.commit(own)
        return own

    async def sick(self, machine_id: str, group: str = "web") -> Claim:
        """Have a machine come up unhealthy."""
        await self.present(machine_id, group, state="unhealthy")
        own = await self.holds(machine_id, group, committed=True)
        await RebootLock(self.store, group).report_failure(own, "unhealthy", "nginx has failed")
        return own
