"""What real programs load. After its READY a daemon loads no module: the disk may be gone, full, or being upgraded.

The same holds for a server, whether etcd was there at its start or not.
A `status` loads what one question to the daemon and one to the store need.
"""

import re
import signal

from tests.contract.daemons import QUICK
from tests.harness.etcd import Etcd, wait_until
from tests.harness.fleetlock_server import FleetLockServer
from tests.harness.waiting import until

BEGINS = "import time: self [us] |"
"""What an interpreter says first of all where it is to name its imports."""
IMPORT = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


def loaded_late(node):
    """Name the modules that its daemons loaded after they had said that they are ready."""
    lives = node.said.split(BEGINS)[1:]
    assert len(lives) > 1
    return {module for life in lives for module in IMPORT.findall(life.partition("idle: nothing wants a reboot")[2])}


def test_a_daemon_loads_nothing_for_a_reboot_or_for_what_goes_wrong_before_it(site):
    async def story(node):
        node.environ["PYTHONPROFILEIMPORTTIME"] = "1"
        hook = node.paths.root / "etc/locksmith/pre-reboot.d/50-fails"
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        await node.start_daemon()
        await node.says("idle: nothing wants a reboot")
        node.need_reboot("4081.2.0")
        await node.says("50-fails")
        hook.unlink()
        await node.rebooted()
        await until(lambda: node.claim is None, "the slot is released")
        assert loaded_late(node) == set()

    site.play(story, running=False, reboot=QUICK)


def test_a_daemon_loads_nothing_while_etcd_is_away_and_at_its_end(site):
    async def story(node):
        node.environ["PYTHONPROFILEIMPORTTIME"] = "1"
        await node.start_daemon()
        await node.says("idle: nothing wants a reboot")
        with site.etcd_away():
            node.need_reboot("4081.2.0")
            await node.says("waiting (store): ")
            node.send_signal(signal.SIGHUP)
            await node.stop_daemon()
        await node.says("stopping")
        await node.start_daemon()
        await node.rebooted()
        assert loaded_late(node) == set()

    site.play(story, running=False)


def test_a_server_that_starts_while_etcd_is_away_loads_nothing_when_that_is_back():
    with Etcd() as etcd:
        etcd.members[0].kill()
        with FleetLockServer(etcd, environ={"PYTHONPROFILEIMPORTTIME": "1"}) as server:
            wait_until(lambda: "serves FleetLock's clients" in server.said, "the server is ready")
            etcd.members[0].start()
            wait_until(lambda: "follows the group 'default'" in server.said, "the server follows its group")
            assert server.pre_reboot("n1", "default") == (200, {})
            late = server.said.partition("serves FleetLock's clients")[2]
        assert IMPORT.findall(late) == []


NOT_FOR_A_LOOK = re.compile(
    r"locksmith\.agent\.(strategy|ports|steps|loop)|locksmith\.lock\.(admin|history|queue\w*|reboot_lock)"
    r"|locksmith\.lock\.records\.(notice|event)|locksmith\.fleet\.(group|phrases)|locksmith\.store\.feed"
    r"|locksmith\.host\.server_client|locksmith\.window\.ical\w*|importlib\.metadata|rich"
)
"""The loop, its strategies, and the queue; the acts of operators; the server's parts; and what reads entry points."""


def test_a_status_beside_a_daemon_loads_no_loop_no_strategy_and_no_queue(site):
    async def story(node):
        node.environ["PYTHONPROFILEIMPORTTIME"] = "1"
        await node.says("idle: nothing wants a reboot")
        status, said = await node.tool("status")
        assert (status, "Available: 1" in said) == (0, True)
        names = IMPORT.findall(said)
        assert "locksmith.daemon.bus_settings" in names  # it has asked the daemon
        assert [name for name in names if NOT_FOR_A_LOOK.fullmatch(name)] == []

    site.play(story)
