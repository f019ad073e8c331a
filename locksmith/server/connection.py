"""A connection of the server: uvicorn's, with a deadline for each.

uvicorn closes a connection that is idle after an answer. It waits for ever for a first request, for the rest of one,
and for a client that does not read. So each connection has a deadline here, and a place that others may get.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from locksmith.server.garbage import free
from locksmith.server.requests import NOT_HTTP
from locksmith.util.visits import RESET, Stage, Visit

REQUEST_LIMIT: Final = 10.0
"""Seconds for the TLS handshake, and again for the head of a request after its first byte."""
IDLE_LIMIT: Final = 75
"""Seconds between two requests: proxies keep connections for a minute."""
LONGEST: Final = 600.0
"""Seconds after which a connection ends with its next answer: its certificates were checked at its beginning."""
CALL_LIMIT: Final = 90.0
"""Seconds from the head of a request to the end of its answer."""
CLOSE: Final = (b"connection", b"close")
UNSENT: Final = 4 * 1024
"""Bytes that its client does not take, beyond what the kernel keeps, from which on a connection waits for that."""
HEAD: Final = b"HTTP/1.1 "
"""How the head of an answer begins."""
_MACHINE_ID = re.compile("[0-9a-f]{32}")
_TWO_LENGTHS = {b"content-length", b"transfer-encoding"}
"""A proxy may see another end of a body with both: what follows is not answered (RFC 9112, 6.1)."""


@dataclass(slots=True, eq=False)
class Guest(Visit):
    """A connection, from its acceptance on. `since` (inside) and `deadline` (of its end) are by the loop's time."""

    address: str = ""
    certificate: bool = False
    machines: frozenset[str] = frozenset()
    """The ids of machines that its certificate names."""
    since: float = 0.0
    seen: int = 0
    """Bytes that have come while it waited."""
    deadline: float = 0.0
    connection: socket.socket | None = None
    protocol: "Connection | None" = field(default=None, repr=False)
    parks: "Callable[[Guest, bool], None]" = field(default=lambda _guest, _parked: None, repr=False)

    last: bool = False
    """Whether the answer that is under way is its last."""
    gone: bool = False
    """Whether the connection has ended."""
    _leaves: Callable[[], object] | None = field(default=None, repr=False)

    def when_gone(self, do: Callable[[], object] | None) -> None:
        """Have something done at the end of the connection, or at once if it has ended; None: no more."""
        self._leaves = do
        if do is not None and self.gone:
            do()

    def leave(self) -> None:
        """Note that the connection has ended."""
        self.gone, self.protocol = True, None  # else each would wait for a collection of garbage
        leaves, self._leaves = self._leaves, None
        if leaves is not None:
            leaves()

    def park(self, *, parked: bool) -> None:
        """Have it wait without the place of another, or no longer; each request that begins needs a place.

        It waits for an answer that takes long by its nature, or as a machine for its next request.
        """
        self.parks(self, parked)

    def end(self) -> None:
        """End it now, with a reset."""
        with suppress(OSError):
            if self.connection is not None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self.protocol is not None:
            self.protocol.transport.abort()
        elif self.connection is not None:
            with suppress(OSError):  # in its handshake, which ends by that
                self.connection.shutdown(socket.SHUT_RDWR)


class InOne:
    """A transport to which uvicorn writes the head of an answer, and then its body: both are sent in one piece.

    Each piece that is sent costs the server a system call, and the client another.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._soon: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        """Give all else of the transport itself."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send; the head of an answer with what is written next, or at the end of this round of the event loop."""
        if data.startswith(HEAD) and not self._head:
            self._head, self._soon = data, asyncio.get_running_loop().call_soon(self._flush)
        elif self._head:
            self._head += data
            self._flush()
        else:
            self._transport.write(data)

    def close(self) -> None:
        """End, after what was written."""
        self._flush()
        self._transport.close()

    def free(self) -> bool:
        """Free it after its end; False: only a collection of garbage can."""
        return free(self._transport)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if head:
            self._transport.write(head)


class Connection(H11Protocol):
    """uvicorn's protocol for one connection; `lost` is called at its end."""

    ended: ClassVar[int] = 0
    """How many have ended in this process, and wait for a collection of garbage."""

    def __init__(self, config: Config, state: ServerState, guest: Guest, lost: Any) -> None:
        super().__init__(config, state, {"guest": guest})
        self.guest, self._lost = guest, lost

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin: TLS has been negotiated."""
        self.guest.protocol = self
        self.guest.certificate, self.guest.machines = _has_certificate(transport), _machines_of(transport)
        self._within(REQUEST_LIMIT)
        transport.set_write_buffer_limits(high=UNSENT)
        super().connection_made(cast("asyncio.Transport", InOne(transport)))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        Connection.ended += not cast("InOne", self.transport).free()
        self._unset_keepalive_if_required()
        self.guest.leave()
        self._lost(self.guest)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self.guest.stage is Stage.SILENT:
            self.guest.hear()
            self._within(REQUEST_LIMIT)
        before = self.cycle
        super().data_received(data)
        self._begun_after(before)

    def on_response_complete(self) -> None:
        """Wait for the next request, or go on with one that has come already."""
        self.guest.stage = Stage.SILENT
        self._within(IDLE_LIMIT + REQUEST_LIMIT)
        before = self.cycle
        super().on_response_complete()
        self._begun_after(before)

    def pause_writing(self) -> None:
        """Note that the client does not take its answer: it has a place, and may be ended for another."""
        super().pause_writing()
        self.guest.stage = Stage.SPEAKS
        self.guest.park(parked=False)

    def resume_writing(self) -> None:
        """Note that it does again."""
        super().resume_writing()
        self._see_whole()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer what is no HTTP, as all that is refused is answered."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # the answer to an earlier request is under way
            self.transport.close()
            return
        body = NOT_HTTP.body
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            CLOSE,
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def finish(self) -> None:
        """End after the answer that is under way; at once if there is none."""
        self.guest.last = True
        with suppress(h11.LocalProtocolError):
            self.shutdown()
        if self.cycle is not None and not self.cycle.response_started:
            # As if its client had asked for that: uvicorn says then that it closes, so no request is sent in between.
            self.cycle.scope["headers"] = [*self.cycle.scope["headers"], CLOSE]

    def _begun_after(self, before: object) -> None:
        if self.cycle is not before:
            self.guest.park(parked=False)
            self.guest.hear()
            self._within(CALL_LIMIT)
            if self.loop.time() - self.guest.since > LONGEST or {name for name, _ in self.headers} >= _TWO_LENGTHS:
                self.cycle.keep_alive = False
        self._see_whole()

    def _see_whole(self) -> None:
        """Note if there is a whole request without a whole answer, of a client that takes what is sent."""
        going_on = self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete)
        if going_on and not self.flow.write_paused:
            self.guest.stage = Stage.ASKED

    def _within(self, seconds: float) -> None:
        self.guest.deadline = self.loop.time() + seconds


def _has_certificate(transport: asyncio.Transport) -> bool:
    """Tell whether the client has shown a certificate; the handshake has verified it."""
    tls = transport.get_extra_info("ssl_object")
    return isinstance(tls, ssl.SSLObject) and bool(tls.getpeercert(binary_form=True))


def _machines_of(transport: asyncio.Transport) -> frozenset[str]:
    """Give the machine ids in the verified certificate of a client, if it has one."""
    tls = transport.get_extra_info("ssl_object")
    return machines_in(tls.getpeercert() or {}) if isinstance(tls, ssl.SSLObject) else frozenset()


def machines_in(certificate: Mapping[str, Any]) -> frozenset[str]:
    """Give the machine ids in a certificate, as `getpeercert` gives it: common names, and DNS names of the SAN.

    A machine id has 32 hexadecimal digits (machine-id(5)). Names of another shape are none.
    """
    subject = certificate.get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    names += [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return frozenset(name for name in names if _MACHINE_ID.fullmatch(name))
