"""The cookie of a session of the page. Pure.

With TLS its name begins with `__Host-`: the browser takes it from this host alone, over TLS, and for each path. Below a
path it is `__Secure-`, and goes to that path alone: the proxy does not show it to what else is on the host.
"""

from dataclasses import dataclass

from starlette.requests import Request

from locksmith.util import tokens
from locksmith.util.tokens import Kind, Token


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """How browsers reach the page: below a path, such as `/locksmith`, and by TLS that a proxy may have ended."""

    prefix: str = ""
    by_tls: bool = False

    def session_of(self, request: Request) -> Token | None:
        """Read the session of a request; None: it has none."""
        token = tokens.parse(request.cookies.get(self._name(request), ""))
        return token if token is not None and token.kind is Kind.SESSION else None

    def header(self, request: Request, text: str, seconds: int) -> str:
        """Give the value of `Set-Cookie` for the answer to a request."""
        secure = "; Secure" if self._is_by_tls(request) else ""
        where = self.prefix or "/"
        return f"{self._name(request)}={text}; Max-Age={seconds}; Path={where}; HttpOnly; SameSite=Strict{secure}"

    def _name(self, request: Request) -> str:
        if not self._is_by_tls(request):
            return "locksmith"
        return "__Secure-locksmith" if self.prefix else "__Host-locksmith"

    def _is_by_tls(self, request: Request) -> bool:
        return self.by_tls or request.url.scheme == "https"
