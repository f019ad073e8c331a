"""The strategy `fleet-lock`: real daemons as clients of a FleetLock server."""

import pytest

from locksmith.util.zincati import zincati_id
from tests.contract.daemons import Site
from tests.harness.fleet_lock import PRE_REBOOT, STEADY_STATE, fleet_lock_double
from tests.harness.waiting import until


@pytest.fixture
def server():
    with fleet_lock_double() as made:
        yield made


@pytest.fixture
def site(tmp_path):
    """A place for daemons without etcd."""
    site = Site.__new__(Site)
    site.group, site.folder, site.endpoints, site.reachable = "", tmp_path, ["http://127.0.0.1:1"], False
    return site


def fleet_lock(server, **changes):
    return {"strategy": "fleet-lock", "fleet-lock": {"url": server.url, "period": "300ms", **changes}}


def test_a_reboot_is_denied_then_granted_and_its_slot_goes_back_healthy(site, server):
    async def story(node):
        machine = zincati_id(node.machine_id)
        server.holders["default"] = {"another"}
        node.need_reboot("4081.2.0")
        await node.says("waiting (server): the FleetLock server ")
        assert f"{server.url} says no_slot: 1 of 1 slots are held" in node.said
        code, said = await node.tool("why")
        assert (code, f"It waits: the FleetLock server {server.url} says no_slot: 1 of 1 slots are held" in said) == (
            0,
            True,
        )
        assert "asked again at " in said
        assert node.machine.reboots == 0
        server.holders["default"] = set()
        await node.rebooted()
        await until(lambda: node.claim is None, "the slot is given back")
        assert server.holders["default"] == set()
        assert {one[1:] for one in server.calls} == {("default", machine)}
        paths = [path for path, *_ in server.calls]
        assert paths[-3:] == [PRE_REBOOT, PRE_REBOOT, STEADY_STATE], "once more right before the reboot"
        assert all(one["fleet-lock-protocol"] == "true" for one in server.headers)
        assert not any("Content-Type" in one for one in server.headers)

    site.play(story, **fleet_lock(server))
