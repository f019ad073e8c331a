"""locksmithd as a service: what it tells systemd, SIGHUP, and SIGTERM in each state."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.contract.daemons import CLOSED, QUICK
from tests.harness.delay_proxy import commit, release, take
from tests.harness.engine import NEED_REBOOT
from tests.harness.logind import RebootMode
from tests.harness.service_manager import ServiceManager
from tests.harness.waiting import until

STOP_LIMIT = 10.0
"""Seconds: it stops within one; the others are for a machine with much else to do."""

HOLDS_NOTHING = "stopping; this machine holds nothing"
GIVES_UP = "stopping; this machine leaves the queue and holds nothing"
KEEPS = "stopping; this machine keeps its claim of "


async def stops(node, last_words):
    """Send SIGTERM: the end is well, soon, and said."""
    began = time.monotonic()
    node.send_signal(signal.SIGTERM)
    assert await node.ended() == 0
    assert time.monotonic() - began < STOP_LIMIT
    last = node.said.splitlines()[-1]
    assert last_words in last
    return last


def test_stopped_while_idle_it_holds_nothing(site):
    async def story(node):
        await node.says("idle")
        await stops(node, HOLDS_NOTHING)
        assert site.lock.history == []

    site.play(story)


def test_stopped_before_its_window_it_holds_nothing(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        await stops(node, HOLDS_NOTHING)
        assert site.lock.history == []

    site.play(story, window=CLOSED)


def test_stopped_in_line_it_gives_its_place_up(site):
    async def story(node):
        await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await node.says("waiting (slot)")
        await stops(node, GIVES_UP)
        assert node.claim is None
        assert site.lock.holders == ["somebody else"]

    site.play(story)


@pytest.mark.parametrize("step", [take, commit])
def test_stopped_in_a_write_it_keeps_what_it_may_hold_and_goes_on_later(site, step):
    async def story(node):
        held = way.hold(step, answered=True)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the write is under way")
        await stops(node, KEEPS)
        assert site.lock.holders == [node.machine_id]
        held.let_go()
        await node.start_daemon()
        await node.rebooted()
        await site.is_free()

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


def test_stopped_while_etcd_is_frozen_it_waits_for_nobody(site):
    async def story(node):
        await node.says("idle")
        with site.etcd_frozen():
            node.need_reboot("4081.2.0")
            await until(lambda: node.claim, "there is a claim")
            await stops(node, KEEPS)

    site.play(story)


def test_stopped_while_logind_does_not_answer_it_waits_for_nobody(site):
    async def story(node):
        node.machine.mode = RebootMode.LATE
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        await stops(node, KEEPS)
        assert site.lock.holders == [node.machine_id]

    site.play(story)


def test_stopped_while_the_bus_is_frozen_it_waits_for_nobody(site):
    async def story(node):
        await node.says("idle")
        with node.bus.frozen():
            node.send_signal(signal.SIGHUP)
            await stops(node, HOLDS_NOTHING)

    site.play(story)


def test_signals_are_heard_although_the_bus_has_not_answered_yet(site):
    """A hangup that nobody hears would end the daemon."""

    async def story(node):
        with node.bus.frozen():
            await node.start_daemon()
            await until(lambda: hears(node, signal.SIGTERM), "it hears signals")
            node.send_signal(signal.SIGHUP)
            await stops(node, HOLDS_NOTHING)

    site.play(story, running=False)


def test_stopped_while_the_machine_goes_down_it_keeps_the_slot(site):
    async def story(node):
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        await node.says("waiting (rebooting): the machine is going down")
        await stops(node, KEEPS)
        assert site.lock.holders == [node.machine_id]
        assert node.claim["phase"] == "committed"

    site.play(story)


def test_stopped_while_it_gives_back_it_goes_on_with_that_later(site):
    async def story(node):
        held = way.hold(release)
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "the slot is to be given back")
        await stops(node, KEEPS)
        held.let_go()
        await node.start_daemon()
        await site.is_free()
        await until(lambda: node.claim is None, "the journal forgets the claim")

    with site.delay_proxy() as way:
        site.play(story)


def test_stopped_while_etcd_is_away_after_the_reboot_it_keeps_the_slot(site):
    async def story(node):
        node.machine.on_reboot = lambda: None
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        with site.etcd_away():
            await node.reboot()
            await node.says("waiting (store)")
            await stops(node, KEEPS)
        assert site.lock.holders == [node.machine_id]
        await node.start_daemon()
        await site.is_free()

    site.play(story)


def test_a_hangup_has_it_look_again_at_once(site):
    async def story(node):
        await node.says("idle")
        node.engine.status = (0, 0.0, NEED_REBOOT, "4081.2.0", 1)
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story)


def test_hangups_while_it_stops_do_it_no_harm(site):
    async def story(node):
        await node.says("idle")
        node.send_signal(signal.SIGTERM)
        ended = asyncio.ensure_future(node.ended())
        while not ended.done():
            node.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.0005)
        assert ended.result() == 0
        assert node.said.splitlines()[-1].endswith(HOLDS_NOTHING)

    site.play(story)


def test_a_second_daemon_on_the_machine_is_refused(site):
    async def story(node):
        await node.says("idle")
        status, said = await node.run("locksmithd")
        assert status == 1
        assert said.splitlines()[-1].startswith("Error: another locksmithd runs on this machine")
        await stops(node, HOLDS_NOTHING)

    site.play(story)


def test_systemd_is_told_what_it_does_and_why_it_waits(site):
    async def story(node):
        async with told(node) as systemd:
            await until(lambda: "STATUS=idle: nothing wants a reboot" in systemd.told, "it is idle")
            assert systemd.told[0] == "READY=1"
            node.need_reboot("4081.2.0")
            await until(lambda: "waiting (window): outside the reboot window, until" in systemd.status, "it waits")
            await stops(node, HOLDS_NOTHING)
            assert systemd.told[-1] == "STOPPING=1"

    site.play(story, running=False, window=CLOSED)


def test_it_is_ready_although_etcd_is_away_and_a_slot_is_to_be_given_back(site):
    async def story(node):
        await node.start_daemon()
        node.machine.on_reboot = lambda: None
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        await node.stop_daemon()
        with site.etcd_frozen():
            node.paths.boot_id.write_text("another-boot\n")
            node.machine.booted()
            node.engine.set("UPDATE_STATUS_IDLE")
            async with told(node) as systemd:
                await until(lambda: "READY=1" in systemd.told, "it is ready")
                await until(lambda: "STATUS=rebooted and healthy: releasing the slot" in systemd.told, "it gives back")
                await node.stop_daemon()

    site.play(story, running=False)


def test_it_is_ready_although_the_bus_is_away(site):
    async def story(node):
        node.bus.kill()
        async with told(node) as systemd:
            await until(lambda: "READY=1" in systemd.told, "it is ready")
            await stops(node, HOLDS_NOTHING)

    site.play(story, running=False)


def test_the_loop_feeds_the_watchdog_as_often_as_systemd_wants(site):
    async def story(node):
        node.environ["WATCHDOG_USEC"] = "400000"
        async with told(node) as systemd:
            await until(lambda: systemd.told.count("WATCHDOG=1") > 3, "the watchdog is fed while nothing happens")

    site.play(story, running=False)


@asynccontextmanager
async def told(node):
    """Run the daemon as systemd's service, and give what systemd is told."""
    with ServiceManager() as systemd:
        node.environ["NOTIFY_SOCKET"] = systemd.address
        await node.start_daemon()
        yield systemd
        await node.stop_daemon()


def hears(node, number):
    """Whether the daemon has a handler for a signal (proc_pid_status(5))."""
    lines = Path(f"/proc/{node.pid}/status").read_text().splitlines()
    [caught] = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")]
    return caught >> (number - 1) & 1
