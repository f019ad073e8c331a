"""Why a server takes connections and does not answer as etcd's API does: a wrong port, scheme or setting.

A server is probed only after a failure. To a server without trust, a probe sends only a request for its version.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from locksmith.store.dial import dial
from locksmith.store.endpoints import Endpoint
from locksmith.store.link import Link, LinkError, Request, connect
from locksmith.store.tls import Tls
from locksmith.util.jsonread import BadJsonError, load_object, read
from locksmith.util.threads import in_thread

LIMIT = 1.0
"""Seconds for all probes of one endpoint."""
KEPT = 60.0
"""Seconds for which a finding counts: a server that fails each call is not probed at each call."""

BAD_REQUEST = 400
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
"""The first bytes of a client of HTTP/2, with empty settings (RFC 9113, 3.4)."""
SETTINGS = 4
"""The type of the frame that an HTTP/2 server says first; the fourth byte of a frame is its type."""
FRAME_HEAD = 9
FIRST_WITH_V3 = (3, 4)

PEER = (
    "this is etcd's port for its peers: name its client port in etcd.endpoints "
    "(`listen-client-urls` of etcd, 2379 by default)"
)
NO_GATEWAY = "etcd's HTTP gateway is off: set `enable-grpc-gateway: true` in etcd's configuration and restart etcd"
GRPC_ONLY = (
    "this port of etcd speaks gRPC alone: name its port for HTTP in etcd.endpoints (`listen-client-http-urls` of etcd)"
)
NO_V3 = (
    "the server knows no /v3/: name etcd's client port in etcd.endpoints, and set `enable-grpc-gateway: true` in "
    "etcd's configuration"
)

TOO_OLD = "this etcd is older than 3.4 and has no API at /v3/: use etcd 3.4 or newer"


class Diagnosis:
    """The findings about one endpoint. With `v3`, also why the endpoint lacks that API."""

    def __init__(self, endpoint: Endpoint, *, v3: bool = True) -> None:
        self._endpoint = endpoint
        self._v3 = v3
        self._finding = ""
        self._until = float("-inf")

    async def find(self, by: float, status: int) -> str:
        """Say what is wrong and what to do; empty: the reason is not known at the loop's time `by`.

        `status` is the HTTP status of the answer that was none of etcd's, or 0 if there was no answer.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._until and by > now:
            self._finding = ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(by, now + LIMIT)):
                    self._finding = await self._find(status)
            self._until = now + KEPT
        return self._finding

    async def _find(self, status: int) -> str:
        """Give the reason; an HTTP status shows that the scheme is right."""
        if not status:
            return await self._wrong_scheme() or (GRPC_ONLY if await self._is_http2(self._endpoint.tls) else "")
        _, members = await _get(self._endpoint, "/members", self._endpoint.context)
        if members.startswith(b"["):
            return PEER
        if not self._v3:
            return ""
        version = _etcd_version((await _get(self._endpoint, "/version", self._endpoint.context))[1])
        if version is None:
            return NO_V3
        return NO_GATEWAY if version >= FIRST_WITH_V3 else TOO_OLD

    async def _wrong_scheme(self) -> str:
        url = self._endpoint.url
        if self._endpoint.tls is None:
            https = url.replace("http:", "https:", 1)
            says = f"this port speaks TLS: write {https} in etcd.endpoints, and name its CA in etcd.cafile"
            return says if await speaks_tls(self._endpoint) else ""
        http = url.replace("https:", "http:", 1)
        says = f"this port speaks no TLS: write {http} in etcd.endpoints, or set `cert-file` and `key-file` of etcd"
        return says if await speaks_plainly(self._endpoint) or await self._is_http2(None) else ""

    async def _is_http2(self, tls: Tls | None) -> bool:
        """Tell whether the first bytes of a server are HTTP/2."""
        with contextlib.suppress(OSError, EOFError):
            context = await in_thread(lambda: tls.offering("h2"), limit=LIMIT) if tls else None
            reader, writer = await asyncio.open_connection(
                sock=await dial(self._endpoint.host, self._endpoint.port),
                ssl=context,
                server_hostname=self._endpoint.host if context else None,
            )
            try:
                writer.write(PREFACE)
                return (await reader.readexactly(FRAME_HEAD))[3] == SETTINGS
            finally:
                writer.transport.abort()
        return False


async def speaks_tls(endpoint: Endpoint) -> bool:
    """Whether a port that was asked for plain HTTP speaks TLS. Nothing is sent to a server without trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with _linked(endpoint, context):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)
    except (LinkError, OSError):
        return False


async def speaks_plainly(endpoint: Endpoint) -> bool:
    """Whether a port that was asked for TLS answers plain HTTP."""
    status, _ = await _get(endpoint, "/version", None)
    # 400 is how servers in Go refuse plain HTTP on a port with TLS.
    return status not in {0, BAD_REQUEST}


async def _get(endpoint: Endpoint, path: str, context: ssl.SSLContext | None) -> tuple[int, bytes]:
    """Ask for a page; status 0: there was no answer."""
    with contextlib.suppress(LinkError, OSError):
        async with _linked(endpoint, context) as link:
            link.send(Request(path, method="GET"))
            await link.head()
            return link.status, await link.piece()
    return 0, b""


@contextlib.asynccontextmanager
async def _linked(endpoint: Endpoint, context: ssl.SSLContext | None) -> AsyncIterator[Link]:
    link = await connect(endpoint, await dial(endpoint.host, endpoint.port), context)
    try:
        yield link
    finally:
        link.cut()


def _etcd_version(answer: bytes) -> tuple[int, ...] | None:
    with contextlib.suppress(BadJsonError, ValueError):
        return tuple(map(int, read(load_object(answer), "etcdserver", str).split(".")[:2]))
    return None
