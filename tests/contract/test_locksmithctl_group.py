"""On a machine with a running locksmithd the tool acts on the daemon's group, wherever the daemon has it from."""

import asyncio
import json
import os
import signal

from locksmith.cli.local_daemon import ask_daemon_over
from locksmith.daemon.bus_settings import NAME, PATH
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.library import Variant
from locksmith.host.dbus.messages import Outgoing
from locksmith.host.paths import Paths
from locksmith.host.runfiles import only_daemon
from tests.contract.daemons import CLOSED
from tests.harness.bus import PrivateBus
from tests.harness.waiting import until


async def started(node, says="idle", **environ):
    """Start the daemon with its group in its environment, as thousands of drop-ins have it."""
    node.environ.update(environ)
    await node.start_daemon()
    await node.says(says)


def play(site, story, **changes):
    """Run the story of a node whose file names no group: the daemon's environment does."""

    async def told(node):
        await started(node, LOCKSMITHD_GROUP=site.group)
        await story(node)

    site.play_stopped(told, group="", **changes)


def test_a_reboot_takes_a_slot_of_the_daemons_group_and_waits_while_that_is_taken(site):
    async def story(node):
        other = await site.lock.take("another machine of the group")
        status, said = await node.tool("reboot")
        assert (status, node.reboots) == (1, 0)
        assert "no slot is free" in said or "the wait ended" in said, said
        await site.lock.release(other)
        status, said = await node.tool("reboot")
        assert status == 0
        assert f"holding the lock of group {site.group} for {node.machine_id}" in said
        await node.rebooted()
        await site.is_free()
        assert site.lock.story[-3:] == ["held", "committed", "free"]

    play(site, story)


def test_orders_and_views_are_about_the_daemons_group_and_name_it(site):
    async def story(node):
        await until(lambda: site.node_record(node), "its group is in use, so that an order needs no --yes")
        status, said = await node.tool("freeze", "--reason=stop")
        assert (status, said.startswith(f"group {site.group} is frozen")) == (0, True), said
        assert any(key.endswith("/freeze") for key in site.lock.values())
        for command in (["status"], ["history"], ["nodes"], ["why"], ["set-max", "2"], ["lock"], ["unlock"], ["thaw"]):
            status, said = await node.tool(*command)
            assert status == 0, (command, said)
            assert site.group in said, (command, said)
        assert json.loads((await node.tool("status", "--json"))[1])["group"] == site.group

    play(site, story)


def test_a_window_is_that_of_the_daemons_environment(site):
    async def story(node):
        _, said = await node.tool("window")
        assert f"this machine: {CLOSED['start']} for {CLOSED['length']}" in said, said

    async def told(node):
        await started(node, REBOOT_WINDOW_START=CLOSED["start"], REBOOT_WINDOW_LENGTH=CLOSED["length"])
        await story(node)

    site.play_stopped(told)


def test_a_file_that_changed_after_the_daemons_start_does_not_count_yet(site):
    async def story(node):
        await node.says("idle")
        node.configure(site.settings(group="changed", window={"open": ["Mon 02:00 for 1h"]}))
        assert json.loads((await node.tool("status", "--json"))[1])["group"] == site.group
        assert "at any time" in (await node.tool("window"))[1]

    site.play(story)


def test_a_flag_that_contradicts_the_daemon_is_an_error_for_this_machine_itself(site):
    calls = [(command, "-group=other") for command in ("reboot", "lock", "unlock")]
    calls += [("lock", "-endpoint=http://127.0.0.1:1"), ("lock", "-etcd-api=2")]

    async def story(node):
        for command, flag in calls:
            status, said = await node.tool(flag, command)
            assert (status, len(said.splitlines())) == (2, 1), said
            assert said.startswith(f"Error: -{flag.partition('=')[0]} says ")
            assert "and this machine's locksmithd has" in said
        assert site.lock.key not in site.lock.values()

    play(site, story)


def test_a_variable_that_contradicts_the_daemon_is_an_error_and_elsewhere_a_warning(site):
    async def story(node):
        node.environ["LOCKSMITHCTL_GROUP"] = "other"
        status, said = await node.tool("lock")
        assert status == 2
        assert said.startswith(
            f"Error: LOCKSMITHCTL_GROUP says other, and this machine's locksmithd has group {site.group}"
        )
        status, said = await node.tool("status")
        assert status == 0
        assert "Warning: LOCKSMITHCTL_GROUP says other" in said
        assert "(group other)" in said

    play(site, story)


def test_what_agrees_with_the_daemon_is_no_contradiction(site):
    async def story(node):
        flags = [f"-group={site.group}", f"-endpoint={site.endpoints[0]}", "-etcd-api=3"]
        status, said = await node.tool(*flags, "lock")
        assert status == 0
        assert "Warning" not in said
        assert (await node.tool("-group=another", "unlock", node.machine_id))[0] == 1
        assert (await node.tool("unlock"))[0] == 0

    play(site, story)


def test_a_daemon_without_a_lock_contradicts_no_flag(site):
    async def story(node):
        flags = [f"-group={site.group}", f"-endpoint={site.endpoints[0]}"]
        assert (await node.tool(*flags, "lock"))[0] == 0
        assert site.lock.holders == [node.machine_id]
        assert (await node.tool(*flags, "unlock"))[0] == 0

    async def told(node):
        await started(node)
        await story(node)

    site.play_stopped(told, group="", strategy="reboot", etcd={"endpoints": ["http://127.0.0.1:1"]})


def test_a_daemon_that_gets_another_group_meanwhile_stops_a_reboot_that_waits(site):
    async def story(node):
        other = await site.lock.take("another machine of the group")
        waits = asyncio.ensure_future(node.tool("reboot", "--wait", "--timeout=40s"))
        await until(lambda: node.machine_id in site.lock.waiters, "the tool waits in the queue")
        await node.stop_daemon()
        node.log.unlink()
        await started(node, says="(operator)", LOCKSMITHD_GROUP=f"{site.group}-2")
        await site.lock.release(other)
        status, said = await waits
        assert (status, node.reboots) == (1, 0), said
        assert f"this machine's locksmithd has group {site.group}-2 by now, and not {site.group}" in said
        await site.is_free()

    play(site, story)


async def test_a_daemon_of_an_earlier_version_is_not_guessed_about(tmp_path):
    async def answer(_call):
        return Outgoing("a{sv}", [{"Group": Variant("s", "worker"), "State": Variant("s", "idle")}])

    with PrivateBus() as private, only_daemon(Paths(tmp_path)):
        daemon = SystemBus(private.address)
        daemon.serve(NAME, PATH, answer)
        async with daemon, SystemBus(private.address) as bus:
            found = await ask_daemon_over(bus, Paths(tmp_path))
    assert found.settings is None
    assert "as by another version: `systemctl restart locksmithd`" in found.problem


async def is_not_guessed(site, node, words: str, *commands: list[str]) -> None:
    """What must not guess does nothing; what reads warns; an order needs the name of a group."""
    for command in commands:
        status, said = await node.tool(*command)
        assert status == 1, (command, said)
        assert said.startswith("Error: locksmithd runs on this machine, and its group is not known"), said
        assert words in said
        assert "nothing was done" in said
    assert not [key for key in site.lock.values() if not {"nodes", "members"} & {*key.split("/")}]
    status, said = await node.tool("status")
    assert status == 0
    assert "Warning: locksmithd runs on this machine" in said


def test_a_daemon_that_hangs_is_not_guessed_about(site):
    async def story(node):
        os.kill(node.pid, signal.SIGSTOP)
        try:
            await is_not_guessed(site, node, "was not answered", ["reboot"])
        finally:
            os.kill(node.pid, signal.SIGCONT)

    play(site, story)


def test_a_daemon_without_a_bus_is_not_guessed_about(site):
    async def story(node):
        node.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent"
        orders = [["reboot"], ["lock"], ["unlock"], ["freeze", "--reason=x"], ["set-max", "2"]]
        await is_not_guessed(site, node, "no connection to the system bus", *orders)
        assert (await node.tool(f"-group={site.group}", "freeze", "--reason=x"))[0] == 0

    play(site, story)


def test_a_stopped_daemon_leaves_the_tool_to_the_files(site):
    async def story(node):
        await node.stop_daemon()
        status, said = await node.tool("lock")
        assert (status, site.group in said) == (0, False)
        assert not site.lock.holders
        assert (await node.tool("unlock"))[0] == 0

    play(site, story)
