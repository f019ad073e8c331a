"""The two calls of FleetLock, as a client: one connection for each, which a cancellation cuts off at once.

The protocol is that of Zincati: https://coreos.github.io/zincati/development/fleetlock/protocol/
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.errors import HostError, OutcomeUnknownError, StoreUnavailableError
from locksmith.host.secret_file import FollowedSecret
from locksmith.store.diagnosis import speaks_plainly, speaks_tls
from locksmith.store.dial import dial
from locksmith.store.endpoints import Endpoint
from locksmith.store.exchange import describe
from locksmith.store.link import Link, LinkError, Request, connect
from locksmith.store.tls import Tls, TlsNames, is_refusal, root
from locksmith.util.authorization import basic, bearer
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.text import one_line
from locksmith.util.threads import in_thread

PRE_REBOOT, STEADY_STATE = "pre-reboot", "steady-state"

CONNECT_LIMIT = 10.0
"""Seconds to connect, TLS included."""
BODY_LIMIT = 5.0
"""Seconds for the rest of an answer whose status is known."""
PROBE_LIMIT = 1.0
"""Seconds to find out why a server does not answer."""
LARGEST = 64 * 1024
"""Bytes of an answer that are read."""
LONGEST_KIND, LONGEST_VALUE = 60, 400
"""Characters of the server's words that are shown."""

SUCCESS, REDIRECT = range(200, 300), range(300, 400)
BAD_REQUEST, NOT_FOUND = 400, 404
REFUSALS = frozenset({401, 403})
"""HTTP's "who are you?" and "you may not"."""

NAMES = TlsNames("fleet-lock.url", "fleet-lock", "the server")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a server: its status, and FleetLock's `kind` and `value`, both made safe to show (empty: none)."""

    status: int
    kind: str = ""
    value: str = ""
    location: str = ""

    @property
    def granted(self) -> bool:
        """Whether the server has done what was asked: any 2xx, as for Zincati."""
        return self.status in SUCCESS


class FleetLockClient:
    """Calls one server. The TLS files are followed, and the secret is read from its file as it is now."""

    def __init__(self, settings: FleetLockSettings) -> None:
        """`UsageError`: a TLS file cannot be used."""
        parts = urlsplit(settings.url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        tls = Tls(settings, NAMES) if parts.scheme == "https" else None
        self._url = settings.url
        self._path = parts.path.rstrip("/")
        self._endpoint = Endpoint(settings.url, parts.hostname or "", port, tls)
        self._settings = settings
        self._secret: FollowedSecret | None = None

    async def call(
        self, what: str, group: str, machine: str, limit: float, before: Callable[[], None] = lambda: None
    ) -> Reply:
        """Make a call, and give its answer within `limit` seconds. `before` is called when there is a connection.

        `StoreUnavailableError`: the server has certainly not received it. `OutcomeUnknownError`: it may have. Both name
        the URL, and say what is wrong.
        """
        body = json.dumps({"client_params": {"id": machine, "group": group}}).encode()
        headers = {"fleet-lock-protocol": "true", **self._authorization()}
        return await self._exchange(Request(f"{self._path}/v1/{what}", body, headers), limit, before)

    async def probe(self, limit: float) -> Reply:
        """Ask for what changes nothing: the answer shows that a server is there."""
        return await self._exchange(
            Request(f"{self._path}/v1/{STEADY_STATE}", headers=self._authorization(), method="GET"), limit
        )

    async def _exchange(self, request: Request, limit: float, before: Callable[[], None] = lambda: None) -> Reply:
        loop = asyncio.get_running_loop()
        link = await self._connect(min(limit, CONNECT_LIMIT))
        try:
            before()
            try:
                link.send(request)
            except LinkError as error:
                raise StoreUnavailableError(self._says(f"cannot be asked: {describe(error)}")) from None
            try:
                async with asyncio.timeout(limit):
                    await link.head()
            except TimeoutError:
                raise OutcomeUnknownError(self._says(f"gave no answer within {limit:g} s")) from None
            except LinkError as error:
                raise await self._lost(error) from None
            if link.status in SUCCESS:
                return Reply(link.status)
            if link.status == BAD_REQUEST and self._endpoint.tls is None and await self._is(speaks_tls):
                raise self._wrong_scheme()
            return _reply(link, await _body(link, loop.time() + BODY_LIMIT))
        finally:
            link.cut()

    async def _connect(self, limit: float) -> Link:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(limit):
                return await connect(endpoint, await dial(endpoint.host, endpoint.port), endpoint.context)
        except TimeoutError:
            problem = f"cannot be reached: no connection within {limit:g} s"
        except (OSError, LinkError) as error:
            problem = await self._certificate_fault(error)
            if not problem and isinstance(root(error), ssl.SSLError) and await self._is(speaks_plainly):
                raise self._wrong_scheme() from None
            problem = f"cannot be reached: {problem or describe(error)}"
        raise StoreUnavailableError(self._says(problem))

    async def _lost(self, error: LinkError) -> StoreUnavailableError | OutcomeUnknownError:
        """Say why a server that was asked gave no answer. A server refuses a certificate before it reads a request."""
        if is_refusal(root(error)):
            problem = await self._certificate_fault(error)
            return StoreUnavailableError(self._says(f"cannot be reached: {problem or describe(error)}"))
        if self._endpoint.tls is None and await self._is(speaks_tls):
            return self._wrong_scheme()
        return OutcomeUnknownError(self._says(f"gave no answer: {one_line(describe(error), LONGEST_VALUE)}"))

    async def _certificate_fault(self, error: Exception) -> str:
        if not isinstance(root(error), ssl.SSLError):
            return ""
        with contextlib.suppress(TimeoutError):
            return await in_thread(lambda: self._endpoint.certificate_fault(error), limit=2 * PROBE_LIMIT)
        return ""

    async def _is(self, probe: Callable[[Endpoint], Awaitable[bool]]) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_LIMIT):
                return await probe(self._endpoint)
        return False

    def _wrong_scheme(self) -> StoreUnavailableError:
        plain = self._endpoint.tls is None
        url = self._url.replace("http:", "https:", 1) if plain else self._url.replace("https:", "http:", 1)
        what = "its port speaks TLS" if plain else "its port speaks no TLS"
        return StoreUnavailableError(self._says(f"cannot be asked: {what}: write {url} in fleet-lock.url"))

    def _says(self, problem: str) -> str:
        return f"the FleetLock server {self._url} {problem}"

    def _authorization(self) -> dict[str, str]:
        """Give the header that says who asks. `HostError`: the file with the secret cannot be used."""
        settings = self._settings
        file = settings.password_file or settings.token_file
        if file is None:
            return {}
        what = "password" if settings.password_file else "token"
        try:
            if self._secret is None:
                self._secret = FollowedSecret(file, what, settings.username)
            secret = self._secret()
            return basic(settings.username, secret) if settings.password_file else bearer(secret)
        except HostError as error:
            raise HostError(f"[fleet-lock] names {error}") from None


async def _body(link: Link, by: float) -> bytes:
    """Give the body of an answer whose status says no; what is too long, late or broken off is left out."""
    body = bytearray()
    with contextlib.suppress(LinkError, TimeoutError):
        async with asyncio.timeout_at(by):
            while len(body) <= LARGEST and (piece := await link.piece()):
                body += piece
    return bytes(body)


def _reply(link: Link, body: bytes) -> Reply:
    location = _clean(link.headers.get("location", ""), LONGEST_VALUE)
    try:
        fields = load_record(body, LARGEST)
    except BadJsonError:
        return Reply(link.status, location=location)
    kind, value = fields.get("kind"), fields.get("value")
    return Reply(
        link.status,
        _clean(kind, LONGEST_KIND) if isinstance(kind, str) else "",
        _clean(value, LONGEST_VALUE) if isinstance(value, str) else "",
        location,
    )


def _clean(text: str, most: int) -> str:
    """Make the words of a server safe: no command in them looks like one that locksmith suggests."""
    return one_line(text.replace("`", "'"), most)
