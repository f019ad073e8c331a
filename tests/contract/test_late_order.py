"""Whatever stands still between a commit and its order: no order to reboot comes when the slot may be another's.

Real locksmithd, etcd and dbus-daemon. After the commit the daemon looks at everything once more. What it asks last, the
jobs of systemd, is not answered: there it is stopped, or suspended, or its bus is.
"""

import asyncio
import contextlib
import signal

from tests.contract.daemons import QUICK
from tests.harness.delay_proxy import commit
from tests.harness.suspend import Suspend
from tests.harness.waiting import until

FRESH = 10.0
"""Seconds after which a commit is too old."""


@contextlib.asynccontextmanager
async def about_to_order(node, way):
    """Have the daemon pass its point of no return, and stop before its order until this ends."""
    held = way.hold(commit, answered=True)
    node.need_reboot("4081.2.0")
    await until(lambda: held.arrived, "the commit reaches etcd")
    node.machine.hold_jobs, asked = asyncio.Event(), node.machine.asked_for_jobs
    held.let_go()
    await until(lambda: node.machine.asked_for_jobs > asked, "it looks once more")
    try:
        yield
    finally:
        node.machine.hold_jobs.set()


async def loses_its_slot(site, node):
    """Free the slot as an operator does who takes the machine for lost, and let another have it."""
    status, said = await node.tool(f"-group={site.group}", "unlock", "--force", node.machine_id)
    assert status == 0, said
    return await site.lock.take("another machine")


async def comes_too_late(site, node, rival):
    node.engine.emit()
    await node.says("aborting the reboot and releasing its slot")
    await node.says("waiting (slot)")
    assert node.machine.reboots == 0
    assert "the point of no return was passed" in node.said
    assert site.lock.holders == ["another machine"]
    await site.lock.release(rival)
    await node.rebooted()
    assert node.machine.reboots == 1


def test_a_bus_that_stands_still_until_another_has_the_slot_gets_no_order(site):
    async def story(node):
        async with about_to_order(node, way):
            with node.bus.frozen():
                rival = await loses_its_slot(site, node)
                await asyncio.sleep(FRESH)
        await comes_too_late(site, node, rival)

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


def test_a_bus_that_is_gone_until_another_has_the_slot_gets_no_order(site):
    async def story(node):
        async with about_to_order(node, way):
            node.bus.kill()
            rival = await loses_its_slot(site, node)
            await asyncio.sleep(FRESH)
        node.bus.start()
        await node.services_return()
        await comes_too_late(site, node, rival)

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


def test_a_daemon_that_is_stopped_until_another_has_the_slot_orders_nothing(site):
    async def story(node):
        async with about_to_order(node, way):
            node.send_signal(signal.SIGSTOP)
        rival = await loses_its_slot(site, node)
        await asyncio.sleep(FRESH)
        node.send_signal(signal.SIGCONT)
        await comes_too_late(site, node, rival)

    with site.delay_proxy() as way:
        site.play(story, reboot=QUICK)


def test_a_suspend_between_commit_and_order_counts(site, tmp_path):
    """CLOCK_MONOTONIC stands still in a suspend, so by that clock the commit was made a moment ago."""
    suspend = Suspend(tmp_path / "suspend")

    async def story(node):
        node.environ = suspend.environ
        await node.start_daemon()
        async with about_to_order(node, way):
            node.send_signal(signal.SIGSTOP)
        rival = await loses_its_slot(site, node)
        suspend.passes(3600)
        node.send_signal(signal.SIGCONT)
        await comes_too_late(site, node, rival)

    with site.delay_proxy() as way:
        site.play_stopped(story, reboot=QUICK)
