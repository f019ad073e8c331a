"""Floods of local users on a bus with the limits of a system bus: none delays a reboot, or harms the daemon."""

import asyncio
import contextlib
import os
import re
import sys
from pathlib import Path

import pytest
from dbus_fast import MessageType

from tests.contract.test_locksmithd_bus import call, caller
from tests.harness import flooder
from tests.harness.polkit import Polkit
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")

NOBODY = 65534
REBOOT_LIMIT = 20.0
"""Seconds until logind is asked, which takes less than one without a flood and other work."""
MOST_GROWN = 32 << 20
"""Bytes that the daemon may grow by in a flood."""
FLOODS = ["request", "introspect", "unasked", "huge", "nested", "signals", "unicast", "fds", "churn"]


@contextlib.asynccontextmanager
async def flood(node, kind, connections=4):
    """Another user's flood."""
    command = [sys.executable, "-m", flooder.__name__, node.bus.address, str(NOBODY), kind, str(connections)]
    process = await asyncio.create_subprocess_exec(
        *command, str(node.pid), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"flooding\n"
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def resident(node):
    pages = int(Path(f"/proc/{node.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(node):
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))


async def is_answered(node):
    """Wait until an honest caller is answered: the daemon starts, and the queue of a flood may have to pass."""
    async with asyncio.timeout(20), caller(node) as bus:
        while (await call(bus, "Triggers")).message_type is not MessageType.METHOD_RETURN:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", FLOODS)
def test_logind_is_asked_for_a_reboot_in_a_flood_and_the_daemon_stays_small(site, kind):
    async def story(node):
        async with Polkit(node.bus.address):
            await node.says("idle")
            size, files = resident(node), open_files(node)
            async with flood(node, kind):
                await asyncio.sleep(1)
                assert resident(node) - size < MOST_GROWN
                assert open_files(node) <= files + 1
                node.need_reboot("4081.2.0")
                await until(lambda: node.machine.reboots, "logind is asked", REBOOT_LIMIT)
            await node.rebooted()
            await is_answered(node)
            assert not re.search("logind|system bus|WARNING (?!too many|ignored)", node.said), node.said
            assert node.said.count("WARNING") < 8, node.said

    site.play(story)
