"""`python -m bench.server_calls [--calls N]`: what a machine's call costs a locksmith-server, and the machine.

Each call is a read of the group by the daemon's own client: on a connection of its own, on a kept one as calls that may
change something, and on a kept one as calls that change nothing. Real: etcd, the server, TLS. At most 20 calls
a second are made, so that no call waits for a CPU.
"""

import asyncio
import ssl
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from bench.processes import cpu_seconds
from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.host.http_server import HttpServer
from locksmith.host.kept_links import Reuse
from locksmith.lock import machine_wire as wire
from locksmith.lock.records import keys
from locksmith.store.connect import open_store
from locksmith.store.link import Request
from locksmith.store.protocol import Position
from locksmith.store.tls import Tls, TlsNames
from tests.contract.server_sites import new_token
from tests.harness.certificates import Authority
from tests.harness.etcd import Etcd
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer

GROUP = "bench"
PAUSE = 0.05
LIMIT = 10.0
OK = 200
WORDS = {Reuse.NEVER: "a new connection", Reuse.PROVEN: "kept, the body when asked for", Reuse.WHOLE: "kept, whole"}


@dataclass(frozen=True)
class Way:
    """A server, and how it is asked."""

    server: FleetLockServer
    http: HttpServer
    request: Request


@contextmanager
def served(etcd: Etcd, folder: Path, *, tls: bool) -> Iterator[Way]:
    """Give a server with one machine that it knows."""
    authority = Authority(folder / "ca")
    pair = authority.issue("server")
    more = {"certfile": str(pair.cert), "keyfile": str(pair.key)} if tls else {}
    with FleetLockServer(etcd, {GROUP: ANYBODY}, server=more) as server:
        server.context = ssl.create_default_context(cafile=str(authority.cert)) if tls else None
        machine = uuid.uuid4().hex
        key, record = new_token(GROUP, machine, folder / machine)
        asyncio.run(_write(etcd, key, record))
        token = (folder / machine).read_text().strip()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        body = wire.encode_call(Position(0, ""), None, keys=[keys.semaphore_key(GROUP)])
        settings = FleetServerSettings(urls=(server.url,), cafile=authority.cert if tls else None)
        trusts = Tls(settings, TlsNames("urls", "fleet-server", "the server")) if tls else None
        http = HttpServer(server.url, trusts, "the server", "urls")
        yield Way(server, http, Request(f"/machines/v1/{GROUP}/{wire.READ}", body, headers))


async def _write(etcd: Etcd, key: str, value: bytes) -> None:
    store = open_store(etcd.settings())
    try:
        await store.create(key, value)
    finally:
        await store.close()


async def measure(way: Way, reuse: Reuse, calls: int) -> tuple[float, float]:
    """Give the milliseconds of CPU that a call costs the server, and this process."""

    async def one() -> None:
        answer = await way.http.exchange(way.request, LIMIT, most=wire.LARGEST_ANSWER, reuse=reuse)
        assert answer.status == OK, answer.body

    await one()
    there, here = cpu_seconds(way.server.pid), time.process_time()
    for _ in range(calls):
        await one()
        await asyncio.sleep(PAUSE)
    used = cpu_seconds(way.server.pid) - there, time.process_time() - here
    way.http.close()
    return 1000 * used[0] / calls, 1000 * used[1] / calls


@click.command()
@click.option("--calls", default=400, show_default=True, help="for each figure")
def main(calls: int) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, Etcd() as etcd:
        for tls in (False, True):
            with served(etcd, Path(folder) / str(tls), tls=tls) as way:
                for reuse, words in WORDS.items():
                    there, here = asyncio.run(measure(way, reuse, calls))
                    how = "TLS" if tls else "plain"
                    print(f"{how}, {words}: the server {there:.2f} ms, the machine {here:.2f} ms")


if __name__ == "__main__":
    main()
