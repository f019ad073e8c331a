"""`python -m bench.requests [--rounds N] [--old PYTHON]`: what one request to etcd v3 costs.

Real: etcd, with and without TLS. In turn, in processes of their own: locksmith's client as it is, the same without kept
connections, and with `--old` the client of another work tree, by its interpreter. The ratio is to one guarded write
over a kept connection that does nothing else (`Bare`), in the same run.
"""

import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import click

from bench.requester import KEY
from locksmith.store import etcd3, etcd3_wire
from locksmith.store.protocol import Put
from tests.harness.etcd import Etcd, Tls

COLUMNS = ("memory", "read", "read cpu", "write", "write p99", "write cpu")
LIMIT = 30.0
REQUESTER = Path(__file__).with_name("requester.py")


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Processes of each kind.")
@click.option("--count", default=500, show_default=True, type=click.IntRange(100), help="Reads and writes of each.")
@click.option("--old", type=click.Path(exists=True), help="The interpreter of another work tree, to compare with.")
def main(rounds: int, count: int, old: str | None) -> None:
    """Measure requests."""
    kinds = {"kept": [sys.executable, "yes"], "new each": [sys.executable, "no"]} | (
        {"old": [old, "yes"]} if old else {}
    )
    for tls in (Tls.NONE, Tls.SERVER):
        with Etcd(tls=tls) as etcd:
            cafile = str(etcd.authority.cert) if etcd.authority else ""
            found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            bare = []
            for number in range(rounds):
                bare.append(asyncio.run(_bare(etcd.endpoints[0], cafile, count, f"{KEY}-{number}")))
                for kind, (python, kept) in kinds.items():
                    command = [python, str(REQUESTER), etcd.endpoints[0], cafile, str(count), kept]
                    found[kind].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
            _show("TLS" if cafile else "plain", statistics.median(bare), found)


def _show(scheme: str, bare: float, found: dict[str, list[dict[str, float]]]) -> None:
    print(f"{scheme}: one guarded write over a kept connection, bare: {bare:.2f} ms")
    for kind, rounds in found.items():
        median = {column: statistics.median(one[column] for one in rounds) for column in COLUMNS}
        shown = "  ".join(f"{column} {value:.2f}" for column, value in median.items())
        print(f"  {kind:9} {shown}  write to bare {median['write'] / bare:.2f}")


async def _bare(url: str, cafile: str, count: int, key: str) -> float:
    """Give the median of the milliseconds that a write of a new key takes, with no more than the bytes."""
    at = urlsplit(url)
    context = ssl.create_default_context(cafile=cafile) if cafile else None
    reader, writer = await asyncio.open_connection(at.hostname, at.port, ssl=context)
    times, version = [], b"0"
    for _ in range(count):
        put = json.dumps(etcd3_wire.transaction([Put(key, b"x" * 100, int(version))], 0)).encode()
        start = time.perf_counter()
        head = f"POST {etcd3.TXN} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Length: {len(put)}\r\n\r\n"
        writer.write(head.encode() + put)
        async with asyncio.timeout(LIMIT):
            answer = await reader.readuntil(b"]}")
        times.append((time.perf_counter() - start) * 1000)
        version = answer.split(b'"revision":"')[1].split(b'"')[0]
        assert b'"succeeded":true' in answer, answer
    writer.transport.abort()
    return statistics.median(times)


if __name__ == "__main__":
    main()
