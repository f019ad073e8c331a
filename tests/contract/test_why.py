"""What `why`, `nodes` and `status` say of real daemons: overdue, verifying, stopped, and without a store."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.daemons import CLOSED, QUICK
from tests.contract.programs import program
from tests.harness.delay_proxy import states_in
from tests.harness.waiting import until


async def shows(node, *args, words):
    """Wait until the tool of a node says these words; give all that it said."""
    said = ""
    for _ in range(60):
        _, said = await node.tool(*args)
        if words in said:
            return said
    raise AssertionError(f"{words!r} is not said: {said}")


def test_a_machine_that_dies_in_its_reboot_is_overdue_before_it_is_lost(site):
    async def story(first, second):
        first._reboot_time = lambda: 20.0
        first.need_reboot("4081.2.0")
        await until(lambda: first.claim is not None and first.claim["phase"] == "committed", "n1 is down")
        said = await shows(second, "nodes", words="OVERDUE")
        assert "1 OVERDUE" in said
        assert "lost at " in said
        assert "HALTED" not in said
        assert "1 OVERDUE" in (await second.tool("groups"))[1]
        assert (
            "unless it is back, as its reboot takes longer than reboot.limit (1 s)"
            in (await second.tool("why", "n1"))[1]
        )
        _, said = await second.tool("nodes", "--json")
        [holder] = json.loads(said)["holders"]
        assert (holder["how"], json.loads(said)["overdue"]) == ("overdue", 1)
        assert holder["lost_at"] is not None
        await first.rebooted()
        await site.is_free()

    site.play(story, nodes=2, reboot=QUICK)


def test_a_machine_under_health_checks_is_verifying_and_names_what_fails(site):
    async def story(first, second):
        check = program(first, "health.d/web", "echo the web server does not answer >&2; exit 1")
        first.need_reboot("4081.2.0")
        said = await shows(second, "nodes", words="not healthy yet: health.d/web")
        [line] = [line for line in said.splitlines() if line.startswith("n1")]
        assert line.split()[1] == "verifying"
        said = await shows(second, "why", "n1", words="the web server does not answer")
        assert "n1 has been proving itself healthy" in said
        check.write_text("#!/bin/sh\n")
        await site.is_free()

    site.play(story, nodes=2)


NOWHERE = ["http://127.0.0.1:1"]


def test_without_a_store_why_answers_and_the_group_commands_say_that_there_is_none(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        status, said = await node.tool("why")
        assert status == 0
        assert "n1 needs a reboot for update 4081.2.0 (since " in said
        assert "It waits for its window, which opens at " in said
        assert "; its own moment in that window is " in said
        assert "Its strategy is reboot: it coordinates with no store" in said
        assert "etcd" not in said
        status, said = await node.tool("why", "N1", "--json")
        answer = json.loads(said)
        assert (status, answer["node"]["code"], answer["daemon"]["runs"]) == (0, "window", True)
        for command in (["status"], ["nodes"], ["history"], ["status", "--json"], ["nodes", "--watch"], ["why", "n7"]):
            status, said = await node.tool(*command)
            assert status == 1
            assert said.startswith("Error: this machine coordinates with no store, as its strategy is reboot"), said

    site.endpoints = NOWHERE
    site.play(story, strategy="reboot", window=CLOSED)


def test_where_no_daemon_runs_why_says_that_first_and_then_what_the_triggers_find(site):
    async def story(node):
        asked = node.paths.root / "run/reboot-required"
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.touch()
        ended = int((datetime.now(UTC) - timedelta(minutes=20)).timestamp() * 1e6)
        node.machine.service = {
            "LoadState": "loaded",
            "ActiveState": "inactive",
            "UnitFileState": "disabled",
            "InactiveEnterTimestamp": ended,
        }
        status, said = await node.tool("why")
        # Other tests leave groups in this etcd that cannot be read.
        first, second, third = [line for line in said.splitlines() if not line.startswith("group ")][:3]
        assert status == 0
        assert first.startswith("locksmithd does NOT run on this machine (since ")
        assert first.endswith(
            ", for 20 min): locksmithd.service is disabled; `systemctl enable --now locksmithd.service` starts it."
        )
        assert second.startswith("A reboot is needed, says the trigger reboot-required (since ")
        assert third == f"n1 shows no presence in group {site.group}."
        assert "no trigger asks" not in said
        node.machine.service["LoadState"] = "masked"
        assert "locksmithd.service is masked" in (await node.tool("why"))[1]

    site.play_stopped(story)


def test_a_daemon_whose_strategy_never_reboots_is_not_missed(site):
    async def story(node):
        assert await node.ended() == 0
        _, said = await node.tool("why")
        assert said.splitlines() == [
            "The strategy is off: locksmithd never reboots this machine, and ends after its start.",
            "No trigger finds that this machine needs a reboot.",
        ]

    site.endpoints = NOWHERE
    site.play(story, strategy="off")


def test_a_node_with_the_packages_configuration_alone_says_that_it_is_not_configured(site):
    async def story(node):
        package = node.paths.root / "usr/lib/locksmith/locksmith.toml"
        package.parent.mkdir(parents=True)
        node.paths.config.rename(package)
        sentence = (
            f"this node is not configured, so it will not reboot (its strategy is off by {package}): "
            f"write {node.paths.config}"
        )
        hidden, mask = program(node, f"{package.parent}/check.d/10", "true"), node.paths.config.parent / "check.d/10"
        mask.parent.mkdir(parents=True)
        mask.symlink_to(os.devnull)
        await node.start_daemon()
        assert await node.ended() == 0
        assert sentence in node.said
        assert f"{mask} masks {hidden}" in node.said
        status, said = await node.run("locksmithd", "--check-config")
        assert (status, said.count(f"Warning: {sentence}")) == (0, 1)
        assert f"# {package}\n" in said
        assert f'strategy = "off"  (from {package})' in said
        assert f"Warning: {sentence}" in (await node.tool("status"))[1]
        assert (await node.tool("why"))[1].startswith(f"T{sentence[1:]}.")
        status, said = await node.tool("reboot")
        assert (status, f"{sentence}; nothing was done" in said, node.machine.reboots) == (2, True, 0), said

    site.endpoints = NOWHERE
    site.play_stopped(story, strategy="off")


def test_a_daemon_that_stopped_is_named_first_though_its_record_is_still_there(site):
    async def story(node):
        await until(lambda: site.node_record(node), "it is present")
        await node.kill_daemon()
        _, said = await node.tool("why")
        first, second, *_ = said.splitlines()
        assert first == "locksmithd does NOT run on this machine: `systemctl start locksmithd.service` starts it."
        assert second == "No trigger finds that this machine needs a reboot."

    site.play(story)


def test_of_this_machine_its_daemon_says_more_than_its_record_in_the_store(site):
    """The record comes after the log: etcd may be slow, and a large group spreads such writes over minutes."""

    async def story(node):
        await until(lambda: site.node_record(node), "it is present")
        held = way.hold(lambda operations: "waiting" in states_in(operations))
        node.need_reboot("4081.2.0")
        await until(lambda: held.arrived, "its new record is on its way to etcd")
        _, said = await node.tool("why")
        assert "n1 needs a reboot for update 4081.2.0" in said
        assert "It waits for its window" in said
        assert json.loads(site.node_record(node))["state"] == "idle"

    with site.delay_proxy() as way:
        site.play(story, window=CLOSED)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"open": ["2020-01-01 03:00 for 1h"]}, "outside the reboot window, and none is to come"),
        ({"sets": ["not-written"]}, "there is no set of windows 'not-written' in the file or in the store"),
    ],
    ids=["never open", "no set"],
)
def test_a_window_that_cannot_open_has_one_sentence_everywhere(site, window, words):
    async def story(node):
        node.need_reboot("4081.2.0")
        await shows(node, "why", words=f"It waits for its window: {words}")
        _, said = await node.tool("nodes", "--json")
        [shown] = json.loads(said)["nodes"]
        assert shown["reason"].startswith(words)

    site.play(story, window=window)


def test_a_daemon_that_stops_ends_its_presence_at_once_and_its_group_remembers_it(site):
    async def story(first, second):
        first.need_reboot("4081.2.0")
        await first.says("waiting (window)")
        await shows(second, "nodes", words="window")
        await first.stop_daemon()
        assert site.node_record(first) == ""
        _, said = await second.tool("nodes")
        assert "1 present, 1 absent" in said
        assert "its locksmithd was stopped at" in said
        _, said = await second.tool("why", "n1")
        assert "n1 is not present in group" in said
        assert ": update 4081.2.0 is installed." in said
        _, said = await second.tool("nodes", "--json")
        [absent] = json.loads(said)["absent"]
        assert (absent["hostname"], absent["how"], absent["need"]["what"]) == (
            "n1",
            "stopped",
            "update 4081.2.0 is installed",
        )
        await first.start_daemon()
        await shows(second, "nodes", words="2 present")
        assert "absent" not in (await second.tool("nodes"))[1]

    site.play(story, nodes=2, window=CLOSED)


def test_a_machine_that_is_gone_for_good_is_forgotten(site):
    async def story(first, second):
        await shows(second, "nodes", words="2 present")
        status, said = await second.tool("forget", "n1")
        assert (status, "n1 is present in group" in said) == (1, True)
        await first.stop_daemon()
        status, said = await second.tool("forget", "n1", "--reason", "sold")
        assert (status, f"group {site.group} has forgotten n1" in said) == (0, True)
        assert "absent" not in (await second.tool("nodes"))[1]
        assert "remembers no machine n1" in (await second.tool("forget", "n1"))[1]
        assert "sold" in (await second.tool("history"))[1]

    site.play(story, nodes=2)


def test_a_machine_in_a_new_group_leaves_nothing_in_the_old_one(site):
    async def story(first, second):
        await shows(second, "nodes", words="2 present")
        await first.kill_daemon()
        first.configure(site.settings(group=f"{site.group}-new"))
        await first.start_daemon()
        await shows(second, "nodes", words="1 present")
        assert "absent" not in (await second.tool("nodes"))[1]

    site.play(story, nodes=2)


def test_a_daemon_that_holds_a_slot_stays_present_when_it_stops(site):
    async def story(node):
        program(node, "pre-reboot.d/drain", "exec sleep 60")
        node.need_reboot("4081.2.0")
        await node.says("waiting (hooks)")
        await until(lambda: "preparing" in site.node_record(node), "its hooks run")
        await node.stop_daemon()
        assert site.lock.holders == [node.machine_id]
        assert site.node_record(node) != ""

    site.play(story)


def test_a_store_that_is_away_is_said_once(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (store)")
        status, said = await node.tool("why")
        assert (status, said.count("connection refused")) == (0, 1), said
        assert "the orders of operators are not known, for the same reason." in said

    site.endpoints = NOWHERE
    site.reachable = False
    site.play(story)
