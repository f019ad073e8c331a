"""Two real locksmith-servers on one etcd, of which one loses its connection: they agree about who holds a slot."""

import asyncio
import contextlib
import json
import select
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.lock import machine_wire as wire
from locksmith.lock.records.claim import COMMITTED, DAEMON, REBOOT, Claim
from locksmith.store.protocol import Position
from tests.contract.server_sites import ServerSite
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.waiting import until

LIMIT = 90.0


class Way:
    """A way to etcd that can stand still: what is sent on it comes later, in both directions."""

    def __init__(self, upstream):
        self._host, _, self._port = upstream.removeprefix("http://").partition(":")
        self.flows = asyncio.Event()
        self.flows.set()
        self._pumps, self._writers = set(), []

    @contextlib.asynccontextmanager
    async def open(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            for writer in self._writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader, writer):
        there, back = await asyncio.open_connection(self._host, int(self._port))
        self._writers += [writer, back]
        for one, other in ((reader, back), (there, writer)):
            pump = asyncio.ensure_future(self._pump(one, other))
            self._pumps.add(pump)

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                await self.flows.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


class Machine:
    """What a machine sends to servers."""

    def __init__(self, site):
        self.id, self.group, file = uuid.uuid4().hex, site.group, site.folder / uuid.uuid4().hex
        site.enrol(self.id, file)
        self.token = file.read_text().strip()
        now = datetime.now(UTC).replace(microsecond=0)
        self.claim = Claim(self.id, REBOOT, uuid.uuid4().hex, now, who=DAEMON, hostname=self.id[:4])

    async def call(self, server, call, *, claim=None, **fields):
        _, said = await asyncio.to_thread(server.post, *self._request(call, claim, fields))
        return said

    def begin(self, server, call, **fields):
        """Send a call; give the connection on which its answer comes."""
        connection = server.connection()
        connection.request("POST", *self._request(call, None, fields))
        return connection

    def _request(self, call, claim, fields):
        body = wire.encode_call(Position(0), claim or self.claim, **fields)
        return f"/machines/v1/{self.group}/{call}", body, {"Authorization": f"Bearer {self.token}"}


@pytest.fixture
def site(wheel_etcd, tmp_path):
    return ServerSite(wheel_etcd, f"g-{uuid.uuid4()}", tmp_path)


async def test_what_a_server_writes_late_takes_no_slot_of_another(site):
    """It stands still while the slot that its machine waits for is freed, and goes to another machine elsewhere."""
    async with asyncio.timeout(LIMIT), Way(site.etcd.endpoints[0]).open() as way:
        with FleetLockServer([way.url], {site.group: ANYBODY}) as slow, site.server() as sound:
            one, two, three = (Machine(site) for _ in range(3))
            assert (await one.call(sound, wire.REQUEST))["answer"] == wire.GRANTED
            assert (await two.call(slow, wire.REQUEST))["queued"]["position"] == 1
            assert (await three.call(sound, wire.REQUEST))["queued"]["position"] == 2
            waiting = asyncio.ensure_future(two.call(slow, wire.WAIT, seconds=30.0))
            await one.call(sound, wire.COMMIT)
            way.flows.clear()
            await one.call(sound, wire.COMPLETE, claim=replace(one.claim, state=COMMITTED, commits=1))
            late = asyncio.ensure_future(two.call(slow, wire.REQUEST))
            await two.call(sound, wire.ABORT, reason="its window closed")
            while (await three.call(sound, wire.REQUEST))["answer"] != wire.GRANTED:
                await three.call(sound, wire.WAIT, seconds=5.0)
            assert site.lock.holders == [three.id]
            # Without its etcd the server gives no permission, to no machine.
            assert (await one.call(slow, wire.REQUEST))["kind"] in {"store", wire.UNAVAILABLE, wire.UNKNOWN}
            way.flows.set()
            assert (await late).get("answer") != wire.GRANTED
            await waiting
            again = replace(one.claim, nonce="another")
            while three.id not in json.dumps(await one.call(slow, wire.REQUEST, claim=again)):  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.1)
            assert site.lock.holders == [three.id]
            assert max(len(moment.holders) for moment in site.lock.history) == 1


async def test_a_server_that_stops_answers_its_waits_at_once(site):
    """Its machines ask the other, and none of them has lost its place."""
    async with asyncio.timeout(LIMIT):
        with site.server() as first, site.server() as second:
            machines = [Machine(site) for _ in range(4)]
            for machine in machines:
                await machine.call(first, wire.REQUEST)
            await until(lambda: len(site.lock.holders) == 1, "one has the slot", LIMIT)
            waits = [one.begin(first, wire.WAIT, seconds=50.0) for one in machines[1:]]
            await until(lambda: all(map(first.has_read, waits)), "the server has the calls", LIMIT)
            assert not select.select([wait.sock for wait in waits], [], [], 0.5)[0]
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.to_thread(first.stop)
            assert [json.loads(wait.getresponse().read())["changed"] for wait in waits] == [True] * 3
            assert loop.time() - began < 7
            for wait in waits:
                wait.close()
            said = [(await one.call(second, wire.REQUEST))["queued"]["position"] for one in machines[1:]]
            assert said == [1, 2, 3]
