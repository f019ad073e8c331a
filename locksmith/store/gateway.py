"""Calls of etcd's v3 API through its HTTP/JSON gateway: several endpoints, authentication and deadlines."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from locksmith.errors import OutcomeUnknownError, StoreFullError, StoreRefusedError, StoreUnavailableError
from locksmith.store import etcd3_wire, grpc
from locksmith.store.cluster import ForeignError, OneCluster
from locksmith.store.endpoints import parse_endpoints
from locksmith.store.exchange import Exchange, MaybeDoneError, NotDoneError, Stream
from locksmith.store.grpc import FullError, Message, TokenRefusedError
from locksmith.store.link import Request
from locksmith.store.protocol import Known, NoObserver, Observer
from locksmith.store.settings import StoreSettings
from locksmith.store.turn import Turn
from locksmith.util.jsonread import BadJsonError, read

T = TypeVar("T")

NEW_TOKENS = 4
"""How many new tokens a call gets at most at one endpoint. A change of etcd's users outdates each signed token that was
given before, also between its giving and its first use."""
NOT_FOUND = 404
AUTHENTICATE = "/v3/auth/authenticate"
STATUS = "/v3/maintenance/status"
"""The status of a member: the request needs neither a quorum nor rights."""


class Gateway:
    """Calls that try the endpoints in turn, within `settings.timeout`. The endpoint of the last answer is the first.

    After any failure a read tries the next endpoint. A write does so only if it was certainly not done; otherwise it
    raises `OutcomeUnknownError`. `observer` hears the revision of each answer's header. Answers on the paths in `local`
    have the revision of a member, not of the quorum.
    """

    def __init__(
        self,
        settings: StoreSettings,
        observer: Observer = NoObserver(),  # noqa: B008 - it has no state
        local: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._local = (*local, AUTHENTICATE, STATUS)
        self._endpoints = parse_endpoints(settings)
        self._exchanges = tuple(map(Exchange, self._endpoints))
        urls = [endpoint.url for endpoint in self._endpoints]
        self._one = OneCluster(urls, observer.clusters, self._identify, settings.timeout)
        self._first = 0
        self._token: str | None = None
        self._closed = False

    async def call(self, path: str, fields: Message, parse: Callable[[Message], T], *, write: bool = False) -> T:
        """Give the parsed answer to a request; `parse` raises `BadJsonError` for what etcd never says."""

        async def attempt(turn: Turn, token: str) -> T:
            return parse(await self._post(turn, path, fields, token, write=write))

        return await self._everywhere(attempt, write=write)

    async def call_each(self, path: str, messages: Sequence[Message], parse: Callable[[list[Message]], T]) -> T:
        """Send several messages in one request, which reads; `parse` gets the answers, each of which was a line.

        The gateway drops messages that it has not read when the first answer comes. So `parse` may get fewer answers.
        """

        async def attempt(turn: Turn, token: str) -> T:
            known = self._observer.sending()
            answer = await turn.exchange.ask(_request(path, messages, token), turn.limits, write=False)
            answers = [_decode(line, answer.status) for line in answer.body.splitlines() or [b""]]
            for message in answers:
                self._hear(turn, path, message, known)
            return parse(answers)

        return await self._everywhere(attempt, write=False)

    async def follow(
        self, path: str, fields: Message, pick: Callable[[Message], T | None], *, silence: float
    ) -> T | None:
        """Read a stream until `pick` gives a value for a message.

        None: nothing came for `silence` seconds, or the stream broke. When the stream is opened again, it shows whether
        its member is alive. After a break the next endpoint comes first. If the token has expired, the stream is opened
        again with a new token.
        """
        broken, known = False, self._observer.sending()

        async def attempt(turn: Turn, token: str) -> T | None:
            nonlocal broken, known
            known = self._observer.sending()

            def picked(message: Message) -> T | None:
                self._hear(turn, path, message, known)
                return pick(message)

            async with turn.exchange.follow(_request(path, fields, token), turn.limits) as stream:
                verdict = picked(_decode(await stream.line(turn.answer_by), stream.status))
                if verdict is not None:
                    return verdict
                try:
                    return await _listen(stream, picked, silence)
                except TokenRefusedError:
                    self._forget(token)
                    return None
                except (NotDoneError, MaybeDoneError, BadJsonError, ForeignError, StoreRefusedError):
                    broken = True
                    return None

        verdict = await self._everywhere(attempt, write=False)
        if broken:
            self._first = (self._first + 1) % len(self._endpoints)
        return verdict

    async def close(self) -> None:
        """End every call under way, and refuse further ones."""
        self._closed = True
        self._one.close()
        for exchange in self._exchanges:
            exchange.close()

    async def _everywhere(self, attempt: Callable[[Turn, str], Awaitable[T]], *, write: bool) -> T:
        failures: dict[str, list[str]] = {}
        foreign = False
        await self._one.begin()
        for index, turn in self._turns(write=write):
            if self._closed:
                raise StoreUnavailableError("the connection to etcd was closed")
            try:
                result = await self._admitted(turn, attempt, write=write)
            except (NotDoneError, MaybeDoneError, BadJsonError, ForeignError) as error:
                self._first = (index + 1) % len(self._endpoints)
                if isinstance(error, ForeignError):
                    failures.setdefault(str(error), []).append(turn.endpoint.url)
                    foreign = True
                    continue
                said = await turn.exchange.explain(error, turn.connect_by)
                failures.setdefault(said, []).append(turn.endpoint.url)
                self._one.clusters.lost(turn.endpoint.url)
                if write and not isinstance(error, NotDoneError):
                    unknown = StoreFullError if isinstance(error, FullError) else OutcomeUnknownError
                    raise unknown(f"etcd may have done this write or not: {turn.endpoint.url}: {said}") from None
            except StoreRefusedError as error:
                raise self._refusal(turn, error) from None
            else:
                self._first = index
                return result
        said = "; ".join(f"{', '.join(urls)}: {failure}" for failure, urls in failures.items())
        if foreign:
            raise await self._one.refuse(f"no etcd endpoint could be used: {said}")
        raise StoreUnavailableError(f"no etcd endpoint could be used: {said}")

    async def _admitted(self, turn: Turn, attempt: Callable[[Turn, str], Awaitable[T]], *, write: bool) -> T:
        """Give the answer of an endpoint of the cluster that counts; `ForeignError`: it belongs to another cluster."""
        url, clock = turn.endpoint.url, asyncio.get_running_loop().time
        try:
            await self._one.admit(url, turn.connect_by - clock(), write=write)
        except (MaybeDoneError, BadJsonError) as error:
            unknown = NotDoneError(f"which cluster it belongs to is not known: {error}")
            unknown.odd = error.odd if isinstance(error, MaybeDoneError) else None
            raise unknown from None
        try:
            return await self._with_token(turn, attempt)
        except StoreRefusedError:
            await self._one.confirm(url, turn.answer_by - clock())
            raise

    async def _identify(self, url: str, limit: float) -> str:
        """Ask an endpoint for its cluster."""
        by = asyncio.get_running_loop().time() + limit
        turn = Turn(next(exchange for exchange in self._exchanges if exchange.endpoint.url == url), by, by)
        try:
            return etcd3_wire.cluster(await self._send(turn, STATUS, {}, ""))
        except StoreRefusedError:
            if self._settings.username is None:
                raise
        fields = {"name": self._settings.username, "password": self._settings.password_now}
        return etcd3_wire.cluster(await self._send(turn, AUTHENTICATE, fields, ""))

    def _turns(self, *, write: bool) -> Iterator[tuple[int, Turn]]:
        """Share the time that is left equally among the endpoints that are left.

        A write that was sent tries no other endpoint: it may wait for its answer until the end.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._settings.timeout
        count = len(self._endpoints)
        in_turn = [(self._first + position) % count for position in range(count)]
        start = next((index for index in in_turn if self._one.answers(self._endpoints[index].url)), self._first)
        for position, first in enumerate([start] * count):
            index = (first + position) % count
            part = clock() + (end - clock()) / (count - position)
            yield index, Turn(self._exchanges[index], part, end if write else part)

    async def _with_token(self, turn: Turn, attempt: Callable[[Turn, str], Awaitable[T]]) -> T:
        if self._settings.username is None:
            return await attempt(turn, "")
        if (token := self._token) is not None:
            try:
                return await attempt(turn, token)
            except TokenRefusedError:
                self._forget(token)
        for left in reversed(range(NEW_TOKENS)):
            token = self._token = await self._authenticate(turn)
            try:
                return await attempt(turn, token)
            except TokenRefusedError as error:
                if not (error.outdated and left):
                    raise
                self._forget(token)
        raise AssertionError("the last attempt has an outcome")

    def _forget(self, token: str) -> None:
        """Drop a token; a newer token of another call stays."""
        if self._token == token:
            self._token = None

    async def _authenticate(self, turn: Turn) -> str:
        """Get a token; none if the cluster has no authentication, as etcd's own client does."""
        fields = {"name": self._settings.username, "password": self._settings.password_now}
        in_its_part = replace(turn, answer_by=turn.connect_by)
        try:
            return read(await self._post(in_its_part, AUTHENTICATE, fields, ""), "token", str)
        except StoreRefusedError as error:
            if str(error) == grpc.NO_AUTHENTICATION:
                return ""
            raise
        except (MaybeDoneError, BadJsonError) as error:
            failed = NotDoneError(f"authentication: {error}")
            failed.odd = error.odd if isinstance(error, MaybeDoneError) else None
            raise failed from None

    async def _post(self, turn: Turn, path: str, fields: Message, token: str, *, write: bool = False) -> Message:
        known = self._observer.sending()
        message = await self._send(turn, path, fields, token, write=write)
        self._hear(turn, path, message, known)
        return message

    async def _send(self, turn: Turn, path: str, fields: Message, token: str, *, write: bool = False) -> Message:
        answer = await turn.exchange.ask(_request(path, fields, token), turn.limits, write=write)
        return _decode(answer.body, answer.status, quotable=path != AUTHENTICATE)

    def _hear(self, turn: Turn, path: str, message: Message, known: Known) -> None:
        self._one.clusters.heard(turn.endpoint.url, etcd3_wire.cluster(message))
        at = etcd3_wire.position(message)
        if at is not None:
            self._observer.answered(at, known, linearizable=path not in self._local)

    def _refusal(self, turn: Turn, error: StoreRefusedError) -> StoreRefusedError:
        user = self._settings.username
        whom = f"the user {user!r}" if user else "a client without a user"
        text = str(error).removeprefix("etcdserver: ")
        return StoreRefusedError(f"etcd at {turn.endpoint.url} refused {whom}: {text}")


def _request(path: str, fields: Message | Sequence[Message], token: str) -> Request:
    # With this header a member without a leader says so at once, and ends its watches; otherwise it is silent.
    headers = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
    if token:
        headers["Authorization"] = token
    messages = [fields] if isinstance(fields, dict) else fields
    return Request(path, "\n".join(map(json.dumps, messages)).encode(), headers)


def _decode(raw: bytes, status: int, *, quotable: bool = True) -> Message:
    try:
        return grpc.decode(raw, status, quotable=quotable)
    except MaybeDoneError as error:
        error.odd = status if status == NOT_FOUND else None
        raise


async def _listen(stream: Stream, pick: Callable[[Message], T | None], silence: float) -> T | None:
    """Give the next message of an open stream; None after `silence` seconds without a line."""
    clock = asyncio.get_running_loop().time
    while True:
        by = clock() + silence
        try:
            line = await stream.line(by)
        except MaybeDoneError:
            if clock() < by:
                raise
            return None
        verdict = pick(grpc.decode(line, stream.status))
        if verdict is not None:
            return verdict
