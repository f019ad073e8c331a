"""A node on this machine: a real locksmithd with a bus of its own, and doubles of update_engine, logind and systemd.

Everything below a folder of its own (`LOCKSMITH_ROOT`). A "reboot" ends the daemon, as systemd would, and starts it
again after a while with a new boot id and an empty /run.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from locksmith.host.paths import Paths
from tests.harness.bus import PrivateBus
from tests.harness.engine import IDLE, NEED_REBOOT, Engine
from tests.harness.logind import LogindAndSystemd, Machine
from tests.harness.waiting import until

STOP_LIMIT = 30.0
BIN = Path(sys.executable).parent


class Node:
    """One node; an asynchronous context, with its daemon `running` from the start. `settings` is its locksmith.toml.

    `reboot_time` is how long it is down, in seconds. `on_event` is told `down` and `up` as they happen. `reboots`
    counts. `environ` is added to the daemon's environment. At the end no daemon may have logged a traceback
    or a warning of the interpreter.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: str,
        *,
        running: bool = True,
        reboot_time: Callable[[], float] = lambda: 0.5,
        on_event: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self.name = name
        self.paths = Paths(folder / name)
        self.machine_id = secrets.token_hex(16)
        self.reboots = 0
        self.environ: dict[str, str] = {}
        self.while_off: Callable[[], None] = lambda: None
        """What happens to it while it is off, right before its next daemon starts."""
        self.machine = Machine(on_reboot=self._begin_reboot)
        self._running = running
        self._reboot_time = reboot_time
        self._on_event = on_event
        self._daemon: asyncio.subprocess.Process | None = None
        self._rebooting: asyncio.Task[None] | None = None
        self._write(self.paths.machine_id, f"{self.machine_id}\n")
        self._write(self.paths.root / "etc/hostname", f"{name}\n")
        self.configure(settings)
        self._new_boot()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self.bus = stack.enter_context(PrivateBus())
            self.engine = await stack.enter_async_context(Engine(self.bus.address))
            self.doubles = await stack.enter_async_context(LogindAndSystemd(self.bus.address, self.machine))
            stack.push_async_callback(self._end)
            if self._running:
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
            **self.environ,
        }

    @property
    def log(self) -> Path:
        """What its daemons logged, over all its boots."""
        return self.paths.root / "locksmithd.log"

    @property
    def said(self) -> str:
        """The log's text."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._daemon is not None
        return self._daemon.pid

    @property
    def claim(self) -> dict[str, Any] | None:
        """The claim in the journal, as it is written there."""
        path = self.paths.state / "journal.json"
        entry: dict[str, Any] | None = json.loads(path.read_text())["entry"] if path.exists() else None
        return entry

    def configure(self, settings: str) -> None:
        """Write its locksmith.toml, which the daemon's next start reads."""
        self._write(self.paths.config, settings)

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
        self.send_signal(signal.SIGTERM)
        try:
            await self.ended(STOP_LIMIT)
        except AssertionError:
            await self.kill_daemon()
            raise

    async def kill_daemon(self) -> None:
        """Kill it with SIGKILL."""
        if self._daemon is not None and self._daemon.returncode is None:
            self.send_signal(signal.SIGKILL)
            await self._daemon.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal, if it is still there."""
        # Not the process object's own, which may reap the child and so hide its status from asyncio.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def ended(self, limit: float = 45.0) -> int:
        """Wait for the daemon's end, and give its exit status."""
        assert self._daemon is not None
        try:
            return await asyncio.wait_for(self._daemon.wait(), limit)
        except TimeoutError:
            raise AssertionError(f"locksmithd of {self.name} did not end within {limit:g} s") from None

    async def says(self, text: str, *, times: int = 1, limit: float = 45.0) -> None:
        """Wait until the log has a text, that many times over."""
        try:
            await until(lambda: self.said.count(text) >= times, f"{self.name} says {text!r}", limit)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.said}") from None

    async def rebooted(self, times: int = 1, *, limit: float = 45.0) -> None:
        """Wait until it has rebooted that often and is up again."""
        try:
            await until(lambda: self.reboots >= times, f"{self.name} has rebooted", limit)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.said}") from None

    async def tool(self, *args: str) -> tuple[int, str]:
        """Run locksmithctl on this node; its exit status, and all it said."""
        return await self.run("locksmithctl", *args)

    async def run(self, program: str, *args: str) -> tuple[int, str]:
        """Run one of the two programs on this node to its end; its exit status, and all it said."""
        process = await asyncio.create_subprocess_exec(
            BIN / program,
            *args,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    def need_reboot(self, version: str) -> None:
        """Let update_engine ask for a reboot."""
        self.engine.set(NEED_REBOOT, version)

    async def services_return(self) -> None:
        """Bring the doubles back onto a bus that was restarted."""
        await self.doubles.appear()
        await self.engine.appear()

    async def reboot(self) -> None:
        """Go down, and come up again."""
        self._on_event("down")
        await self.stop_daemon()
        await asyncio.sleep(self._reboot_time())
        self._new_boot()
        self.machine.booted()
        self.engine.status = (0, 0.0, IDLE, "", 0)
        self.while_off()
        self._on_event("up")
        await self.start_daemon()
        self.reboots += 1

    def _begin_reboot(self) -> None:
        self._rebooting = asyncio.ensure_future(self.reboot())

    async def _end(self) -> None:
        if self._rebooting is not None:
            # Not cancelled: a daemon that is being started then would be nobody's.
            await self._rebooting
        await self.stop_daemon()
        assert not {"Traceback", "RuntimeWarning"} & set(re.findall(r"\w+", self.said)), self.said

    def _new_boot(self) -> None:
        shutil.rmtree(self.paths.root / "run", ignore_errors=True)
        self._write(self.paths.boot_id, f"{secrets.token_hex(16)}\n")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
