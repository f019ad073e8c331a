"""The stores that the contract suite runs on, and the real servers under them: started once, where first needed."""

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from locksmith.lock.records.keys import ROOT
from locksmith.store.connect import open_store
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import NoObserver, Store
from locksmith.store.remembering import Memory
from tests.contract.daemons import Site
from tests.harness.etcd import DEBIAN, SID, TRIXIE, WHEEL, Etcd
from tests.harness.etcd_versions import VERSIONS, version

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """One kind of store: `open` makes a client of the one server; `atomic`: a swap and its siblings are one write.

    `compact` has the server forget what was before a revision, the last there is.
    """

    open: Callable[[Memory | None], Store]
    atomic: bool = True
    compact: Callable[[int], None] | None = None

    def play(self, story: Callable[[Store], Awaitable[T]], memory: Memory | None = None) -> T:
        """Run a story with a client of its own, and close that."""

        async def scene() -> T:
            store = self.open(memory)
            try:
                async with asyncio.timeout(30):
                    return await story(store)
            finally:
                await store.close()

        return asyncio.run(scene())


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Have Ctrl-C reach the programs that tests start: a shell has what it starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def debian_etcd() -> Iterator[Etcd]:
    with Etcd(DEBIAN, v2=True) as etcd:
        yield etcd


@pytest.fixture(scope="session")
def wheel_etcd() -> Iterator[Etcd]:
    with Etcd(WHEEL, v2=True) as etcd:
        yield etcd


@pytest.fixture(scope="session")
def trixie_etcd() -> Iterator[Etcd]:
    with Etcd(TRIXIE, v2=True) as etcd:
        yield etcd


@pytest.fixture(scope="session")
def sid_etcd() -> Iterator[Etcd]:
    with Etcd(SID, v2=True) as etcd:
        yield etcd


STAGES = ["memory", *(version(name, f"{api}-{name}", f"{api}-{name}") for api in ("v3", "v2") for name in VERSIONS)]


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "memory":
        server = MemoryServer()
        return Stage(
            lambda memory: MemoryStore(server, observer=memory or NoObserver()),
            compact=lambda _revision: server.compact(),
        )
    api, binary = request.param.split("-")
    etcd: Etcd = request.getfixturevalue(f"{binary}_etcd")
    settings = etcd.settings(api=int(api[1:]))
    if api == "v2":
        return Stage(lambda memory: open_store(settings, memory=memory), atomic=False)
    return Stage(lambda memory: open_store(settings, memory=memory), compact=etcd.compact)


@pytest.fixture
def base() -> str:
    """A prefix that nobody else uses."""
    return f"{ROOT}/{uuid.uuid4()}/"


@pytest.fixture
def site(wheel_etcd: Etcd, tmp_path: Path) -> Site:
    """A place for daemons, with a group that nobody else uses."""
    return Site(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)
