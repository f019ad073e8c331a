"""A real locksmith-server with its web page, for the fleet of the demo."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from rich.console import Console

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import OPERATOR, Credential
from locksmith.store.protocol import Store
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

HEAD_START = 15.0
"""Seconds between the address and the rollout, to open the page; without a terminal there are none."""


class Page:
    """The page of the demo's group."""

    def __init__(self, endpoints: Sequence[str], group: str) -> None:
        self._server = FleetLockServer(endpoints, {group: ANYBODY})
        self._group = group

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve it while the context lasts."""
        with self._server:
            yield self

    async def begin(self, store: Store, console: Console) -> None:
        """Say where it is, and with which token an operator signs in. It ends with the demo's etcd."""
        new = Credential(OPERATOR, "demo", "", datetime.now(UTC), who="make demo")
        token = await CredentialStore(store).add_person(new)
        console.print("page           ", f"{self._server.url}/groups/{self._group}", soft_wrap=True)
        console.print("operator token ", token.text, soft_wrap=True)
        if sys.stdin.isatty():
            console.print(f"the rollout begins in {HEAD_START:g} s")
            await asyncio.sleep(HEAD_START)

    async def finish(self, console: Console) -> None:
        """Go on serving until Ctrl-C; without a terminal it ends."""
        if sys.stdin.isatty():
            console.print("the page goes on until Ctrl-C")
            await asyncio.Event().wait()
