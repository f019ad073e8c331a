"""The strategy `fleet-lock`: real daemons as clients of a FleetLock server."""

import asyncio
import signal

import pytest

from locksmith.util.zincati import zincati_id
from tests.contract.daemons import CLOSED, QUICK, STORY_LIMIT, Site
from tests.contract.programs import program
from tests.harness.fleet_lock import PRE_REBOOT, STEADY_STATE, fleet_lock_double
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.http_server import answer
from tests.harness.waiting import until


@pytest.fixture
def server():
    with fleet_lock_double() as made:
        yield made


class Place(Site):
    """A place for daemons without etcd."""

    def __init__(self, folder) -> None:
        self.group, self.folder, self.endpoints, self.reachable = "", folder, ["http://127.0.0.1:1"], False


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def fleet_lock(server, **changes):
    return {"strategy": "fleet-lock", "fleet-lock": {"url": server.url, "period": "300ms", **changes}}


def when_second(refused):
    """Let the first pre-reboot take its slot, and have each later one answered so."""

    def instead(asked):
        if asked.server.count(PRE_REBOOT) == 1:
            answer(asked, *asked.server.decide(PRE_REBOOT, *asked.server.calls[-1][1:]))
        else:
            refused(asked)

    return instead


def refusal(status, kind):
    return lambda asked: answer(asked, status, {"kind": kind, "value": "by alice"})


def test_a_reboot_is_denied_then_granted_and_its_slot_goes_back_healthy(place, server):
    async def story(node):
        machine = zincati_id(node.machine_id)
        server.holders["default"] = {"another"}
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (server): the FleetLock server {server.url} says no_slot: 1 of 1 slots are held")
        server.lost.add(PRE_REBOOT)
        server.holders["default"] = set()
        await node.says("gave no answer: it closed the connection without an answer; it is asked again at ")
        assert (server.holders["default"], node.machine.reboots) == ({machine}, 0)
        server.refuse(STEADY_STATE, 500, "failed", "etcd is away")
        server.lost.clear()
        await node.rebooted()
        await node.says("waiting (store): the slot is not released: the FleetLock server ")
        assert node.claim is not None
        server.instead.clear()
        await until(lambda: node.claim is None, "the slot is given back")
        assert server.holders["default"] == set()
        assert {one[1:] for one in server.calls} == {("default", machine)}
        paths = [path for path, *_ in server.calls]
        before = paths[: paths.index(STEADY_STATE)]
        assert before[-2:] == [PRE_REBOOT, PRE_REBOOT], "once more right before the reboot"
        assert all(one["fleet-lock-protocol"] == "true" for one in server.headers)
        assert not any("Content-Type" in one for one in server.headers)

    place.play(story, **fleet_lock(server))


def test_a_refusal_right_before_the_reboot_is_no_reboot_and_the_slot_goes_back(place, server):
    async def story(node):
        ran = node.paths.root / "ran"
        program(node, "pre-reboot.d/10-drain", f"echo drain >> {ran}")
        program(node, "abort-reboot.d/10-undo", f"echo undo >> {ran}")
        server.instead[PRE_REBOOT] = when_second(refusal(409, "no_slot"))
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (retry): the last reboot failed: the FleetLock server {server.url} says no_slot")
        assert (node.machine.reboots, server.holders["default"], node.claim) == (0, set(), None)
        assert ran.read_text().split() == ["drain", "undo"]
        assert server.calls[-1][0] == STEADY_STATE

    place.play(story, **fleet_lock(server, period="1h"))


def test_a_freeze_right_before_the_reboot_is_no_failure(place, server):
    async def story(node):
        server.instead[PRE_REBOOT] = when_second(refusal(409, "frozen"))
        node.need_reboot("4081.2.0")
        await node.says(f"aborting the reboot and releasing its slot: the FleetLock server {server.url} says frozen")
        await until(lambda: node.claim is None, "the slot is given back")
        assert (node.machine.reboots, server.holders["default"]) == (0, set())
        assert "the last reboot failed" not in node.said
        await node.says("waiting (server): ")
        asked = server.count(PRE_REBOOT)
        for _ in range(5):
            node.engine.emit()
            await asyncio.sleep(0.1)
        assert server.count(PRE_REBOOT) == asked, "whatever wakes it"
        server.instead.clear()
        code, said = await node.tool("recheck")
        assert code == 0, said
        await node.rebooted()

    place.play(story, **fleet_lock(server, period="1h"))


def test_a_freeze_while_hooks_run_is_heard_of_and_has_them_undone(place, server):
    async def story(node):
        ran = node.paths.root / "ran"
        program(node, "pre-reboot.d/10-drain", f"echo drain >> {ran}; sleep 60")
        program(node, "abort-reboot.d/10-undo", f"echo undo >> {ran}")
        node.need_reboot("4081.2.0")
        await until(ran.exists, "the hook runs")
        server.refuse(PRE_REBOOT, 409, "frozen", "by alice")
        await asyncio.sleep(0.4)
        node.engine.emit()  # else it observes again after 30 seconds
        await node.says(f"undoing the hooks: the FleetLock server {server.url} says frozen: by alice")
        await until(lambda: node.claim is None, "the slot is given back")
        assert (node.machine.reboots, server.holders["default"]) == (0, set())
        assert ran.read_text().split() == ["drain", "undo"]

    place.play(story, **fleet_lock(server))


def test_a_server_that_fails_right_before_the_reboot_is_asked_again(place, server):
    async def story(node):
        server.instead[PRE_REBOOT] = when_second(lambda asked: setattr(asked, "close_connection", True))
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (store): the FleetLock server {server.url} ")
        assert node.machine.reboots == 0
        assert node.claim["phase"] == "requested"
        server.instead.clear()
        await node.rebooted()
        await until(lambda: node.claim is None, "the slot is given back")
        assert server.holders["default"] == set()

    place.play(story, **fleet_lock(server, period="1h"))


def test_an_unhealthy_machine_keeps_its_slot_until_it_is_healthy(place, server):
    async def story(node):
        program(node, "health.d/10-web", f"test -e {node.paths.root}/well || {{ echo 'web is down'; exit 1; }}")
        node.need_reboot("4081.2.0")
        await node.says("unhealthy: health.d/10-web: web is down")
        _, why = await node.tool("why")
        assert "UNHEALTHY" in why
        await asyncio.sleep(1)
        assert (server.count(STEADY_STATE), len(server.holders["default"])) == (0, 1)
        await node.kill_daemon()
        await node.start_daemon()
        await node.says("unhealthy: ", times=2)
        assert server.count(STEADY_STATE) == 0
        (node.paths.root / "well").touch()
        node.send_signal(signal.SIGHUP)
        await until(lambda: node.claim is None, "the slot is given back")
        assert (server.count(STEADY_STATE), server.holders["default"]) == (1, set())

    place.play(story, **fleet_lock(server), health={"limit": "1s"})


def test_a_claim_outlives_a_stop_and_is_given_back_where_it_was_made(place, server):
    """The machine has its slot without knowing: the answer was lost. Another strategy is configured then."""

    async def story(node):
        server.lost.add(PRE_REBOOT)
        node.need_reboot("4081.2.0")
        await node.says("gave no answer")
        await node.stop_daemon()
        assert node.claim["strategy"] == "fleet-lock"
        assert node.claim["client"] == "of-old"
        server.lost.clear()
        with fleet_lock_double() as other:
            node.configure(place.settings(**fleet_lock(other, period="1h"), window=CLOSED))
            await node.start_daemon()
            await until(lambda: server.count(STEADY_STATE) == 1, "it is given back where it was taken")
            assert server.holders["default"] == set()
            assert server.calls[-1][2] == "of-old"
            await node.says("may still carry out a call")
            assert other.calls == []

    place.play(story, **fleet_lock(server, id="of-old", period="1h"))


def test_under_etcd_lock_a_slot_of_a_fleetlock_server_is_given_back(site, server):
    async def story(node):
        node.machine.on_reboot = lambda: None
        node.need_reboot("4081.2.0")
        await until(lambda: node.machine.reboots, "logind is asked")
        assert len(server.holders["default"]) == 1
        node.configure(site.settings())
        await node.reboot()
        await until(lambda: node.claim is None, "the slot is given back")
        assert server.holders["default"] == set()
        node.configure(site.settings(**fleet_lock(server)))
        node.need_reboot("4081.3.0")
        await until(lambda: site.lock.holders == [node.machine_id], "a slot in etcd")
        await until(lambda: node.machine.reboots == 2, "logind is asked")
        await node.reboot()
        await until(lambda: node.claim is None, "that slot is given back in etcd")
        assert site.lock.holders == []

    site.play(story, group="", **fleet_lock(server), reboot={"settle": "5s"})


def test_the_tool_says_which_server_decides(place, server):
    async def story(node):
        who = f"the FleetLock server {server.url} (group default, id {zincati_id(node.machine_id)})"
        await node.says("idle")
        code, said = await node.tool("status")
        assert (code, f"{who} decides, and alone knows who has a slot" in said) == (1, True), said
        code, said = await node.tool("why")
        assert (code, f"Its strategy is fleet-lock: {who} decides." in said) == (0, True), said
        code, said = await node.run("locksmithd", "--check-config")
        assert (code, f'fleet-lock.url = "{server.url}"' in said) == (0, True), said
        code, said = await node.run("locksmithd", "--check-config", "--online")
        assert f"{who}: answers (HTTP status 405 to a GET), and no slot was asked for" in said
        assert "etcd: not asked: strategy fleet-lock needs no store" in said
        assert server.calls == []

    place.play(story, **fleet_lock(server))


def test_a_server_that_is_gone_for_good_can_be_forgotten(place, server):
    async def story(node):
        with fleet_lock_double() as gone:
            node.configure(place.settings(**fleet_lock(gone), window={}))
            gone.refuse(PRE_REBOOT)
            await node.start_daemon()
            node.need_reboot("4081.2.0")
            await node.says("waiting (server)")
            await node.stop_daemon()
            node.configure(place.settings(**fleet_lock(server)))
            code, said = await node.tool("forget-claim", "--yes")
            assert (code, "locksmithd releases the slot there, so nothing was forgotten" in said) == (1, True), said
        await node.start_daemon()
        await node.says("run `locksmithctl forget-claim` on this machine")
        code, said = await node.tool("forget-claim", "--yes")
        assert (code, "That server does not answer: " in said) == (0, True), said
        await node.rebooted()

    place.play(story, running=False, **fleet_lock(server))


def test_a_wrong_url_is_corrected_without_more_ado(place, server):
    """No slot was asked for there, so no program has to release one."""

    async def story(node):
        with fleet_lock_double() as wrong:
            url = wrong.url
        node.configure(place.settings(**fleet_lock(server, url=url)))
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says(
            f"waiting (store): the FleetLock server {url} cannot be reached: connection refused; it is asked"
        )
        assert node.claim["unsent"]
        await node.kill_daemon()
        node.configure(place.settings(**fleet_lock(server)))
        await node.start_daemon()
        await node.rebooted()
        await until(lambda: node.claim is None and not server.holders["default"], "the slot is given back")

    place.play(story, running=False, **fleet_lock(server))


@pytest.mark.parametrize("call", [1, 2], ids=["request", "commit"])
def test_killed_while_the_server_grants_it_the_daemon_resumes_or_releases(place, server, call):
    async def story(node):
        def kill(asked):
            said = server.decide(PRE_REBOOT, *server.calls[-1][1:])
            if server.count(PRE_REBOOT) == call:
                node.send_signal(signal.SIGKILL)
            else:
                answer(asked, *said)

        server.instead[PRE_REBOOT] = kill
        node.need_reboot("4081.2.0")
        await node.ended()
        assert "unsent" not in node.claim
        assert len(server.holders["default"]) == 1
        await node.start_daemon()
        if call == 1:
            await node.rebooted()
        else:
            await node.says("the daemon ended before the reboot was asked for")
            assert node.machine.reboots == 0
        await until(lambda: not server.holders["default"], "the slot is given back")

    place.play(story, **fleet_lock(server), reboot=QUICK)


def test_an_operators_reboot_takes_its_slot_at_the_server(place, server):
    async def story(node):
        await node.says("idle")
        server.holders["default"] = {"another"}
        code, said = await node.tool("reboot")
        assert (code, "not rebooting: the FleetLock server " in said, "says no_slot" in said) == (1, True, True), said
        assert server.calls[-1][0] == STEADY_STATE
        assert node.machine.reboots == 0
        server.holders["default"] = set()
        code, said = await node.tool("reboot", "--reason", "new disk")
        assert code == 0, said
        await node.rebooted()
        await until(lambda: node.claim is None and not server.holders["default"], "the slot is given back")

    place.play(story, **fleet_lock(server))


def test_with_our_own_server_daemons_of_both_strategies_share_one_slot(site):
    """Each look at etcd sees at most one holder; a freeze is said to the daemon that asks the server."""

    async def story():
        with FleetLockServer(site.etcd, {site.group: ANYBODY}) as server:
            asks = fleet_lock(server, period="3s")
            first, second = site.node("n1", **asks), site.node("n2", **asks)
            async with first, second, site.node("n3") as third:
                await site.lock.set_max(1)
                code, said = await third.tool("freeze", "--reason", "maintenance")
                assert code == 0, said
                first.need_reboot("4081.2.0")
                await first.says(f"waiting (server): the FleetLock server {server.url} says frozen: ")
                code, said = await first.tool("why")
                assert (code, "maintenance" in said, "asked again at " in said) == (0, True, True), said
                second.need_reboot("4081.2.0")
                third.need_reboot("4081.2.0")
                await second.says("says queued: queued for a slot: number ")
                code, said = await third.tool("thaw")
                assert code == 0, said
                for node in (first, second, third):
                    await node.rebooted()
                await site.is_free()
                await until(lambda: first.claim is None and second.claim is None, "both know it")
                assert [node.machine.reboots for node in (first, second, third)] == [1, 1, 1]
                assert all(len(moment.holders) <= 1 for moment in site.lock.history)
                held = {holder for moment in site.lock.history for holder in moment.holders}
                assert held == {zincati_id(first.machine_id), zincati_id(second.machine_id), third.machine_id}

    asyncio.run(asyncio.wait_for(story(), STORY_LIMIT))
