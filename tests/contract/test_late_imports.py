"""After its READY a daemon loads no module: the disk it would come from may be gone, full, or being upgraded."""

import re
import signal

from tests.contract.daemons import QUICK
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
