"""The strategy `server`: real daemons without etcd, real servers, a real etcd."""

import uuid

import pytest

from tests.contract.server_sites import ServerSite


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path, [])


def test_a_machine_without_etcd_reboots_with_a_slot_and_releases_it(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await site.is_free()
        assert site.lock.story[-4:] == ["held", "committed", "free"][-3:] or "committed" in site.lock.story

    with site.server() as server:
        site.urls = [server.url]
        site.play(story)
