"""Machines that wait behind others at servers: no call of theirs reaches the store, and none loses its place."""

import asyncio
import contextlib
import itertools
import json
from dataclasses import replace

import pytest

from locksmith.errors import LocksmithError, OutcomeUnknownError
from locksmith.lock import machine_wire as wire
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.queue_places import remove_place
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.claim import COMMITTED
from locksmith.server import shared_places
from locksmith.server.identity import Identity, Role
from locksmith.server.waiting_room import rounded_down
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Position
from tests.builders.claims import claim
from tests.builders.hubs import Counted, served
from tests.builders.machine_desks import play
from tests.builders.one_store import G

AGES = 260
"""Seconds: many times as long as any lease."""


class Machine:
    """A daemon that waits for a slot, and keeps it until it is told."""

    def __init__(self, servers, name, *desks):
        self.claim = claim(name)
        self.doors = servers.doors(name, *desks)
        self.strategy = servers.strategy(name, *self.doors)
        self.answer = None
        self.running = asyncio.ensure_future(self.ask())

    async def ask(self):
        while True:
            with contextlib.suppress(LocksmithError):
                self.answer = await self.strategy.request(self.claim)
            if isinstance(self.answer, Granted):
                return
            await self.strategy.changed(30)

    async def reboot(self):
        """Give the slot back."""
        await self.strategy.commit(self.claim)
        await self.strategy.complete(replace(self.claim, state=COMMITTED, commits=1))

    def vanish(self):
        self.running.cancel()


async def waiting_machines(servers, number, *desks):
    machines = []
    for index in range(number):
        machines.append(Machine(servers, f"m{index:02}", *desks))
        await asyncio.sleep(1)
    return machines


def places(servers):
    prefix = keys.waiters_prefix(G)
    return [servers.server._entries[key] for key in sorted(servers.server._entries) if key.startswith(prefix)]


def places_of(servers):
    return [waiter.decode(entry.value, entry.key).holder for entry in places(servers)]


async def asked_meanwhile(servers, number):
    network = Counted()
    async with served(servers, network) as desk:
        machines = await waiting_machines(servers, number, desk)
        await asyncio.sleep(AGES)
        network.calls.clear()
        asked = sum(len(machine.doors[0].calls) for machine in machines)
        await asyncio.sleep(AGES)
        asked = sum(len(machine.doors[0].calls) for machine in machines) - asked
        for machine in machines:
            machine.vanish()
        return network.calls, asked


@pytest.mark.slow
def test_many_machines_ask_the_store_for_as_much_as_few(tmp_path):
    (few, few_asked), (many, asked) = (
        play(lambda servers, number=number: asked_meanwhile(servers, number), tmp_path / str(number))
        for number in (6, 18)
    )
    assert asked > 2.5 * few_asked
    assert many.total() <= few.total() + 5


@pytest.mark.slow
def test_each_gets_its_slot_in_its_turn(tmp_path):
    async def story(servers):
        async with served(servers) as one, served(servers) as other:
            machines = []
            for index in range(8):
                desks = (one, other) if index % 2 else (other, one)
                machines.append(Machine(servers, f"m{index:02}", *desks))
                await asyncio.sleep(1)
            await asyncio.sleep(AGES)
            for machine in machines:
                began = servers.loop.time()
                await asyncio.wait_for(machine.running, 60)
                assert servers.loop.time() - began < 2
                assert await servers.holders() == (machine.claim.holder,)
                await machine.reboot()
            assert [key for key in servers.keys if not key.startswith("ended/")] == []

    play(story, tmp_path)


def test_who_has_got_a_slot_has_no_place_any_more(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 6, desk)
            await asyncio.sleep(shared_places.ROUND + 2)
            for machine, after in itertools.pairwise(machines):
                await machine.reboot()
                await asyncio.wait_for(after.running, 30)
                await asyncio.sleep(1)
                assert after.claim.holder not in places_of(servers)

    play(story, tmp_path)


def test_the_place_of_who_has_come_near_the_front_is_not_written_any_more(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 4, desk)
            await machines[0].reboot()
            await asyncio.wait_for(machines[1].running, 30)
            await asyncio.sleep(0.5)
            near = places(servers)
            await asyncio.sleep(2 * shared_places.ROUND)
            assert [entry.version for entry in places(servers)] == [entry.version for entry in near]

    play(story, tmp_path)


def test_a_place_that_cannot_be_read_takes_no_other_with_it(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 8, desk)
            await asyncio.sleep(2 * shared_places.ROUND)
            entry = places(servers)[4]
            assert [one.lease for one in places(servers)].count(entry.lease) > 2
            servers.server._entries[entry.key] = replace(entry, value=b"{}")
            left = [one.key for one in places(servers) if one.key != entry.key]
            await remove_place(desk.store, places(servers)[4])
            assert [one.key for one in places(servers)] == left
            assert len(left) == len(machines) - 2

    play(story, tmp_path)


@pytest.mark.slow
def test_who_waits_keeps_its_place_where_its_server_is_gone(tmp_path):
    async def story(servers):
        async with served(servers) as other:
            async with served(servers) as one:
                machines = await waiting_machines(servers, 8, one, other)
                await asyncio.sleep(AGES)
                before = places_of(servers)
                assert len(before) == 7
            for machine in machines:
                machine.doors[0].down = True
            await asyncio.sleep(AGES)
            assert places_of(servers) == before
            for machine in machines:
                assert isinstance(machine.answer, Granted if machine is machines[0] else Denied)
                machine.vanish()
            await asyncio.sleep(AGES)
            assert places_of(servers) == []

    play(story, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["vanishes", "leaves"])
def test_one_that_goes_takes_no_other_place_with_it(way, tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 8, desk)
            await asyncio.sleep(AGES)
            gone = machines[5]
            gone.vanish()
            if way == "leaves":
                await gone.strategy.abort(gone.claim, "its window closed")
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(shared_places.SILENT + 60)
            left = [machine.claim.holder for machine in machines[1:] if machine is not gone]
            assert places_of(servers) == left
            await asyncio.sleep(AGES)
            assert places_of(servers) == left
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


def test_a_slot_that_was_freed_at_once_wakes_as_many_as_are_free(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 10, desk)
            await asyncio.sleep(AGES)
            await servers.admin.set_max(6)
            async with asyncio.timeout(5):
                await asyncio.gather(*(machine.running for machine in machines[:6]))
            assert len(await servers.holders()) == 6
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


@pytest.mark.slow
def test_a_server_that_cannot_follow_the_store_answers_nothing_from_memory(tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk, served(servers) as other:
            machines = await waiting_machines(servers, 6, desk, other)
            await asyncio.sleep(AGES)
            network.cut = True
            servers.server.drop_all()
            await asyncio.sleep(100)
            late = machines[5]
            with pytest.raises(LocksmithError):
                await desk.call(G, Identity(Role.MACHINE, late.claim.holder), "request", _fields(late.claim))
            assert isinstance(late.answer, Denied)
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


def _fields(one):
    return json.loads(wire.encode_call(Position(0, ""), one))


def test_a_store_that_went_back_is_believed_of_its_slots_and_its_front(tmp_path):
    """What the backup says of the semaphore counts, also if no machine waits for that key."""

    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 3, desk)
            await asyncio.sleep(AGES)
            room, backup = desk._hub.room(G), servers.server.backup()
            await servers.admin.set_max(9)
            await asyncio.sleep(5)
            assert room._semaphore.max == 9
            for machine in machines:
                machine.vanish()
            servers.server.restore(backup)
            await asyncio.sleep(30)
            assert room._semaphore.max == 1

    play(story, tmp_path)


def test_the_size_of_a_read_is_known_before_the_store_is_asked(tmp_path):
    async def story(servers):
        network = Counted()
        async with served(servers, network) as desk:
            [place, lock] = [f"{keys.waiters_prefix(G)}x", keys.semaphore_key(G)]
            await MemoryStore(servers.server).create(place, b"x" * 60_000)
            await asyncio.sleep(1)
            network.calls.clear()
            sizes = [desk.size_of(G, wire.READ, {"keys": asked}) for asked in ([place], [lock], [place, lock, 7], "x")]
            small = 0 if (lock_value := servers.server._entries.get(lock)) is None else len(lock_value.value) * 4 // 3
            assert sizes == [80_000, small, 80_000 + small, 0]
            assert desk.size_of(G, wire.READ, {"keys": [place] * 128}) == wire.LARGEST_ANSWER
            assert desk.size_of(G, wire.PRESENCE, {"value": "y" * 5000}) == 5000
            assert desk.size_of(G, wire.REQUEST, {}) == 0
            assert not network.calls

    play(story, tmp_path)


class Deaf(Counted):
    """A network that loses the next delete of a key below `loses`, or its answer alone."""

    def __init__(self, loses, *, arrives):
        super().__init__()
        self.loses, self.arrives = loses, arrives

    async def carry(self, call):
        if call.name != "delete" or self.loses not in call.key:
            return await super().carry(call)
        self.loses = "none"
        if self.arrives:
            await super().carry(call)
        raise OutcomeUnknownError("the answer was lost")


def tickets(servers):
    return {keys.unsegment(key.rpartition("/")[2]) for key in servers.server._entries if "/tickets/" in key}


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["/waiters/", "/tickets/"])
@pytest.mark.parametrize("arrives", [True, False])
def test_of_a_machine_that_has_gone_no_ticket_stays(lost, arrives, tmp_path):
    """The server hears nothing of what became of one of its deletes.

    The lease of the ticket is that which the server prolongs for the others.
    """

    async def story(servers):
        network = Deaf(lost, arrives=arrives)
        async with served(servers, network) as desk:
            machines = await waiting_machines(servers, 6, desk)
            await asyncio.sleep(60)
            machines[4].vanish()
            await asyncio.sleep(shared_places.SILENT + 60)
            assert network.loses == "none"
            left = [machine.claim.holder for machine in machines[1:] if machine is not machines[4]]
            assert places_of(servers) == left
            assert tickets(servers) == set(left)
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


@pytest.mark.slow
def test_a_server_that_stood_still_while_it_got_its_lease_prolongs_it_in_time(tmp_path):
    """The lease is as old as the request for it, not as the answer."""

    class Late(Counted):
        async def carry(self, call):
            answer = await super().carry(call)
            if call.name == "lend":
                await asyncio.sleep(shared_places.TTL - 30)
            return answer

    async def story(servers):
        async with served(servers, Late()) as desk:
            machines = await waiting_machines(servers, 5, desk)
            await asyncio.sleep(shared_places.TTL - 30 + 3 * shared_places.ROUND)
            entered = [entry.created for entry in places(servers)]
            assert sum(waiter.decode(entry.value, entry.key).shared for entry in places(servers)) == 2
            await asyncio.sleep(AGES)
            assert [entry.created for entry in places(servers)] == entered
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


def test_a_call_that_the_store_answers_keeps_a_place_that_its_server_has_noted(tmp_path):
    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 4, desk)
            await asyncio.sleep(10)
            machines[3].vanish()
            await asyncio.sleep(60)
            hub = desk._hub
            [noted] = [key for key in hub._kept[G]._guests if key.endswith("m03")]
            hub.mirrors.of(G)._proven = None
            now = asyncio.get_running_loop().time()
            assert (await machines[3].strategy.request(machines[3].claim)).queued.position > 2
            assert hub._kept[G]._guests[noted].called >= now

    play(story, tmp_path)


def test_once_another_cluster_counts_no_machine_is_told_what_the_one_before_had(tmp_path):
    """Else it believes that the new one has come as far, and calls it restored when it has not."""

    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 4, desk)
            await asyncio.sleep(AGES)
            machines[3].vanish()
            backup = servers.server.backup()
            for slots in (5, 1, 5, 1):
                await servers.admin.set_max(slots)
            await asyncio.sleep(1)
            servers.server.restore(backup)
            servers.server.cluster = "2"
            desk._observer.clusters.replace("2")
            who, asked = Identity(Role.MACHINE, "m03"), {**_fields(machines[3].claim)}
            said = await desk.call(G, who, wire.REQUEST, asked)
            assert said["queued"]["position"] == 3
            assert said["store"]["revision"] <= servers.server.revision
            await asyncio.sleep(15)
            assert desk._hub.mirrors.of(G).freshness.current
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


def test_one_far_back_is_told_about_where_it_stands_so_that_this_seldom_changes(tmp_path):
    """Each change of what it is told would be a write of its presence."""

    async def story(servers):
        async with served(servers) as desk:
            machines = await waiting_machines(servers, 38, desk)
            await asyncio.sleep(AGES)
            assert machines[36].answer.text == "queued for a slot: 30 or more are before it"
            assert machines[15].answer.text == "queued for a slot: number 15 of 37, after m14"
            await machines[0].reboot()
            await asyncio.sleep(AGES)
            assert machines[36].answer.text == "queued for a slot: 30 or more are before it"
            assert machines[15].answer.text == "queued for a slot: number 14 of 36, after m14"
            for machine in machines:
                machine.vanish()

    play(story, tmp_path)


@pytest.mark.parametrize(("number", "told"), [(7, 7), (21, 20), (812, 800), (9432, 9000), (10000, 10000)])
def test_the_first_digit_of_a_position_stays(number, told):
    assert rounded_down(number) == told
