"""A dry run of a real daemon: what it rehearses, what it names as not rehearsed, and that every view says DRY RUN."""

from tests.contract.programs import program
from tests.harness.node import Node

WOULD = "waiting (dry_run): dry run: would ask the strategy etcd-lock now,"
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
