"""Each alert of contrib/prometheus on a real Prometheus, which scrapes real daemons that are in that very trouble.

Daemons and rules hurry by the same factor (tests/harness/prometheus.py).
"""

import asyncio
import os
import re
import shlex
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.contract.daemons import CLOSED, Site
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.faketime import FAKETIME, LACKING, set_clock
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.logind import RebootMode
from tests.harness.node import Node
from tests.harness.ports import free_ports
from tests.harness.prometheus import HURRY, MANY, RULES, Prometheus, documented_queries, hurried, lacking
from tests.harness.waiting import until

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

STORY_LIMIT = 150.0
FIRES_WITHIN = 45.0
"""Seconds: a busy machine is slow."""

FAILED = 'locksmith_reboots_total{result="failed"}'
OF_TIME = {"LocksmithClock", "LocksmithDown", "LocksmithLoopStands", "LocksmithNotPresent", "LocksmithStoreUnavailable"}
"""What a machine that is busy with other tests may bring about."""
REBOOT = {"limit": "3s", "settle": "300ms", "retry": "1h"}
Scene = Callable[["Watched"], Awaitable[None]]
PENDING = set(re.findall(r"- alert: (\w+)\n +expr: (?:\|\n(?: {10}.*\n)+|.*\n) +for: ", RULES.read_text()))
"""The alerts that have a `for`."""
STORIES: dict[str, Scene] = {}
"""The trouble for each alert, by its name."""


class Watched:
    """The machines of a site, which one Prometheus scrapes."""

    def __init__(self, site: Site, stack: AsyncExitStack) -> None:
        self.site = site
        self._stack = stack
        self.prometheus: Prometheus
        self.nodes: list[Node]
        self._servers: dict[str, int] = {}

    async def machines(self, count: int, *, many: int = MANY, **changes: object) -> list[Node]:
        """Start so many machines and the Prometheus that scrapes them."""
        nodes = await self.halted_machines(count, many=many, **changes)
        for node in nodes:
            await node.start_daemon()
        return nodes

    async def halted_machines(self, count: int, *, many: int = MANY, **changes: object) -> list[Node]:
        """Make so many machines whose daemons do not run yet, and start Prometheus."""
        names = [f"n{number}" for number in range(1, count + 1)]
        ports = dict(zip(names, free_ports(count), strict=True))
        nodes = []
        for name in names:
            metrics = {"enabled": True, "port": ports[name]}
            node = self.site.node(name, running=False, metrics=metrics, **{"reboot": REBOOT, **changes})
            node.environ["PYTHONPATH"] = str(HURRY)
            nodes.append(await self._stack.enter_async_context(node))
        rules, ports = hurried(RULES.read_text(), many), ports | self._servers
        self.prometheus = self._stack.enter_context(Prometheus(self.site.folder / "prometheus", ports, rules))
        self.nodes = nodes
        return nodes

    def server(self) -> FleetLockServer:
        """Start a server of the group, which the Prometheus of the machines scrapes too."""
        own = {"metrics-clients": ["127.0.0.0/8"]}
        server = self._stack.enter_context(FleetLockServer(self.site.etcd, {self.site.group: ANYBODY}, server=own))
        self._servers["s1"] = server.port
        return server

    async def fires(self, alert: str, *where: str) -> None:
        """Wait until an alert fires for these machines, or else for the group. If it has a `for`, it was pending."""
        wanted = {(alert, one) for one in where or (self.site.group,)}
        seen: set[tuple[str, str]] = set()

        def all_fire() -> bool:
            seen.clear()
            seen.update(self.prometheus.firing())
            return wanted <= seen

        await until_asked(all_fire, lambda: f"{wanted} do not fire, only {seen}; {self.prometheus.log[-2000:]}")
        pending = f'last_over_time(ALERTS{{alertname="{alert}",alertstate="pending"}}[10m])'
        assert bool(await asyncio.to_thread(self.prometheus.query, pending)) == (alert in PENDING)

    async def commands_work(self) -> None:
        """Run each command that the alerts which fire suggest; `why` alone is for the machine that the alert names."""
        nodes = {node.name: node for node in self.nodes}
        alerts = await asyncio.to_thread(self.prometheus.alerts)
        texts = {alert["annotations"]["description"]: alert["labels"].get("instance") for alert in alerts}
        for text, name in texts.items():
            commands = re.findall(r"`locksmithctl ([^`]+)`", text)
            assert commands, text
            for command in commands:
                node = nodes[name] if command == "why" else self.nodes[0]
                _, said = await node.tool(*shlex.split(command))
                assert said, command
                assert not any(wrong in said for wrong in ("Usage:", "Traceback", "no machine")), f"{command}: {said}"


async def until_asked(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Wait until Prometheus says so; it is asked in a thread, as the doubles of the machines run in this loop."""
    ends = time.monotonic() + FIRES_WITHIN
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < ends, what()
        await asyncio.sleep(0.3)


def trouble(*alerts: str) -> Callable[[Scene], Scene]:
    """Say for which alerts a story is."""

    def register(story: Scene) -> Scene:
        STORIES.update(dict.fromkeys(alerts, story))
        return story

    return register


def play(site: Site, story: Scene) -> None:
    async def scene() -> None:
        async with asyncio.timeout(STORY_LIMIT), AsyncExitStack() as stack:
            watched = Watched(site, stack)
            await story(watched)
            await watched.commands_work()

    asyncio.run(scene())


def dies(node: Node) -> None:
    """Have a machine lose its power when it is told to reboot."""
    node.machine.on_reboot = lambda: os.kill(node.pid, 9)


def port_of(node: Node) -> int:
    """Give the port of its metrics."""
    return int(re.findall(r"port = (\d+)", node.paths.config.read_text())[0])


@trouble("LocksmithOverdue", "LocksmithLost", "LocksmithDown")
async def a_node_took_its_slot_and_died(watched: Watched) -> None:
    _, second = await watched.machines(2)
    dies(second)
    second.need_reboot("4081.2.0")
    await until(lambda: second.machine.reboots == 1, "it goes down")
    await watched.fires("LocksmithOverdue")
    await watched.fires("LocksmithLost")
    await watched.fires("LocksmithHalted")
    await watched.fires("LocksmithDown", "n2")


@trouble("LocksmithStoreUnavailable")
async def etcd_hangs(watched: Watched) -> None:
    nodes = await watched.machines(2)
    await until(lambda: all(map(watched.site.node_record, nodes)), "both are present")
    with watched.site.etcd_frozen():
        await watched.fires("LocksmithStoreUnavailable")
        assert ("LocksmithNotPresent", "n1") not in watched.prometheus.firing()


@trouble("LocksmithNotPresent", "LocksmithErrors")
async def one_machine_of_three_is_cut_off(watched: Watched) -> None:
    *others, third = await watched.halted_machines(3)
    for node in others:
        await node.start_daemon()
    watched.site.endpoints = [f"http://127.0.0.1:{free_ports(1)[0]}"]
    third.configure(watched.site.settings(metrics={"enabled": True, "port": port_of(third)}))
    await third.start_daemon()
    third.need_reboot("4081.2.0")
    await watched.fires("LocksmithNotPresent", "n3")
    await watched.fires("LocksmithErrors", "n3")
    assert ("LocksmithStoreUnavailable", watched.site.group) not in watched.prometheus.firing()


async def a_machine_never_reached_etcd(watched: Watched) -> None:
    watched.site.endpoints = [f"http://127.0.0.1:{free_ports(1)[0]}"]
    await watched.machines(1)
    await watched.fires("LocksmithStoreUnavailable")


@trouble("LocksmithCameUpSick", "LocksmithHalted")
async def a_machine_came_up_sick(watched: Watched) -> None:
    _, second, third = await watched.machines(3, health={"limit": "1s"})
    second.while_off = lambda: second.machine.failed_units.append("web.service")
    second.need_reboot("4081.2.0")
    await second.says("unhealthy: web.service has failed", limit=FIRES_WITHIN)
    third.need_reboot("4081.2.0")
    await watched.fires("LocksmithCameUpSick", "n2")
    await watched.fires("LocksmithHalted")


@trouble("LocksmithStuckInShutdown")
async def a_machine_does_not_get_through_its_shutdown(watched: Watched) -> None:
    [node] = await watched.machines(1)
    node.machine.mode = RebootMode.DELAY
    node.need_reboot("4081.2.0")
    await watched.fires("LocksmithStuckInShutdown", "n1")
    await watched.fires("LocksmithOverdue")
    node.doubles.logind.end_delay()
    await node.rebooted()


@trouble("LocksmithStoreWentBack")
async def a_backup_is_restored(watched: Watched) -> None:
    etcd = watched.site.etcd
    snapshot = watched.site.folder / "snapshot"
    etcd.save(snapshot)
    [node] = await watched.machines(1)
    node.need_reboot("4081.2.0")
    await node.rebooted()
    await watched.site.is_free()
    etcd.restore(snapshot)
    await watched.fires("LocksmithStoreWentBack", "n1")


@trouble("LocksmithOtherCluster")
async def an_endpoint_is_of_another_cluster(watched: Watched) -> None:
    [node] = await watched.machines(1)
    await until(lambda: watched.site.node_record(node), "it is present")
    await node.stop_daemon()
    with Etcd(WHEEL) as other:
        watched.site.endpoints += other.endpoints
        node.configure(watched.site.settings(metrics={"enabled": True, "port": port_of(node)}))
        await node.start_daemon()
        await watched.fires("LocksmithOtherCluster", "n1")
        await node.stop_daemon()


@trouble("LocksmithRebootFailed")
async def logind_refuses_a_reboot(watched: Watched) -> None:
    [node] = await watched.machines(1)
    await until_asked(lambda: bool(watched.prometheus.query(FAILED)), lambda: "the counter is scraped at 0")
    node.machine.mode = RebootMode.REFUSE
    node.need_reboot("4081.2.0")
    await watched.fires("LocksmithRebootFailed", "n1")


def needed_a_reboot_long_ago(node: Node) -> None:
    """Have a package manager have asked for a reboot eight days ago."""
    asks = node.paths.root / "run/reboot-required"
    asks.parent.mkdir(exist_ok=True)
    asks.write_text("")
    long_ago = time.time() - 8 * 86400
    os.utime(asks, (long_ago, long_ago))


@trouble("LocksmithRebootWaits")
async def a_reboot_waits_for_a_window_for_more_than_a_week(watched: Watched) -> None:
    [node] = await watched.halted_machines(1, window=CLOSED)
    needed_a_reboot_long_ago(node)
    await node.start_daemon()
    await watched.fires("LocksmithRebootWaits", "n1")


@trouble("LocksmithClone")
async def two_machines_have_one_id(watched: Watched) -> None:
    first, second = await watched.halted_machines(2)
    second.paths.machine_id.write_text(f"{first.machine_id}\n")
    for node in (first, second):
        await node.start_daemon()
    await watched.fires("LocksmithClone", "n1")


@trouble("LocksmithManyMachines")
async def many_machines_have_one_fault(watched: Watched) -> None:
    for node in await watched.halted_machines(3, many=2, window=CLOSED):
        needed_a_reboot_long_ago(node)
        await node.start_daemon()
    await watched.fires("LocksmithManyMachines")
    assert not {alert for alert in watched.prometheus.firing() if alert[0] == "LocksmithRebootWaits"}


@trouble("LocksmithClock")
async def a_clock_jumps(watched: Watched) -> None:
    if FAKETIME is None:
        pytest.skip(LACKING)
    first, second = await watched.halted_machines(2)
    set_clock(second, "+0")
    for node in (first, second):
        await node.start_daemon()
    await second.says("idle", limit=FIRES_WITHIN)
    assert not {alert for alert, _ in watched.prometheus.firing()} - OF_TIME
    set_clock(second, "+2h")
    await watched.fires("LocksmithClock", "n2")
    set_clock(second, "-2h")
    behind = 'time() - locksmith_last_cycle_timestamp_seconds{instance="n2"} > 7000'
    await until_asked(lambda: bool(watched.prometheus.query(behind)), lambda: "its clock goes back")
    await watched.fires("LocksmithClock", "n2")
    assert not {alert for alert, _ in watched.prometheus.firing()} - OF_TIME


@trouble("LocksmithRolloutStands")
async def a_manual_lock_is_forgotten(watched: Watched) -> None:
    await watched.site.lock.take("rack")
    _, second = await watched.machines(2)
    second.need_reboot("4081.2.0")
    await watched.fires("LocksmithRolloutStands")


@trouble("LocksmithServerStoreWentBack")
async def etcd_is_restored_below_a_server(watched: Watched) -> None:
    server, backup = watched.server(), watched.site.folder / "backup"
    await watched.machines(1)
    watched.site.etcd.save(backup)
    assert server.pre_reboot("c1", watched.site.group)[0] == 200
    watched.site.etcd.restore(backup)
    server.pre_reboot("c2", watched.site.group)
    await watched.fires("LocksmithServerStoreWentBack")


@trouble("LocksmithLoopStands")
async def a_disk_hangs(watched: Watched) -> None:
    [node] = await watched.machines(1)
    await node.says("idle")
    journal = node.paths.state / "journal.json"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    os.mkfifo(journal)  # a read of it never ends
    try:
        await watched.fires("LocksmithLoopStands", "n1")
    finally:
        await node.kill_daemon()


@pytest.fixture
def group():
    return "web"


@pytest.fixture
def site(tmp_path, group):
    """A site with an etcd of its own: some stories halt it, or take it back."""
    with Etcd(WHEEL) as etcd:
        yield Site(etcd, group, tmp_path)


def test_every_documented_alert_has_a_story():
    assert set(re.findall(r"- alert: (\w+)", RULES.read_text())) == set(STORIES)


@pytest.mark.parametrize(
    ("story", "group"),
    [(story, "" if story is a_machine_came_up_sick else "web") for story in dict.fromkeys(STORIES.values())],
    ids=[story.__name__ for story in dict.fromkeys(STORIES.values())],
)
def test_the_alert_fires(site, story):
    play(site, story)


def test_a_machine_that_never_reached_etcd_is_noticed(site):
    play(site, a_machine_never_reached_etcd)


def test_no_alert_fires_in_a_rollout_that_goes_well(site):
    async def story(watched: Watched) -> None:
        # A busy machine takes seconds for a boot, and may hold up what is to be shown every two seconds.
        first, second = await watched.machines(2, reboot=REBOOT | {"limit": "60s"})
        for node in (first, second):
            node.need_reboot("4081.2.0")
        seen: set[str] = set()

        def look() -> bool:
            seen.update(alert for alert, _ in watched.prometheus.firing() if alert not in OF_TIME)
            done = bool(first.reboots and second.reboots and not watched.site.lock.holders)
            return done and bool(watched.prometheus.query("count(locksmith_group_held == 0) == 2"))

        await until_asked(look, lambda: "both reboot, and Prometheus sees it")
        assert seen == set()
        refused = {query: watched.prometheus.refuses(query) for query in documented_queries()}
        assert set(refused.values()) == {""}, refused

    play(site, story)
