"""A daemon that waits for longer than its token lives, on every version of etcd and with both kinds of tokens.

A simple token lives on while it is used, at the member where it is used; a signed one (JWT) ends at its time, and with
every change of etcd's users.
"""

import asyncio
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from locksmith.errors import StoreRefusedError, StoreUnavailableError
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.gateway import NEW_TOKENS
from tests.contract.stories import run
from tests.harness import dead_endpoints
from tests.harness.etcd import PASSWORD, Etcd, wait_until
from tests.harness.etcd_versions import EVERY_VERSION, on_every_version

SOON = 0.3
"""Seconds in which a wait begins."""


@pytest.fixture(scope="module", params=["simple", "jwt"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=EVERY_VERSION)
def brief(request, kind):
    """An etcd whose tokens live for a second after their last use; signed ones for two to three seconds."""
    jwt = kind == "jwt"
    with Etcd(request.param, auth=True, token_ttl=3 if jwt else 1, jwt=jwt) as etcd:
        yield etcd


class Way:
    """A way to etcd whose connections a test can break."""

    def __init__(self, upstream):
        self._at = urlsplit(upstream)
        self._under_way = []

    def __call__(self, connection):
        with socket.create_connection((self._at.hostname, self._at.port), dead_endpoints.LIMIT) as server:
            self._under_way.append(connection)
            dead_endpoints.relay(connection, server)

    def break_off(self):
        """End every connection there has been."""
        for connection in self._under_way:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


async def begun(coroutine):
    """Begin a wait; give its task."""
    task = asyncio.create_task(coroutine)
    await asyncio.wait([task], timeout=SOON)
    assert not task.done(), task
    return task


def test_a_wait_that_outlives_its_token_goes_on_also_when_its_watch_breaks(brief, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = await begun(store.wait(made.key, made.version, limit=20))
        open_once = await begun(direct.wait(made.key, made.version, limit=20))
        await asyncio.to_thread(brief.outlive_tokens)
        way.break_off()
        await asyncio.wait([waiting, open_once], timeout=SOON)
        assert not waiting.done()
        assert not open_once.done()
        changed = await store.swap(made.key, b"2", made.version)
        assert await waiting
        assert await open_once
        assert (await direct.get(made.key)).entry == changed

    async def scene(store):
        try:
            await story(store)
        finally:
            await direct.close()

    way, direct = Way(brief.endpoints[0]), Etcd3Store(brief.settings())
    with dead_endpoints.endpoint(way) as url:
        run(brief.settings(endpoints=(url,)), scene)


def test_a_watch_that_breaks_after_the_users_changed_is_opened_with_a_new_token(brief, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = await begun(store.wait(made.key, made.version, limit=20))
        await asyncio.to_thread(brief.change_users)
        way.break_off()
        await asyncio.wait([waiting], timeout=SOON)
        assert not waiting.done()
        await store.delete(made.key, made.version)
        assert await waiting

    way = Way(brief.endpoints[0])
    with dead_endpoints.endpoint(way) as url:
        run(brief.settings(endpoints=(url,)), story)


@pytest.mark.parametrize("call", ["get", "list", "create", "swap", "renew", "wait"])
def test_every_call_gets_a_new_token_after_the_users_changed(brief, base, call):
    async def story(store):
        made = await store.create(base + "key", b"1", ttl=60)
        calls = {
            "get": lambda: store.get(made.key),
            "list": lambda: store.list(base),
            "create": lambda: store.create(base + "other", b"", ttl=60),
            "swap": lambda: store.swap(made.key, b"2", made.version),
            "renew": lambda: store.renew(made, 60),
            "wait": lambda: store.wait(made.key, made.version - 1, limit=20),
        }
        await asyncio.to_thread(brief.change_users)
        await calls[call]()

    run(brief.settings(), story)


class Changing:
    """A way to etcd, whose users change right before the first `times` calls that come with a token."""

    def __init__(self, etcd, times):
        self._etcd, self._left = etcd, times
        self._at = urlsplit(etcd.endpoints[0])
        self.given = 0
        """How many tokens were asked for."""

    def __call__(self, connection):
        request = dead_endpoints.read_request(connection)
        head = request.partition(b"\r\n\r\n")[0]
        self.given += b"/v3/auth/authenticate" in head
        if b"\r\nAuthorization: " in head and self._left:
            self._left -= 1
            self._etcd.change_users()
        with socket.create_connection((self._at.hostname, self._at.port), dead_endpoints.LIMIT) as server:
            server.sendall(dead_endpoints.only(request))
            dead_endpoints.relay(connection, server)


@pytest.mark.parametrize("call", ["get", "list", "read", "create", "swap", "wait"])
def test_a_token_that_is_outdated_before_its_first_use_is_followed_by_another(brief, base, call):
    made = run(brief.settings(), lambda store: store.create(base + "key", b"1"))

    async def story(store):
        calls = {
            "get": lambda: store.get(made.key),
            "list": lambda: store.list(base),
            "read": lambda: store.read([made.key]),
            "create": lambda: store.create(base + "other", b""),
            "swap": lambda: store.swap(made.key, b"2", made.version),
            "wait": lambda: store.wait(made.key, made.version - 1, limit=20),
        }
        await calls[call]()

    way = Changing(brief, NEW_TOKENS - 1)
    with dead_endpoints.endpoint(way) as url:
        run(brief.settings(endpoints=(url,)), story)


def test_users_that_change_without_end_are_an_error_after_a_few_tokens(brief, base, kind):
    if kind == "simple":
        pytest.skip("a change of users outdates no simple token")
    way = Changing(brief, 1000)
    with (
        dead_endpoints.endpoint(way) as url,
        pytest.raises(StoreRefusedError, match=r"refused the user 'locksmith': .*old"),
    ):
        run(brief.settings(endpoints=(url,)), lambda store: store.get(base))
    assert way.given == NEW_TOKENS


def test_a_user_without_rights_gets_one_new_token_for_each_call(brief):
    """Each token costs etcd a tenth of a second of CPU."""
    way = Changing(brief, 0)

    async def story(store):
        for _ in range(2):
            with pytest.raises(StoreRefusedError, match="permission denied"):
                await store.get("nobody/may/read/this")

    with dead_endpoints.endpoint(way) as url:
        run(brief.settings(endpoints=(url,)), story)
    assert way.given == 2


def test_a_password_that_changes_is_refused_by_name_and_the_new_one_is_taken(brief, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = await begun(store.wait(made.key, made.version, limit=20))
        await asyncio.to_thread(brief.change_password, "changed-7351")
        for call in (
            lambda: store.swap(made.key, b"2", made.version),
            lambda: store.get(made.key),
            lambda: store.wait(made.key, made.version, limit=20),
        ):
            with pytest.raises(StoreRefusedError, match="invalid user ID or password"):
                await call()
        assert not waiting.done()  # an open watch needs no token
        return made, waiting

    async def change_with_the_new_one(store):
        made = await store.create(base + "other", b"1")
        await store.swap(made.key, b"2", made.version)

    try:
        run(brief.settings(), story)
        run(brief.settings(password="changed-7351"), change_with_the_new_one)
    finally:
        brief.change_password(PASSWORD)


@on_every_version
def test_a_token_that_one_member_forgot_while_another_kept_it_is_renewed(binary, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = await begun(store.wait(made.key, made.version, limit=25))
        expiring = asyncio.create_task(asyncio.to_thread(wait_until, expired_elsewhere, "a token expires"))
        while not expiring.done():
            with suppress(StoreUnavailableError):  # members on a slow disk elect a leader again
                await store.get(made.key)
            await asyncio.wait([expiring], timeout=0.2)
        await expiring
        etcd.members[0].kill()
        changed = await changes(store, made)
        assert await waiting
        assert await found(store, made) == changed

    async def found(store, made):
        async with asyncio.timeout(20):
            while True:
                with suppress(StoreUnavailableError):  # as above
                    return (await store.get(made.key)).entry
                await asyncio.sleep(0.1)

    async def changes(store, made):
        """The first try may meet the members before they have a leader again; the key is read before the next."""
        async with asyncio.timeout(20):
            while True:
                with suppress(Exception):
                    found = (await store.get(made.key)).entry
                    return found if found.value == b"2" else await store.swap(made.key, b"2", found.version)
                await asyncio.sleep(0.1)

    def expired_elsewhere():
        return "deleted a simple token" in etcd.members[1].log.read_text()

    with Etcd(binary, members=3, auth=True, token_ttl=1) as etcd:
        run(etcd.settings(), story)
