"""Requests to etcd v3 from a process of their own, for `bench.requests`. Its output is one line of JSON.

It uses the store alone, so that the locksmith of another work tree can run it too.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings

KEY = "coreos.com/updateengine/rebootlock/bench"
FIRST = 20
"""Requests before the memory is looked at."""


async def measure(url: str, cafile: str, count: int) -> dict[str, float]:
    """Read and write a key: milliseconds, CPU and memory."""
    store = Etcd3Store(StoreSettings((url,), cafile=Path(cafile) if cafile else None))
    version = (await store.create(KEY, b"x" * 100)).version
    for _ in range(FIRST - 1):
        await store.get(KEY)
    figures = {"memory": resident()}

    async def swap() -> None:
        nonlocal version
        version = (await store.swap(KEY, b"x" * 100, version)).version

    for name, request in (("read", lambda: store.get(KEY)), ("write", swap)):
        times, cpu = await _timed(request, count)
        figures |= {name: times[count // 2], f"{name} p99": times[count * 99 // 100], f"{name} cpu": cpu}
    await store.delete(KEY, version)
    await store.close()
    return figures


async def _timed(request: Callable[[], Awaitable[object]], count: int) -> tuple[list[float], float]:
    times, began = [], time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        await request()
        times.append((time.perf_counter() - start) * 1000)
    return sorted(times), (time.process_time() - began) * 1000 / count


def resident() -> float:
    """Resident memory of this process in MiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Measure, and print the figures."""
    url, cafile, count, kept = sys.argv[1:5]
    if kept == "no":
        from locksmith.store import pool  # noqa: PLC0415  # another work tree may have none

        pool.SPARE = 0
    print(json.dumps(asyncio.run(measure(url, cafile, int(count)))))


if __name__ == "__main__":
    main()
