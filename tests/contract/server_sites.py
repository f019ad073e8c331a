"""Daemons without etcd: their strategy is `server`, and real locksmith-servers act for them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from locksmith.lock.records import credential, keys
from locksmith.lock.records.credential import MACHINE, Credential
from locksmith.lock.window_sets import WindowStore
from locksmith.store.connect import open_store
from locksmith.util import tokens
from locksmith.util.tokens import Kind
from locksmith.window.window_set import WindowSet
from tests.contract.daemons import Site
from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.node import Node


class ServerSite(Site):
    """A site whose nodes ask servers. No node is told of etcd: its endpoints lead nowhere."""

    def __init__(self, etcd: Etcd, group: str, folder: Path, urls: Sequence[str] = ()) -> None:
        super().__init__(etcd, group, folder)
        self.endpoints = ["http://127.0.0.1:1"]
        self.urls = list(urls)

    def server(self, **tables: Any) -> FleetLockServer:
        """Give a server for the group, which does not run yet."""
        return FleetLockServer(self.etcd, {self.group: ANYBODY}, tables=tables or None)

    def node(self, name: str = "n1", *, running: bool = True, **changes: Any) -> Node:
        """Give an enrolled node, which must hold the lock to go down."""
        file = self.folder / f"{name}.token"
        table = {"urls": self.urls, "token-file": str(file)}
        node = super().node(name, running=running, **{"strategy": "server", "fleet-server": table, **changes})

        def look(event: str) -> None:
            if event == "down":
                assert node.machine_id in self.lock.holders, "it goes down without holding the lock"

        node._on_event = look
        self.enrol(node.machine_id, file)
        return node

    def changes(self, node: Node) -> dict[str, Any]:
        """Give what the configuration of a node has in addition to that of each site."""
        token = str(self.folder / f"{node.name}.token")
        return {"strategy": "server", "fleet-server": {"urls": self.urls, "token-file": token}}

    async def open_window(self, name: str, windows: Sequence[str]) -> None:
        """Write a set of windows into etcd."""
        store = open_store(self.etcd.settings())
        try:
            await WindowStore(store).write(name, WindowSet.parse(windows, []))
        finally:
            await store.close()

    def enrol(self, machine: str, file: Path, group: str = "") -> None:
        """Give a machine its token, as the server does."""
        key, record = new_token(group or self.group, machine, file)
        self.lock.put(record, key)


def new_token(group: str, machine: str, file: Path) -> tuple[str, bytes]:
    """Write a token for a machine into a file, and give what etcd is to have of it: a key and its value."""
    token = tokens.new_token(Kind.MACHINE, tokens.public_of_machine(group, machine))
    new = Credential(role=MACHINE, holder=machine, digest=token.digest, since=datetime.now(UTC), groups=(group,))
    file.write_text(f"{token.text}\n")
    file.chmod(0o600)
    return keys.machines_prefix() + token.public, credential.encode(new)
