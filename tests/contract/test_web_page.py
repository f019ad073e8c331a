"""The page of a real locksmith-server in a real Chromium: a rollout of real daemons, watched and steered by clicks."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import MANUAL
from locksmith.lock.records.credential import OPERATOR, VIEWER, Credential
from locksmith.store.connect import open_store
from tests.builders.claims import claim
from tests.contract.programs import program
from tests.harness.chromium import Browser, needs_chromium
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

pytestmark = needs_chromium

MACHINE = "a" * 32

LIMIT = 180.0
"""Seconds for a story."""
DAEMON_LIMIT = 60.0
"""Seconds for what a daemon does in it."""


@pytest.fixture
def server(site):
    with FleetLockServer(site.etcd, {"default": ANYBODY}) as running:
        yield running


@pytest.fixture
def browser():
    with Browser() as running:
        yield running
        assert running.errors == []


async def token(etcd, role, name):
    store = open_store(etcd.settings())
    try:
        return (await CredentialStore(store).add_person(Credential(role, name, "", datetime.now(UTC)))).text
    finally:
        await store.close()


def sign_in(browser, server, text, path="/", **how):
    browser.open(f"{server.url}{path}", **how)
    browser.until_text("Sign in")
    browser.fill("#token", text)
    browser.press("Enter")
    browser.until_text("Sign out")


def play(site, story, nodes, **changes):
    """Run a story of some nodes. It is longer than those of daemons alone: a browser starts, and loads pages."""

    async def scene():
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            names = [f"n{number}" for number in range(1, nodes + 1)]
            await story(*[await stack.enter_async_context(site.node(name, **changes)) for name in names])

    asyncio.run(scene())


def test_a_rollout_is_watched_its_halt_is_seen_and_it_goes_on_by_clicks(site, server, browser):
    def come(operator):
        sign_in(browser, server, operator)
        browser.until_text(site.group)
        browser.click("h2 a", site.group)
        browser.until_text("no reboot is needed")

    def order(button, words, reason):
        browser.click("a.button", button)
        browser.until_text("What happens")
        browser.until_text(words)
        browser.fill("#reason", reason)
        browser.click("main button")

    def watch_the_halt(sick):
        browser.until_text("No machine of this group reboots.")
        browser.until_text(f"{sick.name} is unhealthy: health.d/10-web: web is down")
        loaded = "performance.getEntriesByType('navigation')[0].type"
        assert browser.evaluate(loaded) == "navigate", "the page was replaced, and not loaded again"

    def steer(sick):
        order("Resume", "Inspect these machines first", "web is repaired by hand")
        browser.until_text(f"Acknowledged: {sick.name} is unhealthy")
        browser.click("a.button", "Back to the group")
        browser.until("!document.body.innerText.includes('No machine of this group reboots.')")
        order("Unlock", "Without its slot another machine may go down as well", "it is up")
        browser.until_text(f"Unlocked {sick.name}")
        browser.click("a.button", "Back to the group")

    async def story(sick, other):
        await site.lock.set_max(1)
        program(sick, "health.d/10-web", "echo web is down; exit 1")
        await asyncio.to_thread(come, await token(site.etcd, OPERATOR, "olga"))
        sick.need_reboot("4081.2.0")
        await sick.says("unhealthy: ", limit=DAEMON_LIMIT)
        other.need_reboot("4081.2.0")
        await asyncio.to_thread(watch_the_halt, sick)
        assert other.reboots == 0
        await asyncio.to_thread(steer, sick)
        await other.rebooted(limit=DAEMON_LIMIT)
        await asyncio.to_thread(browser.until_text, "web is repaired by hand")

    play(site, story, 2, health={"limit": "1s"})


def test_unlock_clicked_on_a_stale_page_frees_nothing_until_its_state_was_seen(site, server, browser):
    """Between the page and the click the slot was released, and an operator of the same machine has it again."""
    path = f"/groups/{site.group}/orders/unlock?machine={MACHINE}"

    async def holds(before, now):
        store = open_store(site.etcd.settings())
        lock = RebootLock(store, site.group)
        try:
            if before is not None:
                await lock.release(before)
            await lock.take(now)
        finally:
            await store.close()

    def click(reason):
        browser.fill("#reason", reason)
        browser.click("main button")

    def come(operator):
        sign_in(browser, server, operator, path)
        browser.until_text("What happens")

    def click_too_late():
        click("it was up an hour ago")
        browser.until_text("Nothing was done, because the page you used was not up to date")
        browser.until_text("mallory")

    def click_again():
        click("mallory is gone")
        browser.until_text("Unlocked")
        [said] = browser.errors  # Chromium notes each answer of 400 and above
        assert said.endswith("409 (Conflict)")
        browser.errors.clear()

    async def story():
        first, second = claim(MACHINE), claim(MACHINE, kind=MANUAL, nonce="another", who="mallory")
        await holds(None, first)
        await asyncio.to_thread(come, await token(site.etcd, OPERATOR, "oda"))
        await holds(first, second)
        await asyncio.to_thread(click_too_late)
        assert site.lock.holders == [MACHINE]
        await asyncio.to_thread(click_again)
        assert site.lock.holders == []

    play(site, story, 0)


def test_without_scripts_on_a_phone_and_by_keyboard_it_is_all_there(site, server, browser):
    async def story(node):
        await site.lock.set_max(1)
        viewer, operator = await token(site.etcd, VIEWER, "vera"), await token(site.etcd, OPERATOR, "otto")
        await asyncio.to_thread(look, node, viewer, operator)

    def look(node, viewer, operator):
        group = f"/groups/{site.group}"
        sign_in(browser, server, viewer, group, width=390, height=844)
        browser.until_text(node.name)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert "Freeze" not in browser.text
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.className") == "skip"
        assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        browser.press("Enter")
        browser.until("location.hash == '#main'")
        light = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.open(f"{server.url}{group}", dark=True)
        browser.until_text(node.name)
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") != light
        browser.click("button", "Sign out")
        browser.until_text("Token of a viewer or an operator")
        sign_in(browser, server, operator, group, scripts=False)
        browser.until_text("Refresh")
        browser.click("a.button", "Freeze")
        browser.until_text("What happens")
        browser.fill("#reason", "the <b>database</b> moves")
        browser.press("Enter")
        browser.until_text("is frozen")
        browser.open(f"{server.url}{group}", scripts=False)
        browser.until_text("the <b>database</b> moves")
        names = json.loads(
            browser.evaluate("JSON.stringify([...document.querySelectorAll('th')].filter((one) => !one.scope))")
        )
        assert names == []

    play(site, story, 1)
