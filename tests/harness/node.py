"""A node on this machine: a real locksmithd with a bus of its own, and doubles of update_engine, logind and systemd.

Everything below a folder of its own (`LOCKSMITH_ROOT`). A "reboot" ends the daemon, as systemd would, and starts it
again after a while with a new boot id and an empty /run.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from locksmith.host.paths import Paths
from tests.harness.bus import PrivateBus
from tests.harness.engine import IDLE, NEED_REBOOT, Engine
from tests.harness.logind import LogindAndSystemd, Machine

STOP_LIMIT = 10.0
BIN = Path(sys.executable).parent


class Node:
    """One node; an asynchronous context. `reboot_time` is how long it is down, in seconds.

    `on_event` is told `down` and `up` as they happen. `reboots` counts.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: str,
        *,
        reboot_time: Callable[[], float] = lambda: 0.5,
        on_event: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self.name = name
        self.paths = Paths(folder / name)
        self.machine_id = secrets.token_hex(16)
        self.reboots = 0
        self.machine = Machine(on_reboot=self._begin_reboot)
        self._reboot_time = reboot_time
        self._on_event = on_event
        self._daemon: asyncio.subprocess.Process | None = None
        self._rebooting: asyncio.Task[None] | None = None
        self._write(self.paths.machine_id, f"{self.machine_id}\n")
        self._write(self.paths.config, settings)
        self._new_boot()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self.bus = stack.enter_context(PrivateBus())
            self.engine = await stack.enter_async_context(Engine(self.bus.address))
            self.doubles = await stack.enter_async_context(LogindAndSystemd(self.bus.address, self.machine))
            stack.push_async_callback(self._end)
            await self.start_daemon()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which programs find this node."""
        return {
            **os.environ,
            "LOCKSMITH_ROOT": str(self.paths.root),
            "DBUS_SYSTEM_BUS_ADDRESS": self.bus.address,
        }

    @property
    def log(self) -> Path:
        """What its daemons logged, over all its boots."""
        return self.paths.root / "locksmithd.log"

    async def start_daemon(self) -> None:
        """Start locksmithd."""
        with self.log.open("ab") as log:
            self._daemon = await asyncio.create_subprocess_exec(
                BIN / "locksmithd", env=self.environment, stdout=log, stderr=log
            )

    async def stop_daemon(self) -> None:
        """Stop it as systemd does; one that does not stop is killed, and that is an error."""
        if self._daemon is None or self._daemon.returncode is not None:
            return
        self._daemon.terminate()
        try:
            await asyncio.wait_for(self._daemon.wait(), STOP_LIMIT)
        except TimeoutError:
            await self.kill_daemon()
            raise AssertionError(f"locksmithd of {self.name} did not stop within {STOP_LIMIT:g} s") from None

    async def kill_daemon(self) -> None:
        """Kill it with SIGKILL."""
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.kill()
            await self._daemon.wait()

    def need_reboot(self, version: str) -> None:
        """Let update_engine ask for a reboot."""
        self.engine.set(NEED_REBOOT, version)

    def _begin_reboot(self) -> None:
        self._rebooting = asyncio.ensure_future(self._reboot())

    async def _reboot(self) -> None:
        self._on_event("down")
        await self.stop_daemon()
        await asyncio.sleep(self._reboot_time())
        self._new_boot()
        self.reboots += 1
        self.machine.booted()
        self.engine.set(IDLE)
        self._on_event("up")
        await self.start_daemon()

    async def _end(self) -> None:
        if self._rebooting is not None:
            self._rebooting.cancel()
            await asyncio.gather(self._rebooting, return_exceptions=True)
        await self.stop_daemon()

    def _new_boot(self) -> None:
        shutil.rmtree(self.paths.run, ignore_errors=True)
        self._write(self.paths.boot_id, f"{secrets.token_hex(16)}\n")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
