"""FleetLock's clients in the tool: by the name of their machine, as what they are, and lost where they are gone."""

import asyncio
import json
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


def _present(fleet):
    shown = Node(MACHINE, "web-1", "boot-web-1", fleet.group, "off", "finished", NOW)
    fleet(lambda store: store.create(keys.node_key(fleet.group, MACHINE), node.encode(shown), ttl=60))


@pytest.mark.parametrize("name", ["web-1", MACHINE, MACHINE[:6]])
def test_a_hold_of_a_machine_holds_its_idle_client_too(fleet, ctl, tmp_path, name):
    _present(fleet)
    assert "web-1 is held back" in ctl("hold", "--reason", "on show", "web-1").out
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "held"
    assert call(fleet, tmp_path, "pre_reboot", "c2") == "granted"
    assert call(fleet, tmp_path, "steady_state", "c2") == "granted"
    assert list(json.loads(ctl("nodes", "--json").out)["held_back"]) == [MACHINE], "the order is named once"
    assert "is no longer held back" in ctl("unhold", name).out
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"


def test_a_machine_without_a_daemon_is_held_by_its_id_alone(fleet, ctl, tmp_path):
    ctl("hold", "--reason", "on show", MACHINE)
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "held"
    ctl("unhold", MACHINE)
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"


def test_a_hold_of_the_client_alone_outlasts_that_of_its_machine(fleet, ctl, tmp_path):
    _present(fleet)
    ctl("hold", "--reason", "on show", "web-1")
    ctl("hold", "--reason", "its disk is full", CLIENT)
    ctl("unhold", "web-1")
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "held"
    assert "its disk is full" in ctl("unhold", "web-1").out, "the machine's name means what is still held back"
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"


def test_the_machines_name_explains_unlocks_and_tells_of_its_client(fleet, ctl, tmp_path):
    _present(fleet)
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"
    said = ctl("why", "web-1").out
    assert f"Its Zincati asks a FleetLock server for slots, as {CLIENT}." in said
    assert "web-1 has been rebooting for" in said
    assert f"unlock --force {CLIENT}" in ctl.fails("unlock", MACHINE)
    assert f"unlocked {CLIENT}" in ctl("unlock", "--force", "web-1").err
    assert call(fleet, tmp_path, "pre_reboot", CLIENT) == "granted"
    assert f"unlocked {CLIENT}" in ctl("unlock", "--force", MACHINE[:6]).err
    assert [line.split()[2] for line in ctl("history", "--machine", "web-1").out.splitlines()[1:]] == ["unlock"] * 2
    told = json.loads(ctl("history", "--machine", MACHINE, "--json").out)["events"]
    assert [one["id"] for one in told] == [CLIENT] * 2
