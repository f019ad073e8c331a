"""The lock of a running `locksmithctl reboot` or `run`, and the heartbeat that shows that it works.

When a process ends, the kernel releases its lock; when a process is stopped (SIGSTOP, a debugger, a frozen cgroup), it
does not. So the holder writes the boot time into the lock file every few seconds. If there is no heartbeat for `STALE`
seconds, locksmithd takes over the holder's claim. If the holder continues after that, it has no claim (journal.py:
`holding`), and does not reboot. `run` needs its slot until its command has ended. So the command holds the lock too,
and no heartbeat is awaited.
"""

import asyncio
import contextlib
import math
import os
from collections.abc import Callable, Iterator

from locksmith.errors import HostError
from locksmith.host.flock import is_locked
from locksmith.host.journal import holding
from locksmith.host.paths import Paths
from locksmith.util.boottime import boot_time

BEAT = 2.0
"""Seconds between two heartbeats."""
STALE = 15.0
"""Seconds without a heartbeat after which the holder counts as stopped: longer than from its commit to its order."""
WIDTH = 48
"""Bytes of a heartbeat: each replaces the last, in one write."""


class OperatorLock:
    """The lock of a running `locksmithctl`, whose claim the daemon leaves alone. A crash releases the lock."""

    def __init__(self, paths: Paths, clock: Callable[[], float] = boot_time) -> None:
        self._path = paths.run / "operator.lock"
        self._clock = clock
        self._fd: int | None = None
        self._stale: tuple[float, float] | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; `HostError`: another `locksmithctl` holds it."""
        with contextlib.ExitStack() as stack:
            try:
                self._fd = stack.enter_context(holding(self._path, str(self._path)))
            except HostError:
                self._name_holder()
                raise
            try:
                self.beat()
                yield
            finally:
                self._fd = None

    def beat(self) -> None:
        """Write a heartbeat. `HostError`: it cannot be written."""
        if self._fd is not None:
            self._write(self._fd, self._clock())

    async def keep_beating(self) -> None:
        """Write heartbeats until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT)

    def await_no_beats(self) -> int:
        """Hold the lock for as long as a program has it, alive or stopped; give the descriptor for that program.

        Call it when the heartbeats have ended. `HostError`: it cannot be written.
        """
        if self._fd is None:
            raise HostError(f"{self._path} is not held")
        self._write(self._fd, math.inf)
        return self._fd

    def is_held(self) -> bool:
        """Whether a `locksmithctl` that runs holds the lock. A lock file that cannot be opened counts as held.

        After a suspend of this machine the holder gets time for its next heartbeat.
        """
        stamp = self._read()[0] if is_locked(self._path) else None
        if stamp is None or self._clock() - stamp <= STALE:
            self._stale = None
            return is_locked(self._path)
        if self._stale is None or self._stale[0] != stamp:
            self._stale = (stamp, self._clock())
        return self._clock() - self._stale[1] < 2 * BEAT

    def _write(self, fd: int, stamp: float) -> None:
        try:
            os.pwrite(fd, f"{stamp:.3f} {os.getpid()}".ljust(WIDTH - 1).encode() + b"\n", 0)
        except OSError as error:
            raise HostError(f"{self._path} cannot be written: {error.strerror}") from None

    def _read(self) -> tuple[float | None, int]:
        """Read the last heartbeat, and the holder's pid; None: they cannot be read."""
        try:
            stamp, pid = self._path.read_text().split()
            return float(stamp), int(pid)
        except (OSError, ValueError):
            return None, 0

    def _name_holder(self) -> None:
        stamp, pid = self._read()
        if stamp is None or not is_locked(self._path):
            return
        if stamp == math.inf:
            raise HostError(
                f"the command of another locksmithctl (pid {pid}) runs, or a program that the command has left: "
                f"`fuser {self._path}` names it"
            ) from None
        if (silent := self._clock() - stamp) > STALE:
            raise HostError(
                f"another locksmithctl (pid {pid}) has stood still for {silent:.0f} s: "
                f"`kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends it"
            ) from None
