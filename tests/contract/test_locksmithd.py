"""locksmithd as a process: a whole reboot, by each strategy that ships with it, and how the program ends."""

import subprocess

import pytest

from locksmith.lock.records.claim import REBOOT
from tests.harness.delay_proxy import commit, release, take
from tests.harness.node import BIN
from tests.harness.waiting import until


def test_a_whole_reboot_step_by_step(site):
    """The journal is ahead of the store before the reboot and behind it after: no crash between can lose the slot."""

    async def story(node):
        me = node.machine_id
        holds = [way.hold(step) for step in (take, commit, release)]
        node.need_reboot("4081.2.0")

        await until(lambda: holds[0].arrived, "the slot is asked for")
        assert (node.claim["phase"], node.claim["by"]) == ("requested", "locksmithd")
        assert site.lock.holders == []
        nonce, boot = node.claim["claim"]["nonce"], node.claim["boot_id"]
        holds[0].let_go()

        await until(lambda: holds[1].arrived, "the point of no return is near")
        assert node.claim["phase"] == "committed"
        assert site.lock.holders == [me]
        record = site.lock.record
        assert (record["nonce"], record["state"], record["kind"]) == (nonce, "held", REBOOT)
        assert (record["version"], record["boot_id"]) == ("4081.2.0", boot)
        holds[1].let_go()

        await until(lambda: holds[2].arrived, "the slot is to be given back")
        assert node.reboots == 1
        assert node.claim["claim"]["nonce"] == nonce
        assert node.claim["boot_id"] == boot != node.paths.boot_id.read_text().strip()
        assert (site.lock.record["nonce"], site.lock.record["state"]) == (nonce, "committed")
        holds[2].let_go()

        await site.is_free()
        await until(lambda: node.claim is None, "the journal forgets the claim")
        assert [(moment.holders, moment.states) for moment in site.lock.history] == [
            ([me], {me: "held"}),
            ([me], {me: "committed"}),
            ([], {}),
        ]

    with site.delay_proxy() as way:
        site.play(story)


def test_the_log_has_one_line_for_each_thing(site):
    async def story(node):
        await node.says("idle")
        node.need_reboot("4081.2.0")
        await until(lambda: node.claim, "there is a claim")
        since = node.claim["claim"]["since"]
        await node.rebooted()
        await node.says("idle", times=2)
        lines = [line.split(maxsplit=2)[2] for line in node.said.splitlines()]
        # Each start warns of the tests' etcd, which is on the machine itself.
        assert [line for line in lines if not line.startswith("all etcd.endpoints are")] == [
            "idle: nothing wants a reboot",
            "this machine has a slot: update 4081.2.0 is installed",
            "permission given: passing the point of no return",
            "past the point of no return",
            "rebooting",
            f"stopping; this machine keeps its claim of {since}, the next start resumes",
            "rebooted and healthy: releasing the slot",
            "the slot is released",
            "idle: nothing wants a reboot",
        ]

    site.play(story)


def test_three_nodes_that_are_asked_at_once_go_one_after_another(site):
    async def story(*nodes):
        for node in nodes:
            await node.says("idle")
        for node in nodes:
            node.need_reboot("4081.2.0")
        for node in nodes:
            await node.rebooted()
        await site.is_free()
        assert max(len(moment.holders) for moment in site.lock.history) == 1
        assert [node.reboots for node in nodes] == [1, 1, 1]

    site.play(story, nodes=3)


def test_as_many_as_there_are_slots_go_at_once(site):
    async def story(one, two):
        await site.lock.set_max(2)
        holds = [way.hold(release), way.hold(release)]
        one.need_reboot("4081.2.0")
        two.need_reboot("4081.2.0")
        await until(lambda: all(held.arrived for held in holds), "both have rebooted and hold their slots")
        assert site.lock.holders == sorted([one.machine_id, two.machine_id])
        way.let_all_go()
        await site.is_free()

    with site.delay_proxy() as way:
        site.play(story, nodes=2)


def test_the_strategy_reboot_reboots_and_never_looks_for_etcd(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await node.says("idle")
        await until(lambda: node.claim is None, "the journal forgets the claim")
        assert way.passed == 0

    with site.delay_proxy() as way:
        site.play(story, strategy="reboot")


def test_the_strategy_off_ends_well_and_never_looks_for_etcd(site):
    async def story(node):
        assert await node.ended() == 0
        assert "nothing to do: this strategy never reboots" in node.said
        assert way.passed == 0

    with site.delay_proxy() as way:
        site.play(story, strategy="off")


def test_off_gives_back_what_its_journal_names_and_ends_well(site):
    async def story(node):
        node.machine.on_reboot = lambda: None
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "the reboot is asked for")
        await node.kill_daemon()
        node.configure(site.settings(strategy="off"))
        node.paths.boot_id.write_text("another-boot\n")
        node.machine.booted()
        node.engine.set("UPDATE_STATUS_IDLE")
        await node.start_daemon()
        assert await node.ended() == 0
        assert site.lock.holders == []
        assert node.claim is None

    site.play(story)


def test_a_reboot_by_an_operator_is_left_alone_and_given_back_after_it(site):
    async def story(node):
        await node.says("idle")
        status, said = await node.tool("reboot", "-reason", "new disk")
        assert status == 0, said
        await node.rebooted()
        await site.is_free()
        assert [moment.states.get(node.machine_id) for moment in site.lock.history] == ["held", "committed", None]

    site.play(story)


def test_a_reboot_by_an_operator_is_given_back_under_off_too(site):
    async def story(node):
        assert await node.ended() == 0
        status, said = await node.tool("reboot")
        assert status == 0, said
        await node.rebooted()
        assert await node.ended() == 0
        assert site.lock.holders == []
        assert node.claim is None

    site.play(story, strategy="off")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strategy": "best-effort"}, "use 'etcd-lock' where etcd runs, or 'reboot'"),
        (
            {"strategy": "nonsense"},
            "there is no strategy 'nonsense'; installed are: etcd-lock, fleet-lock, off, reboot",
        ),
        ({"window": {"start": "23:05"}}, "window.start is set without window.length"),
        ({"window": {"length": "1h"}}, "window.length is set without window.start"),
        ({"group": ".."}, "group"),
        ({"etcd": {"endpoints": []}}, "endpoint"),
        ({"etcd": {"endpoints": ["ftp://etcd"]}}, "endpoint"),
        ({"stratgy": "off"}, "strategy"),
        ({"reboot": {"settle": "1h", "limit": "1m"}}, "settle"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_with_a_sentence(site, changes, sentence):
    ended = _run(site.node(running=False, **changes), "--check-config")
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    [problem] = _errors(ended)
    assert sentence in problem


def test_the_daemon_refuses_what_its_check_refuses(site):
    node = site.node(running=False, strategy="best-effort")
    ended = _run(node)
    assert ended.returncode == 2
    assert _errors(ended) == _errors(_run(node, "--check-config"))


def test_the_daemon_warns_of_an_etcd_of_its_own_at_its_start_and_with_check_config(site):
    async def story(node):
        words = f"all etcd.endpoints are on this machine itself ({', '.join(site.endpoints)})"
        status, said = await node.run("locksmithd", "--check-config")
        assert (status, f"Warning: {words}" in said) == (0, True)
        await node.start_daemon()
        await node.says(f"WARNING {words}")

    site.play_stopped(story)


def test_the_check_shows_every_setting_and_where_it_comes_from(site):
    ended = _run(site.node(running=False, group="database"), "--check-config", "-etcd-api=2")
    assert ended.returncode == 0
    assert 'strategy = "etcd-lock"' in ended.stdout
    assert 'group = "database"  (from ' in ended.stdout
    assert "etcd.api = 2" in ended.stdout
    [warning] = ended.stderr.splitlines()
    assert warning.startswith("Warning: all etcd.endpoints are on this machine itself")


def _errors(ended):
    return [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]


def _run(node, *args):
    environ = {"LOCKSMITH_ROOT": str(node.paths.root), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [BIN / "locksmithd", *args], env=environ, capture_output=True, text=True, timeout=10, check=False
    )
