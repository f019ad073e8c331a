"""kill -9 at every step, and a start after it: the daemon goes on or gives back as journal and record say."""

import pytest

from tests.contract.daemons import QUICK
from tests.harness.delay_proxy import commit, release, take
from tests.harness.logind import RebootMode
from tests.harness.waiting import until

BEFORE, AFTER = False, True
"""Killed before etcd has done the write, or when it has and the answer is on its way."""


async def killed_in(step, way, node, *, answered):
    """Ask for a reboot, and kill the daemon in one of its writes; the write goes its way."""
    held = way.hold(step, answered=answered)
    node.need_reboot("4081.2.0")
    await until(lambda: held.arrived, "the write is under way")
    await node.kill_daemon()
    return held


async def arrives(held):
    """Let a write that was held up go to etcd, although nobody waits for its answer any more."""
    held.let_go()
    await until(lambda: held.done, "the write reaches etcd")


@pytest.mark.parametrize("answered", [BEFORE, AFTER], ids=["before", "after"])
def test_killed_in_the_take_it_goes_on_with_the_same_claim(site, answered):
    async def story(node):
        held = await killed_in(take, way, node, answered=answered)
        nonce = node.claim["claim"]["nonce"]
        await arrives(held)
        last = way.hold(release)
        await node.start_daemon()
        await until(lambda: last.arrived, "it has rebooted")
        assert site.lock.record["nonce"] == nonce
        last.let_go()
        await gave_back(node, site)
        assert node.reboots == 1

    with site.delay_proxy() as way:
        site.play(story)


def test_a_take_that_arrives_when_all_is_over_takes_nothing(site):
    async def story(node):
        held = await killed_in(take, way, node, answered=BEFORE)
        await node.start_daemon()
        await node.rebooted()
        await gave_back(node, site)
        writes = len(site.lock.history)
        await arrives(held)
        rival = await site.lock.take("somebody else")
        await site.lock.release(rival)
        assert len(site.lock.history) == writes + 2

    with site.delay_proxy() as way:
        site.play(story)


@pytest.mark.parametrize("answered", [BEFORE, AFTER], ids=["before", "after"])
def test_killed_in_the_commit_it_gives_back_when_the_machine_has_stayed_up(site, answered):
    """Whether the reboot was asked for cannot be known: so it waits, gives back, and tries again later."""

    async def story(node):
        held = await killed_in(commit, way, node, answered=answered)
        assert node.claim["phase"] == "committed"
        await arrives(held)
        await node.start_daemon()
        await node.says("waiting (rebooting): a reboot may have been asked for before this daemon started, until")
        await node.says("aborting the reboot and releasing its slot: the daemon ended before the reboot was asked for")
        await node.rebooted()
        await gave_back(node, site)
        assert node.machine.reboots == 1
        assert site.lock.story == ["held", "committed", "free"] * 2

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


@pytest.mark.parametrize("answered", [BEFORE, AFTER], ids=["before", "after"])
def test_killed_in_the_give_back_it_gives_back_and_reboots_no_second_time(site, answered):
    async def story(node):
        held = await killed_in(release, way, node, answered=answered)
        assert node.claim["phase"] == "committed"
        await arrives(held)
        await node.start_daemon()
        await gave_back(node, site)
        assert node.reboots == node.machine.reboots == 1

    with site.delay_proxy() as way:
        site.play(story)


def test_killed_while_logind_is_asked_it_keeps_the_slot_until_the_machine_is_down(site):
    async def story(node):
        node.machine.mode = RebootMode.LATE
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        await node.kill_daemon()
        await node.start_daemon()
        await node.says("waiting (rebooting)")
        node.doubles.logind.release.set()
        await node.rebooted()
        await gave_back(node, site)
        assert site.lock.story == ["held", "committed", "free"]

    site.play(story)


def test_killed_while_logind_is_asked_in_vain_it_gives_back_and_tries_again(site):
    async def story(node):
        node.machine.mode = RebootMode.SILENT
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        await node.kill_daemon()
        node.machine.mode = RebootMode.OBEY
        await node.start_daemon()
        await node.rebooted()
        await gave_back(node, site)
        assert site.lock.story == ["held", "committed", "free"] * 2

    site.play(story, reboot=QUICK)


def test_killed_while_the_machine_goes_down_it_keeps_the_slot(site):
    async def story(node):
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down")
        await node.kill_daemon()
        await node.start_daemon()
        await node.says("waiting (rebooting): the machine is going down", times=2)
        await node.says("waiting (stuck)")
        assert site.lock.holders == [node.machine_id]
        node.doubles.logind.end_delay()
        await node.rebooted()
        await gave_back(node, site)
        assert node.machine.reboots == 1

    site.play(story, reboot=QUICK)


def test_killed_in_line_it_stands_in_line_again(site):
    async def story(node):
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        nonce = node.claim["claim"]["nonce"]
        await node.kill_daemon()
        await node.start_daemon()
        await node.says("waiting (slot)", times=2)
        assert node.claim["claim"]["nonce"] == nonce
        await site.lock.release(rival)
        await node.rebooted()
        await gave_back(node, site)

    site.play(story)


def test_killed_while_etcd_is_frozen_it_lets_nobody_in_beside_it(site):
    """Its own take and its rival's, both on their way while nobody answers: one of them wins, and then the other."""

    async def story(one, two):
        await one.says("idle")
        await two.says("idle")
        with site.etcd_frozen():
            one.need_reboot("4081.2.0")
            two.need_reboot("4081.2.0")
            await until(lambda: one.claim and two.claim, "both have asked")
            await one.kill_daemon()
        await one.start_daemon()
        await one.rebooted()
        await two.rebooted()
        await site.is_free()
        assert max(len(moment.holders) for moment in site.lock.history) == 1

    site.play(story, nodes=2)


async def gave_back(node, site):
    """Wait until neither the store nor the journal knows of a claim."""
    await site.is_free()
    await until(lambda: node.claim is None, "the journal forgets the claim")
    assert all(len(moment.holders) <= 1 for moment in site.lock.history)
