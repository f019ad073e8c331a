"""The page of a real locksmith-server in a real Chromium: a rollout of real daemons, watched and steered by clicks."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import OPERATOR, VIEWER, Credential
from locksmith.store.connect import open_store
from tests.contract.programs import program
from tests.harness.chromium import Browser, needs_chromium
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

pytestmark = needs_chromium


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


def test_a_rollout_is_watched_its_halt_is_seen_and_it_goes_on_by_clicks(site, server, browser):
    def order(button, words, reason):
        browser.click("a.button", button)
        browser.until_text("What happens")
        browser.until_text(words)
        browser.fill("#reason", reason)
        browser.click("main button")

    def watch_the_halt(first, second):
        browser.until_text(f"rebooted {first.name}".replace(" ", "\t"))
        browser.until_text("No machine of this group reboots.")
        assert f"{second.name} is unhealthy: health.d/10-web: web is down" in browser.text
        assert browser.evaluate("performance.getEntriesByType('navigation')[0].type") == "navigate", "it was replaced"

    def steer(second):
        order("Resume", "Inspect these machines first", "web is repaired by hand")
        browser.until_text(f"Acknowledged: {second.name} is unhealthy")
        browser.click("a.button", "Back to the group")
        browser.until("!document.body.innerText.includes('No machine of this group reboots.')")
        order("Unlock", "Without its slot another machine may go down as well", "it is up")
        browser.until_text(f"Unlocked {second.name}")
        browser.click("a.button", "Back to the group")

    async def story(*nodes):
        await site.lock.set_max(1)
        operator = await token(site.etcd, OPERATOR, "olga")
        first, second, third = nodes
        program(second, "health.d/10-web", "echo web is down; exit 1")
        await asyncio.to_thread(sign_in, browser, server, operator)
        await asyncio.to_thread(browser.until_text, site.group)
        await asyncio.to_thread(browser.click, "h2 a", site.group)
        await asyncio.to_thread(browser.until_text, "no reboot is needed")
        first.need_reboot("4081.2.0")
        await first.rebooted(limit=40)
        second.need_reboot("4081.2.0")
        third.need_reboot("4081.2.0")
        await second.says("unhealthy: ", limit=40)
        await asyncio.to_thread(watch_the_halt, first, second)
        assert third.reboots == 0
        await asyncio.to_thread(steer, second)
        await third.rebooted(limit=40)
        await asyncio.to_thread(browser.until_text, "web is repaired by hand")

    site.play(story, nodes=3, health={"limit": "1s"})


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

    site.play(story)
