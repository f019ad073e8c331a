"""A session's own place for machines: a folder, cgroups, and the certainty that nothing of it is left behind."""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.harness import image

CLEAR_LIMIT = 20.0
"""Seconds for killed processes to let go of their cgroups."""


@contextmanager
def machine_pool() -> Iterator[Path]:
    """A folder for machines. At its end, or when the session that had it is gone, everything in it is taken down."""
    pools = image.cache() / "pools"
    with ExitStack() as lock:
        with image.alone(pools):
            _clear_what_is_left(pools)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=pools))
            lock.enter_context(_locked(folder))
        try:
            yield folder
        finally:
            _clear(folder)


def cgroups(folder: Path, name: str) -> list[Path]:
    """Make a cgroup of the pool for one machine, in each hierarchy systemd works with; two can't share one."""
    groups = [group / name for group in _cgroups(folder)]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def killed(groups: Iterable[Path]) -> bool:
    """Kill every process in these cgroups and below; True when there was none left."""
    lists = (procs.read_text().split() for group in groups for procs in group.rglob("cgroup.procs"))
    pids = {int(pid) for pids in lists for pid in pids}
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not pids


def wait_until(holds: Callable[[], bool], *, limit: float, what: str) -> None:
    """Wait for a condition; `limit` in seconds, then `TimeoutError`."""
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit:g} s in vain: {what}")
        time.sleep(0.02)


def _clear_what_is_left(pools: Path) -> None:
    """Clear the pools of sessions that were killed: nobody has them locked."""
    for folder in (path for path in pools.iterdir() if path.is_dir()):
        with suppress(BlockingIOError, FileNotFoundError), _locked(folder):
            _clear(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    groups = _cgroups(folder)
    wait_until(lambda: killed(groups), limit=CLEAR_LIMIT, what=f"the processes of {folder.name} end")
    for group in groups:
        _remove_cgroup(group)
    for mount in reversed(_mounts_below(folder)):
        image.unmount(mount)
    shutil.rmtree(folder)


def _cgroups(folder: Path) -> list[Path]:
    return [hierarchy / f"locksmith-{folder.name}" for hierarchy in _hierarchies()]


def _hierarchies() -> list[Path]:
    """The unified hierarchy, and beside older ones the one that systemd names its own."""
    return [
        Path(where)
        for _, where, kind, options, *_ in map(str.split, Path("/proc/self/mounts").read_text().splitlines())
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(","))
    ]


def _mounts_below(folder: Path) -> list[Path]:
    mounts = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [mount for mount in mounts if mount.is_relative_to(folder)]


def _remove_cgroup(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()
