"""locksmithd as a process: a whole reboot, by each strategy."""

import time

from tests.harness.waiting import until


def test_asked_for_a_reboot_a_node_takes_commits_reboots_and_gives_back(site):
    async def story(node):
        t=time.monotonic()
        await node.says("idle")
        print("start", time.monotonic()-t)
        node.need_reboot("2.0")
        await node.rebooted()
        await node.says("rebooted")
        await until(lambda: not site.lock.holders, "the slot is given back")
        await node.says("idle", times=2)
        print(node.said)
        print(site.lock.history)
        me = node.machine_id
        assert [moment.holders for moment in site.lock.history] == [[me], [me], []]
        assert [moment.states for moment in site.lock.history] == [{me: "held"}, {me: "committed"}, {}]

    site.play(story)
