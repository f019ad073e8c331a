"""Who gets in to etcd v3, and how the others are told: TLS, client certificates, users and their tokens."""

import asyncio
import re
from dataclasses import replace

import pytest

from locksmith.errors import StoreError, StoreRefusedError, StoreUnavailableError, UsageError
from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.protocol import ABSENT
from locksmith.store.settings import StoreSettings
from tests.contract.stories import run, within
from tests.harness import dead_endpoints
from tests.harness.certificates import Authority
from tests.harness.etcd import ROOT_PASSWORD, ROOT_USER, USER, WHEEL, Etcd, Tls, wait_until
from tests.harness.etcd_versions import on_every_version


async def everything(store, base):
    """Make every kind of call once."""
    made = await store.create(base + "key", b"1", ttl=60)
    await store.renew(made, 60)
    waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
    changed = await store.swap(base + "key", b"2", made.version)
    assert await waiting
    assert (await store.get(base + "key")).entry == changed
    assert (await store.list(base)).entries == (changed,)
    await store.delete(base + "key", changed.version)


@pytest.fixture(scope="module")
def servers():
    """Servers by what they are, each started where first needed."""
    running = {}

    def server(**options) -> Etcd:
        name = repr(options)
        if name not in running:
            running[name] = Etcd(**options)
            running[name].__enter__()
        return running[name]

    yield server
    for etcd in running.values():
        etcd.close()


# TLS


@on_every_version
def test_a_ca_alone_is_tls_for_the_server_only(servers, base, binary):
    etcd = servers(binary=binary, tls=Tls.SERVER)
    settings = etcd.settings()
    assert settings.certfile is None
    run(settings, lambda store: everything(store, base))


@pytest.mark.parametrize("write", [False, True])
def test_a_server_of_another_authority_is_not_trusted(servers, base, tmp_path, write):
    settings = servers(binary=WHEEL, tls=Tls.SERVER).settings(cafile=Authority(tmp_path).cert)
    call = (lambda store: store.create(base, b"")) if write else (lambda store: store.get(base))
    with pytest.raises(StoreUnavailableError, match=r"https://127.0.0.1:\d+: its certificate cannot be trusted"):
        run(settings, call)


def test_without_a_ca_the_systems_authorities_are_trusted_alone(servers, base):
    settings = servers(binary=WHEEL, tls=Tls.SERVER).settings(cafile=None)
    with pytest.raises(StoreUnavailableError, match="certificate cannot be trusted"):
        run(settings, lambda store: store.get(base))


def test_a_certificate_for_another_name_is_not_trusted(servers, base):
    etcd = servers(binary=WHEEL, tls=Tls.SERVER)
    url = etcd.endpoints[0].replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(StoreUnavailableError, match=url):
        run(etcd.settings(endpoints=(url,)), lambda store: store.get(base))


def test_http_to_a_tls_port_and_tls_to_an_http_port_are_told(servers, wheel_etcd, base):
    tls = servers(binary=WHEEL, tls=Tls.SERVER)
    plain = tls.settings(endpoints=(tls.endpoints[0].replace("https:", "http:"),))
    with pytest.raises(StoreUnavailableError, match=plain.endpoints[0]):
        run(plain, lambda store: store.get(base))
    secret = tls.settings(endpoints=(wheel_etcd.endpoints[0].replace("http:", "https:"),))
    with pytest.raises(StoreUnavailableError, match=secret.endpoints[0]):
        run(secret, lambda store: store.create(base, b""))


@on_every_version
def test_mutual_tls_lets_a_client_in_by_its_certificate(servers, base, binary):
    run(servers(binary=binary, tls=Tls.MUTUAL).settings(), lambda store: everything(store, base))


@on_every_version
def test_mutual_tls_refuses_a_client_without_its_certificate(servers, base, binary, tmp_path):
    etcd = servers(binary=binary, tls=Tls.MUTUAL)
    unknown = Authority(tmp_path).issue("unknown")
    for settings in (
        etcd.settings(certfile=None, keyfile=None),
        etcd.settings(certfile=unknown.cert, keyfile=unknown.key),
    ):
        with pytest.raises(StoreUnavailableError, match=etcd.endpoints[0]):
            run(settings, lambda store: store.get(base))
        with pytest.raises(StoreError):  # the server's "no" may be lost behind the connection's end
            run(settings, lambda store: store.create(base + "key", b""))
    assert run(etcd.settings(), lambda store: store.get(base + "key")).version == ABSENT


def test_tls_files_that_cannot_be_used_are_named(tmp_path):
    authority = Authority(tmp_path)
    client, other = authority.issue("client"), authority.issue("other")
    missing, text = tmp_path / "missing.pem", tmp_path / "text.pem"
    text.write_text("no certificate")
    for files, named in (
        ({"cafile": missing}, missing),
        ({"cafile": text}, text),
        ({"certfile": missing}, missing),
        ({"certfile": text}, text),
        ({"certfile": client.cert, "keyfile": missing}, client.cert),
        ({"certfile": client.cert, "keyfile": other.key}, client.cert),
    ):
        with pytest.raises(UsageError, match=re.escape(str(named))):
            Etcd3Store(StoreSettings(("https://127.0.0.1:2379",), **files))


# Users


@on_every_version
@pytest.mark.parametrize("tls", [Tls.NONE, Tls.MUTUAL], ids=["plain", "mutual"])
def test_a_user_with_a_password_gets_in(servers, base, binary, tls):
    run(servers(binary=binary, tls=tls, auth=True, token_ttl=1).settings(), lambda store: everything(store, base))


@on_every_version
def test_a_wrong_password_is_refused_by_name(servers, base, binary):
    etcd = servers(binary=binary, tls=Tls.NONE, auth=True, token_ttl=1)
    says = rf"etcd at {etcd.endpoints[0]} refused the user 'locksmith': .*invalid user ID or password"
    for call in (lambda store: store.get(base), lambda store: store.create(base, b"")):
        with pytest.raises(StoreRefusedError, match=says):
            run(etcd.settings(password="guessed"), call)


@on_every_version
def test_nobody_gets_in_without_a_user(servers, base, binary):
    settings = servers(binary=binary, tls=Tls.NONE, auth=True, token_ttl=1).settings(username=None)
    for call in (
        lambda store: store.get(base),
        lambda store: store.create(base, b""),
        lambda store: store.wait(base, 1, limit=20),
    ):
        with pytest.raises(StoreRefusedError, match="refused a client without a user"):
            run(settings, call)


@on_every_version
def test_a_user_is_kept_to_its_rights(servers, binary):
    settings = servers(binary=binary, tls=Tls.NONE, auth=True, token_ttl=1).settings()
    for call in (
        lambda store: store.get("elsewhere"),
        lambda store: store.create("elsewhere", b""),
        lambda store: store.wait("elsewhere", 1, limit=20),
        lambda store: store.wait("coreos.com/", 1, prefix=True, limit=20),
    ):
        with pytest.raises(StoreRefusedError, match=r"the user 'locksmith': .*permission denied"):
            run(settings, call)


@on_every_version
def test_an_expired_token_is_renewed_by_whatever_call_comes_next(base, binary):
    calls = [
        lambda store, _: store.get(base),
        lambda store, _: store.list(base),
        lambda store, made: store.renew(made, 60),
        lambda store, _: store.create(base + "other", b""),
        lambda store, made: store.wait(base + "key", made.version - 1, limit=20),
    ]

    async def story(etcd):
        stores = [Etcd3Store(etcd.settings()) for _ in calls]
        made = await stores[0].create(base + "key", b"", ttl=60)
        open_wait = asyncio.create_task(stores[0].wait(base + "key", made.version, limit=20))
        for store in stores:
            await store.get(base)
        await asyncio.to_thread(wait_until, lambda: expired(etcd) == len(stores), "all tokens expire", 20)
        for store, call in zip(stores, calls, strict=True):
            await call(store, made)
        assert not open_wait.done()
        await stores[0].delete(base + "key", made.version)
        assert await open_wait
        for store in stores:
            await store.close()

    with Etcd(binary, auth=True, token_ttl=1) as etcd:
        asyncio.run(story(etcd))


def expired(etcd):
    return etcd.members[0].log.read_text().count("deleted a simple token")


def test_a_write_does_not_wait_for_authentication_at_an_endpoint_that_hangs(servers, base):
    etcd = servers(binary=WHEEL, tls=Tls.NONE, auth=True, token_ttl=1)
    with dead_endpoints.endpoint(dead_endpoints.silent) as url, within(1):
        run(etcd.settings(endpoints=(url, *etcd.endpoints), timeout=1), lambda store: store.create(base, b""))


def test_tokens_that_a_restart_forgot_are_renewed(base):
    async def story(store, etcd):
        made = await store.create(base + "key", b"1")
        etcd.members[0].stop()
        etcd.members[0].start()
        await store.swap(base + "key", b"2", made.version)

    with Etcd(auth=True) as etcd:
        run(etcd.settings(), lambda store: story(store, etcd))


def test_users_may_be_named_before_authentication_is_switched_on(base):
    async def story(store, etcd):
        await store.create(base + "before", b"")
        etcd.require_passwords()
        await store.create(base + "after", b"")
        assert await store.wait(base + "after", 1, limit=20)

    with Etcd() as etcd:
        settings = etcd.settings(username=ROOT_USER, password=ROOT_PASSWORD)
        run(settings, lambda store: story(store, etcd))


def test_a_front_that_echoes_the_password_does_not_bring_it_into_the_error(base):
    settings = StoreSettings((), username=USER, password="hunter2")
    with (
        dead_endpoints.endpoint(dead_endpoints.echo) as url,
        pytest.raises(StoreUnavailableError, match="authentication") as caught,
    ):
        run(replace(settings, endpoints=(url,)), lambda store: store.get(base))
    assert "hunter2" not in str(caught.value)


def test_a_password_does_not_show(servers):
    settings = servers(binary=WHEEL, tls=Tls.NONE, auth=True, token_ttl=1).settings()
    assert settings.password not in repr(settings)
    assert USER in repr(settings)
