"""The metrics of the fleet over real sockets: who gets them, and that their figures are those of the store."""

import time
from dataclasses import replace
from ipaddress import ip_network

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from locksmith.errors import StoreUnavailableError
from locksmith.fleet.group import GroupView
from locksmith.lock.records import states
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.incident import FIRST
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.api_answers import Seen
from locksmith.server.figures import NO_FIGURES, Figures, figures_of
from locksmith.server.fleet_metrics import MetricsPage
from locksmith.server.notice_post import NoticeCounts
from locksmith.server.refusal import RefusalKind
from locksmith.server.web.fleet import Sight
from tests.builders.api_site import NOW, ByToken, G, api_site
from tests.builders.claims import claim
from tests.builders.fleetlock_site import PROTOCOL, params
from tests.builders.nodes import IDLE

LOOPBACK = (ip_network("127.0.0.0/8"),)


async def scraped(site, token="viewer", **headers):
    """Give the value of each series, by its name and labels."""
    status, _, body = await site.get("/metrics", token, **headers)
    assert status == 200, body
    return series(body.decode())


def series(text):
    """Read Prometheus' text."""
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def test_the_figures_are_those_of_the_store():
    began = time.time()
    async with api_site() as site:
        await site.orders().freeze(Order("alice", NOW, "the database moves"))
        await site.lock().report_failure(claim("n1"), "unhealthy", "nginx failed")
        await site.again()
        found = await scraped(site)
        group = {
            name.removeprefix("locksmith_group_"): found[name, *labels] for name, *labels in found if labels == [G]
        }
        at = group.pop("seen_timestamp_seconds")
    assert group == {
        "max": 1,
        "held": 1,
        "queued": 0,
        "under_way": 1,
        "lost": 0,
        "overdue": 0,
        "halted": 1,
        "frozen": 1,
        "unhealthy": 1,
        "failed": 0,
        "orphaned": 0,
        "absent": 0,
        "reboot_needed": 2,
    }
    assert began - 1 <= at <= time.time() + 1
    by_state = {labels[1]: found[name, *labels] for name, *labels in found if name == "locksmith_group_machines"}
    assert [*by_state] == [*states.ALL, "other"]
    assert {state: number for state, number in by_state.items() if number} == {"rebooting": 1, "waiting": 1, "idle": 2}


@pytest.mark.parametrize(
    ("found", "under_way"),
    [
        ({"n1": claim("n1").taken_at(NOW)}, 1),
        ({"n1": claim("n1").taken_at(NOW).committed(), "n2": claim("n2").taken_at(NOW)}, 2),
        ({"rack": replace(claim("rack"), kind=MANUAL, who="alice")}, 0),
        ({"legacy": None}, 0),
        ({"gone": claim("gone").taken_at(NOW).committed()}, 0),
        ({}, 0),
    ],
)
def test_a_slot_is_under_way_if_its_machine_releases_it_by_itself(found, under_way):
    machines = {name: replace(IDLE, machine_id=name, hostname=name) for name in ("n1", "n2")}
    view = GroupView(G, Semaphore(9, tuple(sorted(found))), found, machines=machines)
    figures = figures_of(Seen(view, (), "", FIRST)).figures
    assert (figures["held"], figures["under_way"]) == (len(found), under_way)


@pytest.mark.parametrize("clients", [(), (ip_network("10.0.0.0/8"), ip_network("::/0"))])
async def test_without_a_credential_or_a_known_address_there_are_none(clients):
    async with api_site(clients=clients) as site:
        for token, status in (("", 401), ("wrong", 401), ("machine", 403), ("viewer", 200), ("operator", 200)):
            assert (await site.get("/metrics", token, **{"X-Forwarded-For": "10.0.0.1"}))[0] == status, token
        _, headers, body = await site.get("/metrics", "")
    assert headers["content-type"] == "application/json"
    assert G not in body.decode()


async def test_a_known_address_needs_no_credential():
    async with api_site(clients=LOOPBACK) as site:
        assert ("locksmith_group_max", G) in await scraped(site, "")


async def test_a_viewer_of_other_groups_gets_those_alone():
    async with api_site() as site:
        found = await scraped(site, "other")
    assert not [name for name, *labels in found if G in labels]
    assert ("locksmith_server_calls_total", "pre-reboot", "granted") in found


async def test_an_unknown_parameter_is_refused():
    async with api_site(clients=LOOPBACK) as site:
        status, _, body = await site.get("/metrics?name[]=locksmith_group_max", "")
    assert (status, b"no parameter" in body) == (400, True)


async def test_calls_are_counted_by_the_kind_of_their_answers():
    async with api_site() as site:
        before = await scraped(site)
        await site.ask()
        await site.ask(body=params("n2"))
        await site.ask(path="/v1/steady-state", body=b"{")
        await site.ask(headers={**PROTOCOL, "Fleet-Lock-Protocol": "no"}, path="/v1/steady-state", body=b"")
        after = await scraped(site)
    calls = {tuple(labels): after[name, *labels] for name, *labels in after if name == "locksmith_server_calls_total"}
    assert {labels: number for labels, number in calls.items() if number} == {
        ("pre-reboot", "granted"): 1,
        ("pre-reboot", "no_slot"): 1,
        ("steady-state", "bad_request"): 2,
    }
    assert len(calls) == 2 * (len(RefusalKind) + 1)
    assert before.keys() == after.keys()


async def test_calls_of_machines_are_counted_by_their_result():
    answers = iter((200, 200, 409, 503, 400))

    async def answer(_request: Request) -> Response:
        return Response(status_code=next(answers))

    page = MetricsPage(Nothing(), ByToken())
    [route] = page.counting([Route("/machines/v1/{group}/{call}", answer, methods=["POST"])])
    assert (route.path, route.methods) == ("/machines/v1/{group}/{call}", {"POST"})
    for call in ("wait", "wait", "commit", "wait", "<script>"):
        await route.endpoint(Request({"type": "http", "path_params": {"group": "web", "call": call}}))
    counted = {labels: number for labels, number in page._machine_calls.items() if number}
    assert counted == {("wait", "ok"): 2, ("commit", "refused"): 1, ("wait", "failed"): 1, ("other", "refused"): 1}


class Nothing:
    """A fleet without a group."""

    async def names(self):
        return []

    async def see(self, _group):
        return Sight()


async def test_the_metric_of_another_part_is_with_them():
    counts = NoticeCounts(["ops"])
    counts.count("ops", "sent")
    async with api_site(more=(counts,)) as site:
        found = await scraped(site)
        assert found == await scraped(site)
    notices = {frozenset(labels): found[name, *labels] for name, *labels in found if name.endswith("notices_total")}
    assert notices == {
        frozenset({"ops", "sent"}): 1,
        frozenset({"ops", "failed"}): 0,
        frozenset({"ops", "given_up"}): 0,
    }


async def test_openmetrics_is_given_where_it_is_accepted():
    async with api_site(clients=LOOPBACK) as site:
        _, headers, body = await site.get("/metrics", "", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_while_etcd_is_away_the_age_of_the_figures_grows(monkeypatch):
    async with api_site(clients=LOOPBACK) as site:
        before = await scraped(site, "")

        async def away(*_args, **_more):
            raise StoreUnavailableError("no endpoint answers")

        site.store.get = site.store.range = site.store.folders = site.store.read = away
        site.fleet._names = (float("-inf"), [])
        await site.again()
        after = await scraped(site, "")
        assert after == before
        later = before["locksmith_group_seen_timestamp_seconds", G] + 1000
        monkeypatch.setattr(time, "time", lambda: later)
        old = await scraped(site, "")
    assert old["locksmith_group_max", G] != old["locksmith_group_max", G]
    assert old["locksmith_group_seen_timestamp_seconds", G] == before["locksmith_group_seen_timestamp_seconds", G]


def test_a_group_that_was_never_read_has_figures_that_are_no_numbers():
    found: dict[tuple[str, ...], float] = {}
    for family in Figures({"web": NO_FIGURES}, {}, {}).collect():
        found |= {(one.name, *one.labels.values()): one.value for one in family.samples}
    assert found.pop(("locksmith_group_seen_timestamp_seconds", "web")) == 0
    values = {name: value for name, value in found.items() if "web" in name}
    assert all(value != value for value in values.values())  # noqa: PLR0124 - NaN alone differs from itself
    assert len(values) > 12
