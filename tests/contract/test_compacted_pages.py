"""A list of many pages that is read while etcd is compacted: it is whole, or there is an error; on real etcd."""

import json
import os
import socket
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from locksmith.fleet.reader import read_group
from locksmith.lock import pages, places
from locksmith.lock.pages import read_all
from locksmith.lock.records import keys, node, waiter
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.waiter import Waiter
from locksmith.store.etcd3 import RANGE
from tests.contract.stories import run
from tests.harness import dead_endpoints
from tests.harness.ctl import Ctl
from tests.harness.etcd import Etcd
from tests.harness.etcd_versions import EVERY_VERSION

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
NOW = datetime.now(UTC).replace(microsecond=0)
MACHINES = 25
PAGE = 10


@pytest.fixture(scope="module", params=EVERY_VERSION)
def etcd(request):
    with Etcd(request.param) as server:
        yield server


@pytest.fixture
def group():
    return f"g-{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch):
    monkeypatch.setattr(pages, "PAGE", PAGE)


class Compacting:
    """A way to etcd on which it is changed and compacted before each of the first `times` pages after a first one."""

    def __init__(self, etcd, times, change=lambda: None):
        self._etcd = etcd
        self._at = urlsplit(etcd.endpoints[0])
        self._times = times
        self._change = change
        self.pages = 0
        """Requests that named a revision."""

    def __call__(self, connection):
        request = dead_endpoints.read_request(connection)
        head, _, body = request.partition(b"\r\n\r\n")
        if RANGE.encode() in head.splitlines()[0] and json.loads(body).get("revision", "0") != "0":
            self.pages += 1
            if self.pages <= self._times:
                self._change()
                written = self._etcd.call("/v3/kv/put", key="YmVuY2g=", value="")
                self._etcd.compact(int(written["header"]["revision"]))
        with socket.create_connection((self._at.hostname, self._at.port), dead_endpoints.LIMIT) as server:
            server.sendall(dead_endpoints.only(request))
            dead_endpoints.relay(connection, server)


def name(number):
    return f"n{number:03}"


def present(group, machine):
    return node.encode(Node(machine, machine, "boot", group, "etcd-lock", "idle", NOW, version="1"))


async def fill(store, group):
    """Let the machines of a group be present, and wait in line."""
    for number in range(MACHINES):
        machine = name(number)
        claim = Claim(machine, REBOOT, machine, NOW, "locksmithd", machine)
        record = waiter.encode(Waiter.of(claim, "1", 90))
        await store.create(keys.node_key(group, machine), present(group, machine), ttl=600)
        await store.create(places.place_key(group, claim, number + 1), record, ttl=600)


def arranged(etcd, story):
    """Do something on the straight way to etcd."""
    return run(etcd.settings(), story)


def read(etcd, way, story):
    """Read on the way that is compacted."""
    with dead_endpoints.endpoint(way) as url:
        return run(etcd.settings(endpoints=(url,)), story)


def machines_of(group):
    async def story(store):
        entries = await read_all(store, keys.nodes_prefix(group))
        return [keys.unsegment(entry.key.removeprefix(keys.nodes_prefix(group))) for entry in entries]

    return story


def test_a_list_is_read_again_where_its_revision_was_compacted_and_is_of_one_moment(etcd, group):
    """The first machine goes and another comes at the end: half of the old list and half of the new show both."""
    arranged(etcd, lambda store: fill(store, group))

    def change():
        async def story(store):
            gone = (await store.get(keys.node_key(group, name(0)))).entry
            await store.revoke(gone)
            await store.create(keys.node_key(group, "zulu"), present(group, "zulu"), ttl=600)

        arranged(etcd, story)

    way = Compacting(etcd, 1, change)
    assert read(etcd, way, machines_of(group)) == [*map(name, range(1, MACHINES)), "zulu"]
    assert way.pages == 1 + 2


def test_a_list_stays_whole_where_etcd_is_compacted_before_each_page(etcd, group):
    arranged(etcd, lambda store: fill(store, group))
    way = Compacting(etcd, 1000)
    assert read(etcd, way, machines_of(group)) == [*map(name, range(MACHINES))]
    assert way.pages == pages.TRIES


def test_a_groups_machines_and_queue_are_whole_however_often_etcd_is_compacted(etcd, group):
    arranged(etcd, lambda store: fill(store, group))
    view = read(etcd, Compacting(etcd, 1000), lambda store: read_group(store, group))
    assert [*view.machines] == [*map(name, range(MACHINES))]
    assert [one.holder for one in view.waiters] == [*map(name, range(MACHINES))]
    assert view.problems == ()


def test_a_machine_that_enters_the_queue_again_between_two_pages_stands_there_once(etcd, group):
    """Pages that are not of one revision have its old place and its new one."""
    arranged(etcd, lambda store: fill(store, group))
    first = Claim(name(0), REBOOT, name(0), NOW, "locksmithd", name(0))

    async def enter_again(store):
        await store.revoke((await store.get(places.place_key(group, first, 1))).entry)
        record = waiter.encode(Waiter.of(first, "1", 90))
        await store.create(places.place_key(group, first, 1000), record, ttl=600)

    class Moving(Compacting):
        """Has it enter again before the third of the pages that name no revision."""

        unpinned = 0

        def __call__(self, connection):
            if RANGE.encode() in connection.recv(64, socket.MSG_PEEK) and self.pages == pages.TRIES:
                self.unpinned += 1
                if self.unpinned == 3:
                    arranged(etcd, enter_again)
            super().__call__(connection)

    way = Moving(etcd, pages.TRIES)
    view = read(etcd, way, lambda store: read_group(store, group))
    assert [one.holder for one in view.waiters] == [*map(name, range(1, MACHINES)), name(0)]


@pytest.fixture
def tool(monkeypatch, capfd, tmp_path):
    """Give the tool on a machine, with its flags."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(f"{MACHINE}\n")
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    for variable in [name for name in os.environ if name.startswith(("LOCKSMITHCTL_", "LOCKSMITHD_", "REBOOT_"))]:
        monkeypatch.delenv(variable)
    return lambda *flags: Ctl(monkeypatch, capfd, *flags)


@pytest.mark.parametrize("times", [1, 1000])
def test_the_tool_shows_all_machines_of_a_group_that_is_compacted_while_it_reads(etcd, group, times, tool):
    arranged(etcd, lambda store: fill(store, group))
    way = Compacting(etcd, times)
    with dead_endpoints.endpoint(way) as url:
        ctl = tool(f"-endpoint={url}", f"-group={group}")
        shown = json.loads(ctl("nodes", "--json").out)
        assert [one["id"] for one in shown["nodes"]] == [*map(name, range(MACHINES))]
        assert "It is 25th in the queue" in ctl("why", name(24)).out
    assert way.pages
