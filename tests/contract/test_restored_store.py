"""Three real members are made anew from an older snapshot amid a rollout: who has seen more takes nothing."""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from locksmith.daemon.store_check import check
from locksmith.errors import OtherClusterError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.records import keys
from locksmith.store.connect import open_store
from locksmith.store.protocol import ABSENT, Store
from tests.contract.daemons import Site
from tests.contract.programs import BACKUP
from tests.harness.etcd import Etcd
from tests.harness.logind import RebootMode
from tests.harness.node import Node
from tests.harness.waiting import until

GROWTH = 100
"""Writes of others: more than any machine here has seen of the store."""


KEY = keys.semaphore_key("")


@pytest.fixture
def site(tmp_path):
    with Etcd(members=3) as etcd:
        yield Site(etcd, f"g-{uuid.uuid4()}", tmp_path)


def test_nobody_who_has_seen_more_goes_on_until_an_operator_has_looked(site, tmp_path):
    """Besides the one past its point of no return nobody goes down, restarted daemons included."""

    async def story(first, second, third):
        site.etcd.save(tmp_path / "snapshot")
        first.need_reboot("4081.2.0")
        await first.rebooted()
        await site.is_free()
        third.machine.inhibitors = [BACKUP]
        for node in (second, third):
            node.need_reboot("4081.2.0")
        await second.rebooted()
        await site.is_free()
        await third.says("waiting (inhibitor)")

        site.reachable = False  # what the store says of who holds is the backup's word
        site.etcd.restore(tmp_path / "snapshot")
        third.machine.inhibitors = []
        third.engine.emit()
        await third.says("waiting (restored): the store knows less than this machine has seen of it")
        await third.kill_daemon()
        await third.start_daemon()
        await third.says("waiting (restored)", times=2)
        first.need_reboot("4081.3.0")
        await first.says("waiting (restored)")
        assert (first.reboots, third.reboots) == (1, 0)

        status, said = await second.tool("resume", "--reason", "every machine is up, the backup is good")
        assert (status, "may reboot" in said) == (0, True), said
        await third.rebooted()
        await first.rebooted(2)

    site.play(story, nodes=3)


def seen(node: Node) -> dict[str, Any]:
    """What a machine has written down of the store."""
    path = node.paths.state / "seen.json"
    fields: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return fields


def has_seen(node: Node, version: int) -> bool:
    """Whether a machine has written down that it has seen the semaphore of this version."""
    fields = seen(node)
    entry = fields.get("entry")
    return fields.get("revision", 0) >= version and entry is not None and entry["version"] >= version


def revision(site: Site) -> int:
    return int(site.etcd.call("/v3/kv/range", key="a2V5")["header"]["revision"])


async def restarts(node: Node) -> None:
    await node.stop_daemon()
    await node.start_daemon()


async def both_know_of_a_reboot_under_way(site: Site, first: Node, second: Node) -> None:
    """The first is past its point of no return and does not get down yet; the second, which is idle, has seen that."""
    first.machine.mode = RebootMode.DELAY
    first.need_reboot("4081.2.0")
    await first.says("waiting (rebooting)")
    site.reachable = False  # from here on the store's word on who holds is the backup's
    version = site.lock.version
    await restarts(second)
    await until(lambda: has_seen(second, version), "the second has seen it")


async def goes_on_after_a_resume(first: Node, second: Node) -> None:
    first.doubles.logind.end_delay()
    await first.rebooted()
    status, said = await second.tool("resume", "--reason", "every machine is up, the backup is good")
    assert (status, "Warning" in said) == (0, False), said
    await second.rebooted()
    assert not seen(second)["back"]


WAYS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "a snapshot": (Etcd.save, Etcd.restore),
    "the disks of all members": (Etcd.save_disks, Etcd.restore_disks),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_idle_machine_knows_better_than_a_store_that_has_grown_since(site, tmp_path, way):
    """All revisions that it has seen are passed by the time it looks: only the history tells."""
    save, restore = WAYS[way]

    async def story(first, second):
        save(site.etcd, tmp_path / "backup")
        await both_know_of_a_reboot_under_way(site, first, second)
        restore(site.etcd, tmp_path / "backup")
        site.etcd.write_others(GROWTH)
        assert revision(site) > seen(second)["revision"]

        await restarts(second)
        await until(lambda: seen(second).get("back"), "the second knows that the store went back")
        assert "its history has no" in seen(second)["why"]
        second.need_reboot("4081.2.0")
        await second.says("waiting (restored): the store knows less than this machine has seen of it")
        assert (first.reboots, second.reboots, site.lock.holders) == (0, 0, [])
        await goes_on_after_a_resume(first, second)

    site.play(story, nodes=2)


def test_the_verdict_outlives_growth_compaction_and_restarts_and_is_shown_when_idle(site, tmp_path):
    async def story(first, second):
        site.etcd.save(tmp_path / "backup")
        await both_know_of_a_reboot_under_way(site, first, second)
        site.etcd.restore(tmp_path / "backup")
        await restarts(second)
        await until(lambda: seen(second).get("back"), "the second knows that the store went back")
        assert second.said.count("the store knows less than this machine has seen of it") == 1

        site.etcd.write_others(GROWTH)
        site.etcd.compact(revision(site))
        await restarts(second)
        await until(lambda: "restored" in site.node_record(second), "the second shows it to its group")
        _, said = await second.tool("nodes")
        [row] = [line for line in said.splitlines() if line.startswith("n2")]
        assert "restored" in row, said
        assert "Warning: the store knows less than this machine has seen of it" in said
        _, said = await first.tool("why", "n2")
        assert "n2 takes no slot (restored): the store knows less than this machine has seen of it" in said
        assert f"then run `locksmithctl -group={site.group} resume`" in said

        second.need_reboot("4081.2.0")
        await second.says("waiting (restored): the store knows less than this machine has seen of it")
        assert (first.reboots, second.reboots, site.lock.holders) == (0, 0, [])
        await goes_on_after_a_resume(first, second)

    site.play(story, nodes=2)


def restore_with_another_token(etcd: Etcd, snapshot: Any) -> None:
    etcd.restore(snapshot, "--initial-cluster-token", "another")


REVISION, HISTORY, CLUSTER = "its revision is", "its history has no", "belongs to etcd cluster"
SEEN = [
    # how it is saved, and brought back; on which API; whether others write to it then; by what that is noticed
    (Etcd.save, Etcd.restore, 3, False, REVISION),
    (Etcd.save, Etcd.restore, 3, True, HISTORY),
    (Etcd.save, restore_with_another_token, 3, False, CLUSTER),
    (Etcd.save, restore_with_another_token, 3, True, CLUSTER),
    (Etcd.save_disks, Etcd.restore_disks, 3, False, REVISION),
    (Etcd.save_disks, Etcd.restore_disks, 3, True, HISTORY),
    (Etcd.save_disks, Etcd.restore_disks, 2, False, REVISION),
    (Etcd.save_disks, Etcd.restore_disks, 2, True, HISTORY),
]


@pytest.mark.parametrize(("save", "restore", "api", "grows", "by"), SEEN)
def test_what_each_way_back_is_noticed_by(save, restore, api, grows, by, tmp_path):  # noqa: PLR0917 - a table
    """The table of docs/safety.md: the ids of cluster and members are the same unless the token is another."""
    with Etcd(v2=True) as etcd:
        settings = etcd.settings(api=api)
        paths = Paths(tmp_path)

        def verdict(act):
            async def scene() -> str:
                mark = SeenRevision(paths, api, settings.endpoints)
                store = open_store(settings, memory=mark, key=KEY)
                try:
                    await act(store)
                    said = await check(store, "", mark)
                    mark.keep()
                except OtherClusterError as error:
                    return str(error)
                else:
                    return said
                finally:
                    await store.close()

            return asyncio.run(scene())

        async def change(store: Store) -> None:
            reading = await store.get(KEY)
            await store.swap(KEY, f"after {reading.revision}".encode(), reading.version)

        async def others_write(store: Store) -> None:
            for number in range(30 if grows else 0):
                await store.swap(f"elsewhere/{number}", b"", ABSENT)

        assert not verdict(change)
        save(etcd, tmp_path / "backup")
        assert not verdict(change)
        restore(etcd, tmp_path / "backup")
        asyncio.run(_with(settings, others_write))
        assert by in verdict(_nothing)


async def _with(settings: Any, act: Any) -> None:
    store = open_store(settings)
    try:
        await act(store)
    finally:
        await store.close()


async def _nothing(_store: Store) -> None:
    """Ask for nothing more."""
