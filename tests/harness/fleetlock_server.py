"""A real `locksmith-server` on a loopback port, with a configuration of its own.

with FleetLockServer(etcd, groups={"web": {"clients": ["127.0.0.0/8"]}}) as server:
    assert server.pre_reboot("n1", "web") == (200, {})
"""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlsplit

from locksmith.host.paths import Paths
from tests.harness.etcd import Etcd, wait_until
from tests.harness.ports import free_ports

PROGRAM = (sys.executable, "-c", "from locksmith.cli.server import main; main()")
"""As the entry point does it; the environment may be older than the entry point."""
START_LIMIT = 30.0
STOP_LIMIT = 20.0
ANYBODY = {"clients": ["127.0.0.0/8", "::1"]}

Answer = tuple[int, dict[str, Any]]


class FleetLockServer:
    """A server, its files, and calls to it. A context that starts it and stops it.

    `etcd` may be its endpoints alone. `groups` are the tables `[server.groups.NAME]`; `server` are more keys of
    `[server]`, `tables` other tables, or keys
    at the top. At the end no server may have logged a traceback.
    """

    def __init__(
        self,
        etcd: Etcd | Sequence[str],
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        server: Mapping[str, Any] | None = None,
        tables: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        [self.port] = free_ports(1)
        self._folder = tempfile.TemporaryDirectory(prefix="locksmith-server-")
        self.paths = Paths(Path(self._folder.name))
        self.environ = dict(environ or {})
        self.log = self.paths.root / "log"
        self._process: subprocess.Popen[bytes] | None = None
        own = {"port": self.port, **(server or {}), "groups": groups or {"default": ANYBODY}}
        endpoints = list(etcd.endpoints if isinstance(etcd, Etcd) else etcd)
        self.configure({"etcd": {"endpoints": endpoints, "timeout": "2s"}, "server": own, **(tables or {})})
        self.tls = "certfile" in own
        self.context: ssl.SSLContext | None = None
        """How the calls speak TLS."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
            said = self.said
            assert "Traceback" not in said, said
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove its files: for a server that was never started."""
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """The base URL of the protocol."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What it logged, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def configure(self, tables: Mapping[str, Any]) -> None:
        """Write its configuration, which its next start reads."""
        self.paths.config.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in tables.items()))

    def command(self, *arguments: str) -> list[str]:
        """Give its command."""
        return [*PROGRAM, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Give the environment in which its programs find its files."""
        return {**os.environ, "LOCKSMITH_ROOT": str(self.paths.root), **self.environ}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = self._popen(log)
        wait_until(self._is_up, f"the server answers; it said: {self.said}", START_LIMIT)

    def _popen(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command("--debug"), env=self.environment, stdout=log, stderr=log)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server has ended: {self.said}"
        with contextlib.suppress(OSError):
            anyone = ssl._create_unverified_context() if self.tls else None
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2, context=anyone) as answer:
                return bool(answer.status == 200)
        return False

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP and SIGCONT freeze and thaw it."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, limit: float = STOP_LIMIT) -> int:
        """Wait for its end, and give its exit status."""
        assert self._process is not None
        return self._process.wait(limit)

    def stop(self) -> None:
        """Stop it as systemd does; one that does not stop is killed, and that is an error."""
        if self._process is None or self._process.poll() is not None:
            return
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGTERM)
        try:
            self.ended()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server does not stop: {self.said}") from None

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pre_reboot(self, client: str, group: str = "default", **headers: str) -> Answer:
        """Ask for the permission to reboot."""
        return self.call("pre-reboot", client, group, **headers)

    def steady_state(self, client: str, group: str = "default", **headers: str) -> Answer:
        """Say that the client is steady."""
        return self.call("steady-state", client, group, **headers)

    def call(self, call: str, client: str, group: str = "default", **headers: str) -> Answer:
        """Send a call, with more headers."""
        body = json.dumps({"client_params": {"id": client, "group": group}}).encode()
        return self.post(f"/v1/{call}", body, {"fleet-lock-protocol": "true", **headers})

    def post(self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> Answer:
        """Send any body; the answer's body is {} if it is none."""
        connection = self.connection()
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        finally:
            connection.close()

    def has_read(self, connection: HTTPConnection) -> bool:
        """Whether it has accepted a connection, and has read all that was sent on it: by the kernel's table."""
        assert connection.sock is not None
        here = f":{connection.sock.getsockname()[1]:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, _, _, _, _, inode, *_ = line.split()
            if local.endswith(f":{self.port:04X}") and remote.endswith(here):
                return inode != "0" and int(queues.partition(":")[2], 16) == 0
        return False

    def connection(self, timeout: float = 30) -> HTTPConnection:
        """Give a connection to it."""
        address = urlsplit(self.url)
        assert address.hostname is not None
        if self.tls:
            return HTTPSConnection(address.hostname, address.port, timeout=timeout, context=self.context)
        return HTTPConnection(address.hostname, address.port, timeout=timeout)


def _toml(value: Any) -> str:
    """Write a value as TOML; tables inline."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(held)}' for key, held in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int):
        return json.dumps(value)
    return json.dumps(str(value))
