"""The endpoints and TLS files of the settings, ready for connections; nothing is connected yet."""

import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from locksmith.errors import UsageError
from locksmith.store.settings import StoreSettings
from locksmith.store.tls import Tls, is_refusal, root

_PORTS = {"http": 80, "https": 443}
_SERVER = re.compile(r"(\[[^\[\]]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")
"""A name or an address, and a port; Python's parser accepts more."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server; `tls` is None for plain HTTP."""

    url: str
    host: str
    port: int
    tls: Tls | None

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context of a new connection: whom to trust, and which certificate to show."""
        return self.tls.context if self.tls else None

    @property
    def authority(self) -> str:
        """Host and port, as an HTTP request names them."""
        host = self.host.partition("%")[0]  # the zone of an address is known on this machine only
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def certificate_fault(self, error: BaseException) -> str:
        """Say what is wrong with the certificate of the server or of this client; empty: the error is another.

        A blocking call: it may fetch the server's certificate.
        """
        cause = root(error)
        if self.tls is not None and isinstance(cause, ssl.SSLCertVerificationError):
            return self.tls.distrust(cause, self.host, self.port)
        return self.tls.refusal(cause) if self.tls is not None and is_refusal(cause) else ""


def parse_endpoints(settings: StoreSettings) -> tuple[Endpoint, ...]:
    """Read the endpoints' URLs and the TLS files; `UsageError` names what cannot be used."""
    if not settings.endpoints:
        raise UsageError("no etcd endpoint is configured: name at least one, such as http://127.0.0.1:2379")
    parts = [_parts(url) for url in settings.endpoints]
    tls = Tls(settings) if any(part.scheme == "https" for part in parts) else None
    return tuple(_endpoint(*each, tls) for each in zip(settings.endpoints, parts, strict=True))


def _endpoint(url: str, parts: SplitResult, tls: Tls | None) -> Endpoint:
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return Endpoint(url.rstrip("/"), parts.hostname or "", port, tls if parts.scheme == "https" else None)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        more = parts.path not in {"", "/"} or parts.query or parts.fragment
        usable = parts.scheme in _PORTS and not more and parts.port != 0 and _is_server(parts)
    except (ValueError, OSError):
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise _unusable(url)
    return parts


def _is_server(parts: SplitResult) -> bool:
    if "[" in parts.netloc:
        socket.inet_pton(socket.AF_INET6, (parts.hostname or "").partition("%")[0])
    return _SERVER.fullmatch(parts.netloc) is not None


def _unusable(url: str) -> UsageError:
    shown = url.rpartition("@")[2]  # a password goes into no log
    return UsageError(
        f"the etcd endpoint {shown!r} cannot be used: it must look like https://host:2379, without a user or a password"
    )
