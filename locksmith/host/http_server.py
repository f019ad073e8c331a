"""A server that is asked over HTTP: one connection for each request, which a cancellation cuts off at once.

Redirects are not followed: each is an answer. What is wrong with a server is said with its URL.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.store.diagnosis import speaks_plainly, speaks_tls
from locksmith.store.dial import dial
from locksmith.store.endpoints import Endpoint
from locksmith.store.exchange import describe
from locksmith.store.link import Link, LinkError, Request, connect
from locksmith.store.tls import Tls, is_refusal, root
from locksmith.util.text import one_line
from locksmith.util.threads import in_thread

CONNECT_LIMIT = 10.0
"""Seconds to connect, TLS included."""
BODY_LIMIT = 5.0
"""Seconds for the rest of an answer whose status is known."""
PROBE_LIMIT = 1.0
"""Seconds to find out why a server does not answer."""
LONGEST = 400
"""Characters of an error that are shown."""

SUCCESS = range(200, 300)
BAD_REQUEST = 400
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer. `whole`: its body came to its end, within the limits of its reader."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    body: bytes = b""
    whole: bool = False


class HttpServer:
    """One server. `what` names it in a sentence, `key` is the setting that has its URL."""

    def __init__(self, url: str, tls: Tls | None, what: str, key: str) -> None:
        parts = urlsplit(url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        self.url, self._what, self._key = url, what, key
        self.path = parts.path.rstrip("/")
        self._endpoint = Endpoint(url, parts.hostname or "", port, tls if parts.scheme == "https" else None)

    async def exchange(
        self,
        request: Request,
        limit: float,
        before: Callable[[], None] = lambda: None,
        *,
        most: int,
        reads_success: bool = True,
    ) -> HttpAnswer:
        """Send a request, and give its answer, which begins within `limit` seconds.

        At most about `most` bytes of its body are read; of a success only if `reads_success`. `before` is called when
        there is a connection.
        `StoreUnavailableError`: the server has certainly not received it. `OutcomeUnknownError`: it may have.
        """
        loop = asyncio.get_running_loop()
        link = await self._connect(min(limit, CONNECT_LIMIT))
        try:
            before()
            try:
                link.send(request)
            except LinkError as error:
                raise StoreUnavailableError(self.says(f"cannot be asked: {describe(error)}")) from None
            try:
                async with asyncio.timeout(limit):
                    await link.head()
            except TimeoutError:
                raise OutcomeUnknownError(self.says(f"gave no answer within {limit:g} s")) from None
            except LinkError as error:
                raise await self._lost(error) from None
            if link.status in SUCCESS and not reads_success:
                return HttpAnswer(link.status, link.headers)
            if link.status == BAD_REQUEST and self._endpoint.tls is None and await self._is(speaks_tls):
                raise self._wrong_scheme()
            return await _read(link, loop.time() + BODY_LIMIT, most)
        finally:
            link.cut()

    def says(self, problem: str) -> str:
        """Give a sentence about this server."""
        return f"{self._what} {self.url} {problem}"

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
        raise StoreUnavailableError(self.says(problem))

    async def _lost(self, error: LinkError) -> StoreUnavailableError | OutcomeUnknownError:
        """Say why a server that was asked gave no answer. A server refuses a certificate before it reads a request."""
        if is_refusal(root(error)):
            problem = await self._certificate_fault(error)
            return StoreUnavailableError(self.says(f"cannot be reached: {problem or describe(error)}"))
        if self._endpoint.tls is None and await self._is(speaks_tls):
            return self._wrong_scheme()
        return OutcomeUnknownError(self.says(f"gave no answer: {one_line(describe(error), LONGEST)}"))

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
        url = self.url.replace("http:", "https:", 1) if plain else self.url.replace("https:", "http:", 1)
        what = "its port speaks TLS" if plain else "its port speaks no TLS"
        return StoreUnavailableError(self.says(f"cannot be asked: {what}: write {url} in {self._key}"))


async def _read(link: Link, by: float, most: int) -> HttpAnswer:
    """Read the body of an answer; what is too long, late or broken off is left out."""
    body = bytearray()
    with contextlib.suppress(LinkError, TimeoutError):
        async with asyncio.timeout_at(by):
            while len(body) <= most:
                piece = await link.piece()
                if not piece:
                    return HttpAnswer(link.status, link.headers, bytes(body), whole=True)
                body += piece
    return HttpAnswer(link.status, link.headers, bytes(body))
