"""Calls to the locksmith-servers of a group, one after another, for a machine without etcd.

A call goes to the next server only if the one before has certainly not begun it, or if it changes nothing. Each answer
tells which cluster the server has, at which revision: the watermark of this machine compares that as it does with etcd.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.errors import (
    HostError,
    LocksmithError,
    OtherClusterError,
    OutcomeUnknownError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from locksmith.host.http_server import SUCCESS, HttpAnswer, HttpServer
from locksmith.host.kept_links import Reuse
from locksmith.host.secret_file import FollowedSecret
from locksmith.lock import machine_wire as wire
from locksmith.lock.records.claim import Claim
from locksmith.store.cluster import ASK_FOREIGN_AFTER, PATIENCE, SUCCESSOR_AFTER, Clusters, ForeignError
from locksmith.store.link import Request
from locksmith.store.protocol import Observer, Position
from locksmith.store.tls import Tls, TlsNames
from locksmith.util.authorization import bearer
from locksmith.util.jsonread import BadJsonError, load_record
from locksmith.util.text import one_line

log = logging.getLogger(__name__)

NAMES = TlsNames("fleet-server.urls", "fleet-server", "the server")
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds for which a server that gave no answer is asked after the others."""
LONGEST = 400
"""Characters of a server's words that are shown."""

OK = 200
LATER = frozenset({408, 425, 429, 503})
"""Statuses of a server, or of a proxy before it, that has not begun the call."""
REFUSALS = frozenset({400, 401, 403, 404, 405, 413})
HARMLESS = frozenset({wire.WAIT, wire.READ, wire.COUNT, wire.KNOWS, wire.HELLO})
"""Calls that change nothing, which may be made at several servers."""
FRESH = frozenset({wire.COMMIT, wire.LEAVE, wire.HELLO})
"""Calls that have a connection of their own: two with little time, which a kept one that has ended would cost, and the
one that asks whether the server can be reached."""


class Door(Protocol):
    """A server, as it is asked over HTTP (http_server.py)."""

    url: str
    path: str

    async def exchange(
        self, request: Request, limit: float, before: Callable[[], None] = lambda: None, *, most: int, reuse: Reuse
    ) -> HttpAnswer:
        """Send a request, and give its answer."""
        ...

    def close(self) -> None:
        """End the connections that are kept."""
        ...

    def says(self, problem: str) -> str:
        """Give a sentence about this server."""
        ...


@dataclass(slots=True)
class _Server:
    http: Door
    not_before: float = float("-inf")
    pause: float = FIRST_PAUSE


@dataclass(frozen=True, slots=True)
class _Call:
    call: str
    claim: Claim | None
    limit: float
    before: Callable[[], None] = lambda: None
    fields: Mapping[str, Any] = field(default_factory=dict)


class ServerClient:
    """The servers of the settings. `observer` hears each answer, as it hears etcd's."""

    def __init__(
        self,
        settings: FleetServerSettings,
        group: str,
        observer: Observer,
        door: Callable[[str], Door] | None = None,
    ) -> None:
        """`UsageError`: a TLS file cannot be used. `door` gives a server that is not asked over HTTP, by its URL."""
        door = door or _http(settings)
        self._servers = [_Server(door(url)) for url in settings.urls]
        self._group = group
        self._observer = observer
        self._token_file = settings.token_file
        self._secret: FollowedSecret | None = None

    async def call(
        self,
        call: str,
        claim: Claim | None = None,
        *,
        limit: float,
        before: Callable[[], None] = lambda: None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Make a call, and give the answer of the rules; `limit` is in seconds, for each server that is asked.

        `before` is called before it is sent. Errors are those that the lock, or the store, has raised at the server;
        `StoreUnavailableError`: no server has begun it; `OutcomeUnknownError`: one may have.
        """
        await self._compare_again()
        ask = _Call(call, claim, limit, before, fields)
        problem: LocksmithError | None = None
        for server in self._in_order():
            try:
                return await self._ask(server, ask)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                if isinstance(error, OutcomeUnknownError) and call not in HARMLESS:
                    raise
                problem = problem or error
        raise problem or StoreUnavailableError("fleet-server.urls names no server")

    async def greet(self, url: str, limit: float) -> Position:
        """Ask one server whether it takes this machine's calls, and change nothing there."""
        [server] = [one for one in self._servers if one.http.url == url]
        said = await self._ask(server, _Call(wire.HELLO, None, limit))
        return wire.decode_position(said)

    def close(self) -> None:
        """End the connections that are kept."""
        for server in self._servers:
            server.http.close()

    def _in_order(self) -> list[_Server]:
        """Give the servers in order of preference; those that have just failed come last."""
        now = asyncio.get_running_loop().time()
        return sorted(self._servers, key=lambda server: server.not_before if server.not_before > now else 0.0)

    async def _ask(self, server: _Server, ask: _Call) -> dict[str, Any]:
        known = self._observer.sending()
        clusters = self._observer.clusters
        if clusters is not None:
            clusters.expect()
        seen = Position(known.revision, clusters.own if clusters is not None else "")
        body = wire.encode_call(seen, ask.claim, **ask.fields)
        path = f"{server.http.path}/machines/v1/{self._group}/{ask.call}"
        headers = {"Content-Type": "application/json", **self._authorization()}
        try:
            answer = await server.http.exchange(
                Request(path, body, headers), ask.limit, ask.before, most=wire.LARGEST_ANSWER, reuse=_reuse(ask.call)
            )
            said = self._read(server, answer)
        except StoreError as error:
            if isinstance(error, StoreUnavailableError | OutcomeUnknownError):
                self._put_off(server)
            raise
        if isinstance(where := said.get("store"), dict):
            try:
                position = wire.decode_position({"store": where})
            except BadJsonError as error:
                raise OutcomeUnknownError(server.http.says(f"answers what it must not: {error}")) from None
            await self._compare(server, position)
            if position.revision > 0:
                self._observer.answered(position, known)
        if "kind" in said:
            raise self._error(server, said)
        server.not_before, server.pause = float("-inf"), FIRST_PAUSE
        return said

    async def _compare(self, server: _Server, position: Position) -> None:
        """`OtherClusterError`: the server's store is not the one that this machine has seen so far."""
        clusters = self._observer.clusters
        if not position.cluster or clusters is None:
            return
        try:
            clusters.heard(server.http.url, position.cluster)
        except ForeignError:
            self._put_off(server)
            now = asyncio.get_running_loop().time()
            if clusters.successor is not None and now - clusters.succeeded > SUCCESSOR_AFTER:
                clusters.succeeded = now
                with suppress(LocksmithError):  # if an operator has said so, the next call finds it
                    await clusters.successor()
            raise OtherClusterError(
                server.http.says(
                    f"has etcd cluster {position.cluster}, and this machine has seen {clusters.own} so far: correct "
                    "fleet-server.urls, or the server's etcd.endpoints; if the new cluster has taken the place of "
                    "the other: inspect which machines are down, then run `locksmithctl resume --replaces "
                    f"{clusters.own}` where etcd can be reached"
                )
            ) from None

    async def _compare_again(self) -> None:
        """While servers disagree about their cluster, ask those of another one again, now and then.

        No call goes to them while the others answer. One that does not answer is no disagreement, as with etcd.
        """
        clusters, now = self._observer.clusters, asyncio.get_running_loop().time()
        if clusters is None or not clusters.split:
            return
        if clusters.looked is not None and now - clusters.looked < ASK_FOREIGN_AFTER:
            return
        clusters.looked = now
        await asyncio.gather(
            *(self._greet_again(one, clusters) for one in self._servers if one.http.url in clusters.foreign)
        )

    async def _greet_again(self, server: _Server, clusters: Clusters) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.greet(server.http.url, PATIENCE)
        except OtherClusterError:
            pass  # it disagrees still
        except (LocksmithError, TimeoutError):
            clusters.lost(server.http.url)

    def _read(self, server: _Server, answer: HttpAnswer) -> dict[str, Any]:
        """Read an answer. Of what is no answer of the rules, say what it is."""
        said: dict[str, Any] = {}
        if answer.whole:
            with suppress(BadJsonError):
                said = load_record(answer.body, wire.LARGEST_ANSWER)
        is_error = isinstance(said.get("kind"), str) and isinstance(said.get("value"), str)
        if answer.status == OK and said and "kind" not in said:
            return said
        if answer.status not in SUCCESS and is_error:
            return said
        if answer.status in SUCCESS:
            what = "what cannot be read" if answer.whole else "a part of an answer"
            raise OutcomeUnknownError(server.http.says(f"gave {what}"))
        raise self._of_status(server, answer)

    def _of_status(self, server: _Server, answer: HttpAnswer) -> StoreError:
        status = answer.status
        if location := answer.headers.get("location", ""):
            to = one_line(location.replace("`", "'"), LONGEST)
            return StoreRefusedError(
                server.http.says(f"redirects to {to}, which is not followed: correct fleet-server.urls")
            )
        said = server.http.says(f"answers with HTTP status {status}, and gives no reason")
        if status in LATER:
            return StoreUnavailableError(said)
        if status in REFUSALS:
            return StoreRefusedError(f"{said}; is it the base URL of a locksmith-server?")
        return OutcomeUnknownError(said)

    def _error(self, server: _Server, said: Mapping[str, Any]) -> LocksmithError:
        kind, value = str(said["kind"]), str(said["value"])
        text = one_line(value.replace("`", "'"), 2 * LONGEST) if kind in {wire.NOT_ALLOWED, wire.BAD_CALL} else value
        error = wire.decode_error(kind, text, said)
        if isinstance(error, StoreUnavailableError | OutcomeUnknownError):
            self._put_off(server)
        if kind in {wire.OLDER_JOURNAL, wire.CORRUPT, wire.LOCK, wire.CONFLICT}:
            return error
        return type(error)(server.http.says(f"says {kind}: {text}"))

    def _put_off(self, server: _Server) -> None:
        server.not_before = asyncio.get_running_loop().time() + server.pause
        server.pause = min(LONGEST_PAUSE, 2 * server.pause)

    def _authorization(self) -> dict[str, str]:
        """Give the header that says who asks. `HostError`: the file with the token cannot be used."""
        if self._token_file is None:
            return {}
        try:
            if self._secret is None:
                self._secret = FollowedSecret(self._token_file, "token")
            return bearer(self._secret())
        except HostError as error:
            raise HostError(f"[fleet-server] names {error}") from None


def _reuse(call: str) -> Reuse:
    if call in FRESH:
        return Reuse.NEVER
    return Reuse.WHOLE if call in HARMLESS else Reuse.PROVEN


def _http(settings: FleetServerSettings) -> Callable[[str], Door]:
    """Give what makes the way to a server over HTTP. `UsageError`: a TLS file cannot be used."""
    tls = Tls(settings, NAMES) if any(url.startswith("https:") for url in settings.urls) else None
    return lambda url: HttpServer(url, tls, "the server", "fleet-server.urls")
