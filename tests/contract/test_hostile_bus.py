"""Floods of local users on a bus with the limits of a system bus: none delays a reboot, or harms the daemon."""

import asyncio
import contextlib
import os
import pwd
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from locksmith.daemon.bus_service import SHIELD
from locksmith.daemon.bus_settings import INTERFACE, NAME, PATH
from locksmith.host import polkit as polkit_host
from locksmith.host.dbus import bus as system_bus
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.messages import RefusedError
from locksmith.host.polkit import MOST, MOST_OF_ONE
from tests.contract.bus_calls import call, caller
from tests.harness import flooder
from tests.harness.bus import PrivateBus
from tests.harness.dbus import MessageType
from tests.harness.polkit import Polkit
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")

NOBODY = 65534
REBOOT_LIMIT = 30.0
"""Seconds until logind is asked: less than one without a flood, but a flood makes the bus itself slow."""
MOST_GROWN = 32 << 20
"""Bytes that the daemon may grow by in a flood."""
FLOODS = [["request", "signals", "fds"], ["introspect", "unasked", "unicast"], ["huge", "nested", "churn"]]


@contextlib.asynccontextmanager
async def flood(node, kind, connections=2):
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


def most_resident(node):
    """Give the most memory that the daemon ever had, in bytes."""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    return int(peak) << 10


def open_files(node):
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))


async def is_answered(node):
    """Wait until an honest caller is answered: the daemon starts, and the queue of a flood may have to pass."""
    async with asyncio.timeout(20), caller(node) as bus:
        while (await call(bus, "Triggers")).message_type is not MessageType.METHOD_RETURN:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kinds", FLOODS, ids=" ".join)
def test_logind_is_asked_for_a_reboot_in_a_flood_and_the_daemon_stays_small(site, kinds):
    async def story(node):
        async with Polkit(node.bus.address):
            await node.says("idle")
            size, files = most_resident(node), open_files(node)
            async with contextlib.AsyncExitStack() as floods:
                await asyncio.gather(*(floods.enter_async_context(flood(node, kind)) for kind in kinds))
                await asyncio.sleep(1)
                assert most_resident(node) - size < MOST_GROWN
                assert open_files(node) <= files + 1
                node.need_reboot("4081.2.0")
                await until(lambda: node.machine.reboots, "logind is asked", REBOOT_LIMIT)
            await node.rebooted()
            await is_answered(node)
            unexpected = "logind|system bus|WARNING (?!too many|ignored|all etcd.endpoints)"
            assert not re.search(unexpected, node.said), node.said
            assert node.said.count("WARNING") < 8, node.said

    site.play(story)


def test_a_signal_of_megabytes_is_not_kept(site):
    async def story(node):
        await node.says("idle")
        await is_answered(node)
        size = most_resident(node)
        async with node.bus.signal_from(NOBODY, "long"):
            # The answer comes after the signal: both came in by one connection.
            await is_answered(node)
            assert most_resident(node) - size < MOST_GROWN

    site.play(story)


async def request_of(user, node):
    """Ask for a reboot as a user, and give what is said."""
    command = f"dbus-send --bus={node.bus.address} --print-reply --dest={NAME} {PATH} {INTERFACE}.Request string:why"
    process = await asyncio.create_subprocess_exec(
        *command.split(), user=user, group=user, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return said.decode()


def test_few_questions_wait_for_polkit_and_one_more_is_refused_at_once(site):
    async def story(node):
        async with Polkit(node.bus.address) as polkit:
            await node.says("idle")
            async with flood(node, "request", 1):
                await until(lambda: polkit.waiting == MOST_OF_ONE, "polkit is asked")
                said = await request_of(NOBODY, node)
                assert "LimitsExceeded" in said
                # The bus lets nobody in whose user id has no name.
                *users, last = sorted({entry.pw_uid for entry in pwd.getpwall()} - {0, NOBODY})[
                    : MOST - MOST_OF_ONE + 1
                ]
                asking = [asyncio.ensure_future(request_of(user, node)) for user in users]
                await until(lambda: polkit.waiting == polkit.asked == MOST, "polkit is asked for each")
                said = await request_of(last, node)
                assert f"LimitsExceeded: polkit has not answered {MOST} earlier requests yet" in said
                async with caller(node) as bus:
                    reply = await call(bus, "Request", "s", ["root may"])
                    assert reply.message_type is MessageType.METHOD_RETURN
            polkit.answer_all()
            assert all("AccessDenied" in said for said in await asyncio.gather(*asking))
            await node.rebooted()

    site.play(story)


@pytest.mark.parametrize(("allows", "said"), [(True, "method return"), (False, "polkit does not allow")])
def test_what_polkit_says_counts(site, allows, said):
    async def story(node):
        async with Polkit(node.bus.address, allows=allows):
            await node.says("idle")
            assert said in await request_of(NOBODY, node)

    site.play(story, dry_run=True)


def test_a_polkit_that_leaves_without_an_answer_is_a_no(site):
    async def story(node):
        await node.says("idle")
        async with Polkit(node.bus.address) as polkit:
            asking = asyncio.ensure_future(request_of(NOBODY, node))
            await until(lambda: polkit.waiting, "polkit is asked")
            polkit._bus.disconnect()
            assert "only root may ask this, as polkit does not answer" in await asking

    site.play(story, dry_run=True)


async def test_a_question_that_takes_too_long_is_taken_back(monkeypatch):
    monkeypatch.setattr(polkit_host, "ASK_LIMIT", 0.1)

    with PrivateBus() as daemon:
        async with Polkit(daemon.address) as polkit, SystemBus(daemon.address) as bus:
            asks = polkit_host.Polkit(bus)
            for _ in range(2 * MOST):
                with pytest.raises(RefusedError, match=r"CheckAuthorization .* not answered within 0\.1 s"):
                    await asks.allows(":1.99", 1000)
            await until(lambda: not polkit.waiting, "nothing waits any more")


def test_no_user_can_send_the_connection_to_logind_anything(site):
    async def story(node):
        await node.says("idle")
        for kind in ("--type=signal", "--type=method_call --print-reply"):
            command = f"dbus-send --bus={node.bus.address} {kind} --dest={SHIELD} {PATH} a.b.C"
            process = await asyncio.create_subprocess_exec(
                *command.split(), user=NOBODY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            said, _ = await process.communicate()
            assert (b"AccessDenied" in said) == ("method_call" in kind)
        rejected = node.bus.log.read_text().count("Rejected send message")
        assert rejected == 2

    site.play(story)


def test_a_connection_that_is_thrown_off_again_and_again_comes_back_less_often(monkeypatch, caplog):
    monkeypatch.setattr(system_bus, "FIRST_PAUSE", 0.01)
    came: list[float] = []

    async def story():
        with PrivateBus() as daemon:
            bus = SystemBus(daemon.address)
            loop = asyncio.get_running_loop()

            def thrown_off(connected):
                if connected and bus._link is not None:
                    came.append(loop.time())
                    bus._link._wire.close()

            bus.on_change(thrown_off)
            async with bus:
                await until(lambda: len(came) == 7, "it came back six times")

    asyncio.run(story())
    pauses = [after - before for before, after in pairwise(came)]
    assert pauses[-1] > 0.3
    assert sum("went away" in line for line in caplog.messages) == 5
