"""A connection to an endpoint and its HTTP/1.1: one request at a time, which can be cut off at any moment.

Nothing here has a time limit: the caller has limits, by the event loop's clock.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import h11

from locksmith.store.endpoints import Endpoint
from locksmith.util.text import cut

LARGEST_ANSWER = 64 * 2**20
"""Bytes. The longest list that an operator asks for is the presence of some 70,000 machines."""
LONGEST_ERROR = 200
"""Characters that are quoted of an answer that is no HTTP."""

PROBE_AFTER, PROBE_EVERY, PROBES = 15, 5, 3
"""Seconds of silence before the kernel probes the peer, and how many probes it sends."""

UNASKED = "it sent something before it was asked: it does not speak HTTP/1.1"
NOTHING = "it closed the connection without an answer"

CONTINUE = 100
"""The HTTP status that asks for the body of a request."""


class LinkError(Exception):
    """The connection has failed, or what came on it is no HTTP. `exchange.py` knows whether the request is done."""


class TooLongError(LinkError):
    """Cannot be read: the answer is longer than any that etcd gives."""

    def __init__(self) -> None:
        super().__init__(f"its answer is longer than {LARGEST_ANSWER >> 20} MiB")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a server."""

    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


class Link(asyncio.Protocol):
    """The connection; `ended` is called when it can carry no further request."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.status = 0
        self.headers: dict[str, str] = {}
        self.answers = 0
        self.ended: Callable[[], None] = lambda: None
        self._authority = endpoint.authority
        self._loop = asyncio.get_running_loop()
        self.made = self._loop.time()
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._news: asyncio.Future[None] | None = None
        self._failure: LinkError | None = None
        self._at_end = False
        self._received = 0
        self._body = b""

    # Requests and answers

    def send(self, request: Request, *, hold_body: bool = False) -> None:
        """Send a request; `hold_body`: without its body, which `send_body` sends when the server asks for it.

        `LinkError`: nothing was sent. There is no connection, or the request cannot be written in HTTP.
        """
        if self._transport is None or self._failure is not None:
            raise LinkError(str(self._failure or "the connection was closed")) from self._failure
        headers = [("Host", self._authority), *request.headers.items(), ("Content-Length", str(len(request.body)))]
        if hold_body:
            headers.append(("Expect", "100-continue"))
        try:
            head = h11.Request(method=request.method, target=request.path, headers=headers)
            data = self._http.send(head) or b""
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise LinkError(f"the request cannot be sent: {error}") from None
        self._received, self.status, self._body = 0, 0, request.body
        self._transport.write(data if hold_body else data + self._take_body())

    def send_body(self) -> None:
        """Send the body that was held; `LinkError`: no byte of it was sent, because the connection has ended."""
        if self._transport is None or self._failure is not None or self._at_end:
            raise LinkError(NOTHING) from self._failure
        self._transport.write(self._take_body())

    async def asked_for_body(self) -> bool:
        """Wait until the server asks for the body that was held; False: the server has answered without it."""
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            if event.status_code == CONTINUE:
                return True
            event = await self._event()
        return False

    async def head(self) -> None:
        """Wait until the answer begins, and set `status` and `headers`."""
        event = await self._event()
        while not isinstance(event, h11.Response):
            event = await self._event()
        self.status = event.status_code
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}

    async def piece(self) -> bytes:
        """Give the next piece of the answer, empty at its end."""
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self.answers += 1
        return b""

    # Its state

    def ready(self) -> bool:
        """Prepare the next request; False: the last answer is not complete, or the server closes the connection."""
        if self._failure is not None or self._http.trailing_data[0]:
            return False
        if self._http.our_state is self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return self._http.our_state is self._http.their_state is h11.IDLE

    def cut(self) -> None:
        """End the connection at once."""
        self._fail(LinkError("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()

    def bound_silence(self, seconds: float) -> None:
        """Let the kernel end the connection if the peer does not receive what was sent; 0: no bound."""
        if self._transport is not None and (raw := self._transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy: the loop makes no other
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        self._received += len(data)
        if self._http.our_state is h11.IDLE:
            self._fail(LinkError(UNASKED))
        if self._received > LARGEST_ANSWER:
            self._fail(TooLongError())
        if self._failure is not None:
            self.cut()
            return
        self._http.receive_data(data)
        self._wake()

    def eof_received(self) -> None:
        """Receive the end of the stream; the loop closes the connection."""
        self._http.receive_data(b"")
        self._at_end = True
        self._wake()
        self.ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Receive the end of the connection."""
        failure = LinkError(NOTHING)
        failure.__cause__ = exc  # alone, a time limit of the kernel would look like a time limit of the caller
        self._fail(failure)

    # Within

    def _take_body(self) -> bytes:
        data = self._http.send(h11.Data(data=self._body)) or b"" if self._body else b""
        return data + (self._http.send(h11.EndOfMessage()) or b"")

    async def _event(self) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise LinkError(self._no_http(error)) from self._failure
            if isinstance(event, h11.ConnectionClosed):
                raise LinkError(NOTHING) from self._failure
            if event is h11.PAUSED:
                raise LinkError(UNASKED)
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type)  # noqa: S101 - for mypy: both sentinels were handled above
                return event
            if self._failure is not None:
                raise self._failure
            self._news = self._loop.create_future()
            try:
                await self._news
            finally:
                self._news = None

    def _no_http(self, error: h11.RemoteProtocolError) -> str:
        if self._at_end:
            return "it closed the connection within its answer" if self.status else NOTHING
        return f"its answer is not HTTP/1.1: {cut(str(error), LONGEST_ERROR)}"

    def _fail(self, failure: LinkError) -> None:
        if self._failure is None:
            self._failure = failure
            self._wake()
            self.ended()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


async def connect(endpoint: Endpoint, dialled: socket.socket, context: ssl.SSLContext | None) -> Link:
    """Give a link on a connected socket, with TLS if there is a context; `OSError`: TLS failed."""
    dialled.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: Link(endpoint, context),
        sock=dialled,
        ssl=context,
        server_hostname=endpoint.host if context is not None else None,
    )
    return link
