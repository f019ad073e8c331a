"""The API and the metrics of a real `locksmith-server` on a real etcd, asked by the tool's words and by Prometheus."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import OPERATOR, VIEWER, Credential
from tests.contract.fleets import NOW, Fleet, ctl, root
from tests.harness.certificates import Authority
from tests.harness.etcd import WHEEL, Etcd, wait_until
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.prometheus import RULES, Prometheus, lacking

__all__ = ["ctl", "root"]

needs_prometheus = pytest.mark.skipif(bool(lacking()), reason=lacking())
LIMIT = 30.0


@pytest.fixture(scope="module")
def fleet(wheel_etcd: Etcd) -> Fleet:
    return Fleet(wheel_etcd, 3, f"g-{uuid.uuid4()}")


def token(fleet: Fleet, role: str = VIEWER, *groups: str) -> str:
    """Make the token of a person."""

    async def add(store: Any) -> str:
        one = Credential(role, f"p-{uuid.uuid4().hex[:8]}", "", NOW, groups)
        return (await CredentialStore(store).add_person(one)).text

    return str(fleet(add))


@dataclass
class Site:
    """A server, and a token for it."""

    server: FleetLockServer
    token: str

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """Give the status and the body of an answer."""
        connection = self.server.connection()
        try:
            word = self.token if token is None else token
            connection.request("GET", path, headers={"Authorization": f"Bearer {word}"} if word else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """Give an answer that must be there."""
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)


@pytest.fixture(scope="module")
def site(fleet: Fleet, wheel_etcd: Etcd) -> Iterator[Site]:
    with FleetLockServer(wheel_etcd, {fleet.group: ANYBODY}) as server:
        yield Site(server, token(fleet))


def said(ended: Any) -> Any:
    """Read the JSON that the tool printed."""
    assert ended.status == 0, ended
    return json.loads(ended.out)


def without_time(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what grows while someone asks."""
    return {name: value for name, value in fields.items() if name != "held_seconds"}


def test_the_api_says_what_the_tool_says(fleet, site, ctl):
    fleet.present("n1", state="rebooting", need="kernel", need_since=NOW, need_reasons=("<b>kernel</b>",))
    fleet.present("n2", state="waiting", code="window", reason="outside the reboot window", windows=("02:00 for 1h",))
    fleet.holds(fleet.claim("n1"), committed=True)
    assert site.server.pre_reboot("c1", fleet.group)[0] == 409
    ctl("freeze", "--reason", "the database <moves>")
    here = f"/api/v1/groups/{fleet.group}"

    def says_freeze() -> bool:
        return bool(site.json(here)["freeze"])

    wait_until(says_freeze, "the server reads the freeze", LIMIT)
    nodes, group, machines = said(ctl("nodes", "--json")), site.json(here), site.json(f"{here}/machines")
    assert machines["nodes"] == nodes["nodes"]
    of_group = nodes.keys() - {"nodes", "absent"}
    assert {name: group[name] for name in of_group} == {name: nodes[name] for name in of_group}
    for name in ("n1", "n2"):
        asked, told = said(ctl("why", name, "--json")), site.json(f"{here}/machines/{name}")
        assert {key: told[key] for key in asked if key != "why"} | {"why": asked["why"]} == asked
        # The tool's commands have its flags, and a second may pass between the two.
        assert [one.split()[:3] for one in told["why"]] == [one.split()[:3] for one in asked["why"]]
        assert f"`locksmithctl -group={fleet.group} thaw`" in told["why"][-1]
    past, told = said(ctl("history", "--json")), site.json(f"{here}/history")
    assert told["events"] == past["events"]
    assert [without_time(one) for one in told["holds"]] == [without_time(one) for one in past["holds"]]
    [hold] = site.json(f"{here}/timeline")["holds"]
    assert (hold["name"], hold["outcome"], hold["down"]) == ("n1", "held", "yes")
    assert site.json(f"{here}/forecast")["machines"] == 2


def test_a_credential_that_is_of_no_person_for_the_group_reads_nothing(fleet, site):
    here = f"/api/v1/groups/{fleet.group}"
    for path in (here, f"{here}/history", "/api/v1/groups", "/metrics"):
        status, body = site.get(path, "")
        assert status == 401, path
        assert json.loads(body)["kind"] == "unauthorized"
        assert site.get(path, "no token at all")[0] == 401, path
    assert site.get(here, token(fleet, VIEWER, "another"))[0] == 403
    assert site.get(here, token(fleet, OPERATOR, fleet.group))[0] == 200


def test_without_etcd_what_was_read_is_refused_or_marked():
    with Etcd(WHEEL) as etcd:
        fleet = Fleet(etcd, 3, "web")
        fleet.present("n1")
        word = token(fleet)
        with FleetLockServer(etcd, {fleet.group: ANYBODY}, server={"metrics-clients": ["127.0.0.1"]}) as server:
            site = Site(server, word)
            here = f"/api/v1/groups/{fleet.group}"
            assert site.json(here)["present"] == 1
            before = site.get("/metrics", "")
            etcd.members[0].kill()

            def is_told() -> bool:
                status, body = site.get(here)
                found = json.loads(body)
                return found["kind"] == "store" if status == 503 else found["stale"] is not None

            wait_until(is_told, "what is stale is refused, or marked", LIMIT)
            status, body = site.get("/metrics", "")
    for text in (before[1], body):
        assert f'locksmith_group_machines{{group="{fleet.group}",state="idle"}} 1.0' in text.decode()
    assert (before[0], status) == (200, 200)


def test_the_calls_of_clients_and_machines_are_counted(fleet, site):
    site.server.steady_state("c2", fleet.group)
    allowed = {"Authorization": f"Bearer {site.token}"}  # which is no machine's
    assert site.server.post(f"/machines/v1/{fleet.group}/hello", b"{}", allowed)[0] == 403
    lines = site.get("/metrics")[1].decode().splitlines()
    assert 'locksmith_server_calls_total{call="steady-state",kind="granted"} 1.0' in lines
    assert 'locksmith_server_machine_calls_total{call="hello",result="refused"} 1.0' in lines


@needs_prometheus
def test_a_real_prometheus_scrapes_the_fleet_with_a_viewers_token_over_tls(wheel_etcd, tmp_path):
    fleet = Fleet(wheel_etcd, 3, f"g-{uuid.uuid4()}")
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("server")
    tls = {"certfile": str(pair.cert), "keyfile": str(pair.key)}
    secret = tmp_path / "viewer-token"
    secret.write_text(token(fleet, VIEWER, fleet.group))
    job = {
        "job_name": "locksmith-server",
        "scheme": "https",
        "tls_config": {"ca_file": str(authority.cert)},
        "authorization": {"credentials_file": str(secret)},
    }
    lost = fleet.claim("n1")
    fleet.present("n2", state="waiting", need="kernel", need_since=NOW)
    fleet.holds(lost, committed=True)
    with (
        FleetLockServer(wheel_etcd, {fleet.group: ANYBODY}, server=tls) as server,
        Prometheus(tmp_path / "prometheus", {"fleet": server.port}, RULES.read_text(), job=job) as prometheus,
    ):

        def value(expression: str) -> str:
            found = prometheus.query(expression)
            return found[0]["value"][1] if found else ""

        of_group = f'{{group="{fleet.group}"}}'
        wait_until(lambda: value(f"locksmith_group_max{of_group}") == "1", "the server is scraped", LIMIT)
        assert value(f"locksmith_group_reboot_needed{of_group}") == "1"
        wanted = {("LocksmithHalted", fleet.group), ("LocksmithLost", fleet.group)}
        wait_until(lambda: wanted <= prometheus.firing(), "both alerts fire", LIMIT)
        assert prometheus.firing() == wanted
