"""A real locksmith-server below a path of a real nginx or HAProxy, which keeps the path or removes it."""

import asyncio
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin

import pytest

from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import OPERATOR, Credential
from locksmith.store.connect import open_store
from tests.contract.server_sites import ServerSite
from tests.harness.certificates import Authority
from tests.harness.chromium import Browser, needs_chromium
from tests.harness.ctl import Ctl, flags_for
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.reverse_proxy import HAPROXY, NGINX, PREFIX, ReverseProxy
from tests.harness.waiting import until
from tests.harness.zincati import Zincati

LIMIT = 120.0
LARGE = 400_000
"""Bytes of a body that the server reads and a proxy must pass."""

needs_nginx = pytest.mark.skipif(not NGINX, reason="needs nginx: apt-get install nginx")
needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="needs haproxy: apt-get install haproxy")
KINDS = {
    "nginx keeps the path": ("nginx", False, True),
    "nginx removes the path": ("nginx", True, False),
    "haproxy keeps the path": ("haproxy", False, False),
    "haproxy removes the path": ("haproxy", True, True),
}
"""The program, whether it removes the path, and whether it ends TLS."""


@dataclass
class Front:
    """What is seen through a proxy."""

    site: ServerSite
    server: FleetLockServer
    url: str
    ca: str
    context: ssl.SSLContext | None
    operator: str

    def ask(self, path, body=None, *, follow=True, **headers):
        """Give the status, the headers and the body of an answer."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=self.context)]
        handlers += [] if follow else [Stays()]
        request = urllib.request.Request(urljoin(f"{self.url}/", path), body, headers)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def json(self, path):
        """Give the JSON of an answer to the operator."""
        status, _, text = self.ask(path, Authorization=f"Bearer {self.operator}")
        assert status == 200, text
        return json.loads(text)


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_args, **_more):
        return None


def new_operator(etcd, name):
    async def make():
        store = open_store(etcd.settings())
        try:
            new = Credential(OPERATOR, name, "", datetime.now(UTC))
            return (await CredentialStore(store).add_person(new)).text
        finally:
            await store.close()

    return asyncio.run(make())


@pytest.fixture(
    params=[pytest.param(kind, marks=needs_nginx if "nginx" in kind else needs_haproxy) for kind in KINDS],
)
def front(request, wheel_etcd, tmp_path):
    program, strips, tls = KINDS[request.param]
    authority = Authority(tmp_path / "ca") if tls else None
    site = ServerSite(wheel_etcd, f"g-{time.monotonic_ns()}", tmp_path)
    url = f"{'https' if tls else 'http'}://127.0.0.1{PREFIX}"
    groups = {site.group: ANYBODY}
    with FleetLockServer(wheel_etcd, groups, server={"url": url}) as server:
        pair = authority.issue("proxy") if authority else None
        with ReverseProxy(program, server.port, tmp_path, strips=strips, pair=pair) as proxy:
            ca = str(authority.cert) if authority else ""
            context = ssl.create_default_context(cafile=ca) if ca else None
            site.urls = [proxy.url]
            yield Front(site, server, proxy.url, ca, context, new_operator(wheel_etcd, f"olga of {site.group}"))


def test_page_api_and_calls_have_the_path_in_each_address(front):
    """A form signs in, the cookie is for the path alone, and what the API says of itself can be followed."""
    assert front.ask("healthz")[2] == "ok\n"
    assert json.loads(front.ask("whoami", Authorization=f"Bearer {front.operator}")[2])["role"] == "operator"
    assert front.ask("metrics", Authorization=f"Bearer {front.operator}")[0] == 200
    status, headers, _ = front.ask("groups/nowhere", follow=False)
    assert (status, headers["location"]) == (303, f"{PREFIX}/sign-in?next={PREFIX}/groups/nowhere")
    page = front.ask("")[2]
    addresses = re.findall(r'(?:href|src|action)="([^"#]+)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith(f"{PREFIX}/")
    assert front.ask(f"{PREFIX}/static/page.css")[0] == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = f"token={front.operator}&next={PREFIX}/groups/{front.site.group}".encode()
    status, headers, _ = front.ask("sign-in", sent, follow=False, **form)
    assert (status, headers["location"]) == (303, f"{PREFIX}/groups/{front.site.group}")
    cookie = headers["set-cookie"]
    assert f"; Path={PREFIX};" in cookie
    assert cookie.endswith("; Secure") == bool(front.ca)
    status, _, page = front.ask(f"groups/{front.site.group}", Cookie=cookie.partition(";")[0])
    assert (status, "Sign out" in page) == (200, True)
    described = front.json("api/v1/openapi.json")
    assert described["servers"] == [{"url": f"{PREFIX}/api/v1"}]
    [found] = [one for one in front.json("api/v1/groups")["groups"] if one["group"] == front.site.group]
    assert front.json(found["path"])["group"] == front.site.group


def test_headers_of_a_client_change_neither_path_nor_cookie(front):
    lies = {"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil", "X-Forwarded-Host": "evil.example"}
    status, headers, _ = front.ask("", follow=False, **lies)
    assert (status, headers["location"]) == (303, f"{PREFIX}/sign-in")
    assert "evil" not in front.ask("sign-in", **lies)[2]
    assert "evil" not in json.dumps(front.json("api/v1/openapi.json"))


def test_a_browser_hears_of_a_change_at_once(front):
    """The proxy passes each event when it is sent: a buffered one would come at the end of the stream."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cookie = front.ask("sign-in", f"token={front.operator}".encode(), follow=False, **form)[1]["set-cookie"]
    session = {"Cookie": cookie.partition(";")[0]}
    assert front.ask(f"groups/{front.site.group}", **session)[0] == 200
    request = urllib.request.Request(f"{front.url}/events?group={front.site.group}", headers=session)
    with urllib.request.urlopen(request, timeout=30, context=front.context) as stream:
        assert b"retry" in stream.readline()
        asyncio.run(front.site.lock.set_max(3))
        began = time.monotonic()
        while not stream.readline().startswith(b"event: change"):
            assert time.monotonic() - began < 12, "the change is not told before the next sign of life"


def test_machines_enrol_wait_and_reboot_below_the_path(front, monkeypatch, capfd):
    """Two daemons without etcd: one waits for the other by a call that the proxy holds. Then a Zincati has its turn."""
    table = {"cafile": front.ca} if front.ca else {}

    async def story():
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            nodes = []
            for name in ("n1", "n2"):
                token = str(front.site.folder / f"{name}.token")
                changes = {"fleet-server": {"urls": front.site.urls, "token-file": token, **table}}
                nodes.append(await stack.enter_async_context(front.site.node(name, **changes)))
            for node in nodes:
                node.need_reboot("4081.2.0")
            for node in nodes:
                await node.rebooted(limit=LIMIT)
            await until(lambda: all(node.claim is None for node in nodes), "each journal is empty", LIMIT)
            await front.site.is_free(LIMIT)
        assert max(len(moment.holders) for moment in front.site.lock.history) == 1

    asyncio.run(story())
    monkeypatch.setenv("LOCKSMITH_ROOT", str(front.site.folder / "tool"))
    (front.site.folder / "tool/etc/locksmith").mkdir(parents=True)
    (front.site.folder / "tool/etc/machine-id").write_text("c" * 32 + "\n")
    ctl = Ctl(monkeypatch, capfd, *flags_for(front.site.etcd, group=front.site.group))
    secret = front.site.folder / "secret"
    secret.write_text(ctl("enroll", "open", front.site.group).out)
    secret.chmod(0o600)
    more = ("--cafile", front.ca) if front.ca else ()
    ended = ctl("enroll", "machine", "--server", front.url, "--secret-file", str(secret), *more)
    assert ended.status == 0, ended


@pytest.mark.parametrize("front", [kind for kind, (_, _, tls) in KINDS.items() if not tls], indirect=True)
def test_a_zincati_whose_base_url_has_the_path_reboots(front):
    async def story():
        done = asyncio.Event()

        async def reboot():
            done.set()

        zincati = Zincati(f"{front.url}/", front.site.group, "d" * 32, reboot, period=0.2)
        zincati.need_reboot()
        life = asyncio.ensure_future(zincati.run())
        await asyncio.wait_for(done.wait(), LIMIT)
        await until(lambda: zincati.reboots and zincati.is_steady, "it is steady again", LIMIT)
        life.cancel()

    asyncio.run(story())


def test_a_large_body_passes(front):
    body = json.dumps({"client_params": {"id": "x" * LARGE, "group": "web"}}).encode()
    headers = {"fleet-lock-protocol": "true", "Content-Type": "application/json"}
    status, _, text = front.ask("v1/pre-reboot", body, **headers)
    assert status == 413, text
    assert (status, json.loads(text)["kind"]) == (413, "bad_request"), "the server has refused it, and not the proxy"


@needs_chromium
@needs_nginx
@pytest.mark.parametrize("front", ["nginx keeps the path", "nginx removes the path"], indirect=True)
def test_a_person_gives_an_order_in_a_browser_below_the_path(front):
    """Over TLS that the proxy ends the cookie is marked `Secure`, and the browser sends it all the same."""
    asyncio.run(front.site.lock.set_max(2))
    with Browser() as browser:
        browser.call("Security.setIgnoreCertificateErrors", ignore=True)  # of the CA of this test
        browser.open(f"{front.url}/groups/{front.site.group}")
        browser.until_text("Sign in")
        browser.fill("#token", front.operator)
        browser.press("Enter")
        browser.until_text("Sign out")
        assert browser.evaluate("location.pathname") == f"{PREFIX}/groups/{front.site.group}"
        browser.until("document.getElementById('live').textContent === 'live'")
        browser.click("a.button", "Freeze")
        browser.until_text("What happens")
        browser.fill("#reason", "a quiet weekend")
        browser.click("main button")
        browser.until_text("Done")
        browser.click("a.button", "Back to the group")
        browser.until_text("a quiet weekend")
        browser.screenshot(front.site.folder / "page.png")
        browser.click("a.home")  # the page before has the group's name too: its button would be gone in a moment
        browser.until(f"location.pathname === '{PREFIX}/' && document.readyState === 'complete'")
        browser.until_text(front.site.group)
        browser.click("header button", "Sign out")
        browser.until_text("Sign in")
        assert browser.errors == []
