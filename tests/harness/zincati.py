"""A double of Zincati, the update agent of Fedora CoreOS, as far as a FleetLock server notices it.

From its source (coreos/zincati: src/fleet_lock/mod.rs, src/strategy/fleet_lock.rs, src/update_agent/actor.rs):
after each boot it sends steady-state until that succeeds, and only then looks for updates. With an update staged it
sends pre-reboot until that succeeds, and reboots. Any 2xx is a success, the body is not read. Between two tries it
waits for its period and twice up to 10 % more. If users are logged in, it asks again after a minute, and reboots after
ten times in any case. A redirect is followed as browsers do. A base URL without `/` at its end loses its last segment.
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import random
import string
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urljoin, urlsplit

APPLICATION = uuid.UUID("de35106b6ec24688b63afddaa156679b")
PERIOD = 300.0
POSTPONEMENT = 60.0
POSTPONEMENTS = 10
JITTER = 0.1
HTTP_LIMIT = 1800.0
REDIRECTS = 10
BECOMES_GET = {301, 302, 303}
STAYS_POST = {307, 308}

STEADY_STATE, PRE_REBOOT = "steady-state", "pre-reboot"


def client_id(machine_id: str) -> str:
    """Give the id that Zincati derives from a machine id, as systemd's sd_id128_get_machine_app_specific does."""
    digest = hmac.new(bytes.fromhex(machine_id), APPLICATION.bytes, hashlib.sha256).digest()
    return uuid.UUID(bytes=digest[:16], version=4).hex


class Zincati:
    """One machine. `run` is its life; `reboot` is called when it goes down, and returns when it is up again.

    `period` and `postponement` are seconds. `variables` are those of the base URL (`${group}`, ...). `errors` counts
    the calls that failed, by call and kind, as its metrics do.
    """

    def __init__(
        self,
        base_url: str,
        group: str,
        machine_id: str,
        reboot: Callable[[], Awaitable[object]],
        *,
        period: float = PERIOD,
        postponement: float = POSTPONEMENT,
        variables: Mapping[str, str] | None = None,
        seed: int = 1,
    ) -> None:
        known = {"group": group, "stream": "stable", **(variables or {})}
        self.base_url = string.Template(base_url).substitute(known)
        self.id = client_id(machine_id)
        self.group = group
        self.reboots = 0
        self.is_steady = False
        self.users_are_logged_in = False
        self.errors: Counter[tuple[str, str]] = Counter()
        self._body = json.dumps({"client_params": {"id": self.id, "group": group}}, indent=2).encode()
        self._reboot = reboot
        self._period, self._postponement = period, postponement
        self._staged = asyncio.Event()
        self._random = random.Random(seed)

    def need_reboot(self) -> None:
        """Stage an update, which the next reboot finalizes."""
        self._staged.set()

    async def run(self) -> None:
        """Live, from one boot to the next, until it is cancelled."""
        while True:
            await self._report_steady()
            await self._staged.wait()
            await self._finalize()
            self._staged.clear()
            self.is_steady = False
            await self._reboot()
            self.reboots += 1

    def url_of(self, api: str) -> str:
        """Give the URL of a call."""
        return urljoin(self.base_url, f"v1/{api}")

    async def _report_steady(self) -> None:
        while not await self.call(STEADY_STATE):
            await self._pause()
        self.is_steady = True

    async def _finalize(self) -> None:
        """Ask until the reboot is granted, and until the users have gone, or were warned ten times in a row."""
        left = POSTPONEMENTS
        while True:
            if not await self.call(PRE_REBOOT):
                left = POSTPONEMENTS
                await self._pause()
            elif self.users_are_logged_in and left > 0:
                left -= 1
                await asyncio.sleep(self._postponement * self._jitter())
            else:
                return

    async def call(self, api: str) -> bool:
        """Make one call; whether it succeeded. No failure is an error here: Zincati logs it and tries again."""
        try:
            kind = await asyncio.to_thread(self._send, api)
        except (OSError, http.client.HTTPException):
            kind = "generic_network"
        if kind:
            self.errors[api, kind] += 1
        return not kind

    def _send(self, api: str) -> str:
        """Send a call and follow redirects; empty: success, else the kind of its failure."""
        url, method, body = self.url_of(api), "POST", self._body
        for _ in range(REDIRECTS):
            status, place, answer = self._exchange(url, method, body)
            if status not in BECOMES_GET | STAYS_POST or not place:
                break
            url = urljoin(url, place)
            if status in BECOMES_GET:
                method, body = "GET", b""
        if 200 <= status < 300:
            return ""
        try:
            found = json.loads(answer)
            kind, value = found["kind"], found["value"]
        except (ValueError, TypeError, KeyError):
            return f"generic_http_{status}"
        return kind if isinstance(kind, str) and isinstance(value, str) else f"generic_http_{status}"

    def _exchange(self, url: str, method: str, body: bytes) -> tuple[int, str, bytes]:
        at = urlsplit(url)
        assert at.hostname is not None
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[at.scheme](at.hostname, at.port, timeout=HTTP_LIMIT)
        try:
            headers = {"fleet-lock-protocol": "true", "Accept": "*/*"}
            connection.request(method, at.path or "/", body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Location", ""), answer.read()
        finally:
            connection.close()

    async def _pause(self) -> None:
        await asyncio.sleep(self._period * self._jitter() * self._jitter())

    def _jitter(self) -> float:
        return 1 + JITTER * self._random.random()
