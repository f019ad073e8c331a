"""Daemons that wait for one another: order, what each shows of itself, and machines that share one id."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest

from locksmith.lock import places
from locksmith.lock.records import keys, node
from locksmith.store.connect import open_store
from tests.contract.daemons import CLOSED
from tests.harness.node import Node
from tests.harness.waiting import until


async def presence(site, machine_id):
    """What a machine shows of itself."""
    store = open_store(site.etcd.settings())
    try:
        key = keys.node_key(site.group, machine_id)
        entry = (await store.get(key)).entry
        return node.decode(entry.value, key, machine_id) if entry else None
    finally:
        await store.close()


async def shows(site, machine_id, **wanted):
    """Wait until a machine shows this of itself, and give all of it."""
    seen = None
    async with asyncio.timeout(20):
        while seen is None or any(getattr(seen, name) != value for name, value in wanted.items()):
            seen = await presence(site, machine_id)
    return seen


async def line(site):
    """The names of those who stand in line."""
    store = open_store(site.etcd.settings())
    try:
        entries = (await store.list(keys.waiters_prefix(site.group))).entries
        return [json.loads(entry.value)["hostname"] and places.name_in(entry.key) for entry in entries]
    finally:
        await store.close()


async def stands(site, *ids):
    """Wait until just these stand in line, in this order."""
    async with asyncio.timeout(20):
        while await line(site) != list(ids):
            pass


def test_who_asks_first_reboots_first(site):
    async def story(*nodes):
        rival = await site.lock.take("rack")
        order = (nodes[2], nodes[0], nodes[1])
        for number, one in enumerate(order):
            one.need_reboot("4081.2.0")
            await stands(site, *(other.machine_id for other in order[: number + 1]))
        await order[2].says("queued for a slot: number 3 of 3")
        await site.lock.release(rival)
        for one in order:
            await one.rebooted()
        await site.is_free()
        held = [moment.holders[0] for moment in site.lock.history if moment.holders]
        assert list(dict.fromkeys(held[1:])) == [one.machine_id for one in order]
        assert await line(site) == []

    site.play(story, nodes=3)


def test_one_killed_in_line_and_restarted_keeps_its_place(site):
    async def story(one, two):
        rival = await site.lock.take("rack")
        one.need_reboot("4081.2.0")
        await stands(site, one.machine_id)
        two.need_reboot("4081.2.0")
        await stands(site, one.machine_id, two.machine_id)
        await one.says("waiting (slot)")
        await one.kill_daemon()
        await one.start_daemon()
        await one.says("waiting (slot)", times=2)
        assert await line(site) == [one.machine_id, two.machine_id]
        await site.lock.release(rival)
        await one.rebooted()
        await two.rebooted()
        await site.is_free()

    site.play(story, nodes=2)


def test_one_that_is_stopped_gives_its_place_to_the_next(site):
    async def story(one, two):
        rival = await site.lock.take("rack")
        one.need_reboot("4081.2.0")
        await stands(site, one.machine_id)
        two.need_reboot("4081.2.0")
        await stands(site, one.machine_id, two.machine_id)
        await one.stop_daemon()
        await stands(site, two.machine_id)
        await two.says("waiting (slot)")
        await site.lock.release(rival)
        await two.rebooted()
        await site.is_free()

    site.play(story, nodes=2)


def test_one_whose_update_is_reset_gives_its_place_to_the_next(site):
    async def story(one, two):
        rival = await site.lock.take("rack")
        one.need_reboot("4081.2.0")
        await stands(site, one.machine_id)
        two.need_reboot("4081.2.0")
        await stands(site, one.machine_id, two.machine_id)
        one.engine.set("UPDATE_STATUS_IDLE", "")
        await stands(site, two.machine_id)
        await site.lock.release(rival)
        await two.rebooted()
        await site.is_free()
        assert one.reboots == 0

    site.play(story, nodes=2)


def test_a_machine_shows_what_it_does_and_why(site):
    async def story(one):
        idle = await shows(site, one.machine_id, state="idle")
        assert (idle.group, idle.strategy, idle.boot_id) == (
            site.group,
            "etcd-lock",
            one.paths.boot_id.read_text().strip(),
        )
        rival = await site.lock.take("rack")
        one.need_reboot("4081.2.0")
        waiting = await shows(site, one.machine_id, state="waiting")
        assert (waiting.code, waiting.need, waiting.need_version) == ("queue", "update-engine", "4081.2.0")
        one.machine.on_reboot = lambda: None
        await site.lock.release(rival)
        await until(lambda: one.machine.reboots, "logind is asked")
        assert (await shows(site, one.machine_id, state="rebooting")).boot_id == idle.boot_id
        await one.reboot()
        back = await shows(site, one.machine_id, state="idle")
        assert back.boot_id != idle.boot_id
        assert not back.clone

    site.play(story)


def test_a_machine_outside_its_window_shows_until_when(site):
    async def story(one):
        one.need_reboot("4081.2.0")
        waiting = await shows(site, one.machine_id, state="waiting", code="window")
        assert waiting.until == waiting.window_opens is not None
        assert waiting.window_closes is None
        assert await line(site) == []

    site.play(story, window=CLOSED)


@pytest.mark.parametrize("together", [True, False], ids=["both at once", "one after the other"])
def test_two_machines_of_one_id_both_refuse_and_say_why(site, together):
    async def story():
        one, two = site.node("n1", running=False), site.node("n2", running=False)
        two.paths.machine_id.write_text(f"{one.machine_id}\n")
        two.machine_id = one.machine_id
        async with AsyncExitStack() as stack:
            for machine in (one, two):
                await stack.enter_async_context(machine)
                await machine.start_daemon()
                await machine.says("idle")
            await shows(site, one.machine_id, boot_id=two.paths.boot_id.read_text().strip())
            one.need_reboot("4081.2.0")
            if together:
                two.need_reboot("4081.2.0")
            await one.says("waiting (clone)")
            two.need_reboot("4081.2.0")
            await two.says("waiting (clone)")
            assert (one.reboots, two.reboots) == (0, 0)
            await site.is_free()
            seen = await shows(site, one.machine_id, code="clone")
            assert seen.clone_boot.partition("/")[0] in {
                machine.paths.boot_id.read_text().strip() for machine in (one, two)
            }

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_reboot_of_the_only_machine_of_an_id_is_no_clone(site):
    async def story(one: Node):
        await one.says("idle")
        for version in ("1.0", "2.0"):
            one.need_reboot(version)
            await one.rebooted(int(version[0]))
            await site.is_free()
            await one.says("idle", times=int(version[0]) + 1)
        assert "clone" not in one.said
        assert "has this machine's id" not in one.said

    site.play(story)
