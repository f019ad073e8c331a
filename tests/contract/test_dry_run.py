"""A dry run of a real daemon: what it rehearses, what it names as not rehearsed, and that every view says DRY RUN."""

import json
import re

from tests.contract.programs import BACKUP, program
from tests.harness.node import Node
from tests.harness.waiting import until

WOULD = "DRY RUN: waiting (dry_run): would ask the strategy etcd-lock now,"
KNOWS = "# locksmith: dry-run"


def untouched(site, node: Node) -> bool:
    return site.lock.history == [] and node.claim is None and node.machine.reboots == 0


def test_a_check_that_fails_is_the_reason_in_a_dry_run_too(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (checks): check.d/10-db: the replica lags")
        assert untouched(site, node)
        program(node, "check.d/10-db", "exit 0")
        assert (await node.tool("recheck"))[0] == 0
        await node.says(f"{WOULD} and reboot")
        assert untouched(site, node)

    def prepared(node):
        program(node, "check.d/10-db", "echo the replica lags; exit 1")

    play(site, story, prepared)


def test_hooks_that_understand_it_are_rehearsed_and_the_others_are_named(site, tmp_path):
    said = tmp_path / "said"

    async def story(node):
        node.need_reboot("4081.2.0")
        left_out = "pre-reboot.d/20-lb and abort-reboot.d/20-lb"
        await node.says(f"{WOULD} and reboot; not rehearsed, as it has no `locksmith: dry-run`: {left_out}")
        assert said.read_text() == "--dry-run 1 4081.2.0 n1\n"
        assert untouched(site, node)

    def prepared(node):
        words = '"$@" "$LOCKSMITH_DRY_RUN" "$LOCKSMITH_VERSION" "$LOCKSMITH_HOSTNAME"'
        program(node, "pre-reboot.d/10-drain", f"{KNOWS}\necho {words} >>{said}")
        for stage in ("pre-reboot", "abort-reboot"):
            program(node, f"{stage}.d/20-lb", f"echo for real >>{said}")

    play(site, story, prepared)


def test_what_would_fail_is_named_before_it_costs_a_slot(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says(f"{WOULD} but its reboot would fail: ")
        line = next(line for line in node.said.splitlines() if WOULD in line)
        assert "after it the machine would be unhealthy: health.d/10-web: no answer" in line
        assert "pre-reboot.d/10-drain: no kubectl here" in line
        assert "post-reboot.d/30-join: it is not executable" in line
        assert untouched(site, node)

    def prepared(node):
        program(node, "health.d/10-web", "echo no answer; exit 1")
        program(node, "pre-reboot.d/10-drain", f"{KNOWS}\necho no kubectl here; exit 1")
        program(node, "post-reboot.d/30-join", "exit 0", mode=0o644)

    play(site, story, prepared)


def test_users_who_would_be_warned_are_named_and_not_warned(site):
    async def story(node):
        node.machine.log_in("1", "alice", seat="seat0")
        node.need_reboot("4081.2.0")
        await node.says("; would warn alice (seat0) 5m before")
        assert node.machine.scheduled is None
        assert node.machine.wall == ""

    play(site, story)


def play(site, story, prepare=lambda _node: None, **changes) -> None:
    """Play a story of a dry run; `prepare` puts programs on the machine before its daemon starts."""

    async def prepared(node):
        prepare(node)
        await node.start_daemon()
        await story(node)

    site.play_stopped(prepared, dry_run=True, **changes)


def test_check_asks_every_part_now_and_takes_nothing(site):
    async def story(node):
        await node.says("idle")
        status, said = await node.tool("check")
        assert status == 0, said
        assert rows(said) == {
            ("window", "yes", "at any time"),
            ("inhibitor", "yes", ""),
            ("uptime", "yes", ""),
            ("checks", "yes", ""),
            ("users", "yes", ""),
            ("hooks", "yes", ""),
            ("health", "yes", ""),
        }
        assert "DRY RUN: the locksmithd of this machine takes no slot and reboots nothing" in said
        assert untouched(site, node)

    play(site, story)


def test_check_names_all_that_would_not_pass(site):
    async def story(node):
        node.machine.inhibitors = [BACKUP]
        node.machine.log_in("1", "alice", seat="seat0")
        status, said = await node.tool("check", "--json")
        assert status == 1
        found = json.loads(said.splitlines()[-1])  # what the programs print is on standard error
        assert (found["passes"], found["dry_run"]) == (False, True)
        parts = {(one["part"], one["passes"], one["why"]) for one in found["parts"]}
        assert parts >= {
            ("checks", "no", "check.d/10-db: the replica lags"),
            ("users", "yes", "alice (seat0) would be warned 5m before"),
            ("hooks", "no", "pre-reboot.d/10-drain: no kubectl here"),
            ("hooks", "not run", "pre-reboot.d/20-lb has no `locksmith: dry-run`"),
            ("health", "no", "health.d/10-web: no answer"),
        }
        [inhibitor] = [why for part, passes, why in parts if (part, passes) == ("inhibitor", "no")]
        assert "the weekly backup runs" in inhibitor
        assert untouched(site, node)

    def prepared(node):
        program(node, "check.d/10-db", "echo the replica lags; exit 1")
        program(node, "health.d/10-web", "echo no answer; exit 1")
        program(node, "pre-reboot.d/10-drain", f"{KNOWS}\necho no kubectl here; exit 1")
        program(node, "pre-reboot.d/20-lb", "exit 0")

    play(site, story, prepared)


def test_every_view_says_that_it_is_a_dry_run(site):
    async def story(node):
        await until(lambda: site.node_record(node), "it is present")
        says = "DRY RUN: the locksmithd of n1 takes no slot and reboots nothing (dry-run = true)."
        assert says in (await node.tool("why"))[1]
        assert "DRY RUN idle" in (await node.tool("nodes"))[1]
        assert "1 in a DRY RUN" in (await node.tool("nodes"))[1]
        assert "1 in a DRY RUN" in (await node.tool("groups"))[1]
        for words in (["status"], ["window"], ["triggers"], ["request", "--reason", "a test"], ["recheck"]):
            assert "DRY RUN: the locksmithd of this machine takes no slot" in (await node.tool(*words))[1], words
        assert "DRY RUN: idle" in node.said
        node.need_reboot("4081.2.0")
        await until(lambda: '"code":"dry_run"' in site.node_record(node), "it would reboot")
        assert re.search(r"n1 +DRY RUN  ", (await node.tool("nodes"))[1])
        status, said = await node.tool("reboot", "--reason", "in earnest")
        assert (status, "DRY RUN is locksmithd's alone (dry-run = true): this reboot is real" in said) == (0, True)
        await node.rebooted()

    play(site, story)


def rows(said: str) -> set[tuple[str, str, str]]:
    """The lines of a table of three columns, without its head and what comes after."""
    lines = [re.split(r"  +", line) for line in said.splitlines()[1:] if re.match(r"\w+ +(yes|no|not run)", line)]
    return {(line[0], line[1], line[2] if len(line) > 2 else "") for line in lines}
