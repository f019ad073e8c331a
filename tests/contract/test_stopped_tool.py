"""`locksmithctl` that is stopped while it holds a slot, or waits for one: real locksmithd, etcd and dbus-daemon.

The daemon is told that a minute has passed (tests/harness/suspend.py): only then does it take the tool for stopped.
"""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.contract.daemons import QUICK
from tests.harness.delay_proxy import commit
from tests.harness.node import BIN
from tests.harness.suspend import Suspend
from tests.harness.waiting import until

LIMIT = 20.0
ABORTED = "this program stood still for a while, and locksmithd aborted what it had begun"


@contextlib.asynccontextmanager
async def called(node, *args, **environ):
    """Run the tool beside the test."""
    process = await asyncio.create_subprocess_exec(
        BIN / "locksmithctl",
        *args,
        env={**node.environment, "PYTHONPATH": "", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process) -> tuple[int, str]:
    said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    return process.returncode, said.decode()


def is_stopped(process) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def stop(process) -> None:
    process.send_signal(signal.SIGSTOP)
    await until(lambda: is_stopped(process), "it is stopped")


async def time_passes(node, suspend) -> None:
    """Have the daemon find that the tool's last heartbeat was long ago, twice."""
    for seconds in (60, 10):
        suspend.passes(seconds)
        node.engine.emit()
        await asyncio.sleep(0.5)
    await node.says("taking its claim over")


@pytest.fixture
def suspend(tmp_path):
    return Suspend(tmp_path / "suspend")


async def started(node, suspend) -> None:
    node.environ = suspend.environ
    await node.start_daemon()
    await node.says("idle")


def test_a_reboot_that_is_stopped_with_a_slot_in_hand_loses_it_and_says_so(site, suspend):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        await started(node, suspend)
        async with called(node, "reboot") as tool:
            await until(lambda: node.machine.scheduled, "the users are warned", LIMIT)
            assert site.lock.holders == [node.machine_id]
            await stop(tool)
            await time_passes(node, suspend)
            await site.is_free()
            rival = await site.lock.take("another machine")
            tool.send_signal(signal.SIGCONT)
            status, said = await ended(tool)
        assert (status, ABORTED in said) == (1, True), said
        assert node.machine.reboots == 0
        assert site.lock.holders == ["another machine"]
        await until(lambda: node.claim is None, "the journal forgets the claim")
        await site.lock.release(rival)

    site.play_stopped(story, reboot=QUICK, sessions={"grace": "3s"})


def test_a_reboot_that_is_stopped_after_its_commit_loses_its_slot_and_orders_nothing(site, suspend):
    async def story(node):
        await started(node, suspend)
        async with called(node, "reboot") as tool:
            held = way.hold(commit, answered=True)
            await until(lambda: held.arrived, "the commit reaches etcd", LIMIT)
            await stop(tool)
            held.let_go()
            await time_passes(node, suspend)
            await site.is_free()
            rival = await site.lock.take("another machine")
            tool.send_signal(signal.SIGCONT)
            status, said = await ended(tool)
        assert (status, "not rebooting" in said) == (1, True), said
        assert node.machine.reboots == 0
        assert site.lock.holders == ["another machine"]
        await site.lock.release(rival)

    with site.delay_proxy() as way:
        site.play_stopped(story, reboot=QUICK)


def test_a_reboot_that_is_stopped_in_the_queue_leaves_it_and_takes_nothing_later(site, suspend):
    async def story(node):
        rival = await site.lock.take("another machine")
        await started(node, suspend)
        async with called(node, "reboot", "--wait") as tool:
            await until(lambda: site.lock.waiters, "it waits", LIMIT)
            await stop(tool)
            await time_passes(node, suspend)
            await until(lambda: not site.lock.waiters, "its place is given up", LIMIT)
            await site.lock.release(rival)
            tool.send_signal(signal.SIGCONT)
            status, said = await ended(tool)
        assert (status, ABORTED in said) == (1, True), said
        assert node.machine.reboots == 0
        assert site.lock.holders == []

    site.play_stopped(story, reboot=QUICK)


@pytest.mark.parametrize("args", [("reboot", "--wait"), ("lock", "--wait")], ids=" ".join)
def test_ctrl_z_does_not_stop_what_waits_for_a_slot(site, args):
    async def story(node):
        rival = await site.lock.take("another machine")
        async with called(node, *args) as tool:
            await until(lambda: site.lock.waiters, "it waits", LIMIT)
            tool.send_signal(signal.SIGTSTP)
            tool.send_signal(signal.SIGINT)
            status, said = await ended(tool)
        assert (status, "not stopped: others would wait" in said) == (130, True), said
        assert site.lock.waiters == []
        assert site.lock.holders == ["another machine"]
        await site.lock.release(rival)

    site.play(story)


def test_without_a_daemon_the_next_reboot_names_the_one_that_stands_still(site, suspend):
    async def story(node):
        rival = await site.lock.take("another machine")
        async with called(node, "reboot", "--wait") as tool:
            await until(lambda: site.lock.waiters, "it waits", LIMIT)
            await stop(tool)
            suspend.passes(60)
            async with called(node, "reboot", **suspend.environ) as second:
                status, said = await ended(second)
            assert status == 1
            assert f"(pid {tool.pid}) has stood still for" in said
            assert f"`kill -KILL {tool.pid}` ends it" in said
            tool.kill()
            await tool.wait()
        await site.lock.release(rival)
        status, said = await node.tool("reboot")
        assert status == 0, said
        assert node.machine.reboots == 1

    site.play_stopped(story, reboot=QUICK)
