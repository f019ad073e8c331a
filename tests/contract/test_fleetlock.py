"""FleetLock's rules on a real etcd: clients, daemons with `etcd-lock` and operators share the slots of a group."""

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from functools import partial

import pytest

from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys
from locksmith.lock.records.order import Order
from locksmith.lock.window_sets import WindowStore
from locksmith.store.connect import open_store
from locksmith.window.window_set import WindowSet
from tests.builders.claims import NOW
from tests.contract.desks import kind, opened
from tests.harness.etcd import DEBIAN, Etcd
from tests.harness.lossy_proxy import AFTER, BEFORE, LATE, lossy_proxy

ORDER = Order("alice", NOW, "the database moves", nonce="f1")


@asynccontextmanager
async def store_of(site):
    store = open_store(site.etcd.settings())
    try:
        yield store
    finally:
        await store.close()


def test_a_client_a_daemon_and_an_operator_share_one_slot(site, tmp_path):
    async def story(node):
        group = site.group
        async with opened(site.etcd.settings(), group, tmp_path) as desk:
            assert await desk.pre_reboot(group, "c1") is None
            node.need_reboot("4081.2.0")
            await node.says("waiting (slot)")
            assert kind(await desk.pre_reboot(group, "c2")) == "queued"
            assert node.reboots == 0
            assert await desk.steady_state(group, "c1") is None
            await node.rebooted()
            await site.is_free()
            assert await desk.pre_reboot(group, "c2") is None
            refusal = await desk.pre_reboot(group, "c3")
            assert "no slot is free: max is 1, held by c2 since " in refusal.sentence
            assert refusal.sentence.endswith("(rebooting: FleetLock)")
            assert await desk.steady_state(group, "c2") is None
            rack = await site.lock.take("rack")
            assert "held by rack" in (await desk.pre_reboot(group, "c3")).sentence
            await site.lock.release(rack)
            assert await desk.pre_reboot(group, "c3") is None
        assert all(len(moment.holders) <= 1 for moment in site.lock.history)

    site.play(story)


def test_orders_and_windows_refuse_clients_in_their_own_words(site, tmp_path):
    async def story():
        group = site.group
        settings = site.etcd.settings()
        night = f"night-{uuid.uuid4()}"
        async with opened(settings, group, tmp_path, window_sets=(night,)) as desk, store_of(site) as store:
            refusal = await desk.pre_reboot(group, "c1")
            assert (kind(refusal), "there is no such set" in refusal.sentence) == ("window", True)
            await WindowStore(store).write(night, WindowSet.parse(["00:00 for 1d"], [], "UTC"))
            orders = OperatorOrders(store, group)
            await orders.freeze(ORDER)
            refusal = await desk.pre_reboot(group, "c1")
            assert kind(refusal) == "frozen"
            assert "frozen by alice since 2026-05-01T02:10:00Z: the database moves" in refusal.sentence
            await orders.thaw()
            await orders.hold("c1", ORDER)
            assert kind(await desk.pre_reboot(group, "c1")) == "held"
            await orders.unhold("c1")
            assert await desk.pre_reboot(group, "c1") is None
            await orders.freeze(ORDER)
            assert kind(await desk.pre_reboot(group, "c1")) == "frozen"
            assert site.lock.holders == ["c1"]
            assert await desk.steady_state(group, "c1") is None
            assert site.lock.holders == []

    asyncio.run(story())


def test_a_client_that_does_not_come_back_halts_the_daemons_of_its_group(site, tmp_path):
    async def story(node):
        group = site.group
        await site.lock.set_max(2)
        async with opened(site.etcd.settings(), group, tmp_path) as desk, store_of(site) as store:
            assert await desk.pre_reboot(group, "c1") is None
            shown = (await store.get(keys.node_key(group, "c1"))).entry
            assert json.loads(shown.value)["lasts"] == 15 * 60 + 900
            await store.revoke(shown)  # as its lease does in half an hour
            refusal = await desk.pre_reboot(group, "c2")
            assert (kind(refusal), "c1 is lost: it has not come back" in refusal.sentence) == ("halted", True)
            await desk.steady_state(group, "c2")
            node.need_reboot("4081.2.0")
            await node.says("c1 is lost: it has not come back")
            assert node.reboots == 0
            assert await desk.steady_state(group, "c1") is None
            await node.rebooted()

    site.play(story)


async def insist(call):
    """Do what Zincati does, in a shorter time: call again until it is granted."""
    for _ in range(20):
        if await call() is None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never granted")


@pytest.fixture(scope="module")
def three():
    with Etcd(DEBIAN, members=3) as etcd:
        yield etcd


@pytest.mark.parametrize("fate", [BEFORE, AFTER, LATE])
def test_whichever_request_of_a_client_is_lost_its_slot_is_free_at_the_end(three, fate, tmp_path):
    """Every sixth request, from another one on for each fate: the unit tests lose each of them."""

    async def scene(number):
        group = f"g-{uuid.uuid4()}"
        with lossy_proxy(three.endpoints, number, fate) as ways:
            lossy = three.settings(endpoints=ways.urls, timeout=1.0)
            async with opened(lossy, group, tmp_path) as one, opened(three.settings(), group, tmp_path) as two:
                await insist(partial(one.pre_reboot, group, "c1"))
                assert kind(await two.pre_reboot(group, "c2")) in {"no_slot", "queued"}
                await insist(partial(one.steady_state, group, "c1"))
                asked = ways.passed
                ways.let_late_ones_arrive()
                assert await two.pre_reboot(group, "c2") is None
                assert await two.steady_state(group, "c1") is None
                assert kind(await one.pre_reboot(group, "c1")) in {"no_slot", "store"}
                assert await two.steady_state(group, "c2") is None
        return asked

    for number in range(2 * [BEFORE, AFTER, LATE].index(fate), 82, 6):
        if asyncio.run(scene(number)) <= number:
            break
    assert 12 < number < 78


HOOK = """#!/bin/sh
echo "$0 $LOCKSMITH_GROUP $LOCKSMITH_CLIENT_ID $LOCKSMITH_HOSTNAME" >> {log}
[ ! -e {log}.fails ] || {{ echo "no such node"; exit 3; }}
"""


def test_real_hooks_run_before_a_client_may_reboot_and_after_it(site, tmp_path):
    log = tmp_path / "log"
    for folder in ("fleetlock-pre-reboot.d", "fleetlock-steady-state.d"):
        program = tmp_path / "etc/locksmith" / folder / "10-node"
        program.parent.mkdir(parents=True)
        program.write_text(HOOK.format(log=log))
        program.chmod(0o755)

    def ran() -> list[str]:
        return [line.split("locksmith/")[1].split(".d/")[0] for line in log.read_text().splitlines()]

    async def story():
        group = site.group
        async with opened(site.etcd.settings(), group, tmp_path) as desk:
            assert await desk.pre_reboot(group, "c1") is None
            assert log.read_text().splitlines()[0].endswith(f"10-node {group} c1 c1")
            assert ran() == ["fleetlock-pre-reboot"]
            fails = tmp_path / "log.fails"
            fails.touch()
            refusal = await desk.steady_state(group, "c1")
            assert (kind(refusal), refusal.sentence) == ("not_ready", "fleetlock-steady-state.d/10-node: no such node")
            assert site.lock.holders == ["c1"]
            fails.unlink()
            assert await desk.steady_state(group, "c1") is None
            assert ran() == ["fleetlock-pre-reboot", *["fleetlock-steady-state"] * 2]
            assert site.lock.holders == []

    asyncio.run(story())


def test_a_group_on_the_v2_api_serves_clients_too(site, tmp_path):
    async def story():
        group, settings = site.group, site.etcd.settings(api=2)
        async with opened(settings, group, tmp_path) as one, opened(settings, group, tmp_path) as two:
            for desk in (one, two):
                assert await desk.pre_reboot(group, "c1") is None
            assert kind(await two.pre_reboot(group, "c2")) == "no_slot"
            assert kind(await one.pre_reboot(group, "c3")) == "queued"
            assert kind(await one.pre_reboot(group, "c2")) == "no_slot"
            assert await two.steady_state(group, "c1") is None
            assert kind(await one.pre_reboot(group, "c3")) == "queued"
            assert await one.pre_reboot(group, "c2") is None
            for client in ("c2", "c3"):
                assert await two.steady_state(group, client) is None
            assert await one.pre_reboot(group, "c1") is None
            assert await one.steady_state(group, "c1") is None

    asyncio.run(story())
