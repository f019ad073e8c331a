"""Which machine a container of the image sees, by a real bus: its systemd's machine id, and the pids of the bus."""

import os
from pathlib import Path

import pytest

from locksmith.errors import HostError
from locksmith.host.container import MACHINE_ID, ContainerCheck
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.machine import RealMachine
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from tests.harness.bus import PrivateBus
from tests.harness.logind import LogindAndSystemd
from tests.harness.waiting import until


@pytest.fixture
def daemon():
    with PrivateBus() as bus:
        yield bus


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A container whose machine has the same files as itself."""
    paths = Paths(tmp_path)
    for file, text in ((paths.image_mark, "0.1.0\n"), (paths.boot_id, "0f\n"), (paths.machine_id, f"{'0' * 32}\n")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    paths.machine_root.symlink_to(".")
    paths.state.mkdir(parents=True)
    paths.run.mkdir(parents=True)
    return paths


async def test_a_container_that_sees_its_machine_tells_its_boot(daemon, paths):
    bus = SystemBus(daemon.address)
    async with LogindAndSystemd(daemon.address), bus:
        await same_machine(bus, paths)
        assert (await RealMachine(bus, paths).boot()).boot_id == "0f"


async def test_a_machine_id_that_is_not_the_one_of_its_systemd_is_refused(daemon, paths):
    bus = SystemBus(daemon.address)
    async with LogindAndSystemd(daemon.address), bus:
        machine = RealMachine(bus, paths)
        with pytest.raises(HostError, match=f"has the machine id {'0' * 32}, and the systemd on its bus has "):
            await machine.boot()
        await same_machine(bus, paths)
        await machine.boot()


async def test_pids_of_its_own_are_refused(daemon, paths, monkeypatch):
    bus = SystemBus(daemon.address)
    async with LogindAndSystemd(daemon.address), bus:
        await same_machine(bus, paths)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(HostError, match=r"this process is 1, and \d+ for the bus.*--pid=host.*hostPID"):
            await ContainerCheck(paths, bus).check()


async def test_another_bus_is_asked_again(daemon, paths):
    bus = SystemBus(daemon.address)
    check = ContainerCheck(paths, bus)
    async with bus:
        async with LogindAndSystemd(daemon.address):
            await same_machine(bus, paths)
            await check.check()
        paths.machine_id.write_text(f"{'1' * 32}\n")
        await check.check()  # the connection is the same, so it is not asked each time
        daemon.restart()
        async with LogindAndSystemd(daemon.address):
            await until(lambda: bus.connected, "the bus is connected again")
            with pytest.raises(HostError, match="has the machine id 1111"):
                await check.check()


async def test_a_bus_without_systemd_is_refused(daemon, paths):
    async with SystemBus(daemon.address) as bus:
        with pytest.raises(HostError, match=r"GetMachineId of org\.freedesktop\.systemd1"):
            await ContainerCheck(paths, bus).check()


async def test_hooks_of_the_image_run_in_the_container_and_not_in_units_of_the_machine(daemon, paths):
    paths.systemd_booted.mkdir(parents=True)
    hook = paths.program_folders("pre-reboot")[0] / "50-note"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\necho ran > {paths.root}/note\n")
    hook.chmod(0o755)
    async with SystemBus(daemon.address) as bus:  # where no systemd answers
        programs = Programs(paths, bus, limit=20)
        assert await programs.run("pre-reboot", "name", {}) == []
        [child] = programs._children
        child.wait(20)
    assert (paths.root / "note").read_text() == "ran\n"


async def same_machine(bus: SystemBus, paths: Paths) -> None:
    [there] = await bus.call(MACHINE_ID)
    paths.machine_id.write_text(f"{there}\n")
