"""A request to an endpoint and its answer, on a kept connection if that is safe. Both can be cut off at any moment.

**What a kept connection may carry.** A server, a proxy or a firewall may drop an idle connection at any moment, also
while the next request is on its way. This must not make the outcome of a write unknown.

- A **write** is sent without its body, with `Expect: 100-continue`. The body follows when the server has asked for it
  (`proof.py`). Before that the server does not have the write. So after a failure before that, the write was not done,
  and is sent again on a new connection. After that the connection is not idle: as on a new connection, the outcome is
  unknown if the answer is lost.
- A **read** is sent whole. If the connection fails before the answer is complete, the read is sent once more on a new
  connection.
- A **watch** always has a new connection.

No rule depends on how long a connection was idle. Ages (`pool.py`) only make a second attempt rare. If the peer
receives nothing for a quarter of the endpoint's time, the kernel ends the connection (TCP_USER_TIMEOUT): a firewall has
forgotten it. A server has half of the time to ask for a body.

On a new connection a request is sent at once. The time limits are by the event loop's clock: a socket's own limit
starts again with every byte.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from locksmith.errors import LocksmithError
from locksmith.store.diagnosis import Diagnosis
from locksmith.store.dial import dial
from locksmith.store.endpoints import Endpoint
from locksmith.store.link import Link, LinkError, Request, TooLongError
from locksmith.store.pool import Pool
from locksmith.store.proof import Proof
from locksmith.store.tls import is_refusal, root
from locksmith.util.jsonread import BadJsonError
from locksmith.util.threads import in_thread

LONGEST_LOOK = 3.0
"""Seconds to fetch a certificate that was not trusted."""

NO_ANSWER = "no answer in time"


Failed = TypeVar("Failed", bound="FailedError")


class FailedError(LocksmithError):
    """One endpoint gave no answer that counts. `odd`: the port may be wrong; the HTTP status that it gave, or 0."""

    component = "store"
    odd: int | None = None


class NotDoneError(FailedError):
    """Not done: this endpoint has certainly done nothing. Another endpoint may be asked."""


class UnreachableError(NotDoneError):
    """Not done: there was no connection to this endpoint."""


class MaybeDoneError(FailedError):
    """May be done: this endpoint took the request, and gave no answer that counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server; the names of `headers` are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """The loop's times by which an endpoint must be connected, and must have answered."""

    connect_by: float
    answer_by: float


class _StaleError(Exception):
    """Not done: the connection that was kept has ended before the request."""


class Exchange:
    """The requests to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._pool = Pool(endpoint)
        self._proof = Proof()
        self._diagnosis = Diagnosis(endpoint)

    async def ask(self, request: Request, limits: Limits, *, write: bool) -> Answer:
        """Give the answer to a request.

        `NotDoneError`: the request was certainly not done. `MaybeDoneError`: the outcome is unknown.
        """
        kept = self._pool.take() if not write or self._proof.is_likely() else None
        if kept is not None:
            with contextlib.suppress(_StaleError):
                return await self._ask_kept(kept, request, limits, write=write)
        link = await self._connect(limits.connect_by)
        with self._busy(link):
            _send(link, request)
            return await self._answer(link, limits.answer_by)

    @contextlib.asynccontextmanager
    async def follow(self, request: Request, limits: Limits) -> AsyncIterator["Stream"]:
        """Give an answer without an end; leaving the block cuts it off."""
        link = await self._connect(limits.connect_by)
        try:
            with self._pool.stream():
                _send(link, request)
                yield Stream(self, link)
        finally:
            link.cut()

    def close(self) -> None:
        """Cut off all requests under way; further requests are not sent."""
        self._pool.close()

    async def _ask_kept(self, link: Link, request: Request, limits: Limits, *, write: bool) -> Answer:
        now = _now()
        half = max(0.0, limits.connect_by - now) / 2
        with self._busy(link):
            link.bound_silence(half / 2)
            try:
                if not write:
                    link.send(request)
                    return await _read(link, limits.answer_by)
                await self._proof.send(link, request, now + half)
                link.send_body()
            except LinkError as error:
                raise _StaleError from error
            return await self._answer(link, limits.answer_by)

    async def _connect(self, by: float) -> Link:
        try:
            async with asyncio.timeout_at(by):
                dialled = await dial(self.endpoint.host, self.endpoint.port)
        except TimeoutError:
            raise UnreachableError("no connection in time") from None
        except OSError as error:
            raise UnreachableError(describe(error)) from None
        try:
            async with asyncio.timeout_at(by):
                return await self._pool.make(dialled)
        except TimeoutError:
            raise NotDoneError("no connection in time") from None
        except (LinkError, OSError) as error:
            if said := await self._certificate_fault(error, by):
                raise NotDoneError(said) from None
            raise _odd(NotDoneError(describe(error))) from None

    async def _answer(self, link: Link, by: float) -> Answer:
        try:
            return await _read(link, by)
        except LinkError as error:
            raise await self.lost(link, error, by) from None

    async def lost(self, link: Link, error: Exception, by: float) -> NotDoneError | MaybeDoneError:
        """Give the error that the failure of a connection means for the request on it."""
        # A server checks this client's certificate before the first request; TLS 1.3 tells the client only now.
        if link.answers == 0 and is_refusal(root(error)):
            return NotDoneError(await self._certificate_fault(error, by) or describe(error))
        unknown = MaybeDoneError(describe(error))
        return unknown if link.answers else _odd(unknown)

    async def explain(self, error: FailedError | BadJsonError, by: float) -> str:
        """Say what went wrong; if the endpoint is wrong, also how, and what to do."""
        if isinstance(error, FailedError) and error.odd is not None:
            return await self._diagnosis.find(by, error.odd) or str(error)
        return str(error)

    async def _certificate_fault(self, error: Exception, by: float) -> str:
        if not isinstance(root(error), ssl.SSLError):
            return ""
        limit = min(LONGEST_LOOK, by - _now())
        with contextlib.suppress(TimeoutError):
            return await in_thread(partial(self.endpoint.certificate_fault, error), limit=limit)
        return ""

    @contextlib.contextmanager
    def _busy(self, link: Link) -> Iterator[None]:
        """Keep the connection after the block; end it if the block fails, or is cut off."""
        try:
            yield
        except BaseException:
            link.cut()
            raise
        self._pool.give(link)


class Stream:
    """An answer that comes line by line."""

    def __init__(self, exchange: Exchange, link: Link) -> None:
        self._exchange = exchange
        self._link = link
        self._begun = False
        self._lines = bytearray()

    @property
    def status(self) -> int:
        """The HTTP status, after the first line."""
        return self._link.status

    async def line(self, by: float) -> bytes:
        """Give the next line of the answer, empty at its end; `MaybeDoneError` at the loop's time `by`."""
        try:
            async with asyncio.timeout_at(by):
                return await self._line()
        except TimeoutError:
            raise MaybeDoneError(NO_ANSWER) from None
        except TooLongError as error:
            raise MaybeDoneError(str(error)) from None
        except LinkError as error:
            raise await self._exchange.lost(self._link, error, by) from None

    async def _line(self) -> bytes:
        if not self._begun:
            await self._link.head()
            self._begun = True
        # Only the new bytes are searched: a line may come in a thousand pieces.
        end, looked = self._lines.find(b"\n"), len(self._lines)
        while end < 0 and (piece := await self._link.piece()):
            self._lines += piece
            end, looked = self._lines.find(b"\n", looked), len(self._lines)
        line = bytes(self._lines if end < 0 else self._lines[:end])
        del self._lines[: len(line) + 1]
        return line


def _send(link: Link, request: Request) -> None:
    try:
        link.send(request)
    except LinkError as error:
        raise _odd(NotDoneError(describe(error))) from None


def _odd(error: Failed) -> Failed:
    error.odd = 0
    return error


async def _read(link: Link, by: float) -> Answer:
    """Read a whole answer."""
    body = bytearray()
    try:
        async with asyncio.timeout_at(by):
            await link.head()
            while piece := await link.piece():
                body += piece
    except TimeoutError:
        raise MaybeDoneError(NO_ANSWER) from None
    except TooLongError as error:
        raise MaybeDoneError(str(error)) from None
    return Answer(link.status, bytes(body), link.headers)


def describe(error: Exception) -> str:
    """Say what was wrong with a connection, in a few words."""
    cause = root(error)
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {str(cause.reason or cause).replace('_', ' ').lower()}"
    if isinstance(cause, TimeoutError):
        return NO_ANSWER
    if isinstance(cause, ConnectionResetError) and not cause.errno:
        return "it closed the connection within the TLS handshake"  # asyncio's error has no text
    if isinstance(cause, OSError) and cause.strerror:
        # asyncio has the address in place of the system's text.
        return (cause.strerror if isinstance(cause, socket.gaierror) else os.strerror(cause.errno or 0)).lower()
    return str(cause) or type(cause).__name__


def _now() -> float:
    return asyncio.get_running_loop().time()
