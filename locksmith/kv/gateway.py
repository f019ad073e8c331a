"""The way to etcd's v3 API: its HTTP/JSON gateway, over several endpoints, with authentication and deadlines."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from locksmith.errors import OutcomeUnknownError, StoreFullError, StoreRefusedError, StoreUnavailableError
from locksmith.jsonread import BadJsonError, read
from locksmith.kv import etcd3_wire, grpc
from locksmith.kv.endpoints import parse_endpoints
from locksmith.kv.exchange import DoubtError, Endpoint, Exchange, NotDoneError, Request
from locksmith.kv.grpc import FullError, Message, TokenRefusedError
from locksmith.kv.settings import StoreSettings
from locksmith.kv.store import Known, NoObserver, Observer

T = TypeVar("T")

AUTHENTICATE = "/v3/auth/authenticate"


@dataclass(frozen=True, slots=True)
class Turn:
    """One endpoint's part of a call: the loop's times by which it has to connect, and to answer."""

    endpoint: Endpoint
    connect_by: float
    answer_by: float


class Gateway:
    """Calls that try the endpoints in turn, the one that answered last first, all within `settings.timeout`.

    A read goes on to the next endpoint after any failure. A write does so only where nothing can have been done yet;
    otherwise it is an `OutcomeUnknownError`. `observer` hears how far the store had come, from each answer's header;
    those of the paths in `local` are a member's own word, not the quorum's.
    """

    def __init__(
        self,
        settings: StoreSettings,
        observer: Observer = NoObserver(),  # noqa: B008 - it keeps nothing
        local: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._local = (*local, AUTHENTICATE)
        self._endpoints = parse_endpoints(settings)
        self._first = 0
        self._token: str | None = None
        self._under_way: set[Exchange] = set()
        self._closed = False

    async def call(self, path: str, fields: Message, parse: Callable[[Message], T], *, write: bool = False) -> T:
        """Post one request and parse its answer; `parse` raises `BadJsonError` for what etcd never says."""

        async def attempt(turn: Turn, token: str) -> T:
            return parse(await self._post(turn, path, fields, token))

        return await self._everywhere(attempt, write=write)

    async def follow(
        self, path: str, fields: Message, judge: Callable[[Message], T | None], *, silence: float
    ) -> T | None:
        """Read a stream until `judge` makes something of a message.

        None: nothing came for `silence` seconds, or the stream broke; whether its member still lives shows when it
        is opened again. After a break the next endpoint has its turn first. A stream that outlived its token is opened
        again with a new one.
        """
        broken, known = False, self._observer.sending()

        def judged(message: Message) -> T | None:
            self._hear(path, message, known)
            return judge(message)

        async def attempt(turn: Turn, token: str) -> T | None:
            nonlocal broken, known
            known = self._observer.sending()
            async with self._open(turn, path, fields, token, longest=silence) as exchange:
                verdict = judged(grpc.decode(await exchange.line(turn.answer_by), exchange.status))
                if verdict is not None:
                    return verdict
                try:
                    return await _listen(exchange, judged, silence)
                except TokenRefusedError:
                    self._forget(token)
                    return None
                except (NotDoneError, DoubtError, BadJsonError, StoreRefusedError):
                    broken = True
                    return None

        verdict = await self._everywhere(attempt, write=False)
        if broken:
            self._first = (self._first + 1) % len(self._endpoints)
        return verdict

    async def close(self) -> None:
        """End every call under way, and refuse further ones."""
        self._closed = True
        for exchange in self._under_way:
            exchange.cut()

    async def _everywhere(self, attempt: Callable[[Turn, str], Awaitable[T]], *, write: bool) -> T:
        failures: dict[str, list[str]] = {}
        for index, turn in self._turns(write=write):
            if self._closed:
                raise StoreUnavailableError("the connection to etcd was closed")
            try:
                result = await self._with_token(turn, attempt)
            except (NotDoneError, DoubtError, BadJsonError) as error:
                self._first = (index + 1) % len(self._endpoints)
                failures.setdefault(str(error), []).append(turn.endpoint.url)
                if write and not isinstance(error, NotDoneError):
                    unknown = StoreFullError if isinstance(error, FullError) else OutcomeUnknownError
                    raise unknown(f"etcd may have done this write or not: {turn.endpoint.url}: {error}") from None
            except StoreRefusedError as error:
                raise self._refusal(turn, error) from None
            else:
                self._first = index
                return result
        said = "; ".join(f"{', '.join(urls)}: {failure}" for failure, urls in failures.items())
        raise StoreUnavailableError(f"no etcd endpoint could be used: {said}")

    def _turns(self, *, write: bool) -> Iterator[tuple[int, Turn]]:
        """Share the time that is left evenly among the endpoints that are left.

        A write that was sent has no endpoint after it: it may wait for its answer until the end.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._settings.timeout
        count = len(self._endpoints)
        for position, first in enumerate([self._first] * count):
            index = (first + position) % count
            part = clock() + (end - clock()) / (count - position)
            yield index, Turn(self._endpoints[index], part, end if write else part)

    async def _with_token(self, turn: Turn, attempt: Callable[[Turn, str], Awaitable[T]]) -> T:
        if self._settings.username is None:
            return await attempt(turn, "")
        if (token := self._token) is not None:
            try:
                return await attempt(turn, token)
            except TokenRefusedError:
                self._forget(token)
        self._token = await self._authenticate(turn)
        return await attempt(turn, self._token)

    def _forget(self, token: str) -> None:
        """Use a token no more; a newer one that another call has got meanwhile stays."""
        if self._token == token:
            self._token = None

    async def _authenticate(self, turn: Turn) -> str:
        """Get a token; none where the cluster has authentication switched off, as etcd's own client does."""
        fields = {"name": self._settings.username, "password": self._settings.password or ""}
        in_its_part = replace(turn, answer_by=turn.connect_by)
        try:
            return read(await self._post(in_its_part, AUTHENTICATE, fields, ""), "token", str)
        except StoreRefusedError as error:
            if str(error) == grpc.NO_AUTHENTICATION:
                return ""
            raise
        except (DoubtError, BadJsonError) as error:
            raise NotDoneError(f"authentication: {error}") from None

    async def _post(self, turn: Turn, path: str, fields: Message, token: str) -> Message:
        known = self._observer.sending()
        async with self._open(turn, path, fields, token) as exchange:
            answer = bytearray()
            while piece := await exchange.read(turn.answer_by):
                answer += piece
        message = grpc.decode(bytes(answer), exchange.status, quotable=path != AUTHENTICATE)
        self._hear(path, message, known)
        return message

    def _hear(self, path: str, message: Message, known: Known) -> None:
        at = etcd3_wire.position(message)
        if at is not None:
            self._observer.answered(at, known, linearizable=path not in self._local)

    @asynccontextmanager
    async def _open(
        self, turn: Turn, path: str, fields: Message, token: str, *, longest: float = 0.0
    ) -> AsyncIterator[Exchange]:
        # Without a leader a member says so at once, and ends its watches, where it would else keep silent.
        headers = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
        if token:
            headers["Authorization"] = token
        request = Request(path, json.dumps(fields).encode(), headers, longest + self._settings.timeout)
        async with Exchange(turn.endpoint, request) as exchange:
            self._under_way.add(exchange)
            try:
                await exchange.connected(turn.connect_by)
                yield exchange
            finally:
                self._under_way.discard(exchange)

    def _refusal(self, turn: Turn, error: StoreRefusedError) -> StoreRefusedError:
        user = self._settings.username
        whom = f"the user {user!r}" if user else "a client without a user"
        text = str(error).removeprefix("etcdserver: ")
        return StoreRefusedError(f"etcd at {turn.endpoint.url} refused {whom}: {text}")


async def _listen(exchange: Exchange, judge: Callable[[Message], T | None], silence: float) -> T | None:
    """Read on in a stream that is open; None after `silence` seconds without a line."""
    clock = asyncio.get_running_loop().time
    while True:
        by = clock() + silence
        try:
            line = await exchange.line(by)
        except DoubtError:
            if clock() < by:
                raise
            return None
        verdict = judge(grpc.decode(line, exchange.status))
        if verdict is not None:
            return verdict
