"""`locksmithctl run`: a slot for a command, with real locksmithd, etcd and dbus-daemon."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.contract.daemons import QUICK
from tests.harness.node import BIN
from tests.harness.suspend import Suspend
from tests.harness.waiting import until

LIMIT = 20.0


@contextlib.asynccontextmanager
async def called(node, *args):
    """Run the tool beside the test, and everything that it starts in a process group of its own."""
    process = await asyncio.create_subprocess_exec(
        BIN / "locksmithctl",
        *args,
        env={**node.environment, "PYTHONPATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def ended(process) -> tuple[int, str]:
    said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    return process.returncode, said.decode()


async def pid_in(file: Path) -> int:
    """Wait until a command has written its pid there."""

    def found() -> str:
        return file.read_text().strip() if file.exists() else ""

    await until(found, "the command runs", LIMIT)
    return int(found())


@pytest.fixture
def pid_file(tmp_path):
    return tmp_path / "pid"


@pytest.fixture
def endless(pid_file):
    """A command that runs until it is ended."""
    return ("sh", "-c", f"echo $$ > {pid_file}; exec sleep 600")


def test_a_command_has_a_slot_while_it_runs_and_the_tool_ends_with_its_status(site, tmp_path):
    async def story(node):
        await node.start_daemon()
        await node.says("idle")
        goes_on = tmp_path / "goes-on"
        wait = f"while [ ! -e {goes_on} ]; do sleep 0.05; done; exit 42"
        async with called(node, "run", "--reason", "a new firmware", "--", "sh", "-c", wait) as tool:
            await node.says("waiting (operator): a command by root is under way")
            assert site.lock.holders == [node.machine_id]
            _, shown = await node.tool("nodes")
            assert "runs a command of root: a new firmware" in shown
            goes_on.touch()
            status, said = await ended(tool)
        assert (status, f"holding the lock of group {site.group} for" in said, "running sh" in said) == (42, True, True)
        assert site.lock.holders == []
        _, shown = await node.tool("history", "--json")
        assert "the command ended with exit status 42" in shown
        await node.says("idle", times=2)

    site.play_stopped(story, reboot=QUICK)


def test_a_command_waits_in_the_queue_and_is_not_run_without_a_slot(site, pid_file, endless):
    async def story(node):
        rival = await site.lock.take("another machine")
        async with called(node, "run", "--timeout", "1s", *endless) as tool:
            status, said = await ended(tool)
        assert (status, "the command was not run: the wait ended after 1 s" in said) == (125, True), said
        assert (pid_file.exists(), site.lock.waiters) == (False, [])
        async with called(node, "run", "true") as tool:
            await until(lambda: site.lock.waiters, "it waits", LIMIT)
            await site.lock.release(rival)
            assert (await ended(tool))[0] == 0
        assert site.lock.holders == []

    site.play_stopped(story)


def test_a_freeze_holds_a_command_back(site):
    async def story(node):
        assert (await node.tool("freeze", "--yes", "--reason", "a launch"))[0] == 0
        async with called(node, "run", "--timeout", "500ms", "true") as tool:
            status, said = await ended(tool)
        assert (status, "frozen" in said) == (125, True), said

    site.play_stopped(story)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, 137)])
def test_a_command_that_is_killed_releases_its_slot(site, pid_file, endless, number, status):
    async def story(node):
        async with called(node, "run", *endless) as tool:
            os.kill(await pid_in(pid_file), number)
            assert (await ended(tool))[0] == status
        assert site.lock.holders == []

    site.play_stopped(story)


def test_sigterm_to_the_tool_ends_the_command_and_ctrl_c_is_the_commands_own(site, pid_file):
    async def story(node):
        script = f"trap 'echo interrupted' INT; trap 'exit 7' TERM; echo $$ > {pid_file}; while :; do sleep 0.05; done"
        async with called(node, "run", "sh", "-c", script) as tool:
            await pid_in(pid_file)
            os.killpg(tool.pid, signal.SIGINT)
            tool.terminate()
            status, said = await ended(tool)
        assert (status, "interrupted" in said) == (7, True), said
        assert site.lock.holders == []

    site.play_stopped(story)


def test_a_killed_tool_keeps_the_slot_until_its_command_has_ended(site, pid_file, endless):
    async def story(node):
        await node.start_daemon()
        await node.says("idle")
        async with called(node, "run", *endless) as tool:
            command = await pid_in(pid_file)
            tool.kill()
            await until(lambda: tool.returncode is not None, "the tool ends", LIMIT)
            node.engine.emit()
            code, said = await node.tool("run", "true")
            assert (code, f"the command of another locksmithctl (pid {tool.pid}) runs" in said) == (125, True), said
            assert site.lock.holders == [node.machine_id]
            os.kill(command, signal.SIGKILL)
            await node.says("taking its claim over")
            await site.is_free()

    site.play_stopped(story, reboot=QUICK)


def test_a_tool_that_is_stopped_keeps_the_slot_of_its_command(site, tmp_path, pid_file, endless):
    async def story(node):
        suspend = Suspend(tmp_path / "suspend")
        node.environ = suspend.environ
        await node.start_daemon()
        await node.says("idle")
        async with called(node, "run", *endless) as tool:
            command = await pid_in(pid_file)
            tool.send_signal(signal.SIGSTOP)
            for seconds in (60, 10):
                suspend.passes(seconds)
                node.engine.emit()
                await asyncio.sleep(0.5)
            assert site.lock.holders == [node.machine_id]
            tool.send_signal(signal.SIGCONT)
            os.kill(command, signal.SIGTERM)
            assert (await ended(tool))[0] == 143
        assert site.lock.holders == []

    site.play_stopped(story, reboot=QUICK)


def test_a_command_that_reboots_its_machine_keeps_the_slot_until_the_machine_is_up(site, tmp_path):
    """`systemctl reboot` returns at once: without the slot the next machine would go down too."""

    async def story(node):
        await node.start_daemon()
        await node.says("idle")
        goes_on = tmp_path / "goes-on"
        async with called(node, "run", "sh", "-c", f"while [ ! -e {goes_on} ]; do sleep 0.05; done") as tool:
            await node.says("waiting (operator)")
            node.machine.preparing = True
            goes_on.touch()
            status, said = await ended(tool)
        assert (status, "this machine is going down, so it keeps its slot" in said) == (0, True), said
        assert site.lock.holders == [node.machine_id]
        await node.reboot()
        await site.is_free()

    site.play_stopped(story, reboot=QUICK)


def test_no_command_begins_on_a_machine_that_goes_down_meanwhile(site, pid_file, endless):
    async def story(node):
        rival = await site.lock.take("another machine")
        async with called(node, "run", *endless) as tool:
            await until(lambda: site.lock.waiters, "it waits", LIMIT)
            node.machine.preparing = True
            await site.lock.release(rival)
            status, said = await ended(tool)
        assert (status, "this machine is going down already" in said, pid_file.exists()) == (125, True, False), said
        assert site.lock.holders == [node.machine_id]

    site.play_stopped(story)


def test_a_unit_that_unlocks_its_machine_leaves_the_slot_of_a_command_alone(site, pid_file, endless):
    async def story(node):
        async with called(node, "run", "--reason", "a new firmware", *endless):
            await pid_in(pid_file)
            status, said = await node.tool("unlock")
            assert (status, "slot for a command of root: a new firmware" in said) == (1, True), said
            assert site.lock.holders == [node.machine_id]
            status, said = await node.tool("unlock", "--force")
            assert (status, "Warning: " in said, site.lock.holders) == (0, True, []), said

    site.play_stopped(story)


def test_what_a_command_leaves_running_keeps_no_slot(site, pid_file):
    async def story(node):
        async with called(node, "run", "sh", "-c", f"sleep 600 >/dev/null 2>&1 & echo $! > {pid_file}") as tool:
            assert (await ended(tool))[0] == 0
            assert site.lock.holders == []
            code, said = await node.tool("run", "true")
            assert code == 0, said

    site.play_stopped(story)


def test_a_command_that_is_not_there_takes_no_slot(site):
    async def story(node):
        code, said = await node.tool("run", "no-such-command")
        assert (code, "there is no command no-such-command" in said) == (127, True), said
        assert (await node.tool("history", "--json"))[1].count("held") == 0

    site.play_stopped(story)
