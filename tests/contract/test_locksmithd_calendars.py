"""Daemons with calendars and triggers: sets of windows in etcd, splay, the clock, and what wants a reboot."""

import asyncio
import contextlib
import json
import signal
import time
import uuid
from datetime import datetime, timedelta

import pytest

from locksmith.agent.ports import HEARTBEAT
from locksmith.host.clock import local_zone
from locksmith.lock.window_sets import WindowStore
from locksmith.store.connect import open_store
from locksmith.window.splay import Splay
from locksmith.window.window_set import WindowSet
from tests.contract.daemons import CLOSED
from tests.contract.programs import program
from tests.harness.bus import leave_bus
from tests.harness.dbus import DBusBool, MessageBus, PropertyAccess, ServiceInterface, dbus_property
from tests.harness.waiting import until
from tests.harness.windows import plan

IN_THREE_DAYS = f"{CLOSED['start']} for 1h"
ALL_DAY = "00:00 for 24h"


class Timedated(ServiceInterface):
    """A double of systemd-timedated."""

    def __init__(self):
        super().__init__("org.freedesktop.timedate1")
        self.synced = False

    @dbus_property(access=PropertyAccess.READ)
    def NTPSynchronized(self) -> DBusBool:  # noqa: N802 - D-Bus' own name
        return self.synced


@contextlib.asynccontextmanager
async def timedated(node):
    bus = await MessageBus(bus_address=node.bus.address).connect()
    clock = Timedated()
    bus.export("/org/freedesktop/timedate1", clock)
    await bus.request_name("org.freedesktop.timedate1")
    yield clock
    await leave_bus(bus, "org.freedesktop.timedate1")


async def write(site, name, *windows):
    """Do what `locksmithctl window set` does; nothing: `window rm`."""
    store = open_store(site.etcd.settings())
    try:
        kept = WindowStore(store)
        await (kept.write(name, WindowSet.parse(windows, [])) if windows else kept.remove(name))
    finally:
        await store.close()


def test_an_operator_opens_the_fleets_window_in_one_place(site):
    name = f"set-{uuid.uuid4()}"

    async def story(node):
        await node.says("idle")
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (window): there is no set of windows '{name}' in the file or in the store")
        await write(site, name, IN_THREE_DAYS)
        node.send_signal(signal.SIGHUP)
        await node.says("waiting (window): outside the reboot window")
        assert site.lock.history == []
        await write(site, name, ALL_DAY)
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story, window={"sets": [name]})


def test_a_set_that_is_removed_while_the_hooks_run_calls_the_reboot_off(site):
    name = f"set-{uuid.uuid4()}"

    async def story(node):
        await write(site, name, ALL_DAY)
        go = node.paths.root / "go"
        program(node, "pre-reboot.d/10-wait", f"while [ ! -e {go} ]; do sleep 0.05; done")
        node.need_reboot("4081.2.0")
        await until(lambda: bool(site.lock.holders), "it holds the slot")
        await write(site, name)
        go.touch()
        await node.says(f"aborting the reboot and releasing its slot: there is no set of windows '{name}'")
        await site.is_free()
        assert node.reboots == 0

    site.play(story, window={"sets": [name]})


def test_a_blackout_wins_over_the_window(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (window): outside the reboot window")
        assert site.lock.history == []

    today = datetime.now().astimezone().date()
    site.play(story, window={"open": [ALL_DAY], "blackouts": [f"{today}..{today + timedelta(days=1)}"]})


def test_too_little_of_the_window_is_left_to_begin(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (window): too little of the reboot window is left: a reboot begins with 2h at least")
        assert site.lock.history == []

    began = time.strftime("%H:%M", time.localtime(time.time() - 1800))
    site.play(story, window={"open": [f"{began} for 2h"], "min-remaining": "2h"})


def test_without_a_line_machines_spread_over_the_window(site):
    async def story(node):
        now = datetime.now(local_zone())
        window = f"{now - timedelta(minutes=1):%H:%M} for 20h"
        ids = (f"{number:032x}" for number in range(1, 1000))
        late = next(
            one for one in ids if (Splay(1.0, one).asks_from(plan(window), now) or now) > now + timedelta(hours=1)
        )
        node.paths.machine_id.write_text(f"{late}\n")
        node.configure(site.settings(strategy="reboot", window={"open": [window], "splay": "100%"}))
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (splay): the machines spread over the window")

    site.play_stopped(story, strategy="reboot")


def test_an_unsynchronised_clock_blocks_the_reboot_if_synced_clock_is_required(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (clock): systemd does not say whether the clock is synchronised")
        async with timedated(node) as clock:
            node.send_signal(signal.SIGHUP)
            await node.says("waiting (clock): the clock is not synchronised (`timedatectl` says so)")
            assert site.lock.history == []
            clock.synced = True
            node.send_signal(signal.SIGHUP)
            await node.rebooted()

    site.play(story, window={"require-synced-clock": True})


def test_a_debian_machine_reboots_for_its_packages_and_says_which(site):
    async def story(node):
        await node.says("idle")
        (node.paths.root / "run/reboot-required.pkgs").write_text("libc6\ndbus\n")
        (node.paths.root / "run/reboot-required").touch()
        await node.rebooted()
        await node.says("rebooted and healthy: releasing the slot")
        await site.is_free()
        code, said = await node.tool("history", "--json")
        assert code == 0
        [event] = [event for event in json.loads(said)["events"] if event["act"] == "held"]
        assert event["reason"] == "packages ask for it: libc6 and dbus"
        # An empty /run has nothing more to ask for.
        assert node.reboots == 1

    site.play(story, triggers={"use": ["reboot-required"]})


def test_a_wish_that_is_taken_back_gives_the_slot_back(site):
    async def story(node):
        go = node.paths.root / "go"
        program(node, "pre-reboot.d/10-wait", f"while [ ! -e {go} ]; do sleep 0.05; done")
        file = node.paths.root / "run/reboot-required"
        await node.says("idle")
        file.touch()
        await until(lambda: bool(site.lock.holders), "it holds the slot")
        file.unlink()
        await node.says("aborting the reboot and releasing its slot: nothing wants a reboot any more")
        await site.is_free()
        assert node.reboots == 0

    site.play(story, triggers={"use": ["reboot-required"]})


@pytest.mark.parametrize("name", ["reboot-required", "reboot-needed"])
def test_a_machine_without_dpkg_sees_a_file_that_comes_after_its_start(site, name):
    """As transactional-update and systemd-sysupdate write it, with the triggers that a machine uses by default."""

    async def story(node):
        await node.says("idle")
        began = time.monotonic()
        (node.paths.root / "run" / name).touch()
        await node.rebooted()
        assert time.monotonic() - began < HEARTBEAT / 2
        await node.says("rebooted and healthy: releasing the slot")

    site.play(story)


def test_several_triggers_are_listed_and_a_broken_one_holds_no_other_back(site):
    async def story(node):
        (node.paths.root / "run").mkdir(exist_ok=True)
        (node.paths.root / "run/reboot-required").touch()
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        code, said = await node.tool("triggers", "--json")
        assert code == 0, said
        found = {one["name"]: one for one in json.loads(said)["triggers"]}
        assert {name: one["says"] for name, one in found.items()} == {
            "update-engine": "yes",
            "reboot-required": "yes",
            "needs-restarting": "error",
            "operator": "no",
            "kernel": "unused",
            "max-uptime": "unused",
        }
        assert found["needs-restarting"]["text"] == "gone is not installed"
        assert found["update-engine"]["looked"] is not None
        code, table = await node.tool("triggers")
        assert "needs-restarting  error" in table

        async def why():
            return (await node.tool("why"))[1].replace("\n", " ")

        await until_async(why, "update 4081.2.0 is installed; and /run/reboot-required asks for it")

    use = ["update-engine", "reboot-required", "needs-restarting"]
    site.play(story, window={"open": [IN_THREE_DAYS]}, triggers={"use": use, "command": ["gone"]})


def test_triggers_waits_for_the_first_answer_and_shows_it_whole(site):
    async def story(node):
        words = "x" * 150
        go, begun = node.paths.root / "go", node.paths.root / "begun"
        text = f"touch {begun}; echo {words} >&2; while [ ! -e {go} ]; do sleep 0.1; done; exit 4"
        check = program(node, "check", text)
        (node.paths.root / "usr/bin").mkdir(parents=True)
        check.rename(node.paths.root / "usr/bin/check")
        await node.start_daemon()
        await until(begun.exists, "the command runs")
        await node.says("idle")
        asked = asyncio.ensure_future(node.tool("triggers"))
        await asyncio.sleep(2)
        assert not asked.done()
        go.touch()
        code, table = await asked
        [line] = [line for line in table.splitlines() if line.startswith("needs-restarting")]
        assert code == 0
        assert f"failed with exit status 4: {words}" in line

    site.play_stopped(story, triggers={"use": ["needs-restarting"], "command": ["check"]})


async def until_async(ask, text, limit=20.0):
    ends = time.monotonic() + limit
    while text not in (said := await ask()):
        assert time.monotonic() < ends, said


def test_a_request_with_a_reason_is_made_before_the_daemon_runs_and_is_taken_back(site):
    async def story(node):
        code, said = await node.tool("request", "--reason", "a new firmware")
        assert (code, "it sees the request when it starts" in said) == (0, True)
        await node.start_daemon()
        await node.says("waiting (window): outside the reboot window")
        code, said = await node.tool("triggers", "--json")
        found = {one["name"]: one["text"] for one in json.loads(said)["triggers"]}
        assert found["operator"] == "an operator asked for it: a new firmware"
        code, said = await node.tool("cancel")
        assert (code, said.splitlines()[0]) == (0, "cancelled: the request for a reboot is removed")
        await node.says("idle", times=1)

    site.play_stopped(story, window={"open": [IN_THREE_DAYS]})


def test_a_command_that_says_so_reboots_the_machine_once(site):
    async def story(node):
        program(node, "check", "echo 'glibc was updated'; exit 3")
        (node.paths.root / "usr/bin").mkdir(parents=True)
        (node.paths.root / "etc/locksmith/check").rename(node.paths.root / "usr/bin/check")
        await node.start_daemon()
        await node.rebooted()
        await node.says("waiting (repeated): it has rebooted for needs-restarting already")
        assert node.reboots == 1
        await site.is_free()

    use = {"use": ["needs-restarting"], "command": ["check"], "needed": [3], "not-needed": [0], "period": "300ms"}
    site.play_stopped(story, triggers=use)


def test_a_command_that_names_others_each_time_reboots_so_often_and_no_more(site):
    """Nor does it after the machine has lost what it knew: its group remembers."""

    async def story(node):
        program(node, "check", 'echo "  * package-$(date +%s%N)"; exit 1')
        (node.paths.root / "usr/bin").mkdir(parents=True)
        (node.paths.root / "etc/locksmith/check").rename(node.paths.root / "usr/bin/check")
        await node.start_daemon()
        await until(lambda: node.reboots == 2, "it has rebooted twice")
        limit = "waiting (max_per_day): its triggers have caused 2 reboots in 24 hours (reboot.max-per-day)"
        await node.says(limit)
        await site.is_free()
        await node.stop_daemon()
        (node.paths.state / "journal.json").unlink()
        await node.start_daemon()
        await node.says(limit, times=2)
        assert node.reboots == 2

        async def why():
            return (await node.tool("why"))[1]

        await until_async(why, "reboot.max-per-day")  # the daemon shows its group what it has logged a moment later
        code, said = await node.tool("recheck")
        assert code == 0, said
        await until(lambda: node.reboots == 3, "an operator has allowed more")

    use = {"use": ["needs-restarting"], "command": ["check"], "period": "300ms"}
    site.play_stopped(story, triggers=use, reboot={"max-per-day": 2})


def test_a_trigger_that_is_not_installed_ends_the_daemon_with_a_sentence(site):
    async def story(node):
        await node.start_daemon()
        assert await node.ended() == 2
        assert "there is no trigger 'kernle'; installed are: " in node.said

    site.play_stopped(story, triggers={"use": ["kernle"]})
