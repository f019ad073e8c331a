"""`POST /machines/v1/...` of real servers on a real etcd: who is let in, bad calls, and servers that fail."""

import asyncio
import signal
import socket
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from locksmith.agent.fleet_server import API, FleetServerSettings
from locksmith.agent.strategy import StrategyContext
from locksmith.errors import OutcomeUnknownError, StoreRefusedError
from locksmith.host.http_server import HttpServer
from locksmith.host.paths import Paths
from locksmith.host.server_client import ServerClient
from locksmith.host.watermark import SeenRevision
from locksmith.lock import machine_wire as wire
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, DAEMON, REBOOT, Claim
from locksmith.store.protocol import Position
from locksmith_strategies.server import Server
from tests.contract.server_sites import ServerSite
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.waiting import until

A, B = "a" * 32, "b" * 32


def claim_of(machine: str) -> Claim:
    return Claim(machine, REBOOT, f"nonce of {machine}", datetime.now(UTC), DAEMON, machine[:2])


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)


def token_of(site, machine: str, group: str = "") -> str:
    file = site.folder / f"{machine}-{group}.token"
    if not file.exists():
        site.enrol(machine, file, group)
    return str(file.read_text()).strip()


def call(server, site, name: str, body: bytes, token: str):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return server.post(f"/machines/v1/{site.group}/{name}", body, headers)


def no_lock() -> QueuedLock:
    raise NotImplementedError


def strategy_of(site, machine: str, *urls: str, door=None) -> Server:
    """Give a daemon's strategy, in this process."""
    token_of(site, machine)
    settings = FleetServerSettings(urls=urls, token_file=site.folder / f"{machine}-.token")
    mark = SeenRevision(Paths(site.folder / machine), API, ())
    client = ServerClient(settings, site.group, mark, door)
    context = StrategyContext(site.group, no_lock, fleet_server=settings, mark=lambda: mark)
    return Server(context, client)


def test_a_machine_asks_the_next_server_if_one_has_lost_its_etcd(site):
    async def story():
        strategy = strategy_of(site, A, cut_off.url, server.url)
        assert isinstance(await strategy.request(claim_of(A)), Granted)
        await strategy.abort(claim_of(A), "no more")
        await strategy.close()

    with FleetLockServer(["http://127.0.0.1:1"], {site.group: ANYBODY}) as cut_off, site.server() as server:
        asyncio.run(story())


def test_only_a_machine_with_its_own_credential_for_the_group_is_answered(site):
    with site.server() as server:
        body, right = wire.encode_call(Position(0), claim_of(A)), token_of(site, A)
        for token, status, said in (
            ("", 401, "needs a credential"),
            ("lsm_x", 401, "no token of locksmith-server"),
            (f"{right[:-2]}{'BB' if right.endswith('AA') else 'AA'}", 401, ""),
            (token_of(site, A, "another"), 403, "does not count for this group"),
            (token_of(site, B), 403, "a machine can act only for itself"),
        ):
            found = call(server, site, "request", body, token)
            assert found[0] == status, (token, found)
            assert said in found[1]["value"]
        assert site.lock.values() == {}
        status, said = call(server, site, "request", body, token_of(site, A))
        assert (status, said["answer"]) == (200, "granted")
        assert site.lock.holders == [A]
        own, key = token_of(site, B), keys.holder_key(site.group, A)
        for name, fields in (
            ("presence", {"write": "delete", "key": key, "version": 1}),
            ("presence", {"write": "revoke", "key": keys.node_key(site.group, A), "version": 1}),
            ("presence", {"write": "create", "key": keys.freeze_key(site.group), "value": "e30=", "ttl": 9.0}),
            ("presence", {"write": "delete", "key": keys.semaphore_key(site.group), "version": 1}),
            ("read", {"keys": [f"{keys.group_prefix(site.group)}ended/{A}"]}),
            ("read", {"keys": [keys.semaphore_key("another")]}),
            ("read", {"keys": [f"{keys.machines_prefix()}x"]}),
            ("nothing", {}),
        ):
            status, said = call(server, site, name, wire.encode_call(Position(0), **fields), own)
            assert (status, said["kind"]) == (403, "unauthorized"), (name, fields, said)
        assert call(server, site, "read", wire.encode_call(Position(0), keys=[]), own)[0] == 400
        assert site.lock.holders == [A]


def test_each_call_for_another_machine_is_refused_with_403_and_changes_nothing(site):
    with site.server() as server:
        assert call(server, site, "request", wire.encode_call(Position(0), claim_of(A)), token_of(site, A))[0] == 200
        before, as_another = site.lock.values(), token_of(site, B)
        for name in sorted(wire.OF_A_CLAIM):
            body = wire.encode_call(
                Position(0), claim_of(A), seconds=1.0, state="unhealthy", failure="f", reason="r", cause="c"
            )
            status, said = call(server, site, name, body, as_another)
            assert (status, said["kind"]) == (403, "unauthorized"), (name, said)
            assert said["value"] == "this credential is of another machine: a machine can act only for itself"
        assert site.lock.values() == before
        assert f"refused: {B}: this credential is of another machine" in server.said


def test_bad_bodies_are_refused_with_a_sentence_and_the_server_goes_on(site):
    with site.server() as server:
        token = token_of(site, A)
        for body in (b"", b"[]", b"{", b'{"store": 1}', b"\xff", b"{" * 1000, b'{"store": {}, "store": {}}'):
            status, said = call(server, site, "request", body, token)
            assert (status, said["kind"]) == (400, "bad_request"), body
            assert said["value"].startswith("the call cannot be read: ")
        status, said = call(server, site, "request", b" " * (wire.LARGEST + 1), token)
        assert (status, said["value"]) == (413, f"the body has more than the {wire.LARGEST} bytes that are read")
        address = urlsplit(server.url)
        head = f"POST /machines/v1/{site.group}/request HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=30) as slow:
            slow.sendall(f"{head}Content-Length: 1000000000\r\n\r\n{{".encode())
            status, said = call(server, site, "hello", wire.encode_call(Position(0)), token)
            assert (status, said["answer"]) == (200, "done")
            assert slow.recv(100).startswith(b"HTTP/1.1 413 ")
        assert site.lock.values() == {}


def test_a_stopping_server_answers_those_who_wait(site):
    async def story(server):
        first = strategy_of(site, A, server.url)
        assert isinstance(await first.request(claim_of(A)), Granted)
        second = strategy_of(site, B, server.url)
        assert isinstance(await second.request(claim_of(B)), Denied)
        assert not await second.changed(1)
        server.send_signal(signal.SIGTERM)
        assert await second.changed(20)
        assert await asyncio.to_thread(server.ended) == 0
        await first.close()
        await second.close()

    with site.server() as server:
        asyncio.run(story(server))


def test_a_server_killed_between_its_swap_and_its_answer_leaves_nothing_open(site):
    """The next server resolves it."""

    async def story(first, second):
        claim = claim_of(A)
        strategy = strategy_of(site, A, first.url, second.url, door=lambda url: Losing(url, lost, first))
        for name, act in (
            ("request", lambda: strategy.request(claim)),
            ("commit", lambda: strategy.commit(claim)),
        ):
            lost.add(name)
            with pytest.raises(OutcomeUnknownError):
                await act()
            answer = await act()
            assert isinstance(answer, Granted)
            if name == "request":
                await asyncio.to_thread(first.start)
            for server in strategy._client._servers:
                server.not_before = float("-inf")
        await strategy.complete(replace(claim, state=COMMITTED, commits=1))
        assert site.lock.holders == []
        assert site.lock.waiters == []
        await strategy.close()

    lost: set[str] = set()
    with site.server() as first, site.server() as second:
        asyncio.run(story(first, second))


class Losing(HttpServer):
    """A way to a server that is killed when its answer to one of these calls is on its way."""

    def __init__(self, url, lost, server) -> None:
        super().__init__(url, None, "the server", "fleet-server.urls")
        self._dropped, self._server = lost, server

    async def exchange(self, request, *args, **more):
        answer = await super().exchange(request, *args, **more)
        name = request.path.rpartition("/")[2]
        if name in self._dropped and self.url == self._server.url:
            self._dropped.discard(name)
            self._server.kill()
            raise OutcomeUnknownError(self.says("gave no answer"))
        return answer


def test_a_frozen_server_costs_a_while_and_its_late_request_takes_no_slot(site):

    async def story(first, second):
        strategy, claim = strategy_of(site, A, first.url, second.url), claim_of(A)
        await strategy._store.get(strategy._key)
        strategy._client._servers[0].pause = 600.0  # once it has failed, it is asked last
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(OutcomeUnknownError):  # as the machine's last word; it is sent while the server stands still
            await strategy._client.call(wire.REQUEST, claim, limit=1.0)
        assert isinstance(await strategy.request(claim), Granted)
        await strategy.abort(claim, "not needed any more")
        first.send_signal(signal.SIGCONT)
        await until(lambda: f"request of {A}" in first.said, "the late call is answered", 60)
        other = strategy_of(site, B, first.url)
        await other.request(claim_of(B))
        assert site.lock.holders == [B]
        await strategy.close()
        await other.close()

    with site.server() as first, site.server() as second:
        asyncio.run(story(first, second))


def test_a_token_is_read_again_when_its_file_changes(site):
    async def story(server):
        strategy, claim = strategy_of(site, A, server.url), claim_of(A)
        file = site.folder / f"{A}-.token"
        right = file.read_text()
        assert isinstance(await strategy.request(claim), Granted)
        file.write_text(token_of(site, A, "another"))
        with pytest.raises(StoreRefusedError, match="says unauthorized"):
            await strategy.abort(claim, "x")
        file.write_text(right)
        await strategy.abort(claim, "x")
        assert site.lock.holders == []
        await strategy.close()

    with site.server() as server:
        asyncio.run(story(server))
