"""Endpoints of two real etcd clusters: one alone counts, whichever answers, until an operator says otherwise."""

import asyncio
import json
import re
import shlex
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from locksmith.errors import OtherClusterError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.records.keys import ROOT, freeze_key, resume_key, semaphore_key
from locksmith.store.connect import open_store
from locksmith.store.protocol import ABSENT, Check, Entering, Entry, Fingerprint, Put, Store
from tests.contract.daemons import STORY_LIMIT, Lock, Site
from tests.harness.etcd import DEBIAN, WHEEL, Etcd
from tests.harness.logind import RebootMode
from tests.harness.node import Node
from tests.harness.waiting import until

WAITS = "waiting (other_cluster)"


class Clusters:
    """Two clusters, of one member each, and nodes that are told to look for etcd at both."""

    def __init__(self, first: Etcd, second: Etcd, site: Site) -> None:
        self.first, self.second, self.site = first, second, site
        self.elsewhere = Lock(second, site.group)
        self.ids = [cluster_id(first), cluster_id(second)]
        """The ids of both, as etcd's log has them."""
        site.endpoints = self.endpoints

    @property
    def endpoints(self) -> list[str]:
        """The endpoints of both, the first one's first."""
        return [*self.first.endpoints, *self.second.endpoints]

    def play(self, story: Callable[..., Awaitable[None]], **changes: Any) -> None:
        """Run a story of two nodes of one group."""
        self.site.play(story, nodes=2, **changes)

    def start(self, etcd: Etcd) -> None:
        [member] = etcd.members
        member.start()

    def kill(self, etcd: Etcd) -> None:
        [member] = etcd.members
        member.kill()

    @contextmanager
    def only_second(self) -> Iterator[None]:
        """Have only the second cluster answer for a while."""
        self.kill(self.first)
        self.start(self.second)
        self.site.reachable = False
        try:
            yield
        finally:
            self.kill(self.second)
            self.start(self.first)
            self.site.reachable = True

    def names_both(self, text: str) -> bool:
        """Whether a text names both ids and both URLs."""
        return all(word in text for word in (*self.ids, *self.endpoints))


def cluster_id(etcd: Etcd) -> str:
    return f"{int(etcd.call('/v3/maintenance/status')['header']['cluster_id']):x}"


@pytest.fixture
def clusters(tmp_path):
    with Etcd() as first, Etcd() as second:
        both = Clusters(first, second, Site(first, f"g-{uuid.uuid4()}", tmp_path))
        yield both


@pytest.fixture
def known(clusters):
    """Two clusters of which only the first answers at first: its machines know that alone."""
    clusters.kill(clusters.second)
    return clusters


def seen(node: Node) -> dict[str, Any]:
    path = node.paths.state / "seen.json"
    fields: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return fields


async def know_the_first(*nodes: Node) -> None:
    await until(lambda: all(seen(node).get("cluster_id") for node in nodes), "each has seen a cluster")


def keys_of(etcd: Etcd) -> int:
    """Count what stands below the root of locksmith's keys, and ever stood there: a write makes a revision."""
    return int(etcd.call("/v3/kv/range", key="AA==", range_end="AA==")["header"]["revision"]) - 1


def test_machines_of_two_clusters_take_no_slot_until_their_endpoints_are_corrected(clusters):
    """Each asks another cluster first: without a look at both, each would have the only slot."""

    async def story(first, second):
        second.configure(clusters.site.settings(etcd={"endpoints": clusters.endpoints[::-1], "timeout": "1s"}))
        for node in (first, second):
            await node.start_daemon()
            node.need_reboot("4081.2.0")
        for node in (first, second):
            await node.says(f"{WAITS}: the endpoints in etcd.endpoints belong to different clusters")
            assert clusters.names_both(node.said), node.said
            status, said = await node.tool("status")
            assert (status, clusters.names_both(said)) == (1, True), said
            status, said = await node.tool("set-max", "2")
            assert status == 1, said
        assert (first.reboots, second.reboots) == (0, 0)
        assert (keys_of(clusters.first), keys_of(clusters.second)) == (0, 0)

        clusters.site.endpoints = list(clusters.first.endpoints)
        for node in (first, second):
            await node.stop_daemon()
            node.configure(clusters.site.settings())
            await node.start_daemon()
        await first.rebooted()
        await second.rebooted()
        assert keys_of(clusters.second) == 0

    clusters.play(story, running=False)


def test_a_failover_to_another_cluster_takes_and_releases_nothing_there(known):
    """The first is down with the only slot. Its cluster is away for a while, and the other answers instead."""

    async def story(first, second):
        await know_the_first(first, second)
        first.machine.mode = RebootMode.DELAY
        first.need_reboot("4081.2.0")
        await first.says("waiting (rebooting)")
        with known.only_second():
            second.need_reboot("4081.2.0")
            await second.says(WAITS)
            assert known.names_both(second.said), second.said
            await second.kill_daemon()
            await second.start_daemon()
            await second.says(WAITS, times=2)
            status, said = await second.tool("why")
            assert (status, "(other_cluster)" in said) == (0, True), said
            first.doubles.logind.end_delay()
            await first.rebooted()
            await first.says(WAITS)
            assert first.claim is not None, "its slot is released in its own cluster, or not at all"
            assert (first.reboots, second.reboots) == (1, 0)
            assert keys_of(known.second) == 0
        await known.site.is_free(30)
        await second.rebooted()
        assert first.claim is None

    known.play(story)


def test_while_both_answer_a_slot_is_released_in_the_own_cluster_and_none_is_taken(known):
    async def story(first, second):
        await know_the_first(first, second)
        first.machine.mode = RebootMode.DELAY
        first.need_reboot("4081.2.0")
        await first.says("waiting (rebooting)")
        known.start(known.second)
        first.doubles.logind.end_delay()
        await first.rebooted()
        await known.site.is_free(30)
        await second.stop_daemon()
        await second.start_daemon()
        second.need_reboot("4081.2.0")
        await second.says(f"{WAITS}: the endpoints in etcd.endpoints belong to different clusters")
        assert known.names_both(second.said), second.said
        await until(lambda: "other_cluster" in known.site.node_record(second), "it shows that to its group")
        status, said = await second.tool("nodes")
        assert (status, known.names_both(said)) == (1, True), "the tool refuses, where the endpoints disagree"
        assert (second.reboots, keys_of(known.second)) == (0, 0)
        known.kill(known.second)
        await second.stop_daemon()
        await second.start_daemon()
        await second.rebooted()

    known.play(story)


def test_a_machine_that_lost_what_it_had_seen_knows_its_cluster_by_its_claim(known):
    """Somebody removes seen.json while the machine is down with its slot, and the other cluster answers."""

    async def story(node):
        await know_the_first(node)
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting)")
        with known.only_second():
            node.while_off = (node.paths.state / "seen.json").unlink
            node.doubles.logind.end_delay()
            await node.rebooted()
            await node.says(WAITS)
            assert node.claim is not None
            assert (seen(node)["cluster_id"], keys_of(known.second)) == (known.ids[0], 0)
        await known.site.is_free(30)

    known.site.play(story)


def command_in(text: str) -> list[str]:
    """Give the arguments of the last `locksmithctl` command that a text suggests."""
    return shlex.split(re.findall(r"`locksmithctl [^`]*?(resume --replaces [^`]+)`", text)[-1])


def test_a_cluster_made_anew_from_a_backup_counts_after_the_resume_that_names_it(clusters, tmp_path):
    """`etcdctl snapshot restore` with another token: the same URLs, another cluster. The second is off meanwhile."""

    async def story(first, second):
        await know_the_first(first, second)
        await second.stop_daemon()
        before, etcd = cluster_id(clusters.first), clusters.first
        etcd.save(tmp_path / "backup")
        etcd.restore(tmp_path / "backup", "--initial-cluster-token", "another")
        after = cluster_id(etcd)
        first.need_reboot("4081.3.0")
        await first.says(WAITS)
        status, said = await first.tool(*command_in(first.said), "--reason", "the disks were lost")
        assert (status, f"etcd cluster {after} takes the place of {before}" in said) == (0, True), said
        await first.says(f"cluster {after} counts from now on instead of {before}")
        await first.rebooted()
        second.need_reboot("4081.3.0")
        await second.start_daemon()
        await second.rebooted()
        status, said = await second.tool("history", "--json")
        assert f"etcd cluster {after} takes the place of {before}" in said
        status, said = await second.tool("resume")
        assert (status, before in clusters.site.lock.values()[resume_key(clusters.site.group)]) == (0, True), said

    clusters.site.endpoints = list(clusters.first.endpoints)
    clusters.play(story)


def test_a_resume_that_names_no_cluster_or_another_is_refused_or_counts_for_nothing(clusters, tmp_path):
    async def story(node):
        await know_the_first(node)
        before, etcd = cluster_id(clusters.first), clusters.first
        status, said = await node.tool("resume", "--reason", "a resume of before: the backup has it")
        assert status == 0, said
        etcd.save(tmp_path / "backup")
        etcd.restore(tmp_path / "backup", "--initial-cluster-token", "another")
        after = cluster_id(etcd)
        node.need_reboot("4081.3.0")
        await node.says(WAITS)
        status, said = await node.tool("resume")
        assert (status, f"belongs to etcd cluster {after}, not to {before}" in said) == (1, True), said
        status, said = await node.tool("resume", "--replaces", after)
        assert (status, f"cluster {after} is the one that answers" in said) == (2, True), said
        status, said = await node.tool("resume", "--replaces", "rubbish")
        assert (status, "in hexadecimal" in said) == (2, True), said
        status, said = await node.tool("resume", "--replaces", "abc")
        assert status == 0, said
        looks = node.said.count(WAITS)
        await node.stop_daemon()
        await node.start_daemon()
        await node.says(WAITS, times=looks + 1)
        assert (node.reboots, seen(node)["cluster_id"]) == (0, before)

    clusters.site.endpoints = list(clusters.first.endpoints)
    clusters.site.play(story)


def test_a_fleet_moves_to_another_cluster_in_the_order_of_the_documentation(clusters):
    """docs/install.md: freeze, copy the keys, change the endpoints, say so once, thaw, stop the old cluster."""

    async def story(first, second):
        await know_the_first(first, second)
        status, said = await first.tool("freeze", "--reason", "move to another etcd")
        assert status == 0, said
        first.need_reboot("4081.2.0")
        await first.says("waiting (freeze)")
        second.need_reboot("4081.2.0")
        before = cluster_id(clusters.first)
        copied = {semaphore_key(clusters.site.group), freeze_key(clusters.site.group)}
        copying = clusters.first.mirror(f"{ROOT}/", clusters.second)
        await until(lambda: copied <= clusters.elsewhere.values().keys(), "the keys are copied")
        copying.kill()
        copying.wait()
        clusters.site.endpoints = list(clusters.second.endpoints)
        clusters.site.reachable = False
        for node in (first, second):
            await node.stop_daemon()
            node.configure(clusters.site.settings())
            await node.start_daemon()
            await node.says(WAITS)
        status, said = await second.tool("resume", "--replaces", before)
        assert status == 0, said
        for node in (first, second):
            await node.says(f"instead of {before}")
        assert (first.reboots, second.reboots) == (0, 0)
        status, said = await first.tool("thaw")
        assert status == 0, said
        clusters.kill(clusters.first)
        await first.rebooted()
        await second.rebooted()
        await until(lambda: not clusters.elsewhere.holders, "the slot is given back in the new cluster")

    clusters.site.endpoints = list(clusters.first.endpoints)
    clusters.play(story)


async def test_a_claim_of_before_the_move_is_released_in_its_own_cluster_alone(known):
    """The endpoints are changed while a machine is down: what answers at its old ones is another cluster by then."""

    async with asyncio.timeout(STORY_LIMIT), AsyncExitStack() as stack:
        node = await stack.enter_async_context(known.site.node())
        await know_the_first(node)
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting)")
        assert node.claim is not None
        assert node.claim["cluster"] == cluster_id(known.first)
        with known.only_second():
            known.site.endpoints = list(known.second.endpoints)
            node.configure(known.site.settings())
            node.doubles.logind.end_delay()
            await node.rebooted()
            await node.says(WAITS)
            assert node.claim is not None
            assert keys_of(known.second) == 0
        await known.site.is_free(30)


@pytest.fixture(scope="module")
def two_of_v2():
    with Etcd(v2=True) as first, Etcd(v2=True) as second:
        yield first, second


ENTERING = Entering(Put("g/b", b"", ABSENT), Put("g/t", b"", ABSENT), Check("g/n", ABSENT), "g/")
CALLS: dict[str, Callable[[Store, Entry], Awaitable[Any]]] = {
    "get": lambda store, _made: store.get("g/a"),
    "read": lambda store, _made: store.read(["g/a", "g/b"]),
    "list": lambda store, _made: store.list("g/"),
    "create": lambda store, _made: store.create("g/b", b""),
    "enter": lambda store, _made: store.enter(lambda _revision: ENTERING, ttl=60),
    "swap": lambda store, made: store.swap("g/a", b"2", made.version),
    "delete": lambda store, made: store.delete("g/a", made.version),
    "update": lambda store, made: store.update(made, b"2", 60),
    "renew": lambda store, made: store.renew(made, 60),
    "revoke": lambda store, made: store.revoke(made),
    "knows": lambda store, made: store.knows(Fingerprint.of(made)),
    "wait": lambda store, _made: store.wait("g/", 1, prefix=True, limit=5),
}


@pytest.mark.parametrize("api", [2, 3])
@pytest.mark.parametrize("name", CALLS)
async def test_no_call_believes_another_cluster_or_writes_to_it(two_of_v2, tmp_path, api, name):
    """Also where the other has the very entry that the call is about."""
    first, second = two_of_v2

    own, other = (open_store(one.settings(api=api)) for one in (first, second))
    mark = SeenRevision(Paths(tmp_path), api, first.endpoints)
    known = open_store(first.settings(api=api), memory=mark)
    astray = open_store(second.settings(api=api), memory=mark)
    made = [await store.create("g/a", b"1", ttl=60) for store in (own, other)]
    try:
        await known.get("g/a")
        before = await other.list("g/")
        with pytest.raises(OtherClusterError, match=cluster_id(first)) as caught:
            await CALLS[name](astray, made[1])
        assert second.endpoints[0] in str(caught.value)
        after = await other.list("g/")
        assert after.entries == before.entries
        assert not mark.verdict
        assert mark.clusters.own == cluster_id(first)
    finally:
        for store, entry in zip((own, other), made, strict=True):
            await store.revoke(entry)
        for store in (own, other, known, astray):
            await store.close()


@pytest.mark.parametrize("change", [(2, 3), (3, 2)])
async def test_the_other_api_of_the_same_etcd_is_the_same_cluster(two_of_v2, tmp_path, change):
    for api in change:
        mark = SeenRevision(Paths(tmp_path), api, two_of_v2[0].endpoints)
        store = open_store(two_of_v2[0].settings(api=api), memory=mark)
        await store.get("g/none")
        mark.keep()
        await store.close()
        assert mark.clusters.own == cluster_id(two_of_v2[0])


@pytest.mark.parametrize("api", [2, 3])
async def test_a_write_to_an_endpoint_that_became_another_cluster_goes_on_to_the_own_one(two_of_v2, tmp_path, api):
    first, second = two_of_v2

    mark = SeenRevision(Paths(tmp_path), api, first.endpoints)
    known = open_store(first.settings(api=api), memory=mark)
    await known.get("g/c")
    both = open_store(first.settings(api=api, endpoints=(*second.endpoints, *first.endpoints)), memory=mark)
    entry = await both.create("g/c", b"")
    assert (await known.get("g/c")).entry == entry
    assert second.endpoints[0] in mark.split
    await both.delete("g/c", entry.version)
    for store in (both, known):
        await store.close()


@pytest.mark.parametrize(("binary", "auth"), [(DEBIAN, True), (WHEEL, True), (DEBIAN, False), (WHEEL, False)])
def test_each_etcd_says_which_cluster_it_belongs_to_before_a_write(tmp_path, binary, auth):
    async def story(etcd: Etcd) -> None:
        mark = SeenRevision(Paths(tmp_path), 3, etcd.endpoints)
        store = open_store(etcd.settings(), memory=mark)
        key = semaphore_key("")
        await store.get(key)
        other = open_store(etcd.settings(), memory=mark)
        mark.clusters.sights.clear()
        assert await other.create(key, b"")
        for one in (store, other):
            await one.close()

    with Etcd(binary, auth=auth) as etcd:
        asyncio.run(story(etcd))
