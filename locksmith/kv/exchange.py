"""One HTTP request on a connection of its own, in a daemon thread, that can be cut off at any moment.

A connection for each request: an idle one that a server or a firewall has dropped would turn a write into an unknown
outcome, and cutting off one request must not hurt another. A daemon thread: the end of the process waits for no hung
call. The time limits are the event loop's, because a socket's own starts again with every byte that trickles in.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from urllib3.connection import HTTPConnection, HTTPSConnection

from locksmith.kv.tls import Tls, is_refusal

LARGEST_ANSWER = 64 * 2**20
"""Bytes; the presence of some 70,000 machines, the longest list that a person asks for."""
_PIECE = 64 * 2**10


class NotDoneError(Exception):
    """This endpoint has certainly done nothing; another one may."""


class DoubtError(Exception):
    """Whether this endpoint did what was asked is not known."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens; `tls` is None for plain HTTP."""

    url: str
    host: str
    port: int
    tls: Tls | None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What to trust and to show on a new connection."""
        return self.tls.context if self.tls else None

    def connection(self, limit: float) -> HTTPConnection:
        """Prepare a connection; `limit` (seconds) bounds each of its socket calls."""
        if self.tls is None:
            return HTTPConnection(self.host, self.port, timeout=limit)
        return HTTPSConnection(self.host, self.port, timeout=limit, ssl_context=self.tls.context)

    def certificate_fault(self, error: BaseException) -> str:
        """Say what is wrong with a certificate, the server's or this client's; empty: the error is another.

        A blocking call: it may look at the server's certificate.
        """
        cause = root(error)
        if self.tls is not None and isinstance(cause, ssl.SSLCertVerificationError):
            return self.tls.distrust(cause, self.host, self.port)
        return self.tls.refusal(cause) if self.tls is not None and is_refusal(cause) else ""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST; `longest` bounds its whole life, in seconds."""

    path: str
    body: bytes
    headers: Mapping[str, str]
    longest: float


class Exchange:
    """A request under way; leaving the `async with` block cuts it off, and its thread ends."""

    def __init__(self, endpoint: Endpoint, request: Request) -> None:
        self.status = 0
        self._endpoint = endpoint
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._lines = bytearray()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    async def __aenter__(self) -> Self:
        """Start the thread."""
        threading.Thread(target=self._run, name=f"locksmith http {self._endpoint.url}", daemon=True).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut the request off, where it has not ended."""
        self.cut()

    async def connected(self, by: float) -> None:
        """Wait until the connection stands, until the loop's time `by`; `NotDoneError`: it does not."""
        await self._next(by, "no connection in time")

    async def read(self, by: float) -> bytes:
        """Give the next piece of the answer, empty at its end; `DoubtError` at the loop's time `by`."""
        return await self._next(by, "no answer in time")

    async def line(self, by: float) -> bytes:
        """Give the next line of the answer, empty at its end; `DoubtError` at the loop's time `by`."""
        # Only what is new is looked through: a long line comes in a thousand pieces.
        end, looked = self._lines.find(b"\n"), len(self._lines)
        while end < 0 and (piece := await self.read(by)):
            self._lines += piece
            end, looked = self._lines.find(b"\n", looked), len(self._lines)
        line = bytes(self._lines if end < 0 else self._lines[:end])
        del self._lines[: len(line) + 1]
        return line

    def cut(self) -> bool:
        """End the connection from outside; False where nothing was sent, nor ever will be."""
        with self._lock:
            self._cut = True
            if self._socket is None:
                return False
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: that takes the TLS state away under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return True

    async def _next(self, by: float, silence: str) -> bytes:
        try:
            async with asyncio.timeout_at(by):
                news = await self._news.get()
        except TimeoutError:
            raise (DoubtError if self.cut() else NotDoneError)(silence) from None
        if isinstance(news, Exception):
            raise news
        return news

    def _run(self) -> None:
        connection = self._endpoint.connection(self._request.longest)
        try:
            connection.connect()
            if self._may_send(connection.sock):
                self._tell(b"")
                self._converse(connection)
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the one who waits
            self._tell(self._fault(error))
        finally:
            connection.close()

    def _may_send(self, sock: socket.socket) -> bool:
        with self._lock:
            if not self._cut:
                self._socket = sock
            return not self._cut

    def _converse(self, connection: HTTPConnection) -> None:
        request = self._request
        connection.request("POST", request.path, request.body, dict(request.headers), preload_content=False)
        with contextlib.closing(connection.getresponse()) as response:
            self.status = response.status
            total = 0
            while piece := response.read1(_PIECE):
                total += len(piece)
                if total > LARGEST_ANSWER:
                    raise DoubtError(f"its answer is longer than {LARGEST_ANSWER >> 20} MiB")
                self._tell(piece)
            self._tell(b"")

    def _fault(self, error: Exception) -> Exception:
        if isinstance(error, DoubtError):
            return error
        if said := self._endpoint.certificate_fault(error):
            return NotDoneError(said)
        return (DoubtError if self._socket is not None else NotDoneError)(_describe(error))

    def _tell(self, news: bytes | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # a closed loop: nobody listens any more
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)


def _describe(error: Exception) -> str:
    cause = root(error)
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {str(cause.reason or cause).replace('_', ' ').lower()}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause) or type(cause).__name__


def root(error: BaseException) -> BaseException:
    """Find what is under an error; urllib3 wraps the cause, or has it as its argument."""
    while True:
        cause = error.__cause__ or next((one for one in error.args if isinstance(one, Exception)), None)
        if cause is None:
            return error
        error = cause
