"""A real, private message bus with the policy of a system bus, for tests and the demo.

with PrivateBus() as bus:
    ... SystemBus(bus.address) ...
    bus.restart()
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.harness import rogue_sender
from tests.harness.dbus import DBusError, MessageBus

START_LIMIT = 10.0
POLICY = Path(__file__).parents[2] / "contrib/systemd/org.locksmith1.conf"

# As /usr/share/dbus-1/system.conf and the policies of the services beside it: who runs the doubles may own their names
# and call them, all others may only send signals.
_CONFIG = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <policy user="{uid}">
    <allow own="com.coreos.update1"/>
    <allow own="org.freedesktop.login1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="com.coreos.update1"/>
    <allow send_destination="org.freedesktop.login1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow own="org.freedesktop.timedate1"/>
    <allow send_destination="org.freedesktop.timedate1"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
    <allow own="org.locksmith1"/>
    <allow own="org.locksmith1.Private"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class PrivateBus:
    """One dbus-daemon in a folder of its own. Its address stays the same over restarts."""

    def __init__(self) -> None:
        # Not pytest's tmp_path: other users cannot reach a socket in there.
        self._folder = Path(tempfile.mkdtemp(prefix="locksmith-bus-"))
        self._folder.chmod(0o755)
        self.socket = self._folder / "socket"
        self.address = f"unix:path={self.socket}"
        self.log = self._folder / "log"
        self._config = self._folder / "bus.conf"
        self._config.write_text(_CONFIG.format(socket=self.socket, uid=os.getuid(), policy=POLICY))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--nopidfile", "--nosyslog"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        ends = time.monotonic() + START_LIMIT
        while not _answers(self.socket):
            if time.monotonic() > ends or self._process.poll() is not None:
                raise AssertionError(f"dbus-daemon did not start: {self.log.read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once; every connection to it breaks."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def restart(self) -> None:
        """End it and start another at the same address."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold it still: it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def signal_from(self, user: int, *what: str, to: str = "") -> AsyncIterator[None]:
        """Emit update_engine's StatusUpdate as the Unix user with this id, who stays on the bus meanwhile.

        `what` is as of `rogue_sender`; `to` is the unique name of the one who gets it (empty: everybody).
        """
        process = await asyncio.create_subprocess_exec(
            *self._stranger(user, to, what), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"sent\n"
            yield
        finally:
            await process.communicate(b"")

    def signal_and_leave(self, user: int, *what: str) -> None:
        """Emit it and be gone, before the event loop of the caller reads anything."""
        subprocess.run(self._stranger(user, "", what), stdin=subprocess.DEVNULL, check=True, timeout=START_LIMIT)

    def _stranger(self, user: int, to: str, what: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", rogue_sender.__name__, self.address, str(user), to, *what]


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


async def leave_bus(bus: MessageBus, name: str) -> None:
    """End a double's connection, so that after it the daemon of the bus sends nothing its way any more."""
    # It may have ended otherwise before, with the bus.
    with suppress(OSError, EOFError, DBusError):
        if bus.connected:
            # A closed socket is noticed late: a call meanwhile would go to one who is gone.
            await asyncio.wait_for(bus.release_name(name), START_LIMIT)
        bus.disconnect()
        await bus.wait_for_disconnect()
