"""Leases that do not end, since elections start them again, or a copied keyspace has none: what was to end does."""

import asyncio
import base64
import contextlib
import json
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.lock import queue
from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import NotAdmittedError
from locksmith.lock.queue import Queue
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, node
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.keys import ROOT
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.store.connect import open_store
from locksmith.util.records import moment
from tests.contract.daemons import Site
from tests.harness.etcd import Etcd
from tests.harness.waiting import until

FREEZE = 6.0
"""Seconds of a freeze: longer than three members need for an election, and for a daemon to come to ask."""
SHORT = 3.0
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def members():
    with Etcd(members=3) as etcd:
        yield etcd


@pytest.fixture
def group():
    return f"g-{uuid.uuid4()}"


@contextlib.contextmanager
def elections(etcd):
    """Have another member lead every second or so."""
    ended = threading.Event()

    def elect():
        while not ended.wait(0.7):
            with contextlib.suppress(AssertionError):
                etcd.elect()

    thread = threading.Thread(target=elect)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def play(etcd, story):
    """Run a story with a store."""

    async def scene():
        store = open_store(etcd.settings())
        try:
            async with asyncio.timeout(50):
                await story(store)
        finally:
            await store.close()

    asyncio.run(scene())


def claim(name):
    return Claim(name, REBOOT, f"nonce of {name}", NOW, DAEMON, name)


def test_a_freeze_ends_in_its_time_though_elections_extend_its_lease(members, group, tmp_path):
    site = Site(members, group, tmp_path)

    async def story(one):
        await one.says("idle")
        status, said = await one.tool("freeze", "--for", f"{FREEZE:.0f}s", "--reason", "the database moves", "--yes")
        frozen = time.monotonic()
        assert status == 0, said
        one.need_reboot("4081.2.0")
        await one.says("waiting (freeze)")
        await one.rebooted(limit=FREEZE + 14)
        held = [state for moment in site.lock.history for state in moment.states.values()]
        assert "committed" in held
        assert time.monotonic() - frozen > FREEZE - 1

    with elections(members):
        site.play(story)


def test_a_freeze_never_ends_early_whatever_a_machines_clock_says(members, group):
    async def story(store):
        order = Order("alice", NOW, "the database moves", NOW + timedelta(seconds=SHORT))
        await store.create(keys.freeze_key(group), order_record.encode(order), ttl=SHORT)
        ahead = RebootLock(store, group, clock=lambda: NOW + timedelta(days=1))
        began = time.monotonic()
        while True:
            try:
                await ahead.take(claim("n1"))
                break
            except NotAdmittedError:
                await asyncio.sleep(0.05)
        assert time.monotonic() - began + 0.05 >= SHORT

    with elections(members):
        play(members, story)


def test_a_machine_past_its_commit_is_lost_though_elections_extend_its_presence(members, group):
    async def story(store):
        gone, next_one = RebootLock(store, group), RebootLock(store, group)
        await LockAdmin(gone.guarded).set_max(2)
        await gone.take(claim("n2"))
        await gone.commit(claim("n2"))
        shown = Node("n2", "n2", "boot", group, "etcd-lock", "rebooting", NOW)
        record = {**json.loads(node.encode(shown)), "written": moment(NOW), "lasts": int(SHORT)}
        await store.create(keys.node_key(group, "n2"), json.dumps(record).encode(), ttl=SHORT)
        assert not await next_one.check(claim("n1"))

        async def ask_on():
            while True:  # it asks and gives back, as long as no machine is known to be lost
                await next_one.take(claim("n1"))
                await next_one.release(claim("n1"))
                await asyncio.sleep(0.3)

        with pytest.raises(NotAdmittedError, match="n2 is lost"):
            await ask_on()

    with elections(members):
        play(members, story)


def test_a_place_whose_machine_is_gone_goes_though_elections_extend_it(members, group, monkeypatch):
    monkeypatch.setattr(queue, "FIRST_LASTS", SHORT, raising=False)

    async def story(store):
        await Queue(store, group, ttl=2).stand(claim("gone"))
        alive = Queue(store, group, ttl=5)
        async with asyncio.timeout(15):
            while (await alive.stand(claim("n1"))).before is not None:
                await asyncio.sleep(0.2)
                alive.look_again()

    with elections(members):
        play(members, story)


def test_a_first_that_is_there_keeps_its_place_before_a_second_that_watches(members, group, monkeypatch):
    monkeypatch.setattr(queue, "FIRST_LASTS", SHORT)
    monkeypatch.setattr(queue, "KEEP_AFTER", 1.0)

    async def story(store):
        first, second = Queue(store, group), Queue(store, group)
        for _ in range(20):
            assert (await first.stand(claim("n1"))).queued.position == 1
            second.look_again()
            assert (await second.stand(claim("n2"))).queued.predecessor == "n1"
            await asyncio.sleep(0.25)

    play(members, story)


def put(etcd, key, value):
    """Write a key as a copy of a keyspace has it: without a lease."""
    encoded = [base64.b64encode(part).decode() for part in (key.encode(), value)]
    etcd.call("/v3/kv/put", key=encoded[0], value=encoded[1])


@pytest.mark.parametrize("name", ["gone", "!0000000000000001-gone"], ids=["older", "numbered"])
def test_a_place_without_a_lease_does_not_block_the_queue(site, name):
    place = json.dumps(
        {"schema": 1, "holder": "gone", "kind": REBOOT, "nonce": "of gone", "since": moment(NOW), "hostname": "gone"}
    )

    async def story(one):
        put(site.etcd, keys.waiters_prefix(site.group) + name, place.encode())
        _, told = await one.tool("nodes")
        assert "has no lease" in told
        one.need_reboot("4081.2.0")
        await one.rebooted()
        assert "gone" not in (await one.tool("nodes"))[1]

    site.play(story)


def test_a_machine_whose_place_lost_its_lease_keeps_its_turn(site):
    async def story(one):
        rival = await site.lock.take("rack")
        one.need_reboot("4081.2.0")
        await one.says("waiting (slot)")
        store = open_store(site.etcd.settings())
        [place] = (await store.list(keys.waiters_prefix(site.group))).entries
        put(site.etcd, place.key, place.value)
        await one.kill_daemon()
        await one.start_daemon()
        await one.says("waiting (slot)", times=2)
        again = (await store.get(place.key)).entry
        await store.close()
        assert again is not None
        assert again.created == place.created
        assert again.lease
        await site.lock.release(rival)
        await one.rebooted()

    site.play(story)


@pytest.mark.parametrize("kind", ["freeze", "hold", "spacing"])
def test_an_order_without_a_lease_ends_in_its_time(site, kind):
    async def story(one):
        now = datetime.now(UTC).replace(microsecond=0)
        order = Order("alice", now, "copied", now + timedelta(seconds=FREEZE))
        key = {
            "freeze": keys.freeze_key(site.group),
            "hold": keys.hold_key(site.group, one.machine_id),
            "spacing": keys.spacing_key(site.group),
        }[kind]
        put(site.etcd, key, order_record.encode(order))
        began = time.monotonic()
        one.need_reboot("4081.2.0")
        await one.says(f"waiting ({kind})")
        # A machine that is held back leaves the queue, and looks again after its pause at the latest.
        await one.rebooted(limit=FREEZE + 40)
        assert time.monotonic() - began > FREEZE

    site.play(story)


def test_an_order_without_an_end_and_without_a_lease_stands(site):
    async def story(one):
        put(site.etcd, keys.freeze_key(site.group), order_record.encode(Order("alice", NOW, "for good")))
        one.need_reboot("4081.2.0")
        await one.says("waiting (freeze)")
        await asyncio.sleep(1)
        assert one.reboots == 0
        status, said = await one.tool("thaw")
        assert status == 0, said
        await one.rebooted()

    site.play(story)


def test_a_keyspace_that_make_mirror_has_copied_has_no_machine_that_is_gone(wheel_etcd, group, tmp_path):
    """A place, and the presence of a machine that is gone: neither blocks the queue, nor counts for ever."""
    with Etcd() as copy:
        site = Site(copy, group, tmp_path)

        async def story(one):
            first = open_store(wheel_etcd.settings())
            await Queue(first, group).stand(claim("gone"))
            boot_id = one.paths.boot_id.read_text().strip()
            for name in ("gone", one.machine_id):
                shown = Node(name, "n1", boot_id, group, "etcd-lock", "idle", NOW)
                await first.create(keys.node_key(group, name), node.encode(shown), ttl=900)
            await first.close()
            mirror = wheel_etcd.mirror(f"{ROOT}/groups/{group}/", copy)
            await until(lambda: site.lock.waiters == ["gone"], "the place is copied")
            mirror.kill()
            mirror.wait()
            await one.start_daemon()
            one.need_reboot("4081.2.0")
            await one.rebooted()
            store = open_store(copy.settings())
            left = [entry.key for entry in (await store.list(keys.nodes_prefix(group))).entries]
            await store.close()
            assert left == [keys.node_key(group, one.machine_id)]

        site.play_stopped(story)
