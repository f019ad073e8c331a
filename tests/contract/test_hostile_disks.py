"""What disks do to machines: rolled back, emptied, copied, full; and a machine that has no bus to look at itself."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from locksmith.host.paths import Paths
from tests.contract.daemons import Site
from tests.contract.programs import program
from tests.harness.engine import NEED_REBOOT
from tests.harness.full_disk import fill, make_read_only, make_room, own_disk
from tests.harness.node import Node
from tests.harness.waiting import until

UPDATE = "4081.2.0"
WANTED = (0, 0.0, NEED_REBOOT, UPDATE, 0)


def firmware(node: Node, uuid: str) -> None:
    """Give the node a firmware with an id, as virtual machines and servers have it."""
    path = node.paths.root / "sys/class/dmi/id/product_uuid"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(uuid)


def play_with_firmware(site: Site, story: Callable[..., Awaitable[None]], *names: str) -> None:
    """Run a story of nodes that each have a firmware of their own."""

    async def scene() -> None:
        async with AsyncExitStack() as stack:
            nodes = [site.node(name, running=False) for name in names]
            for number, node in enumerate(nodes):
                firmware(node, f"8c5a2a2e-5f0e-4a0e-9b51-0d8e0a4b8a1{number}")
                await stack.enter_async_context(node)
                await node.start_daemon()
            await story(*nodes)

    asyncio.run(asyncio.wait_for(scene(), 60))


def replace_state(node: Node, by: Path | None) -> None:
    """Have /var/lib/locksmith be as it was saved, or empty."""
    shutil.rmtree(node.paths.state, ignore_errors=True)
    if by is not None:
        shutil.copytree(by, node.paths.state)


async def acts(node: Node, *command: str) -> str:
    status, said = await node.tool(*command)
    assert status == 0, f"{said}\n{node.said}"
    return said


def test_a_disk_that_was_rolled_back_behind_the_commit_halts_and_does_not_loop(site):
    """A snapshot of before the reboot, /var and all, and the same update is offered again."""

    async def story(first, second):
        saved = first.paths.root / "snapshot"
        program(first, "pre-reboot.d/10-snapshot", f"cp -a {first.paths.state} {saved}")

        def roll_back() -> None:
            replace_state(first, saved)
            first.engine.status = WANTED

        first.while_off = roll_back
        first.need_reboot(UPDATE)
        await first.rebooted()
        await first.says("failed: it has rebooted, and its disk is of before that")
        second.need_reboot(UPDATE)
        await second.says("waiting (halt)")
        assert site.lock.record["state"] == "failed"
        assert site.lock.holders == [first.machine_id]
        assert "rolled back" in await acts(second, "why", "n1")

        await acts(second, "resume", "--reason", "the snapshot is gone")
        await second.rebooted()
        await site.is_free()
        await first.says("waiting (repeated)")
        assert first.reboots == 1

    site.play(story, nodes=2)


def test_a_machine_that_forgets_every_reboot_does_not_loop(site):
    """Its group remembers what it rebooted for, until an operator says `recheck`."""

    async def story(node):
        node.need_reboot(UPDATE)
        await node.rebooted()
        await site.is_free()
        await node.says("idle")

        def forget() -> None:
            replace_state(node, None)
            node.engine.status = WANTED

        node.while_off = forget
        site.reachable = False  # a reboot by hand, or by a power cut, asks nobody
        await node.reboot()
        site.reachable = True
        await node.says(f"waiting (repeated): it has rebooted for update {UPDATE} already")
        assert (node.reboots, site.lock.holders) == (2, [])
        await acts(node, "recheck")
        await node.rebooted(3)

    play_with_firmware(site, story, "n1")


def test_a_machine_that_lost_its_state_behind_the_commit_is_an_incident(site):
    """Its journal names no claim, so only an operator can release the slot; the others stop until one has looked."""

    async def story(first, second):
        await site.lock.set_max(2)
        first.while_off = lambda: replace_state(first, None)
        first.need_reboot(UPDATE)
        await first.rebooted()
        await first.says("idle")
        second.need_reboot(UPDATE)
        await second.says("waiting (halt)")
        assert "n1 is orphaned" in second.said
        assert "does not know its claim any more" in await acts(second, "why", "n1")
        assert "ORPHANED" in await acts(second, "nodes")
        await acts(second, "resume", "--reason", "seen")
        await second.rebooted()
        await until(lambda: site.lock.holders == [first.machine_id], "the other gives its slot back")
        await acts(second, "unlock", "--force", first.machine_id)
        await site.is_free()
        assert "has this machine's id" not in first.said  # its last boot is no clone

    play_with_firmware(site, story, "n1", "n2")


def test_a_machine_that_lost_its_state_behind_an_operators_reboot_is_an_incident_too(site):
    async def story(first, second):
        await site.lock.set_max(2)
        await first.says("idle")
        first.while_off = lambda: replace_state(first, None)
        await acts(first, "reboot", "--reason", "new kernel")
        await first.rebooted()
        await first.says("idle", times=2)
        for _ in range(50):
            if "ORPHANED" in await acts(second, "nodes"):
                break
        second.need_reboot(UPDATE)
        await second.says("waiting (halt)")
        assert "n1 is orphaned" in second.said
        await acts(second, "unlock", "--force", first.machine_id)
        await second.rebooted()
        await site.is_free()

    play_with_firmware(site, story, "n1", "n2")


def test_the_copy_of_a_disk_does_not_release_the_slot_of_the_original(site):
    """A clone of a virtual machine, made while it holds its slot: another firmware, the same everything else."""

    async def scene() -> None:
        original, copy = site.node("n1", running=False), site.node("n2", running=False)
        drained = original.paths.root / "drained"
        program(original, "pre-reboot.d/10-drain", f"while ! [ -e {drained} ]; do sleep 0.1; done")
        async with AsyncExitStack() as stack:
            for number, node in enumerate((original, copy)):
                firmware(node, f"8c5a2a2e-5f0e-4a0e-9b51-0d8e0a4b8a1{number}")
                await stack.enter_async_context(node)
            await original.start_daemon()
            original.need_reboot(UPDATE)
            await original.says("the hooks before the reboot run")
            copy.paths.machine_id.write_text(f"{original.machine_id}\n")
            (copy.paths.root / "etc/hostname").write_text("n1\n")
            replace_state(copy, original.paths.state)
            await copy.start_daemon()
            await copy.says("has this machine's id")
            await copy.says("idle")
            assert site.lock.holders == [original.machine_id]
            assert (copy.paths.state / "journal.of-another-machine.json").exists()
        drained.touch()  # a hook outlives its daemon

    asyncio.run(asyncio.wait_for(scene(), 60))


@pytest.mark.parametrize("spoil", [fill, make_read_only], ids=["full", "read-only"])
def test_a_sick_machine_whose_disk_takes_no_write_is_reported_and_halts_the_others(site, spoil):
    async def story(first, second):
        with own_disk(first.paths.state):

            def come_up_sick() -> None:
                spoil(first.paths.state)
                first.machine.failed_units = ["web.service"]

            first.while_off = come_up_sick
            first.need_reboot(UPDATE)
            await first.rebooted()
            await until(lambda: site.lock.record["state"] == "unhealthy", "it is reported")
            second.need_reboot(UPDATE)
            await second.says("waiting (halt)")
            assert "web.service" in await acts(second, "why", "n1")
            assert site.lock.holders == [first.machine_id]

    site.play(story, nodes=2, health={"limit": "1s", "units": ["web.service"]})


def test_a_machine_without_its_bus_is_reported_and_halts_the_others(site):
    async def story(first, second):
        first.while_off = lambda: first.environ.update(DBUS_SYSTEM_BUS_ADDRESS="unix:path=/no/bus/here")
        first.need_reboot(UPDATE)
        await first.rebooted()
        await until(lambda: site.lock.record["state"] == "unhealthy", "it is reported")
        assert "cannot be examined" in site.lock.record["failure"]
        second.need_reboot(UPDATE)
        await second.says("waiting (halt)")
        assert "n1" in await acts(second, "nodes")

    site.play(story, nodes=2, health={"limit": "1s"})


def test_a_disk_that_fills_up_behind_the_take_keeps_no_slot(site):
    async def story(node):
        with own_disk(node.paths.state):
            program(node, "pre-reboot.d/10-fill", f"dd if=/dev/zero of={node.paths.state}/ballast bs=4k; true")
            program(node, "abort-reboot.d/10-undo", f"touch {node.paths.root}/undone")
            node.need_reboot(UPDATE)
            await until(lambda: site.lock.holders == [node.machine_id], "it holds a slot")
            await site.is_free(50)
            assert (node.paths.root / "undone").exists()
            assert node.reboots == 0
            (node.paths.root / "etc/locksmith/pre-reboot.d/10-fill").unlink()
            make_room(node.paths.state)
            await node.rebooted()

    site.play(story)


def test_the_paths_of_a_machine_are_below_its_root():
    """Else these stories would read the firmware of the machine that they run on."""
    assert Paths(Path("/n1")).product_uuid == Path("/n1/sys/class/dmi/id/product_uuid")
