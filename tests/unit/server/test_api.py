"""The API over real sockets: who may ask, each answer against its schema, bad input, and what is not answered twice."""

import asyncio
import copy
import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from locksmith.errors import StoreUnavailableError
from locksmith.fleet.group import GroupView
from locksmith.lock.records.event import HELD, UNLOCK
from locksmith.lock.records.incident import FIRST
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.api_answers import Seen
from locksmith.server.api_endpoints import ENDPOINTS
from locksmith.server.api_schemas import SCHEMAS
from locksmith.server.api_written import AT_ONCE, KEPT_BYTES, MOST_KEPT, Kept, Machines
from locksmith.server.openapi import description
from locksmith.server.web.fleet import Sight
from locksmith.util.records import moment
from tests.builders.api_site import EVIL, MINUTE, NOW, G, api_site, at
from tests.builders.claims import claim
from tests.builders.fleetlock_site import request

PATHS = {
    "Groups": "/api/v1/groups",
    "Group": at(),
    "Machines": at("machines"),
    "Machine": at("machines", "n1"),
    "History": at("history"),
    "Timeline": at("timeline"),
    "Forecast": at("forecast"),
    "Description": "/api/v1/openapi.json",
}


def closed(schema):
    """Give a schema that allows no property that it does not name: the description must have each."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(one) for name, one in schema.items()}
    if "properties" in found:
        found["additionalProperties"] = False
    return found


def check(name, body):
    """Compare an answer with its schema."""
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": closed(copy.deepcopy(dict(SCHEMAS)))}}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(body)


@pytest.mark.slow
def test_the_description_is_valid_openapi():
    from openapi_spec_validator import validate  # noqa: PLC0415 - slow to import

    validate(description())
    assert [one.answer for one in ENDPOINTS] == list(PATHS)


async def test_below_a_path_the_api_says_where_it_is():
    async with api_site(prefix="/locksmith") as site:
        _, described = await site.json(PATHS["Description"])
        assert described["servers"] == [{"url": "/locksmith/api/v1"}]
        [group] = (await site.json(PATHS["Groups"]))[1]["groups"]
        assert group["path"] == f"/locksmith{at()}"


@pytest.mark.parametrize("name", PATHS)
async def test_each_answer_is_as_its_schema_says(name):
    async with api_site() as site:
        for _ in range(2):
            status, headers, body = await site.get(PATHS[name])
            assert status == 200, body
            check(name, json.loads(body))
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_group_with_everything_in_it_is_as_its_schema_says():
    async with api_site() as site:
        await site.orders().freeze(Order("alice", NOW, EVIL, NOW + MINUTE))
        await site.orders().hold("n3", Order("bob", NOW, "its disk is full"))
        await site.lock().report_failure(claim("n1"), "unhealthy", EVIL)
        await site.event("n9", 3, UNLOCK, detail="its machine is gone")
        await site.again()
        for name, path in PATHS.items():
            check(name, (await site.json(path))[1])
        _, group = await site.json(at())
        _, held = await site.json(at("machines", "n3"))
    assert (group["halted"], group["unhealthy"], group["freeze"]["reason"]) == (True, 1, EVIL)
    assert (held["hold"]["reason"], group["held_back"]["n3"]["who"]) == ("its disk is full", "bob")


async def test_the_numbers_of_a_group_are_those_of_the_fleet():
    async with api_site() as site:
        _, found = await site.json("/api/v1/groups")
        [group] = found["groups"]
        _, same = await site.json(group["path"])
    assert (group["held"], group["present"], group["halted"]) == (1, 4, False)
    assert group["progress"] == same["progress"]
    assert (group["progress"]["done"], group["progress"]["left"], group["progress"]["down"]) == (1, 2, 1)
    assert same["windows"][0]["machines"] == 3
    assert same["windows"][1]["windows"] == ["Mon..Fri 02:00 for 3h"]


@pytest.mark.parametrize(
    ("token", "status"),
    [("", 401), ("wrong", 401), ("machine", 403), ("other", 403), ("viewer", 200), ("operator", 200)],
)
async def test_a_group_is_for_those_alone_who_may_read_it(token, status):
    async with api_site() as site:
        for name in ("Group", "Machines", "Machine", "History", "Timeline", "Forecast"):
            found, body = await site.json(PATHS[name], token)
            assert found == status, name
            if status != 200:
                check("Error", body)
                assert body["kind"] == "unauthorized"
                assert "n1" not in str(body)


async def test_a_credential_for_one_group_sees_no_other():
    async with api_site() as site:
        assert (await site.json("/api/v1/groups", "other"))[1]["groups"] == []
        assert (await site.json("/api/v1/groups", "machine"))[0] == 403
        assert (await site.json("/api/v1/openapi.json", ""))[0] == 401
        await site.machine("d1", group="db")
        site.fleet._names = (float("-inf"), [])
        assert [one["group"] for one in (await site.json("/api/v1/groups", "other"))[1]["groups"]] == ["db"]
        assert [one["group"] for one in (await site.json("/api/v1/groups"))[1]["groups"]] == ["db", G]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/v1", 404, "there is no such path"),
        ("/api/v1/", 404, "there is no such path"),
        ("/api/v1/group", 404, "there is no such path"),
        (at("nothing"), 404, "there is no such path"),
        ("/api/v1/groups/nothing", 404, "there is no group 'nothing'"),
        ("/api/v1/groups/%3Cb%3E%09X", 404, "there is no group '<b>"),
        ("/api/v1/groups/x%0d%0aX", 404, "there is no such path"),
        ("/api/v1/groups/%ff", 400, "not UTF-8"),
        (f"/api/v1/groups/{'x' * 5000}", 414, "at most 4096 bytes"),
        (at("machines", "nobody"), 404, "no machine of the group is called 'nobody'"),
        (at("machines") + "?state", 400, "must not be empty"),
        (at() + "?x=1", 400, "there is no parameter 'x': this call has none"),
        (at("machines") + "?limits=1", 400, "there is no parameter 'limits': known are state, name, limit, cursor"),
        (at("machines") + "?limit=1&limit=2", 400, "limit is there twice"),
        (at("machines") + "?limit=0", 400, "must be a number from 1 to 10000, not '0'"),
        (at("machines") + "?limit=-1", 400, "must be a number"),
        (at("machines") + "?limit=1e9", 400, "must be a number"),
        (at("machines") + "?limit=%D9%A1", 400, "must be a number"),
        (at("machines") + f"?name={'x' * 301}", 400, "longer than 300 characters"),
        (at("history") + "?from=yesterday", 400, "must be a moment like 2026-12-24T18:30:00Z"),
        (at("history") + "?from=2026-12-24T18:30:00", 400, "must be a moment"),
        (at("history") + "?event=party", 400, "must be one of held"),
        (at("history") + "?cursor=2026", 400, "must be the `next` of another answer"),
        (at("history") + "?machine=n77", 404, "is no machine of the group"),
        (at("timeline") + "?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z", 400, "would end before it begins"),
        (at("timeline") + "?from=0001-01-01T00:00:00Z", 400, "at most 31 days"),
        (at("timeline") + "?from=9999-12-31T23:59:59Z", 400, "would end before it begins"),
        (at("forecast") + "?of=some", 400, "must be one of pending, all"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_one_sentence(path, status, says):
    async with api_site() as site:
        found, body = await site.json(path)
    check("Error", body)
    assert found == status
    assert says in body["value"]
    assert "\n" not in body["value"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_is_changed_by_the_api(method):
    async with api_site() as site:
        status, body = await site.ask(method=method, path=at(), headers={"Authorization": "Bearer operator"})
    assert (status, body["kind"]) == (405, "bad_request")


async def test_text_of_others_stays_data():
    async with api_site() as site:
        _, headers, body = await site.get(at("machines", "n2"))
    assert json.loads(body)["node"]["reason"] == EVIL
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_machine_is_found_by_its_names_and_why_is_told():
    async with api_site() as site:
        _, by_id = await site.json(at("machines", "n2"))
        _, by_name = await site.json(at("machines", "n2.EXAMPLE"))
        await site.machine("n5" + "0" * 30)
        await site.machine("n5" + "1" * 30)
        await site.again()
        several = await site.json(at("machines", "n500"))
        assert (await site.json(at("machines", "n5" + "0" * 30)))[0] == 200
    assert by_id["id"] == by_name["id"] == "n2"
    assert any("waits for its window" in sentence for sentence in by_id["why"])
    assert several[0] == 200


async def test_machines_are_given_page_by_page_and_filtered():
    async with api_site() as site:

        async def ids(query):
            _, found = await site.json(f"{at('machines')}?{query}")
            return [one["id"] for one in found["nodes"]], found["next"]

        assert await ids("limit=3") == (["n1", "n2", "n3"], "n3")
        assert await ids("limit=3&cursor=n3") == (["n4"], None)
        assert await ids("state=waiting") == (["n2"], None)
        assert await ids("name=N3.EX") == (["n3"], None)
        assert await ids("cursor=zz") == ([], None)


async def test_the_history_is_searched_and_read_backwards():
    async with api_site() as site:
        for number in range(5):
            await site.event(f"m{number}", 8)  # all of one second
        await site.event("n4", 1, HELD, detail="logind refused the reboot")
        await site.again()
        everything = [one["id"] for one in (await site.json(at("history")))[1]["events"]]
        pages: list[str] = []
        more = ""
        for _ in range(len(everything)):
            status, found = await site.json(f"{at('history')}?limit=2{more}")
            assert status == 200, found
            assert bool(found["holds"]) == (not more)
            pages = [*(one["id"] for one in found["events"]), *pages]
            if found["next"] is None:
                break
            more = f"&cursor={quote(found['next'])}"
        assert pages == everything
        assert len(everything) == 7

        async def events(query):
            return [one["id"] for one in (await site.json(f"{at('history')}?{query}"))[1]["events"]]

        assert await events("machine=n4&event=rebooted") == ["n4"]
        assert await events("machine=n4") == ["n4", "n4"]
        assert await events(f"from={moment(NOW - 2 * MINUTE)}") == ["n4"]
        assert await events(f"to={quote((NOW - 9 * MINUTE).isoformat())}") == ["n4"]
        assert await events("event=freeze") == []


async def test_the_timeline_has_the_holds_of_a_span():
    async with api_site() as site:
        _, found = await site.json(at("timeline"))
        _, early = await site.json(f"{at('timeline')}?to={moment(NOW - 20 * MINUTE)}")
    assert [(one["id"], one["outcome"], one["down"]) for one in found["holds"]] == [
        ("n4", "rebooted", "yes"),
        ("n1", "held", "yes"),
    ]
    assert early["holds"] == []


async def test_a_forecast_is_for_those_that_need_a_reboot_or_for_all():
    async with api_site() as site:
        _, pending = await site.json(at("forecast"))
        _, everything = await site.json(at("forecast") + "?of=all")
        await site.machine("d1", group="db")
        site.fleet._names = (float("-inf"), [])
        _, none = await site.json("/api/v1/groups/db/forecast")
    assert (pending["machines"], everything["machines"], none["machines"]) == (2, 4, 0)
    assert pending["forecast"]["p50_seconds"] == 360.0
    assert (none["forecast"], none["problem"]) == (None, "no machine needs a reboot")


async def test_what_a_client_has_is_not_sent_again_until_it_changes():
    async with api_site() as site:
        _, first, body = await site.get(at("machines"))
        status, again, empty = await site.get(at("machines"), **{"If-None-Match": f'"x", W/{first["etag"]}'})
        assert (status, empty, again["etag"]) == (304, b"", first["etag"])
        assert again["cache-control"] == "no-store"
        await site.machine("n5")
        await site.again()
        status, _, changed = await site.get(at("machines"), **{"If-None-Match": first["etag"]})
    assert status == 200
    assert len(json.loads(changed)["nodes"]) == len(json.loads(body)["nodes"]) + 1


async def test_a_machine_that_changes_is_written_again_and_no_other():
    async with api_site() as site:
        _, before = await site.json(at("machines"))
        entry = next(one for one in (await site.store.list("", limit=0)).entries if one.key.endswith("nodes/n3"))
        await site.store.update(entry, entry.value.replace(b'"idle"', b'"finished"'), 1e6)
        await site.again()
        _, after = await site.json(at("machines"))
    states = [[one["state"] for one in found["nodes"]] for found in (before, after)]
    assert states == [["rebooting", "waiting", "idle", "idle"], ["rebooting", "waiting", "finished", "idle"]]


async def test_while_etcd_is_away_what_was_read_is_given_and_marked_stale():
    async with api_site() as site:
        assert (await site.json(at()))[1]["stale"] is None

        async def away(*_args, **_more):
            raise StoreUnavailableError("no endpoint answers")

        site.store.get = site.store.range = away
        await site.again()
        status, found = await site.json(at())
        assert (status, found["stale"], found["present"]) == (200, "no endpoint answers", 4)
        site.store.folders = site.store.read = away
        site.fleet._names = (float("-inf"), [])
        status, found = await site.json("/api/v1/groups")
        assert (status, found["groups"][0]["stale"]) == (200, "no endpoint answers")
        assert found["problems"] == ["the groups are those of an earlier reading: no endpoint answers"]


async def test_a_group_that_was_never_read_is_no_answer():
    async with api_site() as site:

        async def away(*_args, **_more):
            raise StoreUnavailableError("no endpoint answers")

        site.store.get = away
        status, found = await site.json(at())
        listed = await site.json("/api/v1/groups")
    assert (status, found["kind"], found["value"]) == (503, "store", "no endpoint answers")
    assert listed[1]["problems"] == [f"{G}: no endpoint answers"]


async def test_the_default_group_has_a_name_in_addresses():
    async with api_site() as site:
        await site.machine("n8", group="")
        site.fleet._names = (float("-inf"), [])
        _, found = await site.json("/api/v1/groups")
        first = found["groups"][0]
        assert (first["group"], first["path"]) == ("", "/api/v1/groups/%28default%29")
        assert (await site.json(first["path"] + "/machines"))[1]["nodes"][0]["id"] == "n8"


async def test_a_reboot_that_takes_long_is_overdue_in_each_answer():
    async with api_site() as site:
        entry = next(one for one in (await site.store.list("", limit=0)).entries if one.key.endswith("nodes/n1"))
        late = {"since": moment(NOW - timedelta(hours=3)), "written": moment(NOW - MINUTE), "lasts": 900 + 7200}
        await site.store.update(entry, json.dumps(json.loads(entry.value) | late).encode(), 1e6)
        await site.again()
        _, found = await site.json(at())
        _, one = await site.json(at("machines", "n1"))
    assert found["overdue"] == 1
    assert one["holding"]["how"] == "overdue"


async def test_a_head_has_no_body():
    async with api_site() as site:
        reader, writer = await site.connect()
        sent = {"Authorization": "Bearer viewer", "Connection": "close"}
        writer.write(request(at(), b"", sent, "HEAD", length=False))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert (head.split()[1], body) == (b"200", b"")


def test_no_more_answers_are_kept_than_there_is_room_for():
    kept, sight = Kept(), Sight()
    for number in range(MOST_KEPT + 5):
        kept.keep("web", (str(number),), sight, b"{}")
    assert kept.find("web", ("4",), sight) is None
    assert kept.find("web", ("5",), sight) == b"{}"
    assert kept.find("db", ("5",), sight) is None
    kept.keep("web", ("5",), sight, b"x" * KEPT_BYTES)
    assert kept.find("web", ("5",), sight)
    assert kept.find("web", ("6",), sight) is None


def test_answers_of_an_earlier_reading_are_forgotten():
    kept, sight, later = Kept(), Sight(), Sight(number=1)
    kept.keep("db", ("a",), sight, b"{}")
    kept.keep("web", ("a",), sight, b"{}")
    kept.keep("web", ("b",), later, b"{}")
    assert kept.find("web", ("a",), later) is None
    assert kept.find("web", ("a",), sight) is None
    assert kept.find("db", ("a",), sight) == b"{}"
    assert list(kept._of) == [("db", "a"), ("web", "b")]


async def test_while_many_machines_are_written_others_have_their_turns():
    nodes = {f"n{number}": Node(f"n{number}", "", "b", "web", "etcd-lock", "idle", NOW) for number in range(500)}
    seen = Seen(GroupView("web", Semaphore(), machines=nodes, at=NOW), (), "", FIRST)
    machines, turns, done = Machines(), [0], asyncio.Event()

    async def other():
        while not done.is_set():
            turns[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    first = await machines.write(seen, {})
    assert turns[0] >= 500 // AT_ONCE
    turns[0] = 0
    assert await machines.write(seen, {}) == first
    assert turns[0] == 0, "nothing was written again"
    done.set()
    await task
