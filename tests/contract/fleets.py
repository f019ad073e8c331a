"""A group of machines in etcd that the tool is asked about."""

import asyncio
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.queue import Queue
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.store.connect import open_store
from tests.harness.ctl import Ctl, flags_for

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
NOW = datetime.now(UTC).replace(microsecond=0)
TOOL = Path(sys.executable).with_name("locksmithctl")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(f"{MACHINE}\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("LOCKSMITHCTL_", "LOCKSMITHD_", "REBOOT_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(params=[3, 2], ids=["v3", "v2"])
def api(request):
    return request.param


class Fleet:
    """Writes what the machines of a group, and operators, would."""

    def __init__(self, etcd, api: int, group: str) -> None:
        self.etcd = etcd
        self.group = group
        self.settings = etcd.settings(api=api)
        self.flags = flags_for(etcd, api=api, group=group)

    def __call__(self, story):
        async def scene():
            store = open_store(self.settings)
            try:
                return await story(store)
            finally:
                await store.close()

        return asyncio.run(scene())

    def present(self, name: str, **changes) -> Node:
        fields = {"state": "idle", "since": NOW, "version": "1", **changes}
        found = Node(f"{name}-{'0' * 28}", name, f"boot-{name}", self.group, "etcd-lock", **fields)
        key = keys.node_key(self.group, found.machine_id)
        self(lambda store: store.create(key, node.encode(found), ttl=60))
        return found

    def claim(self, name: str, kind: str = REBOOT, who: str = DAEMON) -> Claim:
        holder = f"{name}-{'0' * 28}" if kind == REBOOT else name
        return Claim(holder, kind, f"of {name}", NOW, who, name, reason="update-engine 4081.2.0")

    def holds(self, claim: Claim, *, committed: bool = False) -> None:
        async def story(store):
            lock = RebootLock(store, self.group)
            await lock.take(claim)
            if committed:
                await lock.commit(claim)

        self(story)

    def stands(self, *names: str) -> None:
        async def story(store):
            for name in names:
                await Queue(store, self.group).stand(self.claim(name))

        self(story)

    def slots(self, number: int) -> None:
        self(lambda store: LockAdmin(Guarded(store, self.group)).set_max(number))


@pytest.fixture
def fleet(wheel_etcd, api):
    return Fleet(wheel_etcd, api, f"g-{uuid.uuid4()}")


@pytest.fixture
def ctl(monkeypatch, capfd, fleet):
    return Ctl(monkeypatch, capfd, *fleet.flags)


NEED = {"need": "update-engine", "need_version": "4081.2.0", "need_since": NOW - timedelta(hours=1)}
