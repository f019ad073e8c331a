"""HTTP connections to the store's endpoints: TLS, time limits, and no second try that nobody asked for."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from locksmith.errors import UsageError
from locksmith.kv.settings import StoreSettings

PORTS = {"http": 80, "https": 443}
IDLE_CONNECTIONS = 4
"""Kept open for each endpoint: one that waits, a few that ask."""
PATIENCE = 0.9
"""The share of its time after which a blocking call gives up by itself, so that it can still say why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint's URL taken apart; `host` has its brackets when it is an IPv6 address, `path` no slash at its end."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


def parse_endpoint(url: str) -> Endpoint:
    """Read `http[s]://host[:port][/path]`, or raise `UsageError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"endpoint {url!r} cannot be used: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise UsageError(f"endpoint {url!r} cannot be used: write it as http://HOST:PORT or https://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Endpoint(url, parts.scheme, host, port or PORTS[parts.scheme], parts.path.rstrip("/"))


def open_pool(settings: StoreSettings) -> urllib3.PoolManager:
    """Make a pool of connections (none is made yet); bad TLS files raise `UsageError`.

    Never repeats a request: urllib3's own default repeats a PUT whose answer was lost, and so a swap that had won.
    """
    if not any(url.startswith("https:") for url in settings.endpoints):
        return urllib3.PoolManager(maxsize=IDLE_CONNECTIONS, retries=False)
    return urllib3.PoolManager(maxsize=IDLE_CONNECTIONS, retries=False, ssl_context=_tls(settings))


def patience(seconds: float) -> urllib3.Timeout:
    """Bound a blocking request that has `seconds` in all."""
    return urllib3.Timeout(total=seconds * PATIENCE)


def never_connected(error: object) -> bool:
    """Whether a failed request cannot have reached the server."""
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in getattr(error, "args", ()))


def as_latin1(text: str | None) -> str | None:
    """Spell UTF-8 in the encoding that urllib3 turns credentials into, so that the server gets UTF-8."""
    return None if text is None else text.encode().decode("latin-1")


def brief(error: object) -> str:
    """Say what was wrong in one line; what urllib3 raises repeats the address, its cause does not."""
    error = getattr(error, "__cause__", None) or error
    return " ".join(str(error).split())[:200]


def _tls(settings: StoreSettings) -> ssl.SSLContext:
    """Server-only TLS with a CA alone (without one, the system's CAs); mutual TLS with a client certificate."""
    try:
        context = ssl.create_default_context(cafile=settings.cafile)
    except (OSError, ssl.SSLError) as error:
        raise _bad_file("CA", settings.cafile, error) from None
    if settings.certfile:
        try:
            context.load_cert_chain(settings.certfile, settings.keyfile)
        except (OSError, ssl.SSLError) as error:
            raise _bad_file("client certificate or key", settings.certfile, error) from None
    return context


def _bad_file(what: str, path: Path | None, error: Exception) -> UsageError:
    return UsageError(f"the {what} file {path} cannot be used: {error}")
