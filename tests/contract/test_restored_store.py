"""Three real members are made anew from an older snapshot amid a rollout: who has seen more takes nothing."""

import uuid

import pytest

from tests.contract.daemons import Site
from tests.contract.test_locksmithd_bad_days import BACKUP
from tests.harness.etcd import Etcd


@pytest.fixture
def site(tmp_path):
    with Etcd(members=3) as etcd:
        yield Site(etcd, f"g-{uuid.uuid4()}", tmp_path)


def test_nobody_who_has_seen_more_goes_on_until_an_operator_has_looked(site, tmp_path):
    """Besides the one past its point of no return nobody goes down, restarted daemons included."""

    async def story(first, second, third):
        site.etcd.save(tmp_path / "snapshot")
        first.need_reboot("4081.2.0")
        await first.rebooted()
        await site.is_free()
        third.machine.inhibitors = [BACKUP]
        for node in (second, third):
            node.need_reboot("4081.2.0")
        await second.rebooted()
        await site.is_free()
        await third.says("waiting (inhibitor)")

        site.reachable = False  # what the store says of who holds is the backup's word
        site.etcd.restore(tmp_path / "snapshot")
        third.machine.inhibitors = []
        third.engine.emit()
        await third.says("waiting (restored): the store knows less than this machine has seen of it")
        await third.kill_daemon()
        await third.start_daemon()
        await third.says("waiting (restored)", times=2)
        first.need_reboot("4081.3.0")
        await first.says("waiting (restored)")
        assert (first.reboots, third.reboots) == (1, 0)

        status, said = await second.tool("resume", "--reason", "every machine is up, the backup may go on")
        assert (status, "may go on" in said) == (0, True), said
        await third.rebooted()
        await first.rebooted(2)

    site.play(story, nodes=3)
