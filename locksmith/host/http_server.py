"""A server that is asked over HTTP. A cancellation cuts a request off at once.

Each request has a connection of its own, unless its caller says that it may use a kept one (kept_links.py).

Redirects are not followed: each is an answer. What is wrong with a server is said with its URL.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from locksmith.errors import OutcomeUnknownError, StoreUnavailableError
from locksmith.host.kept_links import KeptLinks, Reuse, StaleError
from locksmith.store.diagnosis import speaks_plainly, speaks_tls
from locksmith.store.dial import dial
from locksmith.store.endpoints import Endpoint
from locksmith.store.exchange import describe
from locksmith.store.link import Link, LinkError, Request
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
        self._links = KeptLinks(self._endpoint)

    async def exchange(
        self,
        request: Request,
        limit: float,
        before: Callable[[], None] = lambda: None,
        *,
        most: int,
        reads_success: bool = True,
        reuse: Reuse = Reuse.NEVER,
    ) -> HttpAnswer:
        """Send a request, and give its answer, which begins within `limit` seconds.

        At most about `most` bytes of its body are read; of a success only if `reads_success`. `before` is called when
        there is a connection, and again if a kept connection has ended; `reuse` says whether one may be used.
        `StoreUnavailableError`: the server has certainly not received it. `OutcomeUnknownError`: it may have.
        """
        if (kept := self._links.take(reuse)) is not None:
            send = partial(
                self._links.send, request=request, limit=min(limit, CONNECT_LIMIT) / 2, before=before, reuse=reuse
            )
            with contextlib.suppress(StaleError):
                return await self._ask_kept(kept, send, limit, most, reuse)
        link = await self._connect(min(limit, CONNECT_LIMIT))
        whole = False
        try:
            before()
            try:
                link.send(request)
            except LinkError as error:
                raise StoreUnavailableError(self.says(f"cannot be asked: {describe(error)}")) from None
            try:
                await self._head(link, limit)
            except LinkError as error:
                raise await self._lost(error) from None
            if link.status in SUCCESS and not reads_success:
                return HttpAnswer(link.status, link.headers)
            if link.status == BAD_REQUEST and self._endpoint.tls is None and await self._is(speaks_tls):
                raise self._wrong_scheme()
            answer = await _read(link, most)
            whole = answer.whole
            return answer
        finally:
            self._links.leave(link, reuse, whole=whole)

    def close(self) -> None:
        """End the connections that are kept."""
        self._links.close()

    async def _ask_kept(
        self, link: Link, send: Callable[[Link], Awaitable[None]], limit: float, most: int, reuse: Reuse
    ) -> HttpAnswer:
        """Send a request on a kept connection. `StaleError`: it was not done, or changes nothing."""
        whole = False
        try:
            await send(link)
            try:
                await self._head(link, limit)
            except LinkError as error:
                if reuse is Reuse.WHOLE:
                    raise StaleError from error
                raise self._no_answer(error) from None
            answer = await _read(link, most)
            whole = answer.whole
            return answer
        finally:
            self._links.leave(link, reuse, whole=whole)

    async def _head(self, link: Link, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await link.head()
        except TimeoutError:
            raise OutcomeUnknownError(self.says(f"gave no answer within {limit:g} s")) from None

    def _no_answer(self, error: LinkError) -> OutcomeUnknownError:
        return OutcomeUnknownError(self.says(f"gave no answer: {one_line(describe(error), LONGEST)}"))

    def says(self, problem: str) -> str:
        """Give a sentence about this server."""
        return f"{self._what} {self.url} {problem}"

    async def _connect(self, limit: float) -> Link:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(limit):
                return await self._links.make(await dial(endpoint.host, endpoint.port))
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
        return self._no_answer(error)

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


async def _read(link: Link, most: int) -> HttpAnswer:
    """Read the body of an answer; what is too long, late or broken off is left out."""
    body = bytearray()
    with contextlib.suppress(LinkError, TimeoutError):
        async with asyncio.timeout(BODY_LIMIT):
            while len(body) <= most:
                piece = await link.piece()
                if not piece:
                    return HttpAnswer(link.status, link.headers, bytes(body), whole=True)
                body += piece
    return HttpAnswer(link.status, link.headers, bytes(body))
