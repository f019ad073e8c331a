"""What the calls of FleetLock clients ask of the store: no key is read twice for one step."""

import asyncio
import contextlib

import pytest

from locksmith.lock.records.claim import COMMITTED
from locksmith.server.hub import Hub
from locksmith.server.refusal import RefusalKind
from tests.builders.desks import play
from tests.builders.hubs import Counted, following
from tests.builders.one_store import G


async def costs(network, call):
    """Make a call that succeeds, and count what it asks of the store."""
    network.calls.clear()
    assert await call is None
    return dict(network.calls)


@contextlib.asynccontextmanager
async def served(fleet, network):
    desk, hub = fleet.desk(network), Hub(fleet.store(), [G])
    desk.wait_by(hub)
    async with following(hub, G):
        yield desk


GRANT = {"read": 3, "enter": 1, "range": 1, "swap": 2, "create": 1}
"""Its cycle, the take and the commit read; `enter` and `create` are two requests to etcd each."""
RELEASE = {"read": 1, "lend": 1, "swap": 1, "revoke": 1}


@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_grant_and_its_release_cost_the_same_whoever_holds_the_other_slots(others):
    async def story(fleet):
        network = Counted()
        await fleet.admin.set_max(4)
        desk = fleet.desk(network)
        await desk.pre_reboot(G, "c0")  # has the names of the group read
        await desk.steady_state(G, "c0")
        for number in range(others):
            assert await desk.pre_reboot(G, f"o{number}") is None
        assert await costs(network, desk.pre_reboot(G, "c1")) == GRANT
        assert await costs(network, desk.steady_state(G, "c1")) == RELEASE

    play(story)


def test_the_first_in_the_queue_takes_its_slot_without_writing_its_place_again():
    async def story(fleet):
        network = Counted()
        async with served(fleet, network) as desk:
            assert await desk.pre_reboot(G, "c1") is None
            assert (await desk.pre_reboot(G, "c2")).kind is RefusalKind.NO_SLOT
            assert await desk.steady_state(G, "c1") is None
            await asyncio.sleep(30)
            assert await costs(network, desk.pre_reboot(G, "c2")) == {
                "read": 3,
                "get": 1,
                "range": 1,
                "swap": 2,
                "create": 1,
            }

    play(story)


def test_a_slot_that_changed_since_it_was_read_is_read_again_before_its_release():
    """An operator's order has fenced the semaphore between the reading of the call and its write."""

    async def story(fleet):
        desk = fleet.desk()
        assert await desk.pre_reboot(G, "c1") is None
        slots = desk._slots(G)
        cycle = await slots.read("c1")
        assert cycle.held.state == COMMITTED
        await fleet.guarded.fence((await fleet.guarded.holder_state("c1")).reading)
        await slots.release(cycle.held, "it is steady", rebooted=True)
        assert await fleet.holders() == ()

    play(story)


def test_a_slot_of_a_later_cycle_stays_though_an_earlier_reading_is_released():
    async def story(fleet):
        desk = fleet.desk()
        assert await desk.pre_reboot(G, "c1") is None
        slots = desk._slots(G)
        cycle = await slots.read("c1")
        assert await fleet.desk().steady_state(G, "c1") is None
        assert await fleet.desk().pre_reboot(G, "c1") is None
        await slots.release(cycle.held, "it is steady", rebooted=True)
        assert await fleet.holders() == ("c1",)

    play(story)
