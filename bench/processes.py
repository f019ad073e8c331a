"""What the kernel says of a process: proc_pid_status(5), proc_pid_stat(5)."""

import asyncio
import os
import re
import resource
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME = 11
"""The place of utime (stime follows) in /proc/PID/stat behind the command, which may hold spaces and brackets."""

QUIET = 2.0
"""Seconds without any use of the CPU after which a process has settled."""
SETTLE_LIMIT = 60.0


def resident(pid: int) -> float:
    """Resident memory in MiB: what the process has in RAM now, shared libraries included."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """User and system time that all its threads have used, in seconds; exact to a tick of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICKS


def cpu_of_children() -> float:
    """User and system time of all children that have been waited for, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def settled(pid: int) -> None:
    """Wait until the process has done nothing for a while; `TimeoutError` when it never rests."""
    async with asyncio.timeout(SETTLE_LIMIT):
        used = -1.0
        while used != (used := cpu_seconds(pid)):  # noqa: ASYNC110 - nobody tells when a process rests
            await asyncio.sleep(QUIET)
