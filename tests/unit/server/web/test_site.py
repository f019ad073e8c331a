"""The pages: what they say, to whom, and that text of others is text."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest

from locksmith.lock.history import History
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records.event import HELD, REBOOTED, Event, about
from locksmith.lock.records.order import Order
from locksmith.server.identity import Identity, Role
from locksmith.server.web import fleet, live
from locksmith.server.web.render import POLICY, group_of, group_segment
from locksmith.server.web.sign_in import inside
from tests.builders.claims import claim
from tests.builders.web_site import CSRF, VIEWER, Page
from tests.harness.waiting import until

EVIL = "<script>alert(1)</script>"
TURNED = "a\u202eb\u200b"


async def test_the_overview_shows_each_group_with_what_is_wrong():
    async with Page() as page:
        await page.slots(2)
        await page.sick("m1")
        await page.present("m2", "db", need="engine", need_version="2")
        shown = await page.ask("/")
        assert shown.status == 200
        assert "▲ halted ▲ 1 unhealthy" in shown.words
        assert "Halted: m1 is unhealthy: nginx has failed." in shown.words
        assert "1 of 2 held" in shown.words
        assert "0 of 1 rebooted" in shown.words


async def test_a_group_has_its_slots_queue_machines_and_history():
    async with Page() as page:
        await page.present("m1", name="n1", state="rebooting")
        await page.holds("m1", committed=True, hostname="n1", reason="engine 2")
        await page.present("m2", name="n2", state="waiting", code="window", reason="outside the reboot window")
        await History(page.store, "web").add(Event(page.now, "set-max", who="ada", reason="more"))
        shown = await page.ask("/groups/web")
        assert shown.status == 200
        for words in ("rebooting: engine 2", "n2 ● window", "set-max", "ada: more"):
            assert words in shown.words


async def test_a_machine_has_the_sentences_of_why_and_what_it_shows():
    async with Page() as page:
        until = page.now + timedelta(hours=2)
        await page.present(
            "m1",
            name="n1",
            state="waiting",
            code="window",
            reason="outside the reboot window",
            until=until,
            need="engine",
        )
        shown = await page.ask("/groups/web/machines/m1")
        assert "It waits for its window, which opens at" in shown.words
        assert "Strategy etcd-lock" in shown.words
        assert (await page.ask("/groups/web/machines/m9")).status == 404


async def test_the_history_is_searched_by_text_kind_and_day():
    async with Page() as page:
        await page.present("m1")
        history = History(page.store, "web")
        for number in range(130):
            at = page.now - timedelta(hours=number)
            act = "freeze" if number % 2 else "thaw"
            await history.add(Event(at, act, who=f"ada{number}", reason="because"))
        path = "/groups/web/history"
        assert "130 of 130 events" in (await page.ask(path)).words
        assert "1 of 130 events" in (await page.ask(f"{path}?q=ADA129")).words
        assert "65 of 130 events" in (await page.ask(f"{path}?what=thaw")).words
        assert "0 of 130 events" in (await page.ask(f"{path}?q=%3Cb%3E")).words
        day = f"{page.now - timedelta(days=20):%Y-%m-%d}"
        assert "0 of 130 events" in (await page.ask(f"{path}?to={day}")).words
        assert "130 of 130 events" in (await page.ask(f"{path}?from={day}")).words
        assert "A day is written like" in (await page.ask(f"{path}?from=yesterday")).words
        assert "Page 2 of 2" in (await page.ask(f"{path}?page=99999")).words


@pytest.mark.parametrize(
    "path", ["/", "/groups/{}", "/groups/{}/machines/m1", "/groups/{}/history", "/groups/{}/orders/thaw"]
)
async def test_html_in_names_ids_and_reasons_is_text(path):
    group = f"{EVIL}/x%2F&"
    async with Page() as page:
        await page.slots(1, group)
        await page.present("m1", group, name=EVIL, reason=f'"><img src=x onerror=alert(1)> {TURNED}', state="waiting")
        await page.present(EVIL, group)
        await page.holds("m1", group, committed=True, hostname=EVIL, reason=EVIL)
        await OperatorOrders(page.store, group).freeze(Order(EVIL, page.now, EVIL, nonce="1"))
        await History(page.store, group).add(Event(page.now, EVIL, who=EVIL, holder=EVIL, detail=TURNED))
        shown = await page.ask(path.format(group_segment(group)))
        assert shown.status == 200
        assert "<script>" not in shown.text
        assert "<img src=x" not in shown.text
        assert EVIL in shown.words or path == "/groups/{}/machines/m1"
        assert not {"\u202e", "\u200b"} & set(shown.text)


@pytest.mark.parametrize(
    "path", ["/", "/groups/web", "/groups/nope", "/sign-in", "/static/page.css", "/static/nope", "/events"]
)
async def test_each_answer_has_the_policy_that_loads_nothing_from_others(path):
    async with Page(None if path == "/sign-in" else VIEWER) as page:
        await page.present("m1")
        task = asyncio.ensure_future(page.ask(path))
        if path == "/events":
            await until(lambda: page.streams == 1, "the stream is open")
            await page.fleet.close()
        shown = await task
        assert shown.headers["content-security-policy"] == POLICY
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in POLICY
        assert "style=" not in shown.text
        assert "onclick" not in shown.text
        assert "http://" not in shown.text.replace('xmlns="http://www.w3.org/2000/svg"', "")


async def test_a_machine_gets_none_of_the_few_streams():
    async with Page(Identity(Role.MACHINE, "1" * 32, frozenset({"web"}))) as page:
        assert (await asyncio.wait_for(page.ask("/events"), 15)).status == 403


async def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_the_page():
    async with Page(None) as page:
        asked = await page.ask("/groups/web?state=idle")
        assert (asked.status, asked.headers["location"]) == (303, "/sign-in?next=/groups/web%3Fstate%3Didle")
        form = await page.ask(asked.headers["location"])
        assert form.field("next") == "/groups/web?state=idle"
        wrong = await page.ask("/sign-in", {"token": "wrong", "next": "/groups/web"})
        assert (wrong.status, "this token is not known" in wrong.words) == (401, True)
        right = await page.ask("/sign-in", {"token": " right ", "next": "/groups/web?state=idle"})
        assert (right.status, right.headers["location"], right.headers["set-cookie"]) == (
            303,
            "/groups/web?state=idle",
            "s=1",
        )
        assert (await page.ask("/sign-in", {"token": "right"}, site="cross-site")).status == 403
        assert (await page.ask("/groups/web/orders/freeze", {"reason": "x"})).status == 401
        page.people.who = VIEWER
        assert (await page.ask("/sign-out", {"csrf": "no"})).status == 403
        assert (await page.ask("/sign-out", {"csrf": CSRF})).headers["set-cookie"] == "s=; Max-Age=0"


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil", "javascript:alert(1)", "/a\nb", "x", "\\\\x"]
)
def test_nobody_is_sent_to_another_site(to):
    assert inside(to, "/") == ""


@pytest.mark.parametrize(
    "to",
    ["/", "/locksmith", "/locksmithy/x", "/other/page", "/locksmith/../x", "/locksmith/a/../../x", "/locksmith/.%2E/x"],
)
def test_nobody_is_sent_to_what_else_is_on_the_host(to):
    assert inside(to, "/locksmith/") == ""
    assert inside("/locksmith/groups/web?state=idle", "/locksmith/")
    assert inside("/locksmith/groups/a..b/history?text=../x", "/locksmith/")


@pytest.mark.parametrize("kept", ["", "/locksmith"])
async def test_below_a_path_each_address_has_it_whether_the_proxy_keeps_it_or_not(kept):
    paths = ("/", "/groups/web", "/groups/web/machines/m1", "/groups/web/history", "/groups/web/orders/freeze")
    async with Page(prefix="/locksmith") as page:
        await page.slots(2)
        await page.present("m1")
        await page.holds("m1")
        for path in paths:
            reply = await page.ask(f"{kept}{path}")
            assert reply.status == 200, path
            addresses = re.findall(r'(?:href|src|action|data-events)="([^"]+)"', reply.text)
            assert addresses
            assert [one for one in addresses if not one.startswith(("/locksmith/", "#"))] == [], path
        assert (await page.ask(f"{kept}/static/page.css")).status == 200
        assert (await page.ask("/other/static/page.css")).status == 404
        assert (await page.ask("/locksmithy/")).status == 404
        page.people.who = None
        sent = await page.ask(f"{kept}/groups/web?state=idle")
        to = "/locksmith/sign-in?next=/locksmith/groups/web%3Fstate%3Didle"
        assert (sent.status, sent.headers["location"]) == (303, to)
        assert (await page.ask(f"{kept}/")).headers["location"] == "/locksmith/sign-in"
        came = await page.ask(f"{kept}/sign-in", {"token": "right", "next": "/other"})
        assert (came.status, came.headers["location"]) == (303, "/locksmith/")


@pytest.mark.parametrize("group", ["", "web", "(default)", "a/b", "a%2Fb", "ü b", "..", "?x#y"])
def test_each_group_has_an_address_of_its_own(group):
    segment = group_segment(group)
    assert not set(segment) & set("/?# ")
    assert group_of(unquote(segment)) == group
    assert group == "" or segment != group_segment("")


async def test_a_store_that_is_away_shows_what_is_known_with_its_age_and_503():
    async with Page() as page:
        await page.present("m1", name="n1")
        assert (await page.ask("/groups/web")).status == 200
        page.faults.down = True
        await page.fleet.refresh("web")
        for path in ("/groups/web", "/groups/web/machines/m1", "/"):
            shown = await page.ask(path)
            assert shown.status == 503
            assert "etcd does not answer." in shown.words
            assert re.search(r"This page shows the state of \d+ s ago", shown.words)
            assert "n1" in shown.words or path == "/"
            assert shown.headers["retry-after"]


async def test_a_store_that_was_never_there_is_said_too():
    async with Page() as page:
        page.faults.down = True
        shown = await page.ask("/")
        assert shown.status == 503
        assert "no etcd endpoint could be used" in shown.words
        assert (await page.ask("/groups/web")).status == 503


async def test_a_group_that_is_none_and_odd_addresses_are_said():
    async with Page() as page:
        await page.present("m1")
        for path in ("/groups/typo", "/groups/typo/history", "/groups/typo/machines/m1", "/groups/web/orders/reboot"):
            shown = await page.ask(path)
            assert shown.status == 404, path
        assert (await page.ask("/groups/web/orders/unlock")).status == 404
        assert (await page.ask("/groups/web?page=x&state=%00&q=%ff")).status == 200
        assert not page.fleet.follows("typo")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * 20_000, {}, 413),
        (b"a=%ff", {}, 400),
        (b"&".join(b"a%d=1" % number for number in range(50)), {}, 400),
        (b"{}", {"kind": "application/json"}, 415),
    ],
)
async def test_a_form_that_is_none_is_refused(body, headers, status):
    async with Page() as page:
        await page.present("m1")
        for path in ("/sign-in", "/sign-out", "/groups/web/orders/freeze"):
            assert (await page.ask(path, body=body, **headers)).status == status


async def test_many_machines_are_shown_a_page_at_a_time_and_found_by_name_and_state():
    async with Page() as page:
        for number in range(230):
            await page.present(f"m{number}", name=f"n{number:03}.example", state="waiting" if number < 5 else "idle")
        shown = await page.ask("/groups/web")
        assert "Page 1 of 3, 230 machines" in shown.words
        assert "● waiting 5 ○ idle 225" in shown.words
        assert "n005" not in (await page.ask("/groups/web?state=waiting")).words
        assert "n229.example" in (await page.ask("/groups/web?page=3")).words
        found = await page.ask("/groups/web?q=N117")
        assert "n117.example" in found.words
        assert "Page" not in found.words


async def test_a_long_id_and_reason_are_cut_with_a_mark():
    async with Page() as page:
        await page.present("m" * 200, name="n" * 240, reason="r" * 900, state="waiting")
        shown = await page.ask("/groups/web")
        assert "more characters" in shown.words


async def test_a_change_is_told_to_who_listens_and_the_stream_ends_at_the_stop(monkeypatch):
    monkeypatch.setattr(fleet, "CALM", 0.01)
    async with Page() as page:
        await page.present("m1")
        await page.ask("/groups/web")
        listening = asyncio.ensure_future(page.ask("/events?group=web"))
        await until(lambda: page.streams == 1, "the stream is open")
        number = (await page.fleet.see("web")).number
        await page.present("m2")
        await page.fleet.refresh("web")
        assert (await page.fleet.see("web")).number > number
        assert "m2" in (await page.ask("/groups/web")).words
        await asyncio.sleep(0)
        await page.fleet.close()
        told = await listening
        assert told.headers["content-type"] == "text/event-stream"
        assert "event: change" in told.text


async def test_a_person_has_so_many_streams_and_no_more(monkeypatch):
    monkeypatch.setattr(live, "MOST_EACH", 2)
    async with Page() as page:
        await page.present("m1")
        await page.ask("/groups/web")
        streams = [asyncio.ensure_future(page.ask("/events")) for _ in range(3)]
        done, _ = await asyncio.wait(streams, timeout=15, return_when=asyncio.FIRST_COMPLETED)
        assert [stream.result().status for stream in done] == [503]
        await page.fleet.close()
        assert sorted([stream.status for stream in await asyncio.gather(*streams)]) == [200, 200, 503]


async def listen_as(page, name):
    """Open a stream as a person, and wait until it is open, or refused."""
    page.people.who = replace(VIEWER, name=name)
    before = page.streams
    stream = asyncio.ensure_future(page.ask("/events"))
    await until(lambda: page.streams > before or stream.done(), "the stream is open")
    return stream


async def test_a_few_people_with_all_streams_keep_no_other_out(monkeypatch):
    monkeypatch.setattr(live, "MOST", 4)
    async with Page() as page:
        await page.present("m1")
        await page.ask("/groups/web")
        anns = [await listen_as(page, "ann") for _ in range(3)]
        others = [await listen_as(page, "bob")]
        for name, ends in (("cid", 0), ("dan", 1)):
            page.people.who = replace(VIEWER, name=name)
            others.append(asyncio.ensure_future(page.ask("/events")))
            async with asyncio.timeout(15):
                assert (await anns[ends]).status == 200  # the oldest of who has most
        # Now each has one.
        assert (await (await listen_as(page, "eve"))).status == 503
        assert (await (await listen_as(page, "ann"))).status == 503
        assert not any(stream.done() for stream in (anns[2], *others))
        await until(lambda: page.streams == 4, "no more are open")
        await page.fleet.close()
        assert [stream.status for stream in await asyncio.gather(anns[2], *others)] == [200] * 4


async def test_an_error_of_ours_is_a_page_without_a_traceback(monkeypatch, caplog):
    async with Page() as page:
        await page.present("m1")

        async def broken(_group):
            raise RuntimeError("a defect\nwith a line")

        monkeypatch.setattr(page.fleet, "see", broken)
        shown = await page.ask("/groups/web")
        assert shown.status == 500
        assert "a defect" not in shown.text
        assert "Traceback" not in caplog.text


async def test_a_halt_follows_the_configuration_and_the_words_of_frozen_and_held():
    async with Page() as page:
        await page.present("m1", name="n1")
        orders = OperatorOrders(page.store, "web")
        order = Order("ada", datetime.now(UTC), "moving", nonce="1")
        await orders.freeze(order)
        await orders.hold("m1", replace(order, nonce="2"))
        shown = await page.ask("/groups/web")
        assert "◆ frozen ◆ 1 held back" in shown.words
        assert "n1 ○ held back" in shown.words
        assert "Unhold" in (await page.ask("/groups/web/machines/m1")).words


async def test_the_pictures_are_files_of_their_own_and_their_texts_are_text():
    async with Page() as page:
        await page.present("m1", name=EVIL, need="engine", windows=("Mon..Sun 00:00 for 23h",))
        await page.holds("m1", committed=True, hostname=EVIL)
        ended = about(claim("m2", taken=page.now - timedelta(minutes=9)), page.now, HELD, detail=REBOOTED)
        await History(page.store, "web").add(ended)
        shown = await page.ask("/groups/web")
        for name in ("timeline", "forecast"):
            assert f'src="/groups/web/{name}.svg' in shown.text
            drawn = await page.ask(f"/groups/web/{name}.svg")
            assert (drawn.status, drawn.headers["content-type"]) == (200, "image/svg+xml")
            assert drawn.text.startswith("<svg")
            assert "<script" not in drawn.text
            assert "<style" not in drawn.text
        words = (await page.ask("/groups/web/timeline.svg")).words
        assert "m2 m2: rebooted, 9 min rebooted, 9 min" in words
        assert "rebooting" in words
        assert "1 machine" in (await page.ask("/groups/web/forecast.svg")).words


async def test_a_group_without_machines_has_pictures_that_say_so():
    async with Page() as page:
        await page.slots(1)
        assert "no slot was held" in (await page.ask("/groups/web/timeline.svg")).words
        assert "nothing to forecast" in (await page.ask("/groups/web/forecast.svg")).words
