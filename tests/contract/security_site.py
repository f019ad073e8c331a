"""An etcd with users, a locksmith-server with TLS, and one caller of each kind: for the table of docs/security.md."""

import asyncio
import base64
import json
import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from locksmith.errors import StoreRefusedError
from locksmith.lock import machine_wire as wire
from locksmith.lock.admin import LockAdmin
from locksmith.lock.connect import open_lock
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.credential import ENROLMENT, OPERATOR, VIEWER, Credential
from locksmith.lock.records.order import Order
from locksmith.server.credentials import Credentials, SignedIn
from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, may
from locksmith.store.connect import open_store
from locksmith.store.protocol import Position, Store
from locksmith.store.settings import StoreSettings
from locksmith.util import tokens
from locksmith.util.tokens import Kind, Token
from tests.builders.callers import asked
from tests.builders.claims import claim
from tests.harness.certificates import Authority, KeyPair
from tests.harness.etcd import PASSWORD, ROOT_PASSWORD, ROOT_USER, USER, WHEEL, Etcd
from tests.harness.fleetlock_server import FleetLockServer

TOOL = (sys.executable, "-c", "from locksmith.cli.main import main; main()")
TRUSTED = "127.0.0.2"
"""An address that has rights: in `metrics-clients`, and in the `clients` of the group lan. Callers have 127.0.0.1."""
GROUP_PASSWORD = "correct horse 7 battery"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
PEOPLE = {"viewer": (VIEWER, ()), "operator": (OPERATOR, ()), "of-web": (OPERATOR, ("web",))}
ROLES = {
    "web": [("READWRITE", keys.group_prefix("web"))],
    "reader": [("READ", keys.group_prefix("web"))],
    "server": [("READWRITE", f"{keys.ROOT}/"), ("READWRITE", keys.CREDENTIALS)],
}
"""The etcd users of docs/install.md, and what they may do below which prefix. `USER` is that of the default group."""


Story = Callable[[Store], Awaitable[Any]]


class World:
    """An etcd with users, a server, and one caller of each kind."""

    def __init__(self, etcd: Etcd, server: FleetLockServer, folder: Path, authority: Authority) -> None:
        self.etcd, self.server, self.folder, self.authority = etcd, server, folder, authority
        self.tokens = {name: self.person(name, *of) for name, of in PEOPLE.items()}
        self.machine = secrets.token_hex(16)
        self.secret = self.open()
        self.tokens["machine"] = self.enrolled(self.machine)

    password = GROUP_PASSWORD
    """That of the FleetLock clients of the group web."""

    def settings(self, user: str) -> StoreSettings:
        """How a user of etcd reaches it."""
        password = {ROOT_USER: ROOT_PASSWORD, USER: PASSWORD}.get(user, f"{user}'s password")
        return StoreSettings(endpoints=self.etcd.endpoints, username=user, password=password)

    def play(self, story: Story, user: str = "server") -> Any:
        """Give what a story gives with the store of a user."""

        async def whole() -> Any:
            store = open_store(self.settings(user))
            try:
                return await story(store)
            finally:
                await store.close()

        return asyncio.run(whole())

    def refuses(self, story: Story, user: str) -> bool:
        """Whether etcd refuses that to a user."""
        try:
            self.play(story, user)
        except StoreRefusedError:
            return True
        return False

    def person(self, name: str, role: str = OPERATOR, groups: tuple[str, ...] = (), ttl: float | None = None) -> Token:
        new = Credential(role, name, "", NOW, groups, until=NOW if ttl else None)
        made: Token = self.play(lambda store: CredentialStore(store).add_person(new, ttl))
        return made

    def open(self, group: str = "web", ttl: float = 3600) -> Token:
        new = Credential(ENROLMENT, "", "", NOW, (group,), until=NOW)
        made: Token = self.play(lambda store: CredentialStore(store).open_enrolment(new, ttl))
        return made

    def curl(self, path: str, *arguments: str, token: str = "", body: object = None) -> tuple[int, dict[str, Any]]:
        """Send a request with curl; the secrets come from its standard input. Status 0: no answer."""
        config = [f'url = "{self.server.url}{path}"', f'cacert = "{self.folder}/server/ca.crt"']
        config += [f'header = "Authorization: Bearer {token}"'] if token else []
        if body is not None:
            config.append(f"data = {json.dumps(json.dumps(body))}")
        command = ["curl", "-sS", "--max-time", "15", "-w", "\n%{http_code}", "--config", "-", *arguments]
        ended = subprocess.run(
            command, input="\n".join(config), capture_output=True, text=True, timeout=30, check=False
        )
        text, _, status = ended.stdout.rpartition("\n")
        return int(status or 0), json.loads(text or "{}")

    def who(self, token: str = "", certificate: KeyPair | None = None) -> Identity | None:
        """Who a caller is for the server; None: it is not let in."""
        status, said = self.curl("/whoami", *_shown(certificate), token=token)
        if status != 200:
            assert status in {0, 401, 403}, said
            assert not status or said["value"]
            return None
        return Identity(Role(said["role"]), said["name"], frozenset(said["groups"]))

    def lets(self, name: str, action: Action, group: str = "web", machine: str = "") -> bool:
        """Whether the owner of a token may do something."""
        who = self.who(self.tokens[name].text)
        assert who is not None
        return may(who, action, group, machine)

    def certificate(self, *ids: str, authority: Authority | None = None) -> KeyPair:
        """Give a client certificate with these DNS names."""
        names = f"subjectAltName={','.join(f'DNS:{one}' for one in ids)}"
        return (authority or self.authority).issue(secrets.token_hex(4), names)

    def acts(
        self, token: str = "", certificate: KeyPair | None = None, *, group: str = "web", holder: str = ""
    ) -> bool:
        """Whether a caller can make a machine's call: for itself, or as another machine that asks for a slot."""
        body = json.loads(wire.encode_call(Position(0), claim(holder) if holder else None))
        call = wire.REQUEST if holder else wire.HELLO
        path = f"/machines/v1/{group}/{call}"
        status, said = self.curl(path, *_shown(certificate), token=token, body=body)
        assert status in {200, 401, 403}, said
        return status == 200

    def enrol(self, secret: str, machine: str, group: str = "web", digest: str = "") -> int:
        """Enrol a machine with curl, and give the status."""
        digest = digest or tokens.new_token(Kind.MACHINE).digest
        body = {"machine_id": machine, "hostname": "n1", "secret": secret, "token_sha256": digest}
        status, said = self.curl(f"/machines/v1/{group}/enroll", body=body)
        assert status == 200 or said["value"]
        assert secret not in json.dumps(said)
        return status

    def enrolled(self, machine: str) -> Token:
        token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine("web", machine))
        assert self.enrol(self.secret.text, machine, digest=token.digest) == 200
        return token

    def fleetlock(self, call: str, client: str, group: str = "web") -> int:
        return self.server.call(call, client, group, Authorization=f"Bearer {GROUP_PASSWORD}")[0]

    def fleetlock_without_secret(
        self, group: str, address: str = "127.0.0.1", certificate: KeyPair | None = None
    ) -> bool:
        """Whether a client without a secret, which calls from an address, can take its slot, and release it."""
        how = (*_from(address), *_shown(certificate))
        let_in = [self._calls(call, group, how) for call in ("pre-reboot", "steady-state")]
        assert let_in in ([True, True], [False, False]), let_in
        return let_in[0]

    def can_release(self, group: str, certificate: KeyPair) -> bool:
        """Whether a client with this certificate can say that it is steady: it takes nothing."""
        return self._calls("steady-state", group, _shown(certificate))

    def _calls(self, call: str, group: str, how: Sequence[str]) -> bool:
        body = {"client_params": {"id": "c1", "group": group}}
        status, _ = self.curl(f"/v1/{call}", "-H", "fleet-lock-protocol: true", *how, body=body)
        assert status in {200, 403}, status
        return status == 200

    def scrapes(self, address: str = "127.0.0.1", token: str = "", *more: str) -> bool:
        """Whether a caller from this address is given the metrics."""
        status, _ = self.curl("/metrics", "-o", os.devnull, *_from(address), *more, token=token)
        assert status in {200, 401, 403}, status
        return status == 200

    def holds(self, holder: str, group: str = "web") -> None:
        """Let a daemon hold a slot."""

        async def story(_store: Store) -> None:
            async with taking(self.settings("server"), group) as lock:
                await lock.take(claim(holder))

        self.play(story)

    def frees(self, holder: str, user: str, group: str = "web") -> bool:
        """Whether a user of etcd can free a daemon's slot of a group; it is free at the end."""
        self.holds(holder, group)
        unlock = lambda store: LockAdmin(Guarded(store, group)).unlock(holder)  # noqa: E731
        refused = self.refuses(unlock, user)
        if refused:
            self.play(unlock)
        return not refused

    async def signed_in(self, store) -> tuple[Credentials, str]:
        """Sign an operator in; gives the cookie."""
        credentials = Credentials(store)
        signed = await credentials.sign_in(asked(), self.tokens["operator"].text)
        assert isinstance(signed, SignedIn)
        return credentials, signed.cookie.partition(";")[0]

    def tool(self, user: str, *arguments: str) -> int:
        """Run the tool as a user of etcd, on the group web, and give its status."""
        settings = self.settings(user)
        where = (f"-endpoint={self.etcd.endpoints[0]}", f"-etcd-username={user}", f"-etcd-password={settings.password}")
        environ = {**os.environ, "LOCKSMITH_ROOT": str(self.folder)}
        command = [*TOOL, *where, "-group=web", *arguments]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in ended.stderr
        return ended.returncode

    def orders(self, user: str) -> bool:
        """Whether a user of etcd can freeze the group web, and thaw it."""

        async def story(store: Store) -> None:
            orders = OperatorOrders(store, "web")
            await orders.freeze(Order("eve", NOW, "x"))
            await orders.thaw()

        return not self.refuses(story, user)


def _shown(certificate: KeyPair | None) -> tuple[str, ...]:
    return ("--cert", str(certificate.cert), "--key", str(certificate.key)) if certificate else ()


def _from(address: str) -> tuple[str, ...]:
    return ("--interface", address)


@asynccontextmanager
async def taking(settings: StoreSettings, group: str) -> AsyncIterator[RebootLock]:
    """Open the lock of a group, as a daemon has it."""
    lock = open_lock(settings, group)
    try:
        yield lock
    finally:
        await lock.close()


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """Start it all."""
    password = folder / "group-password"
    password.write_text(f"{GROUP_PASSWORD}\n")
    (folder / "db-password").write_text("another password 8\n")
    (folder / "server-password").write_text("server's password\n")
    for file in folder.iterdir():
        file.chmod(0o600)
    pair = Authority(folder / "server").issue("server")
    clients = Authority(folder / "clients", "clients")
    with Etcd(WHEEL, auth=True) as etcd:
        root = etcd.root_token()
        for name, rights in ROLES.items():
            etcd.call("/v3/auth/user/add", root, name=name, password=f"{name}'s password")
            etcd.call("/v3/auth/role/add", root, name=name)
            for kind, prefix in rights:
                end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
                of = {"permType": kind, "key": _base64(prefix), "range_end": _base64(end)}
                etcd.call("/v3/auth/role/grant", root, name=name, perm=of)
            etcd.call("/v3/auth/user/grant", root, user=name, role=name)
        where = {"endpoints": list(etcd.endpoints), "username": "server", "password-file": folder / "server-password"}
        groups: dict[str, dict[str, Any]] = {
            "web": {"password-file": password},
            "db": {"password-file": folder / "db-password"},
            "lan": {"clients": [TRUSTED]},
            "vpn": {"certificates": True},
        }
        tls: dict[str, Any] = {
            "certfile": pair.cert,
            "keyfile": pair.key,
            "client-cafile": clients.cert,
            "metrics-clients": [TRUSTED],
        }
        with FleetLockServer(etcd, groups, server=tls, tables={"etcd": where}) as server:
            server.context = ssl.create_default_context(cafile=str(folder / "server/ca.crt"))
            yield World(etcd, server, folder, clients)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
