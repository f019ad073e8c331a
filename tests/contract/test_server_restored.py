"""etcd is restored from a backup below running servers: no FleetLock client gets a slot that another may have."""

import asyncio
import re
import urllib.request

import pytest

from locksmith.server import store_marks
from locksmith.server.store_marks import StoreMarks
from tests.harness.ctl import Ctl, flags_for
from tests.harness.etcd import Etcd, wait_until
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.waiting import until

GROUP = "web"
GROWTH = 100
"""Writes of others: more than a server here has seen."""


@pytest.fixture
def etcd():
    with Etcd() as found:
        yield found


@pytest.fixture
def server(etcd):
    with FleetLockServer(etcd, {GROUP: ANYBODY}, server={"metrics-clients": ["127.0.0.0/8"]}) as found:
        yield found


def shows(server: FleetLockServer, metric: str, value: float) -> bool:
    """Whether its metrics have this value for the group."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
        said = answer.read().decode()
    return f'{metric}{{group="{GROUP}"}} {value}' in said


def went_back(server: FleetLockServer) -> bool:
    """Whether its metrics say that the store went back."""
    return shows(server, "locksmith_server_store_went_back", 1.0)


def refused(server: FleetLockServer, client: str) -> str:
    """Ask for a slot that is refused; give the kind and the sentence. What is in memory may refuse it for a while."""
    status, answer = server.pre_reboot(client, GROUP)
    assert status != 200
    return f"{answer['kind']}: {answer['value']}"


@pytest.fixture
def ctl(etcd, monkeypatch, capfd):
    return Ctl(monkeypatch, capfd, *flags_for(etcd, group=GROUP))


@pytest.mark.parametrize("growth", [0, GROWTH])
def test_a_server_grants_no_slot_on_a_backup_until_a_resume(etcd, server, ctl, tmp_path, growth):
    etcd.save(tmp_path / "backup")
    assert server.pre_reboot("c1", GROUP)[0] == 200
    etcd.restore(tmp_path / "backup")
    etcd.write_others(growth)

    wait_until(lambda: "store: the store knows less than this server" in refused(server, "c2"), "the server says so")
    assert f"`locksmithctl --group {GROUP} resume`" in refused(server, "c2")
    assert "store: the store knows less" in refused(server, "c1")
    assert went_back(server)

    def resumed() -> bool:  # a `resume` of the second in which the server saw more is not newer
        assert ctl("resume", "--reason", "all are up").status == 0
        return bool(server.pre_reboot("c2", GROUP)[0] == 200)

    wait_until(resumed, "the server believes the store again")
    assert not went_back(server)


def test_a_server_knows_what_another_has_granted(etcd, server, tmp_path):
    etcd.save(tmp_path / "backup")
    with FleetLockServer(etcd, {GROUP: ANYBODY}) as other:
        assert other.pre_reboot("c1", GROUP)[0] == 200
        assert server.pre_reboot("c2", GROUP)[1]["kind"] == "no_slot"
    etcd.restore(tmp_path / "backup")

    wait_until(lambda: "store: the store knows less" in refused(server, "c2"), "the server says so")


def test_an_idle_server_notices_it_by_itself(etcd, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_marks, "CHECK_AFTER", 0.05)
    marks = StoreMarks(etcd.settings(), [GROUP])
    mark = marks.marks[GROUP]

    async def story():
        async with marks.kept():
            await until(lambda: mark.sending().revision, "it has seen the store")
            etcd.save(tmp_path / "backup")
            etcd.write_others(GROWTH)
            written = mark.sending().revision + GROWTH // 2
            await until(lambda: mark.sending().revision > written, "it has seen what others wrote")
            etcd.restore(tmp_path / "backup")
            await until(lambda: mark.verdict, "it has seen that the store went back")

    asyncio.run(story())
    assert "the store knows less than this server (group web) has seen of it" in caplog.text


def test_a_steady_client_gives_back_what_the_backup_says_it_has(etcd, server, tmp_path):
    assert server.pre_reboot("c1", GROUP)[0] == 200
    etcd.save(tmp_path / "backup")
    assert server.steady_state("c1", GROUP)[0] == 200
    etcd.restore(tmp_path / "backup")

    wait_until(lambda: "store: the store knows less" in refused(server, "c2"), "the server says so")
    assert server.steady_state("c1", GROUP)[0] == 200


def test_another_cluster_takes_its_place_without_a_restart_of_the_server(etcd, server, ctl, tmp_path):
    etcd.save(tmp_path / "backup")
    assert server.pre_reboot("c1", GROUP)[0] == 200
    etcd.restore(tmp_path / "backup", "--initial-cluster-token", "new")

    wait_until(lambda: "has taken the place of" in refused(server, "c2"), "the server sees another cluster")
    [before] = re.findall(rf"`locksmithctl --group {GROUP} resume --replaces ([0-9a-f]+)`", refused(server, "c2"))
    assert ctl("resume", "--replaces", before, "--reason", "all are up").status == 0
    wait_until(lambda: server.pre_reboot("c2", GROUP)[0] == 200, "the server believes that one")
    wait_until(lambda: shows(server, "locksmith_group_held", 1.0), "the server reads its group there")
