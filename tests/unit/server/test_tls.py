"""TLS of the server: renewed certificates, certificates of clients, and connections that never finish a handshake."""

import asyncio
import contextlib
import logging
import shutil
import ssl
from dataclasses import replace

import pytest

from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.errors import UsageError
from locksmith.server import door
from locksmith.server.connection import Connection
from locksmith.server.service import tls_of
from tests.builders.few_slots import FewSlots
from tests.builders.fleetlock_site import ANYBODY, site_of
from tests.harness.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def first(authority):
    return authority.issue("first")


@pytest.fixture
def settings(authority, first, tmp_path):
    """Settings whose files are copies: a test may renew them."""
    for file, name in ((first.cert, "server.pem"), (first.key, "server.key"), (authority.cert, "clients.pem")):
        shutil.copy(file, tmp_path / name)
    return ServerSettings(certfile=tmp_path / "server.pem", keyfile=tmp_path / "server.key")


def renew(settings, pair):
    """Replace both files, as ACME clients do."""
    for new, file in ((pair.key, settings.keyfile), (pair.cert, settings.certfile)):
        written = shutil.copy(new, file.with_suffix(".new"))
        written.replace(file)


def trusting(authority, pair=None):
    context = ssl.create_default_context(cafile=authority.cert)
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    return context


async def served_serial(site):
    """The serial number of the certificate that a new connection gets."""
    _, writer = await site.connect()
    found = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.close()
    return found


async def test_a_renewed_certificate_is_used_for_the_next_connection(authority, settings, caplog):
    async with site_of(FewSlots(), context=tls_of(settings)) as site:
        site.trusting = trusting(authority)
        assert await site.ask() == (200, {})
        first = await served_serial(site)
        renew(settings, authority.issue("renewed"))
        second = await served_serial(site)
        assert second != first
        settings.certfile.write_text("half a certif")
        assert await served_serial(site) == second
        assert "cannot be used, so those before stay in use" in caplog.text
        renew(settings, authority.issue("later"))
        assert await served_serial(site) not in {first, second}


async def test_a_connection_with_tls_that_has_ended_waits_for_a_collection(authority, settings):
    """asyncio's transport below TLS holds itself, so the server has to know how many there are."""
    async with site_of(FewSlots(), context=tls_of(settings)) as site:
        site.trusting = trusting(authority)
        before = Connection.ended
        assert await site.ask() == (200, {})
        async with asyncio.timeout(10):
            while Connection.ended == before:  # noqa: ASYNC110 - when the server has seen its end
                await asyncio.sleep(0.01)
        assert Connection.ended == before + 1


async def test_an_expired_certificate_is_warned_of(authority, settings, caplog):
    renew(settings, authority.issue("old", begins=-2, ends=-1))
    async with site_of(FewSlots(), context=tls_of(settings)):
        pass
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith(f"clients refuse the certificate of locksmith-server: {settings.certfile} expired on")


async def test_only_groups_that_ask_for_a_client_certificate_need_one(authority, settings, tmp_path):
    settings = ServerSettings(
        certfile=settings.certfile, keyfile=settings.keyfile, client_cafile=tmp_path / "clients.pem"
    )
    mine = authority.issue("client")
    groups = {"web": ServedGroup(certificates=True), "db": ANYBODY}
    async with site_of(FewSlots(), groups, tls_of(settings)) as site:
        body = b'{"client_params": {"id": "n1", "group": "db"}}'
        site.trusting = trusting(authority)
        assert await site.ask(body=body) == (200, {})
        status, said = await site.ask()
        assert (status, said["kind"]) == (403, "unauthorized")
        site.trusting = trusting(authority, mine)
        assert await site.ask() == (200, {})
        assert await site.ask(body=body) == (200, {})


@pytest.mark.parametrize("what", ["another authority", "expired"])
async def test_a_client_certificate_of_others_or_of_yesterday_gets_no_answer(authority, settings, tmp_path, what):
    settings = ServerSettings(
        certfile=settings.certfile, keyfile=settings.keyfile, client_cafile=tmp_path / "clients.pem"
    )
    other = Authority(tmp_path / "other").issue("client") if what == "another authority" else None
    pair = other or authority.issue("past", begins=-2, ends=-1)
    desk = FewSlots()
    async with site_of(desk, {"web": ServedGroup(certificates=True)}, tls_of(settings)) as site:
        site.trusting = trusting(authority, pair)
        with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
            await site.ask()
        site.trusting = trusting(authority)
        assert (await site.ask())[0] == 403
    assert desk.calls == []


async def test_a_revoked_client_certificate_gets_no_answer(authority, settings, tmp_path):
    clients = tmp_path / "clients.pem"
    settings = ServerSettings(certfile=settings.certfile, keyfile=settings.keyfile, client_cafile=clients)
    good, bad = authority.issue("good"), authority.issue("bad")
    async with site_of(FewSlots(), {"web": ServedGroup(certificates=True)}, tls_of(settings)) as site:
        site.trusting = trusting(authority, bad)
        assert await site.ask() == (200, {})
        clients.write_text(clients.read_text() + authority.revoke(bad))
        with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
            await site.ask()
        site.trusting = trusting(authority, good)
        assert await site.ask() == (200, {})


def test_no_session_is_resumed_without_a_look_at_the_clients_certificate(authority, settings, tmp_path):
    contexts = tls_of(replace(settings, client_cafile=tmp_path / "clients.pem"))
    assert contexts is not None
    context = contexts()
    client = trusting(authority, authority.issue("client"))
    first = _handshake(context, client)
    assert not _handshake(context, client, first.session).session_reused


def _handshake(context, client, session=None):
    """Have both sides shake hands in memory, and give the client's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    for side in (theirs, ours, theirs, ours):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    ours.write(b"x")
    assert theirs.read(1) == b"x"
    return theirs


@pytest.mark.parametrize("left", ["", "half a certif", None], ids=["empty", "broken", "removed"])
async def test_without_usable_cas_no_certificate_of_a_client_counts(authority, settings, tmp_path, left, caplog):
    cafile = tmp_path / "clients.pem"
    settings = replace(settings, client_cafile=cafile)
    groups = {"web": ServedGroup(certificates=True)}
    async with site_of(FewSlots(), groups, tls_of(settings)) as site:
        site.trusting = trusting(authority, authority.issue("client"))
        assert await site.ask() == (200, {})
        cafile.unlink()
        if left is not None:
            cafile.write_text(left)
        assert (await site.ask())[0] == 403
        assert "no certificate of a client counts" in caplog.text
        shutil.copy(authority.cert, cafile)
        assert await site.ask() == (200, {})


@pytest.mark.slow
async def test_handshakes_that_never_end_keep_no_client_out(authority, settings, monkeypatch):
    monkeypatch.setattr(door, "REQUEST_LIMIT", 0.5)
    monkeypatch.setattr(door, "SWEEP", 0.05)
    async with site_of(FewSlots(), context=tls_of(settings), lobby=20, inside=5) as site:
        silent = [await site.connect() for _ in range(60)]
        for _, writer in silent[::2]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        site.trusting = trusting(authority)
        assert await site.ask() == (200, {})
        async with asyncio.timeout(5):
            for reader, _ in silent:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        for _, writer in silent:
            writer.close()
    assert site.door.connections == 0


async def test_plain_http_on_the_port_of_tls_gets_nothing_and_fills_no_log(authority, settings, caplog):
    caplog.set_level(logging.INFO)
    async with site_of(FewSlots(), context=tls_of(settings)) as site:
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await site.ask()
        site.trusting = trusting(authority)
        assert await site.ask() == (200, {})
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("what", ["certfile", "keyfile", "client_cafile"])
def test_files_that_cannot_be_used_are_refused_by_name(settings, tmp_path, what):
    bad = tmp_path / "bad.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 2)
    fields = {"certfile": settings.certfile, "keyfile": settings.keyfile, what: bad}
    with pytest.raises(UsageError, match=rf"\[server\] cannot be served: the .*{bad}"):
        tls_of(ServerSettings(**fields))
