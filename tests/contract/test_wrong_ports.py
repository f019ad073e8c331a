"""Endpoints that are not what they should be, on real servers: the message names the cause and the way out."""

import contextlib
import socket

import pytest

from locksmith.errors import StoreError, StoreUnavailableError
from locksmith.store.settings import StoreSettings
from tests.contract.stories import run
from tests.harness import dead_endpoints
from tests.harness.ctl import Ctl, flags_for
from tests.harness.etcd import DEBIAN, WHEEL, Etcd, Member, Tls
from tests.harness.ports import free_ports

on_both = pytest.mark.parametrize("binary", [DEBIAN, WHEEL], ids=["debian", "wheel"])

PEER = r"this is etcd's port for its peers: name its client port in etcd\.endpoints"
NO_GATEWAY = r"etcd's HTTP gateway is off: set `enable-grpc-gateway: true` in etcd's configuration and restart etcd"
GRPC_ONLY = r"speaks gRPC alone: name its port for HTTP in etcd\.endpoints \(`listen-client-http-urls` of etcd\)"


class Configured(Etcd):
    """One member with settings of a test's own: `flags`, or all in a configuration `file`. `peer` is its peer port."""

    flags: tuple[str, ...] = ()
    file = False

    def _member(self, name: str, url: str, peer: str, way: str, cluster: str) -> Member:
        self.peer = peer
        member = super()._member(name, url, peer, way, cluster)
        if self.file:
            config = self.folder / "etcd.yaml"
            config.write_text(_as_yaml(member._command[1:]))
            member._command = [member._command[0], "--config-file", str(config)]
        member._command += self.flags
        return member


class WithoutGateway(Configured):
    flags = ("--enable-grpc-gateway=false",)


class FromFile(Configured):
    file = True


def _as_yaml(flags: list[str]) -> str:
    pairs = zip(flags, [*flags[1:], ""], strict=True)
    split = [flag.split("=", 1) if "=" in flag else (flag, value) for flag, value in pairs if flag.startswith("--")]
    lists = {"--log-outputs"}
    values = {name: f"[{value}]" if name in lists else value.lower() for name, value in split}
    return "".join(f"{name.removeprefix('--')}: {value}\n" for name, value in values.items())


def refused(settings, says):
    """Each kind of call ends with this message, and says nothing of another API."""
    for call in (lambda store: store.get("k"), lambda store: store.wait("k", 1, limit=5)):
        with pytest.raises(StoreUnavailableError, match=f"{settings.endpoints[0]}: .*{says}") as no:
            run(settings, call)
        assert "v2" not in str(no.value)
    with pytest.raises(StoreError, match=says):
        run(settings, lambda store: store.create("k", b""))


@pytest.fixture
def tool(monkeypatch, capfd, tmp_path):
    """Run `locksmithctl status` at an endpoint, and give its error."""
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))

    def status(etcd: Etcd, endpoint: str) -> str:
        flags = [f"-endpoint={endpoint}", *flags_for(etcd)[1:]]
        said = Ctl(monkeypatch, capfd, *flags).fails("status")
        assert "v2" not in said
        return said

    return status


def other_scheme(url: str) -> str:
    return url.replace("http", "https") if url.startswith("http:") else url.replace("https", "http")


@on_both
def test_etcds_peer_port_is_told(binary, tool):
    with Configured(binary) as etcd:
        refused(StoreSettings((etcd.peer,)), PEER)
        assert "etcd's port for its peers" in tool(etcd, etcd.peer)


@on_both
@pytest.mark.parametrize("tls", [Tls.NONE, Tls.SERVER], ids=["plain", "tls"])
def test_a_gateway_that_is_off_is_told(binary, tls, tool):
    with WithoutGateway(binary, tls=tls) as etcd:
        refused(etcd.settings(), NO_GATEWAY)
        assert "enable-grpc-gateway: true" in tool(etcd, etcd.endpoints[0])


def test_etcd_3_4_with_a_configuration_file_has_its_gateway_off(tool):
    with FromFile(DEBIAN) as etcd:
        refused(etcd.settings(), NO_GATEWAY)
        assert "enable-grpc-gateway: true" in tool(etcd, etcd.endpoints[0])


@on_both
@pytest.mark.parametrize("tls", [Tls.SERVER, Tls.MUTUAL], ids=["server", "mutual"])
def test_http_to_a_port_with_tls_is_told(binary, tls, tool):
    with Etcd(binary, tls=tls) as etcd:
        url = other_scheme(etcd.endpoints[0])
        refused(etcd.settings(endpoints=(url,)), f"this port speaks TLS: write {etcd.endpoints[0]} in etcd.endpoints")
        assert f"this port speaks TLS: write {etcd.endpoints[0]}" in tool(etcd, url)


@on_both
def test_https_to_a_port_without_tls_is_told(binary, tool):
    with Configured(binary) as etcd:
        for port in (etcd.endpoints[0], etcd.peer):
            url = other_scheme(port)
            refused(StoreSettings((url,)), f"this port speaks no TLS: write {port} in etcd.endpoints")
            assert f"this port speaks no TLS: write {port}" in tool(etcd, url)


def grpc(connection: socket.socket) -> None:
    """Do what the gRPC port of etcd 3.5.16 did: its first frame at once, and an end for what is not HTTP/2."""
    with contextlib.suppress(TimeoutError):
        connection.sendall(bytes.fromhex("000006040000000000000500004000"))
        while connection.recv(65536).startswith(b"PRI"):
            connection.sendall(bytes.fromhex("000000040100000000"))


def test_a_port_for_grpc_alone_is_told(wheel_etcd, tool):
    with dead_endpoints.endpoint(grpc) as url:
        refused(StoreSettings((url,)), GRPC_ONLY)
        assert "speaks gRPC alone" in tool(wheel_etcd, url)
        refused(StoreSettings((other_scheme(url),)), "this port speaks no TLS")


def test_a_server_that_knows_no_v3_and_is_no_etcd_is_told_both(wheel_etcd, tool):
    with dead_endpoints.endpoint(dead_endpoints.answering("404 page not found\n", 404)) as url:
        refused(StoreSettings((url,)), "the server knows no /v3/: name etcd's client port .*enable-grpc-gateway: true")
        assert "the server knows no /v3/" in tool(wheel_etcd, url)


def test_on_the_v2_api_a_wrong_port_or_scheme_is_told_as_well(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    with Configured(WHEEL, v2=True) as etcd, Etcd(WHEEL, v2=True, tls=Tls.SERVER) as secret:
        for url, says in (
            (etcd.peer, "this is etcd's port for its peers"),
            (other_scheme(etcd.endpoints[0]), f"this port speaks no TLS: write {etcd.endpoints[0]}"),
            (other_scheme(secret.endpoints[0]), f"this port speaks TLS: write {secret.endpoints[0]}"),
        ):
            flags = [f"-endpoint={url}", *flags_for(secret, api=2)[1:]]
            assert says in Ctl(monkeypatch, capfd, *flags).fails("status")


def test_without_the_v2_api_its_own_message_stays(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("LOCKSMITH_ROOT", str(tmp_path))
    with Etcd(WHEEL) as etcd:
        said = Ctl(monkeypatch, capfd, *flags_for(etcd, api=2)).fails("status")
    assert "this etcd has no v2 API (`--enable-v2` turns it on, up to etcd 3.5)" in said


def test_an_endpoint_where_nothing_listens_is_no_matter_of_apis(wheel_etcd, tool):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    refused(StoreSettings((url,)), "connection refused$")
    assert tool(wheel_etcd, url).endswith(f"no etcd endpoint could be used: {url}: connection refused")


def test_an_endpoint_that_fails_each_call_is_probed_once_a_minute(base):
    asked = []

    def hang_up(connection):
        asked.append(connection.recv(65536))

    async def story(store):
        for _ in range(5):
            with pytest.raises(StoreUnavailableError, match="it closed the connection without an answer"):
                await store.get(base)

    with dead_endpoints.endpoint(hang_up) as url:
        run(StoreSettings((url,)), story)
    assert sum(b"POST" in data for data in asked) == 5
    assert len(asked) <= 7  # TLS, and HTTP/2


def test_a_probe_that_hangs_does_not_pass_the_deadline(base):
    calls = []

    def handle(connection):
        calls.append(connection.recv(65536))
        if len(calls) > 1:
            dead_endpoints.silent(connection)

    with dead_endpoints.endpoint(handle) as url, pytest.raises(StoreUnavailableError, match="it closed the connection"):
        run(StoreSettings((url,), timeout=0.5), lambda store: store.get(base))


def test_a_probe_without_trust_carries_no_secret(base):
    said = b""

    def handle(connection):
        nonlocal said
        with contextlib.suppress(OSError):
            said += connection.recv(65536)

    with dead_endpoints.endpoint(handle) as url:
        secret = StoreSettings((other_scheme(url),), username="locksmith", password="hunter2")
        with pytest.raises(StoreUnavailableError, match="closed the connection within the TLS handshake"):
            run(secret, lambda store: store.get(base))
    assert said
    assert b"hunter2" not in said
    assert b"authenticate" not in said
