"""locksmithd and a logind that refuses, is busy, answers late or never, says yes and delays, or says yes in vain."""

import pytest

from tests.contract.daemons import QUICK
from tests.harness.logind import LOGIND, RebootMode
from tests.harness.waiting import until

TWICE = ["held", "committed", "free"] * 2
"""The lock of a machine whose first reboot failed."""


def test_refused_the_slot_is_given_back_at_once_and_it_is_tried_again_later(site):
    async def story(node):
        node.machine.mode = RebootMode.REFUSE
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        node.machine.mode = RebootMode.OBEY
        await node.says(
            "aborting the reboot and releasing its slot: logind refused the reboot: backup: weekly backup runs"
        )
        await node.says("waiting (retry): the last reboot failed: logind refused the reboot: backup: weekly backup")
        await node.rebooted()
        await site.is_free()
        assert node.machine.reboots == 2
        assert site.lock.story == TWICE

    site.play(story, reboot=QUICK | {"retry": "2s"})


def test_busy_with_somebody_elses_shutdown_the_slot_stays_until_the_machine_is_down(site):
    async def story(node):
        node.machine.mode = RebootMode.BUSY
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        node.machine.preparing = True
        await node.says("There's already a shutdown in progress; this machine may be going down")
        await node.says("waiting (stuck): stuck in shutdown")
        assert site.lock.holders == [node.machine_id]
        node.doubles.logind.end_delay()
        await node.rebooted()
        await site.is_free()

    site.play(story, reboot=QUICK)


def test_somebody_elses_shutdown_keeps_it_from_asking_for_a_slot(site):
    async def story(node):
        node.machine.preparing = True
        node.need_reboot("4081.2.0")
        await node.says("waiting (going_down): the machine is going down already, by another order")
        assert site.lock.history == []
        node.machine.mode = RebootMode.FIZZLE
        node.doubles.logind.end_delay()
        node.machine.mode = RebootMode.OBEY
        await node.rebooted()

    site.play(story)


def test_while_logind_has_not_answered_the_slot_stays(site):
    async def story(node):
        node.machine.mode = RebootMode.LATE
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        assert site.lock.holders == [node.machine_id]
        node.doubles.logind.release.set()
        await node.rebooted()
        await site.is_free()
        assert site.lock.story == ["held", "committed", "free"]

    site.play(story)


def test_a_delayed_reboot_keeps_the_slot_however_long_it_takes(site):
    async def story(node):
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down, until")
        await node.says("waiting (stuck): stuck in shutdown: the machine is going down; the slot stays")
        assert site.lock.holders == [node.machine_id]
        node.doubles.logind.end_delay()
        await node.rebooted()
        await site.is_free()
        assert node.machine.reboots == 1

    site.play(story, reboot=QUICK)


def test_a_reboot_of_which_nothing_comes_is_given_back_and_tried_again(site):
    async def story(node):
        node.machine.mode = RebootMode.FIZZLE
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down")
        node.doubles.logind.end_delay()
        node.machine.mode = RebootMode.OBEY
        await node.says("aborting the reboot and releasing its slot: logind was asked for the reboot, and neither")
        await node.rebooted()
        await site.is_free()
        assert site.lock.story == TWICE

    site.play(story, reboot=QUICK)


def test_a_logind_that_leaves_instead_of_answering_keeps_the_slot_until_it_is_back(site):
    async def story(node):
        node.machine.mode = RebootMode.VANISH
        node.need_reboot("4081.2.0")
        await node.says("this machine may be going down")
        await node.says(
            "waiting (stuck): stuck in shutdown: the machine may be going down, logind or systemd does not say"
        )
        assert site.lock.holders == [node.machine_id]
        node.machine.mode = RebootMode.OBEY
        await node.doubles.appear()
        await node.says("aborting the reboot and releasing its slot")
        await node.rebooted()
        await site.is_free()
        assert site.lock.story == TWICE

    site.play(story, reboot=QUICK)


def test_without_logind_no_slot_is_asked_for(site):
    async def story(node):
        await node.doubles.leave(LOGIND)
        node.need_reboot("4081.2.0")
        await node.says("waiting (logind): logind or systemd does not say whether the machine is going down")
        assert site.lock.history == []
        await node.doubles.appear()
        await node.rebooted()

    site.play(story)


@pytest.mark.parametrize("strategy", ["etcd-lock", "reboot"])
def test_a_soft_reboot_counts(site, strategy):
    """It keeps the kernel's boot id and /run: only the start of userspace differs."""

    async def story(node):
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down")
        await node.stop_daemon()
        node.machine.booted()
        node.machine.userspace_since += 60_000_000
        node.engine.status = (0, 0.0, "UPDATE_STATUS_IDLE", "", 0)
        await node.start_daemon()
        await node.says("rebooted and healthy: releasing the slot")
        await until(lambda: node.claim is None, "the journal forgets the claim")
        assert site.lock.holders == []

    site.play(story, strategy=strategy)
