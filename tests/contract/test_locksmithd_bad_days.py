"""Daemons on a bad day: what says "not now", hooks that fail, machines that come up sick, and operators who step in."""

import asyncio
import os
import signal
from itertools import count

import pytest

from locksmith.lock.records import keys
from locksmith.store.connect import open_store
from tests.contract.daemons import QUICK
from tests.contract.programs import BACKUP, program
from tests.harness.node import Node
from tests.harness.waiting import until


def remembers(node: Node, name: str) -> str:
    """A line of shell that notes that a hook ran, and what it was told."""
    return f'echo "{name} $LOCKSMITH_VERSION $LOCKSMITH_GROUP" >> {node.paths.root}/hooks.log'


def ran(node: Node) -> list[str]:
    """Which hooks have run, in their order."""
    file = node.paths.root / "hooks.log"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("mode", ["block", "block-weak"])
def test_a_block_inhibitor_holds_the_reboot_back_and_says_who_and_why(site, mode):
    async def story(node):
        node.machine.inhibitors = [(*BACKUP[:3], mode, *BACKUP[4:])]
        node.need_reboot("4081.2.0")
        await node.says("waiting (inhibitor): shutdown is blocked by backup (pid 4711, uid 0): the weekly backup runs")
        assert site.lock.holders == []
        node.machine.inhibitors = [("shutdown", "kubelet", "graceful", "delay", 0, 1)]
        node.engine.emit()
        await node.rebooted()

    site.play(story)


def test_logind_that_would_not_reboot_is_a_no(site):
    async def story(node):
        node.machine.can_reboot = "no"
        node.need_reboot("4081.2.0")
        await node.says("waiting (inhibitor): logind would not take a reboot (CanReboot says 'no')")
        assert site.lock.history == []

    site.play(story)


def test_a_check_that_says_no_gives_the_slot_back_with_its_last_line(site):
    async def story(node):
        verdict = node.paths.root / "verdict"
        verdict.write_text("1")
        program(node, "check.d/10-raid", f"echo looking; echo 'md0 is rebuilding' >&2; exit $(cat {verdict})")
        program(node, "check.d/README", "not a program", mode=0o644)
        node.need_reboot("4081.2.0")
        await node.says("aborting the reboot and releasing its slot: check.d/10-raid: md0 is rebuilding")
        await site.is_free()
        await node.says("waiting (checks): check.d/10-raid: md0 is rebuilding")
        verdict.write_text("0")

    site.play(story)


def test_hooks_run_in_order_with_the_slot_and_after_the_boot_before_it_goes_back(site):
    async def story(node):
        for stage, name in (("pre-reboot", "20-b"), ("pre-reboot", "10-a"), ("post-reboot", "10-c"), ("health", "1-h")):
            program(node, f"{stage}.d/{name}", remembers(node, name))
        program(node, "abort-reboot.d/10-x", remembers(node, "10-x"))
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await site.is_free()
        assert ran(node) == ["10-a", "20-b", "1-h", "10-c"]
        assert f"10-a 4081.2.0 {site.group}" in (node.paths.root / "hooks.log").read_text()

    site.play(story)


def test_a_hook_that_fails_is_undone_the_slot_goes_back_and_the_tries_are_limited(site):
    async def story(node):
        program(node, "pre-reboot.d/10-drain", f"{remembers(node, 'drain')}; echo 'cannot evict db-0'; exit 3")
        program(node, "abort-reboot.d/10-undo", remembers(node, "undo"))
        node.need_reboot("4081.2.0")
        await node.says("undoing the hooks: pre-reboot.d/10-drain: cannot evict db-0")
        await node.says("waiting (given_up): 2 tries to reboot failed")
        assert ran(node) == ["drain", "undo"] * 2
        assert site.lock.holders == []
        assert node.reboots == 0
        node.need_reboot("4081.3.0")
        await until(lambda: ran(node) == ["drain", "undo"] * 3, "another update is another try")

    site.play(story, reboot={**QUICK, "tries": 2})


def test_hooks_that_hang_fork_print_without_end_or_are_no_programs(site):
    async def story(node):
        hook = program(node, "pre-reboot.d/10-bad", "sleep 1000 & sleep 1000")
        node.need_reboot("4081.2.0")
        await node.says("pre-reboot.d/10-bad: it ran longer than 3 s")
        await site.is_free()
        hook.write_text("#!/bin/sh\nhead -c 500000 /dev/urandom; echo; echo '\033[31mtoo much'; exit 1\n")
        await node.says("pre-reboot.d/10-bad: ?[31mtoo much")
        hook.chmod(0o644)
        await node.says("pre-reboot.d/10-bad: it is not executable")
        hook.chmod(0o755)
        hook.write_text("no program at all")
        hook.write_bytes(b"\x7fELFnonsense")
        await node.says("pre-reboot.d/10-bad: it cannot be started: Exec format error")
        hook.write_text("#!/bin/sh\nsleep 1000 &\nexit 0\n")
        await node.rebooted()
        assert len(node.said) < 300_000

    site.play(story, reboot={**QUICK, "tries": 0}, programs={"hook-limit": "3s"})


def test_a_restarted_daemon_finds_the_hook_that_runs_and_waits_for_it(site):
    async def story(node):
        go = node.paths.root / "go"
        program(node, "pre-reboot.d/10-slow", f"{remembers(node, 'slow')}; while ! [ -e {go} ]; do sleep 0.05; done")
        node.need_reboot("4081.2.0")
        await until(lambda: ran(node) == ["slow"], "the hook runs")
        for _ in range(2):
            await node.kill_daemon()
            await node.start_daemon()
        await node.says("waiting (hooks)")
        go.touch()
        await node.rebooted()
        assert ran(node) == ["slow"]

    site.play(story)


def test_a_power_cut_in_the_middle_of_the_hooks_ends_with_those_after_the_reboot(site):
    async def story(node):
        program(node, "pre-reboot.d/10-drain", f"{remembers(node, 'drain')}; sleep 1000")
        program(node, "post-reboot.d/10-uncordon", remembers(node, "uncordon"))
        node.need_reboot("4081.2.0")
        await until(lambda: ran(node) == ["drain"], "the hook runs")
        await node.kill_daemon()
        for lock in (node.paths.run / "programs").glob("*.lock"):
            os.kill(int(lock.read_text()), signal.SIGTERM)
        await node.reboot()
        await site.is_free()
        assert ran(node) == ["drain", "uncordon"]

    site.play(story)


def test_an_update_that_is_reset_during_the_hooks_is_undone(site):
    async def story(node):
        program(node, "pre-reboot.d/10-drain", f"{remembers(node, 'drain')}; sleep 1000")
        program(node, "abort-reboot.d/10-undo", remembers(node, "undo"))
        node.need_reboot("4081.2.0")
        await until(lambda: ran(node) == ["drain"], "the hook runs")
        node.engine.set("UPDATE_STATUS_IDLE")
        await site.is_free()
        await node.says("idle: nothing wants a reboot")
        assert ran(node) == ["drain", "undo"]
        assert node.reboots == 0

    site.play(story)


def test_users_are_warned_get_their_time_and_one_who_leaves_is_not_waited_for(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        await node.says("waiting (sessions): alice (seat0) logged in, and warned")
        assert node.machine.scheduled[0] == "dry-reboot"
        assert "update 4081.2.0 is installed" in node.machine.wall
        node.machine.log_in("c2", "bob", seat="")
        node.engine.emit()
        await node.says("alice (seat0), bob (session c2) logged in, and warned")
        node.machine.sessions.clear()
        node.engine.emit()
        await node.rebooted()

    site.play(story, sessions={"grace": "50s"})


def test_users_who_log_in_without_end_do_not_hold_the_slot_for_ever(site):
    async def log_in_without_end(node):
        for number in count(2):
            await node.says("warning the users", times=number - 1)
            await asyncio.sleep(1)
            node.machine.log_in(f"c{number}", f"user{number}", seat=f"seat{number}")
            node.engine.emit()

    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        coming = asyncio.ensure_future(log_in_without_end(node))
        await node.says(
            "aborting the reboot and releasing its slot: users kept logging in for 4 s after the first was warned: "
        )
        coming.cancel()
        await node.says("waiting (retry): the last reboot failed: users kept logging in")
        await site.is_free()
        assert node.machine.scheduled is None
        assert node.machine.reboots == 0
        node.machine.sessions.clear()
        await node.rebooted()

    site.play(story, sessions={"grace": "4s", "limit": "4s"}, reboot={"retry": "3s"})


def test_users_who_stay_have_had_their_time(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.machine.log_in("c2", "deploy", kind="unspecified")
        node.machine.log_in("c3", "gdm", kind="wayland", of="greeter")
        node.need_reboot("4081.2.0")
        await node.says("waiting (sessions): alice (seat0) logged in, and warned")
        await node.rebooted()

    site.play(story, sessions={"grace": "3s"})  # the daemon observes in it, and says so


def test_a_reboot_that_is_called_off_takes_the_warning_back(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        await node.says("logged in, and warned")
        node.engine.set("UPDATE_STATUS_IDLE")
        await site.is_free()
        assert node.machine.scheduled is None

    site.play(story)


def test_an_unlock_during_the_warning_is_not_undone(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        await node.says("logged in, and warned")
        status, said = await node.tool("unlock")
        assert status == 0, said
        node.engine.emit()
        await node.says("an operator freed the slot")
        await until(lambda: node.machine.scheduled is None, "the warning is taken back")
        assert node.reboots == 0

    site.play(story, reboot={"retry": "1h"})


def test_three_machines_the_second_comes_up_sick_and_the_third_does_not_reboot(site):
    async def story(first, second, third):
        second.machine.failed_units = ["old-trouble.service"]
        rival = await site.lock.take("rack")
        for node, word in ((first, "(slot)"), (second, "number 2 of 2"), (third, "number 3 of 3")):
            node.need_reboot("4081.2.0")
            await node.says(word)
        await site.lock.release(rival)
        await first.rebooted()
        await until(lambda: second.machine.reboots == 1, "the second goes down")
        second.machine.failed_units = ["old-trouble.service", "web.service"]
        await second.says("unhealthy: web.service has failed")
        await third.says("waiting (halt): the group is halted: n2 is unhealthy: web.service has failed")
        assert third.reboots == 0

        status, why = await third.tool("why")
        assert status == 0
        assert f"Group {site.group} is HALTED: n2 is unhealthy: web.service has failed." in why
        _, nodes = await third.tool("nodes")
        assert "1 UNHEALTHY, HALTED" in nodes

        second.machine.failed_units = ["old-trouble.service"]
        resume = f"`locksmithctl -group={site.group} resume`"
        await second.says(f"no unit or check complains now: once you have looked, say {resume}")
        assert third.reboots == 0
        status, said = await first.tool("resume", "--reason", "web.service is repaired")
        assert (status, "acknowledged: n2 is unhealthy: web.service has failed" in said) == (0, True)
        await third.rebooted()
        await site.is_free()
        assert [second.reboots, third.reboots] == [1, 1]

    site.play(story, nodes=3, health={"limit": "1s"})


def test_a_machine_that_never_comes_back_halts_the_group_until_an_operator_acts(site):
    async def story(first, second):
        await site.lock.set_max(2)
        first.machine.on_reboot = lambda: None
        first.need_reboot("4081.2.0")
        await until(lambda: first.machine.reboots, "it goes down")
        await first.stop_daemon()
        await expires(site, first)
        second.need_reboot("4081.2.0")
        await second.says("waiting (halt): the group is halted: n1 is lost: it has not come back")
        assert site.lock.holders == [first.machine_id]
        status, said = await second.tool("unlock", "--stale", "--yes", "--reason", "its disk is dead")
        assert (status, f"unlocked {first.machine_id}" in said) == (0, True), said
        await second.rebooted()

    site.play(story, nodes=2)


async def expires(site, node: Node) -> None:
    """Have a machine's presence end now, as it does by itself fifteen minutes after its last word."""
    store = open_store(site.etcd.settings())
    try:
        entry = (await store.get(keys.node_key(site.group, node.machine_id))).entry
        assert entry is not None
        await store.revoke(entry)
    finally:
        await store.close()


def test_a_machine_whose_update_is_wanted_as_before_has_failed_and_does_not_loop(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots == 1, "it goes down")
        await until(lambda: node.reboots == 1, "it is up")
        node.need_reboot("4081.2.0")
        await node.says("failed: rebooted for update 4081.2.0, and it is wanted as before")
        await until(lambda: site.lock.record["state"] == "failed", "the record says so")
        await node.tool("resume", "--reason", "seen")
        await node.says("waiting (repeated): it has rebooted for update 4081.2.0 already")
        assert node.reboots == 1

    site.play(story)


def test_a_machine_that_comes_up_with_the_old_system_was_rolled_back(site):
    async def story(node):
        (node.paths.root / "etc/os-release").write_text('ID=flatcar\nVERSION_ID="4081.1.0"\n')
        node.need_reboot("4081.2.0")
        await node.says("failed: rebooted for update 4081.2.0, and came up with the old system (flatcar 4081.1.0)")
        assert site.lock.holders == [node.machine_id]

    site.play(story)


def test_a_freeze_gives_back_what_can_turn_back_and_a_thaw_goes_on(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        await node.says("logged in, and warned")
        status, said = await node.tool("freeze", "--reason", "the database moves", "--for", "1h")
        assert (status, "is frozen until" in said) == (0, True)
        node.engine.emit()
        await node.says("aborting the reboot and releasing its slot: frozen by")
        await node.says("waiting (freeze): frozen by")
        assert site.lock.holders == []
        node.machine.sessions.clear()
        status, said = await node.tool("thaw")
        assert (status, "no longer frozen" in said) == (0, True)
        await node.rebooted()

    site.play(story)


def test_a_machine_that_is_held_back_stays_and_the_next_goes_on(site):
    async def story(first, second):
        status, said = await first.tool("hold", first.machine_id, "--reason", "it serves a demo")
        assert status == 0, said
        first.need_reboot("4081.2.0")
        await first.says("waiting (hold): held back by")
        second.need_reboot("4081.2.0")
        await second.rebooted()
        assert first.reboots == 0
        _, why = await second.tool("why", "n1")
        assert f"it serves a demo. `locksmithctl -group={site.group} unhold n1` ends that." in why
        await first.tool("unhold", "n1")
        await first.rebooted()

    site.play(story, nodes=2)


def test_a_machine_stays_up_for_its_least_uptime(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (uptime): this machine has been up for")
        assert site.lock.history == []

    site.play(story, reboot={"min-uptime": "720h"})
