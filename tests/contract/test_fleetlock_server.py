"""A real `locksmith-server` on a real etcd: bad input, hostile clients, TLS, an etcd that is away, start and end."""

import contextlib
import itertools
import json
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from locksmith.lock.records.keys import semaphore_key, window_key
from tests.contract.daemons import Lock
from tests.harness.certificates import Authority
from tests.harness.etcd import Etcd, wait_until
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.ports import free_ports
from tests.harness.service_manager import ServiceManager
from tests.harness.silent_clients import silent_clients

PROTOCOL = {"fleet-lock-protocol": "true"}


@pytest.fixture(scope="module")
def etcd(wheel_etcd: Etcd) -> Etcd:
    return wheel_etcd


NUMBERS = itertools.count()
PREFIX = f"server-{time.monotonic_ns()}"


@pytest.fixture
def group() -> str:
    """A group of this test alone."""
    return f"{PREFIX}-{next(NUMBERS)}"


@pytest.fixture(scope="module")
def server(etcd: Etcd) -> Iterator[FleetLockServer]:
    """One server for the tests that do it no harm."""
    with FleetLockServer(etcd, {f"{PREFIX}-{number}": ANYBODY for number in range(20)}) as found:
        yield found


def body(client: str, group: str) -> bytes:
    return json.dumps({"client_params": {"id": client, "group": group}}).encode()


def run(server: FleetLockServer, *arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        server.command(*arguments), env=server.environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_slot_goes_from_client_to_client_and_curl_needs_no_content_type(server, etcd, group):
    lock = Lock(etcd, group)
    assert server.pre_reboot("n1", group) == server.pre_reboot("n1", group) == (200, {})
    assert lock.holders == ["n1"]
    status, said = server.pre_reboot("n2", group)
    assert (status, said["kind"]) == (409, "no_slot")
    assert "n1" in said["value"]
    said_by_curl = subprocess.run(
        [
            *("curl", "-sS", "-H", "fleet-lock-protocol: true", "-H", "Content-Type:"),
            *("-d", body("n1", group).decode(), f"{server.url}/below/a/proxy/v1/steady-state"),
        ],
        check=True,
        capture_output=True,
    )
    assert said_by_curl.stdout == b"{}"
    assert server.pre_reboot("n2", group) == server.steady_state("n1", group) == (200, {})
    assert lock.holders == ["n2"]


def test_bad_input_is_a_bad_request_writes_nothing_and_the_server_goes_on(server, etcd, group):
    good = body("n1", group)
    for path, sent, headers, status in (
        ("/v1/pre-reboot", good, {}, 400),
        ("/v1/pre-reboot", good, {"fleet-lock-protocol": "false"}, 400),
        ("/v1/pre-reboot", b"", PROTOCOL, 400),
        ("/v1/pre-reboot", b"[" * 60_000, PROTOCOL, 400),
        ("/v1/pre-reboot", b"x" * 100_000, PROTOCOL, 413),
        ("/v1/pre-reboot", body("a\x00b", group), PROTOCOL, 400),
        ("/v1/pre-reboot", body("", group), PROTOCOL, 400),
        ("/v1/pre-reboot", body("n1", "a/../b"), PROTOCOL, 400),
        ("/v1/steady-state", b'{"client_params": {"id": "n1", "id": "n2", "group": "a"}}', PROTOCOL, 400),
        ("/v2/pre-reboot", good, PROTOCOL, 404),
    ):
        found, said = server.post(path, sent, headers)
        assert (found, said["kind"]) == (status, "bad_request"), (path, sent[:80])
    assert server.post("/v1/pre-reboot", good, PROTOCOL, method="GET")[0] == 405
    assert server.pre_reboot("n1", "not-served")[1]["kind"] == "unauthorized"
    assert Lock(etcd, group).values() == {}
    assert server.pre_reboot("n1", group) == (200, {})


def test_a_gigabyte_is_refused_early_and_takes_no_memory(server, group):
    before = _memory(server.pid)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST /v1/pre-reboot HTTP/1.1\r\nHost: x\r\nfleet-lock-protocol: true\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        sent, answer = 0, b""
        try:
            while sent < 1 << 30 and not answer:
                client.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    answer = client.recv(4096)
                client.setblocking(True)
        except OSError as error:
            raise AssertionError(f"a reset instead of an answer, after {sent} bytes") from error
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 1 << 26
    assert _memory(server.pid) - before < 8 << 20
    assert server.pre_reboot("n1", group) == (200, {})


def _memory(pid: int) -> int:
    """Give the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(("count", "first"), [(10_000, b""), (3_000, b"POST /v1/pre")])
def test_silent_connections_keep_no_client_out(server, group, count, first):
    with silent_clients(server.port, count, first):
        begun = time.monotonic()
        for _ in range(3):
            assert server.pre_reboot("n1", group) == (200, {})
        assert time.monotonic() - begun < 15
    assert server.said.count(" connections: those without") <= 1


def test_an_etcd_that_is_away_is_said_at_once_and_a_stop_waits_for_the_answer(group):
    with Etcd() as own:
        brief = {"etcd": {"endpoints": own.endpoints, "timeout": "1s"}}
        with FleetLockServer(own, {group: ANYBODY}, tables=brief) as server:
            assert server.pre_reboot("n1", group) == (200, {})
            own.members[0].freeze()
            _refuses(server, group)
            calling = server.connection()
            calling.request("POST", "/v1/pre-reboot", body("n1", group), PROTOCOL)
            wait_until(lambda: server.has_read(calling), "the server has the call")
            server.send_signal(signal.SIGTERM)
            assert calling.getresponse().status == 503
            calling.close()
            assert server.ended() == 0
            own.members[0].thaw()
            own.members[0].kill()
            server.start()
            _refuses(server, group)
            own.members[0].start()
            # Nothing of it was in the server.
            assert server.pre_reboot("n1", group) == (200, {})
            assert server.pre_reboot("n2", group)[0] == 409


def _refuses(server: FleetLockServer, group: str) -> None:
    """Each call is answered within etcd.timeout; the process is alive."""
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(server.pre_reboot, f"n{number}", group) for number in range(1, 7)]
        calls += [pool.submit(server.steady_state, "n1", group)]
        found = [call.result() for call in calls]
    assert {status for status, _ in found} == {503}
    assert {said["kind"] for _, said in found} == {"store"}
    assert time.monotonic() - begun < 10
    with urllib.request.urlopen(f"{server.url}/healthz", timeout=10) as answer:
        assert answer.read() == b"ok\n"


def test_systemd_is_told_when_it_serves_lives_and_stops(etcd, group):
    with ServiceManager() as manager:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
        with FleetLockServer(etcd, {group: ANYBODY}, environ=environ) as server:
            wait_until(lambda: manager.told.count("WATCHDOG=1") >= 2, "the watchdog is fed")
            assert "READY=1" in manager.told
            assert manager.status == f"serves {group} at {server.url}"
            server.send_signal(signal.SIGHUP)
            server.stop()
            assert server.ended() == 0
        assert manager.told[-1] == "STOPPING=1"


def test_a_token_of_another_group_is_unauthorized(etcd, group, tmp_path):
    other = f"{group}-2"
    files = {name: tmp_path / name for name in (group, other)}
    for name, file in files.items():
        file.write_text(f"token of {name}\n")
    groups = {name: {"password-file": str(file)} for name, file in files.items()}
    with FleetLockServer(etcd, groups) as server:
        status, said = server.pre_reboot("n1", group)
        assert (status, said["kind"]) == (401, "unauthorized")
        status, said = server.pre_reboot("n1", group, Authorization=f"Bearer token of {other}")
        assert (status, said["kind"]) == (401, "unauthorized")
        assert server.pre_reboot("n1", group, Authorization=f"Bearer token of {group}") == (200, {})
        files[group].write_text("a renewed token\n")
        assert server.pre_reboot("n1", group, Authorization=f"Bearer token of {group}")[0] == 401
        assert server.steady_state("n1", group, Authorization="Bearer a renewed token") == (200, {})
        assert "token of" not in server.said
        assert Lock(etcd, group).holders == []


def test_tls_uses_a_renewed_certificate_and_asks_one_of_the_client(etcd, group, tmp_path):
    authority = Authority(tmp_path / "pki")
    pair, mine = authority.issue("server"), authority.issue("n1")
    cert, key = (shutil.copy(file, tmp_path / file.name) for file in (pair.cert, pair.key))
    tls = {"certfile": str(cert), "keyfile": str(key), "client-cafile": str(authority.cert)}
    with FleetLockServer(etcd, {group: {"certificates": True}}, server=tls) as server:
        server.context = ssl.create_default_context(cafile=authority.cert)
        assert server.pre_reboot("n1", group)[0] == 403
        server.context.load_cert_chain(mine.cert, mine.key)
        assert server.pre_reboot("n1", group) == (200, {})
        with silent_clients(server.port, 1_000):
            assert server.pre_reboot("n1", group) == (200, {})
        later = Authority(tmp_path / "later")
        renewed = later.issue("server")
        shutil.copy(renewed.key, key)
        shutil.copy(renewed.cert, cert)
        with pytest.raises(ssl.SSLCertVerificationError):
            server.pre_reboot("n1", group)
        server.context.load_verify_locations(later.cert)
        assert server.steady_state("n1", group) == (200, {})


def test_what_keeps_it_from_serving_is_one_sentence_and_an_exit_status(server, etcd, group):
    status, _, said = run(server)
    assert status == 1
    assert said.splitlines()[-1].startswith(
        f"Error: 127.0.0.1 port {server.port} cannot be listened on: Address already in use: stop the other program"
    )
    other = FleetLockServer(etcd, {group: {"password-file": "/nowhere"}, f"{group}-2": {}})
    status, _, said = run(other)
    assert status == 2
    assert "without a rule that says who its clients are" in said
    other.configure({"server": {}})
    status, _, said = run(other, "--check-config")
    assert status == 2
    assert said.startswith("Error: no group is served: write a table [server.groups.NAME]")
    other.remove()


def test_the_check_shows_the_settings_and_asks_etcd_for_sets_of_windows(etcd, group):
    [port] = free_ports(1)
    named = {"clients": ["10.0.0.0/8"], "window-sets": ["here", f"in-etcd-{group}"]}
    tables = {"window-sets": {"here": {"open": ["02:00 for 1h"]}}}
    server = FleetLockServer(etcd, {group: named}, server={"port": port}, tables=tables)
    status, said, _ = run(server, "--check-config")
    assert status == 0
    assert f"server.port = {port}  (from {server.paths.config})" in said.splitlines()
    status, said, wrong = run(server, "--check-config", "--online")
    assert status == 1
    assert f"the windows in-etcd-{group}: there is no set in-etcd-{group} in [window-sets] or in etcd" in wrong
    Lock(etcd, group).put(b'{"open": ["03:00 for 1h"]}', window_key(f"in-etcd-{group}"))
    status, said, wrong = run(server, "--check-config", "--online")
    assert (status, wrong) == (0, "")
    assert f"etcd {etcd.endpoints[0]}: answers" in said
    assert semaphore_key(group) not in Lock(etcd, group).values()
    server.remove()
