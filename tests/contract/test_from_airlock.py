"""Clients of airlock go on at `locksmith-server`: the slots that they had there are theirs here."""

import json

import pytest

from tests.contract.airlock_site import Site
from tests.harness.airlock import Airlock, AirlockError, written
from tests.harness.ctl import Ctl, flags_for
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer


@pytest.fixture
def site(monkeypatch, capfd, wheel_etcd, tmp_path):
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    return Site(wheel_etcd, Ctl(monkeypatch, capfd, *flags_for(wheel_etcd)))


def test_a_holder_reports_and_a_client_that_waits_has_its_slot(site, wheel_etcd):
    group = site.group

    async def at_airlock(store):
        server = Airlock(store, group, 2)
        for client in ("down", "about-to-reboot"):
            await server.pre_reboot(client)
        with pytest.raises(AirlockError):
            await server.pre_reboot("waits")

    site.play(at_airlock)
    # airlock is stopped; the clients' calls fail, and they call again.
    assert site.run("--yes").status == 0
    with FleetLockServer(wheel_etcd, {group: ANYBODY}) as server:
        # It asks again while it still is up, as Zincati does in its users' grace time.
        assert server.pre_reboot("about-to-reboot", group) == (200, {})
        status, said = server.pre_reboot("waits", group)
        assert (status, said["kind"]) == (409, "no_slot"), said
        # A client that airlock knew nothing of.
        assert server.steady_state("never-asked", group) == (200, {})
        assert server.pre_reboot("waits", group)[0] == 409

        assert server.steady_state("down", group) == (200, {})
        assert server.pre_reboot("waits", group) == (200, {})
        assert server.pre_reboot("down", group)[0] == 409
        for client in ("about-to-reboot", "waits", "down"):
            assert server.steady_state(client, group) == (200, {})

    told = json.loads(site.ctl(f"-group={group}", "nodes", "--json").out)
    assert (told["max"], told["held"], told["waiting"], told["present"], told["incidents"]) == (2, 0, 0, 0, [])
    events = json.loads(site.ctl(f"-group={group}", "history", "--json").out)["events"]
    assert [(one["act"], one["id"], one["detail"]) for one in events[1:]] == [
        ("held", client, "rebooted") for client in ("down", "about-to-reboot", "waits")
    ]


def test_the_way_back_and_here_again(site):
    """As docs/airlock.md has it."""
    site.put(written(2))
    assert site.run("--yes").status == 0
    assert site.ctl(f"-group={site.group}", "freeze", "--reason=back").status == 0
    site.put(b'{"total_slots":2,"holders":[]}')
    site.play(lambda store: Airlock(store, site.group, 2).pre_reboot("a"))
    assert "airlock's semaphore was written since" in site.fails("--yes")
    assert site.run("--yes", "--again").out == f"imported {site.group}: max 2 -> 2, held by a\n"
    assert site.ctl(f"-group={site.group}", "thaw").status == 0
