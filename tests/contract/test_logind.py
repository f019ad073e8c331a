"""The reboot, and whether one is under way, on a real bus with doubles of logind and systemd."""

import asyncio
import contextlib
import os
from contextlib import asynccontextmanager, contextmanager, nullcontext

import pytest

from locksmith.agent.facts import Boot, ShutdownState
from locksmith.agent.permit import until as until_time
from locksmith.errors import HostError, RebootRefusedError, RebootUnknownError
from locksmith.host import logind as module
from locksmith.host.boot import read_boot
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.logind import Logind
from locksmith.host.paths import Paths
from tests.harness.bus import PrivateBus
from tests.harness.dbus import Message
from tests.harness.logind import LOGIND, SYSTEMD, LogindAndSystemd, RebootMode, shutdown_job
from tests.harness.waiting import until


@pytest.fixture
def daemon():
    with PrivateBus() as bus:
        yield bus


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "REBOOT_LIMIT", 0.2)


@asynccontextmanager
async def machine(daemon, mode=RebootMode.OBEY):
    """Doubles, and what locksmith makes of them."""
    bus = SystemBus(daemon.address)
    logind = Logind(bus)
    async with LogindAndSystemd(daemon.address) as doubles, bus:
        doubles.machine.mode = mode
        yield doubles, logind


async def test_a_reboot_that_is_obeyed(daemon):
    async with machine(daemon) as (doubles, logind):
        downs: list[str] = []
        doubles.machine.on_reboot = lambda: downs.append("down")
        assert await logind.shutdown_state() is ShutdownState.RUNNING
        await logind.reboot(nullcontext)
        assert downs == ["down"]
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN


async def test_the_beginning_and_the_end_of_a_shutdown_wake(daemon):
    wakes: list[str] = []
    bus = SystemBus(daemon.address)
    logind = Logind(bus)
    logind.listen(lambda: wakes.append("wake"))
    async with LogindAndSystemd(daemon.address) as doubles, bus:
        doubles.machine.mode = RebootMode.FIZZLE
        await logind.reboot(nullcontext)
        await until(lambda: len(wakes) == 1, "its beginning wakes")
        doubles.logind.end_delay()
        await until(lambda: len(wakes) == 2, "its end wakes")


async def test_a_refusal_has_loginds_own_words_and_nothing_happens(daemon):
    async with machine(daemon, RebootMode.REFUSE) as (_, logind):
        with pytest.raises(RebootRefusedError, match="logind refused the reboot: backup: weekly backup runs"):
            await logind.reboot(nullcontext)
        assert await logind.shutdown_state() is ShutdownState.RUNNING


async def test_a_refusal_because_a_shutdown_is_under_way_is_no_promise_to_stay_up(daemon):
    async with machine(daemon, RebootMode.BUSY) as (_, logind):
        with pytest.raises(RebootUnknownError, match="a shutdown in progress"):
            await logind.reboot(nullcontext)


@pytest.mark.parametrize("mode", [RebootMode.SILENT, RebootMode.VANISH])
async def test_a_lost_reply_may_be_a_reboot(daemon, mode):
    async with machine(daemon, mode) as (_, logind):
        with pytest.raises(RebootUnknownError, match=r"logind was asked for the reboot: Reboot of .* not answered"):
            await logind.reboot(nullcontext)


async def test_a_late_reply_is_unknown_first_and_a_reboot_then(daemon):
    async with machine(daemon, RebootMode.LATE) as (doubles, logind):
        with pytest.raises(RebootUnknownError):
            await logind.reboot(nullcontext)
        assert await logind.shutdown_state() is ShutdownState.RUNNING
        doubles.logind.release.set()
        await until(lambda: doubles.machine.preparing, "logind obeys after all")
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN


async def test_an_order_that_comes_too_late_is_never_sent(daemon):
    async with machine(daemon) as (doubles, logind):
        with pytest.raises(RebootRefusedError, match="the order to reboot comes 3 s late, so it was not sent"):
            await logind.reboot(until_time(asyncio.get_running_loop().time() - 3))
        assert await logind.shutdown_state() is ShutdownState.RUNNING
        await logind.reboot(until_time(asyncio.get_running_loop().time() + 3))
        assert doubles.machine.reboots == 1


async def test_the_permit_is_asked_after_every_wait_and_held_while_the_order_is_sent(daemon):
    """Whatever else takes the loop's time between the call and the send comes before the last look."""

    async with machine(daemon) as (_, logind):
        ready: list[str] = []

        @contextmanager
        def permit():
            ready.append("asked")
            asyncio.get_running_loop().call_soon(ready.append, "a turn of the loop")
            yield
            ready.append("sent")

        await logind.reboot(permit)
        assert ready == ["asked", "sent", "a turn of the loop"]


async def test_an_order_that_the_bus_does_not_take_at_once_is_not_sent_later(daemon):
    """A bus that stands still reads nothing: its socket is full, and what comes then waits in this process."""

    async with machine(daemon) as (doubles, logind):
        with daemon.frozen():
            fill_socket(logind._bus)
            with pytest.raises(RebootRefusedError, match="takes no more"):
                await logind.reboot(nullcontext)
        async with asyncio.timeout(20):  # a new connection is made, and the bus works off what it was sent
            while await logind.shutdown_state() is not ShutdownState.RUNNING:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        assert doubles.machine.reboots == 0


def fill_socket(bus: SystemBus) -> None:
    """Write into the connection until the kernel takes no more."""
    assert bus._link is not None
    assert bus._link._wire._transport is not None
    number = bus._link._wire._transport.get_extra_info("socket").fileno()
    signal = bytes(Message.new_signal("/x", "org.example.X", "X", "s", ["x" * 1000])._marshall(False))
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(number, signal)


async def test_a_bus_that_dies_while_logind_thinks_may_be_a_reboot(daemon):
    async with machine(daemon, RebootMode.SILENT) as (doubles, logind):
        call = asyncio.create_task(logind.reboot(nullcontext))
        await until(lambda: doubles.machine.reboots, "logind is asked")
        daemon.kill()
        with pytest.raises(RebootUnknownError):
            await call
        with pytest.raises(RebootRefusedError, match="no connection to the system bus"):
            await logind.reboot(nullcontext)
        assert await logind.shutdown_state() is ShutdownState.UNKNOWN


async def test_without_logind_the_reboot_is_refused_and_the_state_unknown(daemon):
    async with machine(daemon) as (doubles, logind):
        await doubles.leave(LOGIND)
        with pytest.raises(RebootRefusedError):
            await logind.reboot(nullcontext)
        assert await logind.shutdown_state() is ShutdownState.UNKNOWN


async def test_a_delayed_reboot_is_under_way_all_the_time(daemon):
    async with machine(daemon, RebootMode.DELAY) as (doubles, logind):
        await logind.reboot(nullcontext)
        assert doubles.machine.system_state == "running"
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN
        doubles.logind.end_delay()
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN


async def test_a_reboot_that_comes_to_nothing_ends_as_running(daemon):
    async with machine(daemon, RebootMode.FIZZLE) as (doubles, logind):
        await logind.reboot(nullcontext)
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN
        doubles.logind.end_delay()
        assert await logind.shutdown_state() is ShutdownState.RUNNING


@pytest.mark.parametrize(
    ("says", "state"),
    [
        ({}, ShutdownState.RUNNING),
        ({"system_state": "degraded"}, ShutdownState.RUNNING),
        ({"preparing": True}, ShutdownState.GOING_DOWN),
        ({"system_state": "stopping"}, ShutdownState.GOING_DOWN),
        ({"system_state": "unknown"}, ShutdownState.UNKNOWN),
        ({"system_state": "unknown", "preparing": True}, ShutdownState.GOING_DOWN),
        ({"jobs": [shutdown_job("nginx.service")]}, ShutdownState.RUNNING),
        ({"jobs": [shutdown_job("nginx.service"), shutdown_job("poweroff.target")]}, ShutdownState.GOING_DOWN),
        ({"jobs": [shutdown_job("systemd-reboot.service")]}, ShutdownState.GOING_DOWN),
        ({"jobs": [shutdown_job("shutdown.target", "stop")]}, ShutdownState.RUNNING),
    ],
)
async def test_one_that_says_down_is_enough_and_up_takes_all_three(daemon, says, state):
    async with machine(daemon) as (doubles, logind):
        vars(doubles.machine).update(says)
        assert await logind.shutdown_state() is state


async def test_a_silent_systemd_does_not_hide_what_logind_says(daemon):
    async with machine(daemon) as (doubles, logind):
        await doubles.leave(SYSTEMD)
        assert await logind.shutdown_state() is ShutdownState.UNKNOWN
        doubles.machine.preparing = True
        assert await logind.shutdown_state() is ShutdownState.GOING_DOWN


async def test_a_soft_reboot_is_another_boot_with_the_same_boot_id(daemon, tmp_path):
    paths = a_machine(tmp_path)

    async with LogindAndSystemd(daemon.address) as doubles, SystemBus(daemon.address) as bus:
        doubles.machine.userspace_since = 4_200_000
        assert await read_boot(paths, bus) == Boot("b0071d", 4_200_000)
        doubles.machine.userspace_since = 9_900_000
        assert await read_boot(paths, bus) == Boot("b0071d", 9_900_000)


async def test_a_systemd_that_runs_and_is_not_on_the_bus_leaves_the_boot_unknown(daemon, tmp_path):
    paths = a_machine(tmp_path)

    async with SystemBus(daemon.address) as bus:
        assert await read_boot(paths, bus) == Boot("b0071d")
        paths.systemd_booted.mkdir(parents=True)
        with pytest.raises(HostError, match=r"UserspaceTimestampMonotonic of org.freedesktop.systemd1"):
            await read_boot(paths, bus)


@pytest.mark.parametrize(("content", "sentence"), [(None, "No such file"), ("\n", "is empty")])
async def test_a_boot_id_that_is_not_there_is_said(daemon, tmp_path, content, sentence):
    paths = a_machine(tmp_path, content)

    async with SystemBus(daemon.address) as bus:
        with pytest.raises(HostError, match=f"the boot id {paths.boot_id} .*{sentence}"):
            await read_boot(paths, bus)


def a_machine(root, boot_id="b0071d\n"):
    paths = Paths(root)
    paths.boot_id.parent.mkdir(parents=True)
    if boot_id is not None:
        paths.boot_id.write_text(boot_id)
    return paths
