"""The two calls of FleetLock, as a client: one connection for each, which a cancellation cuts off at once.

The protocol is that of Zincati: https://coreos.github.io/zincati/development/fleetlock/protocol/
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.errors import HostError
from locksmith.host.http_server import SUCCESS, HttpAnswer, HttpServer
from locksmith.host.secret_file import FollowedSecret
from locksmith.store.link import Request
from locksmith.store.tls import Tls, TlsNames
from locksmith.util.authorization import basic, bearer
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.text import one_line

PRE_REBOOT, STEADY_STATE = "pre-reboot", "steady-state"

LARGEST = 64 * 1024
"""Bytes of an answer that are read."""
LONGEST_KIND, LONGEST_VALUE = 60, 400
"""Characters of the server's words that are shown."""

REDIRECT = range(300, 400)
NOT_FOUND = 404
REFUSALS = frozenset({401, 403})
"""HTTP's "who are you?" and "you may not"."""

NAMES = TlsNames("fleet-lock.url", "fleet-lock", "the server")


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
        tls = Tls(settings, NAMES) if settings.url.startswith("https:") else None
        self._server = HttpServer(settings.url, tls, "the FleetLock server", "fleet-lock.url")
        self._path = self._server.path
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
        return _reply(await self._server.exchange(request, limit, before, most=LARGEST, reads_success=False))

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


def _reply(answer: HttpAnswer) -> Reply:
    location = _clean(answer.headers.get("location", ""), LONGEST_VALUE)
    try:
        fields = load_record(answer.body, LARGEST)
    except BadJsonError:
        return Reply(answer.status, location=location)
    kind, value = fields.get("kind"), fields.get("value")
    return Reply(
        answer.status,
        _clean(kind, LONGEST_KIND) if isinstance(kind, str) else "",
        _clean(value, LONGEST_VALUE) if isinstance(value, str) else "",
        location,
    )


def _clean(text: str, most: int) -> str:
    """Make the words of a server safe: no command in them looks like one that locksmith suggests."""
    return one_line(text.replace("`", "'"), most)
