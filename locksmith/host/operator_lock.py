"""The lock of a `locksmithctl reboot` that runs, and the heartbeat by which it is known to go on.

The kernel lets the lock go when its process ends, and not when that is stopped: by SIGSTOP, a debugger, a frozen
cgroup. So the holder writes the boot time into it every few seconds. A holder that has not for `STALE` counts as gone,
and locksmithd takes its claim over. When the holder goes on after that, its claim is no longer its own (journal.py:
`holding`), and it reboots nothing.
"""

import asyncio
import contextlib
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
"""Seconds without one, after which the holder stands still: longer than it may take from its commit to its order."""
WIDTH = 48
"""Bytes of a heartbeat: each is written over the one before, in one write."""


class OperatorLock:
    """Held by `locksmithctl reboot` while it runs, so that the daemon leaves its claim alone; a crash lets it go."""

    def __init__(self, paths: Paths, clock: Callable[[], float] = boot_time) -> None:
        self._path = paths.run / "operator.lock"
        self._clock = clock
        self._fd: int | None = None
        self._stale: tuple[float, float] | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it; `HostError` when another `locksmithctl reboot` does."""
        with contextlib.ExitStack() as stack:
            try:
                self._fd = stack.enter_context(holding(self._path, str(self._path)))
            except HostError:
                self._name_one_that_stands_still()
                raise
            try:
                self.beat()
                yield
            finally:
                self._fd = None

    def beat(self) -> None:
        """Say that the holder goes on. `HostError`: that cannot be written."""
        if self._fd is None:
            return
        try:
            os.pwrite(self._fd, f"{self._clock():.3f} {os.getpid()}".ljust(WIDTH - 1).encode() + b"\n", 0)
        except OSError as error:
            raise HostError(f"{self._path} cannot be written: {error.strerror}") from None

    async def keep_beating(self) -> None:
        """Say so until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT)

    def is_held(self) -> bool:
        """Whether somebody holds it now, and goes on; a lock file that cannot be looked at counts as held.

        A holder that was suspended with this whole machine gets time to say that it goes on.
        """
        stamp = self._read()[0] if is_locked(self._path) else None
        if stamp is None or self._clock() - stamp <= STALE:
            self._stale = None
            return is_locked(self._path)
        if self._stale is None or self._stale[0] != stamp:
            self._stale = (stamp, self._clock())
        return self._clock() - self._stale[1] < 2 * BEAT

    def _read(self) -> tuple[float | None, int]:
        """Read the last heartbeat, and the holder's pid; None: there is none that can be read."""
        try:
            stamp, pid = self._path.read_text().split()
            return float(stamp), int(pid)
        except (OSError, ValueError):
            return None, 0

    def _name_one_that_stands_still(self) -> None:
        stamp, pid = self._read()
        if stamp is not None and is_locked(self._path) and (silent := self._clock() - stamp) > STALE:
            raise HostError(
                f"another `locksmithctl reboot` (pid {pid}) has stood still for {silent:.0f} s: "
                f"`kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends it"
            ) from None
