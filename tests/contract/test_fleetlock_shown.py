"""FleetLock's clients in the tool: by the name of their machine, as what they are, and lost where they are gone."""

import asyncio
import uuid

import pytest

from locksmith.lock.records import keys, node
from locksmith.lock.records.node import Node
from tests.contract.desks import kind, opened
from tests.contract.fleets import NOW, Fleet, ctl, root

__all__ = ["ctl", "root"]

MACHINE, CLIENT = "1c09ca98649c4c7abc779cd04c96812e", "978a225b3d7b40e9acd7ce9b62f68444"
"""A machine-id, and Zincati's id of that machine."""


@pytest.fixture
def fleet(wheel_etcd):
    return Fleet(wheel_etcd, 3, f"g-{uuid.uuid4()}")


def call(fleet, tmp_path, what, client):
    async def scene():
        async with opened(fleet.settings, fleet.group, tmp_path) as desk:
            return kind(await getattr(desk, what)(fleet.group, client))

    return asyncio.run(scene())


async def _vanish(store, group):
    entry = (await store.get(keys.node_key(group, CLIENT))).entry
    await store.revoke(entry)


def test_a_client_is_shown_by_its_machines_name_in_every_command(fleet, ctl, tmp_path):
    shown = Node(MACHINE, "n1", "boot-n1", fleet.group, "off", "finished", NOW)
    fleet(lambda store: store.create(keys.node_key(fleet.group, MACHINE), node.encode(shown), ttl=60))
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"
    assert call(fleet, tmp_path, "pre_reboot", "c2") == "no_slot"
    rows = [line.split()[:3] for line in ctl("nodes").out.splitlines()[3:]]
    assert [CLIENT[:8], "rebooting"] == rows[0][1:]
    assert ["c2", "queued", "#1"] in rows
    assert f"{CLIENT}" in ctl("status").out
    assert "n1 has been rebooting for" in ctl("why", CLIENT).out
    said = ctl("why", "c2").out
    assert "c2 is a FleetLock client in the queue" in said
    assert "n1 has held the slot for" in said
    assert "is rebooting or about to, which nothing stops now" in ctl.fails("unlock", CLIENT)
    fleet(lambda store: _vanish(store, fleet.group))
    assert "1 LOST, HALTED" in ctl("nodes").out
    assert "n1 is lost: it has not come back" in ctl("why", "c2").out
    assert call(fleet, tmp_path, "pre_reboot", "c2") in {"halted", "no_slot"}
    assert call(fleet, tmp_path, "steady_state", CLIENT) == "granted"
    assert "HALTED" not in ctl("nodes").out
    assert any(line.split()[2:4] == ["rebooted", "n1"] for line in ctl("history").out.splitlines())


def test_an_operator_frees_the_slot_of_a_client_that_is_gone_for_good(fleet, ctl, tmp_path):
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"
    fleet(lambda store: _vanish(store, fleet.group))
    ended = ctl("unlock", CLIENT)
    assert f"unlocked {CLIENT}, which was held by the FleetLock client {CLIENT} for its reboot" in ended.out + ended.err
    assert call(fleet, tmp_path, "pre_reboot", "c2") == "granted"
