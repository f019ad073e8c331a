"""Many clients that come and go at once: those who wait are served in turn, whatever the network loses."""

import asyncio
from random import Random

import pytest

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.lock.records import keys, semaphore
from locksmith.server.client_slots import QUIET
from locksmith.server.refusal import RefusalKind
from tests.builders.desks import G, play

SLOTS = 2


class Lossy:
    """A network that takes some milliseconds, and loses a request or an answer now and then.

    After each write it looks for more holders than slots.
    """

    def __init__(self, server, seed, loses):
        self.server, self.rng, self.loses, self.swaps = server, Random(seed), loses, 0

    async def carry(self, call):
        await asyncio.sleep(self.rng.uniform(0.001, 0.006))
        self.swaps += call.name == "swap"
        chance = self.rng.random()
        if call.name == "wait" or chance > self.loses:
            return self._done(call)
        if chance > self.loses / 2 or not call.write:
            raise StoreUnavailableError("it was lost on its way")
        self._done(call)
        raise OutcomeUnknownError("its answer was lost")

    def _done(self, call):
        done = call.apply()
        entry = self.server._entries.get(keys.semaphore_key(G))
        assert entry is None or len(semaphore.decode(entry.value, entry.key).holders) <= SLOTS
        return done


async def cycle(fleet, desks, client, rng):
    """Call until it may reboot, be down for a moment, and call until it is steady; each call goes to any server."""
    while (refused := await rng.choice(desks).pre_reboot(G, client)) is not None:
        assert refused.kind in {RefusalKind.QUEUED, RefusalKind.NO_SLOT, RefusalKind.STORE, RefusalKind.NOT_READY}
        await asyncio.sleep(0.05)
    assert (await fleet.cycle(client)).committed
    await asyncio.sleep(0.02)
    assert (await fleet.cycle(client)).committed
    while (refused := await rng.choice(desks).steady_state(G, client)) is not None:
        assert refused.kind in {RefusalKind.STORE, RefusalKind.NOT_READY}
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("loses", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_many_clients_of_two_servers_all_reboot_never_more_at_once_than_slots(seed, loses):
    async def story(fleet):
        await fleet.admin.set_max(SLOTS)
        desks = [fleet.desk(Lossy(fleet.server, 2 * seed + number, loses)) for number in range(2)]
        clients = [cycle(fleet, desks, f"c{number}", Random(number)) for number in range(12)]
        async with asyncio.timeout(600):
            await asyncio.gather(*clients)
        left = [key for key in fleet.keys if not key.startswith("nodes/")]  # whose removal was lost expires
        assert left == []

    play(story)


def test_a_call_of_one_of_the_first_gets_the_slot_that_becomes_free_meanwhile():
    async def story(fleet):
        await fleet.admin.set_max(SLOTS)
        desk = fleet.desk()
        assert [await desk.pre_reboot(G, one) for one in ("c0", "c1")] == [None, None]
        waiting = [asyncio.ensure_future(desk.pre_reboot(G, one)) for one in ("c2", "c3", "c4")]
        await asyncio.sleep(QUIET / 2)
        began = fleet.loop.time()
        assert [await desk.steady_state(G, one) for one in ("c1", "c0")] == [None, None]
        assert await waiting[0] is None
        assert await waiting[1] is None
        assert fleet.loop.time() == began
        refused = await waiting[2]
        assert (refused.kind, fleet.loop.time()) == (RefusalKind.NO_SLOT, began + QUIET)

    play(story)


def test_who_releases_makes_as_few_swaps_as_can_be():
    """Sixteen clients, one server: no call loses a race, and each grant and release is three swaps at the most."""

    async def story(fleet):
        await fleet.admin.set_max(SLOTS)
        network = Lossy(fleet.server, 0, 0)
        desk = fleet.desk(network)
        await asyncio.gather(*(cycle(fleet, [desk], f"c{number}", Random(number)) for number in range(16)))
        assert network.swaps <= 3 * 16

    play(story)
