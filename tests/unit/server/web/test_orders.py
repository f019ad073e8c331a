"""An operator's orders on the page: what it says before, what is done, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.fleet.reader import read_group
from locksmith.lock.history import History
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.event import REBOOTED
from locksmith.lock.records.order import Order
from tests.builders.web_site import CSRF, OPERATOR, VIEWER, Page

UNLOCK = "/groups/web/orders/unlock"


async def order(page, path, **fields):
    """Look at the page of an order, and send its form."""
    shown = await page.ask(path)
    names = ("csrf", "version", "machine")
    return shown, {**{name: shown.field(name) for name in names}, "reason": "it is broken", **fields}


async def holders(page):
    return (await read_group(page.store, "web")).semaphore.holders


async def test_unlock_says_what_it_undoes_and_frees_it_in_the_operators_name():
    async with Page() as page:
        await page.present("m1", name="n1")
        await page.holds("m1", committed=True, hostname="n1")
        shown, form = await order(page, f"{UNLOCK}?machine=m1")
        assert "n1 is past its point of no return" in shown.words
        assert "Without its slot another machine may go down as well" in shown.words
        done = await page.ask(UNLOCK, form)
        assert done.status == 200
        assert "Unlocked n1" in done.words
        assert await holders(page) == ()
        [event] = await History(page.store, "web").read(9)
        assert (event.act, event.who, event.host, event.reason) == ("unlock", "olga", "srv1", "it is broken")


async def test_unlock_on_a_stale_page_is_refused_with_what_stands_there_now():
    async with Page() as page:
        await page.present("m1", name="n1")
        first = await page.holds("m1", hostname="n1")
        _, form = await order(page, f"{UNLOCK}?machine=m1")
        lock = RebootLock(page.store, "web")
        await lock.release(first)
        await lock.take(first.__class__("m1", "manual", "nonce-2", page.now, who="mallory", reason="mine"))
        refused = await page.ask(UNLOCK, form)
        assert refused.status == 409
        assert "Nothing was done, because the page you used was not up to date" in refused.words
        assert "mallory" in refused.words
        assert await holders(page) == ("m1",)
        # The page that was refused shows the present state, so its form is one for it.
        form["version"] = refused.field("version")
        assert (await page.ask(UNLOCK, form)).status == 200
        assert await holders(page) == ()


async def test_unlock_of_a_machine_that_has_committed_since_the_page_was_shown_is_refused():
    async with Page() as page:
        await page.present("m1")
        own = await page.holds("m1")
        _, form = await order(page, f"{UNLOCK}?machine=m1")
        await RebootLock(page.store, "web").commit(own)
        refused = await page.ask(UNLOCK, form)
        assert refused.status == 409
        assert await holders(page) == ("m1",)


async def test_unlock_of_an_absent_machine_that_is_back_is_refused():
    async with Page() as page:
        await page.holds("m1")
        _, form = await order(page, f"{UNLOCK}?machine=m1")
        await page.present("m1")
        assert (await page.ask(UNLOCK, form)).status == 409
        assert await holders(page) == ("m1",)


async def test_unlock_of_a_slot_that_is_released_already_says_so():
    async with Page() as page:
        own = await page.holds("m1")
        _, form = await order(page, f"{UNLOCK}?machine=m1")
        await RebootLock(page.store, "web").release(own, why=REBOOTED)
        refused = await page.ask(UNLOCK, form)
        assert refused.status == 409
        assert "m1 holds no slot" in refused.words
        assert '<form method="post" action="/groups/web/orders' not in refused.text


async def test_freeze_and_thaw_are_the_tools_orders_with_a_reason_and_an_end():
    async with Page() as page:
        await page.present("m1", name="n1")
        await page.holds("m1", committed=True, hostname="n1")
        shown, form = await order(page, "/groups/web/orders/freeze")
        assert "n1 is past the point of no return: it reboots, which nothing stops now" in shown.words
        done = await page.ask("/groups/web/orders/freeze", {**form, "for": "4h"})
        assert "Group web is frozen until" in done.words
        frozen = (await read_group(page.store, "web")).freeze
        assert frozen is not None
        assert frozen.until is not None
        assert (frozen.who, frozen.reason) == ("olga", "it is broken")
        assert (frozen.until - frozen.since).total_seconds() == 4 * 3600
        assert "Frozen by olga since" in (await page.ask("/groups/web")).words
        _, form = await order(page, "/groups/web/orders/thaw")
        done = await page.ask("/groups/web/orders/thaw", form)
        assert "no longer frozen; that was by olga since" in done.words
        assert (await read_group(page.store, "web")).freeze is None


@pytest.mark.parametrize("name", ["freeze", "thaw"])
async def test_an_order_on_a_page_that_does_not_show_anothers_freeze_is_refused(name):
    async with Page() as page:
        await page.present("m1")
        orders = OperatorOrders(page.store, "web")
        if name == "thaw":
            await orders.freeze(Order("ada", datetime.now(UTC), "first", nonce="1"))
        _, form = await order(page, f"/groups/web/orders/{name}")
        await orders.freeze(Order("bob", datetime.now(UTC), "the database moves", nonce="2"))
        refused = await page.ask(f"/groups/web/orders/{name}", form)
        assert refused.status == 409
        assert "the database moves" in refused.words
        frozen = (await read_group(page.store, "web")).freeze
        assert frozen is not None
        assert frozen.who == "bob"


async def test_hold_and_unhold_bind_one_machine():
    async with Page() as page:
        await page.present("m1", name="n1")
        path = "/groups/web/orders/hold"
        _, form = await order(page, f"{path}?machine=m1")
        assert "n1 is held back" in (await page.ask(path, form)).words
        assert (await read_group(page.store, "web")).holds["m1"].who == "olga"
        assert (await page.ask(path, form)).status == 409
        path = "/groups/web/orders/unhold"
        _, form = await order(page, f"{path}?machine=m1")
        assert "no longer held back" in (await page.ask(path, form)).words
        assert (await read_group(page.store, "web")).holds == {}


async def test_resume_names_what_it_acknowledges_and_refuses_what_it_has_not_shown(monkeypatch):
    async with Page() as page:
        await page.slots(2)
        await page.sick("m1")
        assert "halted" in (await page.ask("/groups/web")).words
        shown, form = await order(page, "/groups/web/orders/resume")
        assert "m1 is unhealthy: nginx has failed" in shown.words
        # Another machine goes wrong before the form is sent.
        claim = (await read_group(page.store, "web")).claims["m1"]
        assert isinstance(claim, Claim)
        await RebootLock(page.store, "web").report_failure(claim, "failed", "the update is not there")
        refused = await page.ask("/groups/web/orders/resume", form)
        assert refused.status == 409
        assert "the update is not there" in refused.words
        form["version"] = refused.field("version")
        # And once more after the form was compared, right before the order is written.
        given = OperatorOrders.resume

        async def late(orders, *args, **named):
            monkeypatch.undo()
            await RebootLock(page.store, "web").report_failure(claim, "failed", "nor is the one after it")
            return await given(orders, *args, **named)

        monkeypatch.setattr(OperatorOrders, "resume", late)
        refused = await page.ask("/groups/web/orders/resume", form)
        assert (refused.status, "what has gone wrong is not what was shown any more" in refused.words) == (409, True)
        assert "nor is the one after it" in refused.words
        assert (await read_group(page.store, "web")).incidents(page.now)
        form["version"] = refused.field("version")
        done = await page.ask("/groups/web/orders/resume", form)
        assert "Acknowledged: m1 is failed: nor is the one after it" in done.words
        assert not (await read_group(page.store, "web")).incidents(page.now)


@pytest.mark.parametrize("name", ["freeze", "thaw", "resume", "hold", "unhold", "unlock"])
async def test_a_viewer_sees_no_orders_and_can_give_none(name):
    async with Page(VIEWER) as page:
        await page.sick("m1")
        for path in ("/groups/web", "/groups/web/machines/m1"):
            shown = await page.ask(path)
            assert shown.status == 200
            assert "/orders/" not in shown.text
        path = f"/groups/web/orders/{name}"
        assert (await page.ask(f"{path}?machine=m1")).status == 403
        form = {"csrf": CSRF, "version": "0", "machine": "m1", "reason": "because"}
        assert (await page.ask(path, form)).status == 403
        view = await read_group(page.store, "web")
        assert (view.freeze, view.holds, view.semaphore.holders) == (None, {}, ("m1",))
        assert len(view.incidents(page.now)) == 1


async def test_a_form_of_another_site_gives_no_order():
    async with Page() as page:
        await page.present("m1")
        _, form = await order(page, "/groups/web/orders/freeze")
        refused = await page.ask("/groups/web/orders/freeze", {**form, "csrf": "guessed"})
        assert refused.status == 403
        assert "Nothing was done" in refused.words
        assert (await read_group(page.store, "web")).freeze is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"reason": " "}, "Say why"),
        ({"for": "soon"}, "When it ends"),
        ({"for": "0s"}, "would end at once"),
        ({"for": "9" * 19 + "d"}, "When it ends"),
    ],
)
async def test_what_is_filled_in_wrong_is_said_and_kept(fields, says):
    async with Page() as page:
        await page.present("m1")
        _, form = await order(page, "/groups/web/orders/freeze", **{"reason": "it is <b>", **fields})
        refused = await page.ask("/groups/web/orders/freeze", form)
        assert refused.status == 400
        assert says in refused.words
        if "reason" not in fields:
            assert 'value="it is &lt;b&gt;"' in refused.text
        assert (await read_group(page.store, "web")).freeze is None


async def test_without_etcd_an_order_says_that_nothing_was_done():
    async with Page() as page:
        await page.present("m1")
        _, form = await order(page, "/groups/web/orders/freeze")
        page.faults.down = True
        refused = await page.ask("/groups/web/orders/freeze", form)
        assert refused.status == 503
        assert "Nothing was done" in refused.words


async def test_an_order_of_a_group_that_the_operator_is_not_for_is_refused():
    async with Page(replace(OPERATOR, groups=frozenset({"db"}))) as page:
        await page.present("m1")
        await page.present("m2", "db")
        assert (await page.ask("/groups/web/orders/freeze")).status == 403
        assert (await page.ask("/groups/web")).status == 403
        assert "web" not in (await page.ask("/")).words
        assert (await page.ask("/groups/db")).status == 200
