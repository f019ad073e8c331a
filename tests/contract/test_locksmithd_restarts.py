"""The daemon ends for a restart (SIGUSR1, the unit's RestartKillSignal=): an upgrade costs no place in the queue."""

import signal
from pathlib import Path

from tests.contract.daemons import Lock
from tests.harness.waiting import until

UNIT = Path(__file__).parents[2] / "contrib/systemd/locksmithd.service"
RESTARTING = 75


def test_the_unit_restarts_by_this_signal_and_starts_again_after_a_stray_one():
    lines = UNIT.read_text().splitlines()
    assert "RestartKillSignal=SIGUSR1" in lines
    assert f"SuccessExitStatus={RESTARTING}" in lines, "a restart is no failure"
    assert f"RestartForceExitStatus={RESTARTING}" in lines, "Restart=on-failure alone takes it for a stop"


def test_a_restart_keeps_the_place_that_a_stop_gives_up(site):
    async def story(one, two):
        rival = await site.lock.take("rack")
        for node in (one, two):
            node.need_reboot("4081.2.0")
            await node.says("waiting (slot)" if node is one else "waiting (queue)")
        before = site.lock.waiters
        one.send_signal(signal.SIGUSR1)
        await one.says("restarting: the next daemon resumes from the reboot journal, with this machine's place")
        assert await one.ended() == RESTARTING
        assert site.lock.waiters == before
        await one.start_daemon()
        await one.says("waiting (slot)", times=2)
        assert site.lock.waiters == before
        await two.stop_daemon()
        await two.says("stopping; this machine leaves the queue")
        assert site.lock.waiters == before[:1]
        await site.lock.release(rival)

    site.play(story, nodes=2)


def test_a_restart_into_another_group_leaves_the_older_queue(site):
    async def story(node):
        group = f"{site.group}-other"
        other = Lock(site.etcd, group)
        await site.lock.take("rack")
        await other.take("rack")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        node.configure(site.settings(group=group))
        node.send_signal(signal.SIGUSR1)
        assert await node.ended() == RESTARTING
        await node.start_daemon()
        await until(lambda: other.waiters, "it is in the queue of the other group")
        await until(lambda: not site.lock.waiters, "it has left the older queue")
        assert (site.lock.holders, other.holders) == (["rack"], ["rack"])

    site.play(story)


def test_an_idle_daemon_restarts_too(site):
    async def story(node):
        await node.says("idle: nothing wants a reboot")
        node.send_signal(signal.SIGUSR1)
        assert await node.ended() == RESTARTING
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.rebooted()
        assert node.reboots == 1

    site.play(story)
