"""Leases that do not end: a copied keyspace has none, and each change of etcd's leader starts all of them again.

A server opens the lock for each call. So it has to remember between its calls for how long such a thing has stood.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.lock.answer import Granted
from locksmith.lock.records import keys, order
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.node import TTL
from locksmith.lock.records.order import Order
from locksmith.server.refusal import RefusalKind
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import ABSENT
from tests.builders.claims import claim
from tests.builders.desks import POLL, play
from tests.builders.one_store import START, G
from tests.harness.fault_script import StepwiseStore

STORES = [MemoryStore, StepwiseStore]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("key", "kind"), [(keys.spacing_key(G), RefusalKind.NO_SLOT), (keys.freeze_key(G), RefusalKind.FROZEN)]
)
def test_an_order_that_has_lost_its_lease_is_over_by_its_own_word(store, key, kind):
    """Else a group whose first in the queue is a client stands still for ever."""

    async def story(fleet):
        desk = fleet.desk()
        ended = Order("alice", START, until=START + timedelta(seconds=60), nonce="of another")
        fleet.server.put(key, order.encode(ended), ABSENT)
        refused = await desk.pre_reboot(G, "c1")
        assert refused is not None
        assert refused.kind is kind
        await asyncio.sleep(POLL)
        assert await desk.pre_reboot(G, "c1") is None

    play(story, store)


@pytest.mark.parametrize("store", STORES)
def test_a_client_that_does_not_come_back_is_lost_also_if_its_presence_has_no_lease(store):
    async def story(fleet):
        await fleet.admin.set_max(2)
        desk = fleet.desk()
        assert await desk.pre_reboot(G, "c1") is None
        shown = fleet.server.read(keys.node_key(G, "c1")).entry
        fleet.server._entries[shown.key] = replace(shown, lease=0)
        fleet.server._deadlines.clear()
        await desk.pre_reboot(G, "c2")
        await desk.steady_state(G, "c2")
        await asyncio.sleep(TTL + 2 * 900)
        refused = await desk.pre_reboot(G, "c2")
        assert refused is not None
        assert refused.kind is RefusalKind.HALTED

    play(story, store)


@pytest.mark.parametrize("store", STORES)
def test_a_client_queued_in_a_copied_keyspace_keeps_its_place(store):
    """Its place has lost its lease. It is not gone: the client calls."""

    async def story(fleet):
        assert await fleet.desk().pre_reboot(G, "c1") is None
        for client in ("c2", "c3"):
            assert (await fleet.desk().pre_reboot(G, client)) is not None
        fleet.server._deadlines.clear()
        fleet.server._entries = {key: replace(entry, lease=0) for key, entry in fleet.server._entries.items()}
        assert await fleet.desk().steady_state(G, "c1") is None
        for client in ("c3", "c2", "c3", "c2"):
            await asyncio.sleep(POLL)
            if await fleet.desk().pre_reboot(G, client) is None:
                assert await fleet.desk().steady_state(G, client) is None
        await asyncio.sleep(POLL)
        assert await fleet.desk().pre_reboot(G, "c3") is None

    play(story, store)


@pytest.mark.parametrize("store", STORES)
def test_a_steady_state_removes_a_place_that_has_lost_its_lease(store):
    """Else its client is told that it has nothing, and its place stands first for as long as nobody else waits."""

    async def story(fleet):
        assert await fleet.desk().pre_reboot(G, "c1") is None
        assert (await fleet.desk().pre_reboot(G, "c2")) is not None
        fleet.server._deadlines.clear()
        fleet.server._entries = {key: replace(entry, lease=0) for key, entry in fleet.server._entries.items()}
        assert await fleet.desk().steady_state(G, "c2") is None
        ticket = keys.ticket_key(G, "fleetlock:c2")
        assert fleet.server.list(keys.waiters_prefix(G), 0, None).entries == ()
        assert fleet.server.read(ticket).entry is None

    play(story, store)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-24, 0, 24])
def test_a_lost_clients_slot_expires_in_its_time_whatever_its_servers_clock_says(hours):
    """A server that is a day behind writes that the slot was taken a day ago."""

    async def story(fleet):
        desk, now = fleet.desk(), fleet.now
        desk._clock = lambda: now() + timedelta(hours=hours)
        assert await desk.pre_reboot(G, "c1") is None
        daemon = fleet.daemon(expire_after=12 * 3600, halt_after=HaltAfter(0))
        waits = 0.0
        while not isinstance(await daemon.take(claim("n1")), Granted):
            await asyncio.sleep(600)
            waits += 600
        assert 12 * 3600 < waits < 13 * 3600

    play(story)
