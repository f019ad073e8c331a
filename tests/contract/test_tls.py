"""TLS to etcd that must not be trusted, on real servers and both APIs: refused, in clear words, nothing written."""

import asyncio
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from locksmith.errors import StoreError, StoreUnavailableError, UsageError
from locksmith.store.connect import open_store
from locksmith.store.protocol import ABSENT
from locksmith.store.settings import StoreSettings
from tests.contract.daemons import Site
from tests.harness.certificates import Authority, KeyPair
from tests.harness.ctl import Ctl, flags_for
from tests.harness.etcd import DEBIAN, WHEEL, Etcd, Tls

both_apis = pytest.mark.parametrize("api", [3, 2])


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    """The server whose certificate is replaced: etcd reads it for each handshake."""
    with Etcd(DEBIAN, v2=True, tls=Tls.SERVER) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def good() -> Iterator[Etcd]:
    with Etcd(DEBIAN, v2=True, tls=Tls.SERVER) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def mutual() -> Iterator[Etcd]:
    with Etcd(WHEEL, tls=Tls.MUTUAL) as etcd:
        yield etcd


@dataclass(frozen=True)
class Bad:
    """A certificate that must not be trusted, and what is said of it."""

    make: Callable[[Authority, Path], KeyPair]
    says: str


BAD = {
    "other name": Bad(
        lambda ours, _: ours.issue("bad", "subjectAltName=DNS:etcd-1.example,IP:192.0.2.1"),
        r"its certificate is for etcd-1\.example and 192\.0\.2\.1, not for 127\.0\.0\.1: name it so in etcd\.endpoints",
    ),
    "expired": Bad(
        lambda ours, _: ours.issue("bad", begins=-9, ends=-2),
        r"its certificate expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC, and the clock says .* UTC: renew it",
    ),
    "not yet valid": Bad(
        lambda ours, _: ours.issue("bad", begins=2, ends=9),
        r"its certificate holds from \d{4}-.* UTC on, and the clock says .* UTC: set the clock",
    ),
    "other authority": Bad(
        lambda _, folder: Authority(folder / "other").issue("bad"),
        r"its certificate cannot be trusted \(.*\): the CA file \S+ must have the CA that signed it",
    ),
}


@contextmanager
def showing(etcd: Etcd, pair: KeyPair) -> Iterator[None]:
    """Have a server show another certificate for a while."""
    own = KeyPair(etcd.folder / "member0.crt", etcd.folder / "member0.key")
    saved = KeyPair(etcd.folder / "saved.crt", etcd.folder / "saved.key")
    _copy(own, saved)
    _copy(pair, own)
    try:
        yield
    finally:
        _copy(saved, own)


def _copy(what: KeyPair, where: KeyPair) -> None:
    shutil.copy(what.cert, where.cert)
    shutil.copy(what.key, where.key)


def authority(etcd: Etcd) -> Authority:
    assert etcd.authority is not None
    return etcd.authority


def bundle(path: Path, *parts: str) -> Path:
    path.write_text("".join(parts))
    return path


def run(settings: StoreSettings, story):
    async def scene():
        store = open_store(settings)
        try:
            async with asyncio.timeout(30):
                return await story(store)
        finally:
            await store.close()

    return asyncio.run(scene())


def a_key() -> str:
    return f"coreos.com/updateengine/rebootlock/{uuid.uuid4()}/key"


@both_apis
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_certificate_that_is_no_good_is_refused_and_why_is_said(etcd, good, tmp_path, api, bad):
    key, settings = a_key(), etcd.settings(api=api)
    both = bundle(tmp_path / "both.pem", authority(etcd).cert.read_text(), authority(good).cert.read_text())
    with showing(etcd, bad.make(authority(etcd), tmp_path)):
        for call in (lambda store: store.get(key), lambda store: store.create(key, b"x")):
            with pytest.raises(StoreUnavailableError, match=re.escape(etcd.endpoints[0]) + ".*" + bad.says):
                run(settings, call)
        either = etcd.settings(api=api, cafile=both, endpoints=(*etcd.endpoints, *good.endpoints))
        run(either, lambda store: store.create(key, b"x"))
    assert run(settings, lambda store: store.get(key)).version == ABSENT
    assert run(good.settings(api=api), lambda store: store.get(key)).version != ABSENT


@pytest.fixture
def tool(monkeypatch, capfd, tmp_path) -> Callable[..., Ctl]:
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    return lambda *flags: Ctl(monkeypatch, capfd, *flags)


@both_apis
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_the_tool_says_why_in_one_line_and_exits_with_1(etcd, tmp_path, tool, api, bad):
    ctl = tool(*flags_for(etcd, api=api, group=f"g-{uuid.uuid4()}"))
    with showing(etcd, bad.make(authority(etcd), tmp_path)):
        for command in (("status",), ("lock", "m1")):
            assert re.search(re.escape(etcd.endpoints[0]) + ".*" + bad.says, ctl.fails(*command))
    assert "Holders" not in ctl("status").out


@both_apis
@pytest.mark.parametrize("name", ["other name", "expired"])
def test_the_daemon_waits_says_why_and_goes_on_when_the_certificate_is_renewed(etcd, tmp_path, api, name):
    site = Site(etcd, f"g-{uuid.uuid4()}", tmp_path)
    bad = BAD[name]

    async def story(node):
        with showing(etcd, bad.make(authority(etcd), tmp_path)):
            await node.start_daemon()
            node.need_reboot("4081.2.0")
            await node.says("waiting (store)")
            assert re.search(re.escape(etcd.endpoints[0]) + ".*" + bad.says, node.said), node.said
            assert node.reboots == 0
        await node.rebooted()

    site.reachable = api == 3
    site.play_stopped(story, etcd={"api": api, "cafile": str(authority(etcd).cert)})


# Certificates that were revoked


@both_apis
def test_a_revoked_certificate_is_refused_where_the_ca_file_has_a_list_of_them(etcd, tmp_path, api):
    ours, key = authority(etcd), a_key()
    revoked = ours.issue("revoked")
    plain, crl = ours.cert.read_text(), ours.revoke(revoked)
    cafile = bundle(tmp_path / "ca.pem", plain)
    settings = etcd.settings(api=api, cafile=cafile)

    async def story(store):
        with showing(etcd, revoked):
            assert (await store.get(key)).version == ABSENT  # nothing says that it is revoked
            bundle(cafile, plain, crl)  # used without a restart
            with pytest.raises(StoreUnavailableError, match=rf"its certificate was revoked, as the CRL in .*{cafile}"):
                await store.get(key)
        assert (await store.get(key)).version == ABSENT
        bundle(cafile, plain, ours.revoke(ends=-1))
        with pytest.raises(StoreUnavailableError, match=r"not known: renew the CRL in .* which has expired"):
            await store.get(key)
        other = Authority(tmp_path / "other", "another ca")
        bundle(cafile, plain, other.cert.read_text(), other.revoke())
        with pytest.raises(StoreUnavailableError, match=r"has a CRL, but none of the CA that signed it"):
            await store.get(key)

    run(settings, story)


def test_a_ca_that_is_no_longer_in_the_bundle_is_not_trusted_any_more(etcd, tmp_path):
    other = Authority(tmp_path / "other")
    cafile = bundle(tmp_path / "ca.pem", authority(etcd).cert.read_text(), other.cert.read_text())

    async def story(store):
        await store.get(a_key())
        bundle(cafile, other.cert.read_text())
        with pytest.raises(StoreUnavailableError, match="must have the CA that signed it"):
            await store.get(a_key())
        bundle(cafile, "no certificate")  # half written: the last that was of use stays
        with pytest.raises(StoreUnavailableError, match="must have the CA that signed it"):
            await store.get(a_key())
        bundle(cafile, authority(etcd).cert.read_text())
        await store.get(a_key())

    run(etcd.settings(cafile=cafile), story)


# This client's own certificate


@pytest.mark.parametrize(
    ("begins", "ends", "says"), [(-9, -2, r"expired on .*: renew it"), (2, 9, r"holds from .* UTC on")]
)
def test_a_client_certificate_out_of_its_time_is_refused_and_named(mutual, begins, ends, says):
    pair, key = authority(mutual).issue(f"client{ends}", begins=begins, ends=ends), a_key()
    settings = mutual.settings(certfile=pair.cert, keyfile=pair.key)
    with pytest.raises(StoreUnavailableError, match=rf"it refused this client's certificate .*{pair.cert} {says}"):
        run(settings, lambda store: store.get(key))
    with pytest.raises(StoreError, match=str(mutual.endpoints[0])):
        run(settings, lambda store: store.create(key, b""))
    assert run(mutual.settings(), lambda store: store.get(key)).version == ABSENT


def test_a_client_certificate_that_is_missing_or_of_another_ca_is_named(mutual, tmp_path):
    with pytest.raises(StoreUnavailableError, match=r"etcd\.certfile and etcd\.keyfile name none"):
        run(mutual.settings(certfile=None, keyfile=None), lambda store: store.get("x"))
    pair = Authority(tmp_path).issue("unknown")
    with pytest.raises(StoreUnavailableError, match=rf"is {pair.cert} signed by a CA that etcd trusts"):
        run(mutual.settings(certfile=pair.cert, keyfile=pair.key), lambda store: store.get("x"))


def test_a_renewed_client_certificate_is_used_without_a_restart(mutual, tmp_path):
    expired, fresh = authority(mutual).issue("old", begins=-9, ends=-2), authority(mutual).issue("new")
    used = KeyPair(tmp_path / "used.crt", tmp_path / "used.key")
    _copy(expired, used)

    async def story(store):
        with pytest.raises(StoreUnavailableError, match="expired on"):
            await store.get(a_key())
        _copy(fresh, used)
        await store.get(a_key())

    run(mutual.settings(certfile=used.cert, keyfile=used.key), story)


def test_a_key_with_a_passphrase_is_refused_and_no_terminal_is_asked(tmp_path):
    pair, secret = Authority(tmp_path).issue("client"), tmp_path / "secret.key"
    command = ["openssl", "ec", "-in", pair.key, "-out", secret, "-aes256", "-passout", "pass:x"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(UsageError, match="or the key has a passphrase"):
        open_store(StoreSettings(("https://127.0.0.1:1",), certfile=pair.cert, keyfile=secret))
