"""locksmithd while what it depends on is away for a moment: update_engine, the bus, etcd; and back."""

import os
import signal

import pytest

from tests.contract.daemons import QUICK
from tests.harness import dead_endpoints
from tests.harness.delay_proxy import commit, take
from tests.harness.engine import IDLE, NEED_REBOOT
from tests.harness.logind import RebootMode
from tests.harness.waiting import until

NOBODY = 65534
NOTHING = (0, 0.0, IDLE, "", 0)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is believed, and can become another user")


def test_an_update_that_is_reset_while_it_waits_in_line_is_not_rebooted_into(site):
    """`ResetStatus` sends no signal: the daemon asks when its turn comes."""

    async def story(node):
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        node.engine.status = NOTHING
        await site.lock.release(rival)
        await node.says("aborting the reboot and releasing its slot: nothing wants a reboot any more")
        await until(lambda: node.claim is None, "the journal forgets the claim")
        assert node.machine.reboots == 0
        assert site.lock.holders == []

    site.play(story)


@pytest.mark.parametrize(
    ("write", "says", "states"),
    [
        (take, "nothing wants a reboot any more", ["held", "free"]),
        (commit, "at the last moment: nothing wants a reboot any more", ["held", "committed", "free"]),
    ],
    ids=["take", "commit"],
)
def test_an_update_that_is_reset_while_the_slot_is_taken_or_committed_gives_it_back(site, write, says, states):
    """`ResetStatus` sends no signal: the daemon looks once more behind each of its writes."""

    async def story(node):
        held = way.hold(write, answered=True)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the write has reached etcd")
        node.engine.status = NOTHING
        held.let_go()
        await node.says(f"aborting the reboot and releasing its slot: {says}")
        await site.is_free()
        assert node.machine.reboots == 0
        assert site.lock.story == states

    with site.delay_proxy() as way:
        site.play(story)


def test_an_engine_that_falls_silent_while_the_slot_is_held_is_a_no(site):
    async def story(node):
        held = way.hold(take, answered=True)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the slot is taken")
        node.engine.silent = True
        held.let_go()
        await node.says(
            "aborting the reboot and releasing its slot: update_engine: GetStatus of com.coreos.update1 was not"
        )
        await site.is_free()
        assert node.machine.reboots == 0
        node.engine.speak()
        node.engine.emit()
        await node.rebooted()

    with site.delay_proxy() as way:
        site.play(story)


def test_an_engine_that_comes_late_is_found(site):
    async def story(node):
        await node.engine.leave()
        await node.start_daemon()
        await node.says("idle")
        node.engine.status = (0, 0.0, NEED_REBOOT, "4081.2.0", 1)
        await node.engine.appear()
        await node.rebooted()

    site.play(story, running=False)


def test_an_engine_that_restarts_while_it_waits_in_line_still_gets_its_reboot(site):
    async def story(node):
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        await node.engine.restart()
        await site.lock.release(rival)
        await node.rebooted()
        await site.is_free()

    site.play(story)


@needs_root
def test_a_wish_of_root_is_kept_whatever_the_engine_says(site):
    async def story(node):
        await node.says("idle")
        rival = await site.lock.take("somebody else")
        assert await node.tool("send-need-reboot") == (0, "")
        await node.says("waiting (slot)")
        node.engine.set(IDLE)
        await node.kill_daemon()
        await node.start_daemon()
        await site.lock.release(rival)
        await node.rebooted()
        await site.is_free()
        await node.says("idle", times=2)

    site.play(story)


@needs_root
def test_a_wish_of_root_that_is_cancelled_gives_its_place_up(site):
    async def story(node):
        await node.says("idle")
        await site.lock.take("somebody else")
        assert await node.tool("send-need-reboot") == (0, "")
        await node.says("waiting (slot)")
        assert await node.tool("cancel") == (0, "cancelled: the request for a reboot is removed\n")
        await node.says("aborting the reboot and releasing its slot: nothing wants a reboot any more")
        await node.says("idle", times=2)

    site.play(story)


@needs_root
@pytest.mark.parametrize("operation", [NEED_REBOOT, "nonsense"])
def test_a_signal_of_an_ordinary_user_is_ignored(site, operation):
    async def story(node):
        await node.says("idle")
        async with node.bus.signal_from(NOBODY, operation):
            await node.says("ignored a StatusUpdate of :")
        assert (await node.tool("send-need-reboot"))[0] == 0
        await node.rebooted()
        assert node.machine.reboots == 1

    site.play(story)


def test_the_bus_comes_after_the_daemon(site):
    async def story(node):
        node.bus.kill()
        await node.start_daemon()
        await node.says("the system bus cannot be reached (No such file or directory); trying again until it works")
        node.bus.start()
        await node.services_return()
        await node.says("idle")
        node.need_reboot("4081.2.0")
        await node.rebooted()

    site.play(story, running=False)


def test_the_bus_is_away_while_it_waits_in_line(site):
    async def story(node):
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        node.bus.kill()
        await node.says("the system bus went away")
        await node.says(
            "aborting the reboot and releasing its slot: update_engine: GetStatus of com.coreos.update1 was not called"
        )
        await node.says("waiting (trigger): update_engine: GetStatus")
        node.bus.start()
        await node.services_return()
        await node.says("waiting (slot)", times=2)
        await site.lock.release(rival)
        await node.rebooted()

    site.play(story)


def test_the_bus_is_away_while_the_machine_goes_down(site):
    """Not a word from logind is no proof that the machine stays up: the slot stays."""

    async def story(node):
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down")
        node.bus.kill()
        await node.says(
            "waiting (stuck): stuck in shutdown: the machine may be going down, logind or systemd does not say"
        )
        assert site.lock.holders == [node.machine_id]
        node.bus.start()
        await node.services_return()
        await node.says("waiting (stuck): stuck in shutdown: the machine is going down; the slot stays")
        node.doubles.logind.end_delay()
        await node.rebooted()
        await site.is_free()
        assert site.lock.story == ["held", "committed", "free"]

    site.play(story, reboot=QUICK)


def test_etcd_is_away_when_the_slot_is_asked_for(site):
    async def story(node):
        await node.says("idle")
        with site.etcd_away():
            node.need_reboot("4081.2.0")
            await node.says("waiting (store): ")
        node.send_signal(signal.SIGHUP)
        await node.rebooted()
        await site.is_free()

    site.play(story)


def test_etcd_is_away_while_one_has_to_give_back_and_another_waits_in_line(site):
    """Nobody wakes them: each tries again until it works."""

    async def story(one, two):
        one.machine.on_reboot = lambda: None
        one.need_reboot("4081.2.0")
        await until(lambda: one.machine.reboots, "logind is asked")
        two.need_reboot("4081.2.0")
        await two.says("waiting (slot)")
        with site.etcd_away():
            await one.reboot()
            await one.says("waiting (store): ")
            assert one.claim["phase"] == "committed"
            await two.says("cannot watch for a free slot")
        await until(lambda: one.claim is None, "the slot is given back")
        await two.rebooted()
        await site.is_free()

    site.play(story, nodes=2)


def test_etcd_is_frozen_in_each_write_and_thaws(site):
    """A write without an answer is undecided: it is done again until it is decided, and done once."""

    async def story(node):
        node.machine.on_reboot = lambda: None
        await node.says("idle")
        with site.etcd_frozen():
            node.need_reboot("4081.2.0")
            await node.says("waiting (store): ")
        node.send_signal(signal.SIGHUP)
        await until(lambda: node.machine.reboots, "logind is asked")
        with site.etcd_frozen():
            await node.reboot()
            await node.says("waiting (store): ", times=2)
        node.send_signal(signal.SIGHUP)
        await site.is_free()
        await node.says("idle", times=2)
        assert site.lock.story == ["held", "committed", "free"]

    site.play(story)


@pytest.mark.parametrize(
    ("handle", "why"),
    [
        (dead_endpoints.answering("<html>Welcome to nginx!</html>"), "no answer of etcd's v3 API"),
        (dead_endpoints.silent, "no answer in time"),
    ],
    ids=["html", "silent"],
)
def test_an_endpoint_that_is_no_etcd_is_a_reason_to_wait(site, handle, why):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (store): ")
        assert f"{site.endpoints[0]}: " in node.said
        assert why in node.said
        assert node.machine.reboots == 0

    with dead_endpoints.endpoint(handle) as url:
        site.endpoints = [url]
        site.play(story)


def test_an_outage_is_one_line_in_the_log_however_often_it_is_tried_again(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("connection refused")
        for _ in range(3):
            await looks_again(node)
        assert node.said.count("waiting (store)") == 1

    site.endpoints = ["http://127.0.0.1:1"]
    site.play(story)


def test_one_endpoint_of_several_is_enough(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await site.is_free()

    with dead_endpoints.endpoint(dead_endpoints.answering("<html>")) as html:
        site.endpoints = ["http://127.0.0.1:1", html, *site.endpoints]
        site.play(story)


async def looks_again(node):
    """Hang up, and wait until that has had its effect."""
    asked = node.engine.asked
    node.send_signal(signal.SIGHUP)
    await until(lambda: node.engine.asked > asked, "it looks again")
