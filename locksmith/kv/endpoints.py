"""The endpoints and TLS files of the settings, made ready to connect to; nothing is connected yet."""

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from locksmith.errors import UsageError
from locksmith.kv.exchange import Endpoint
from locksmith.kv.settings import StoreSettings
from locksmith.kv.tls import Tls

_PORTS = {"http": 80, "https": 443}


def parse_endpoints(settings: StoreSettings) -> tuple[Endpoint, ...]:
    """Read the endpoints' URLs and the TLS files; `UsageError` names what cannot be used."""
    if not settings.endpoints:
        raise UsageError("no etcd endpoint is configured: name at least one, such as http://127.0.0.1:2379")
    tls = Tls(settings) if any(url.startswith("https:") for url in settings.endpoints) else None
    return tuple(_endpoint(url, tls) for url in settings.endpoints)


def _endpoint(url: str, tls: Tls | None) -> Endpoint:
    try:
        parts = parse_url(url)
    except LocationParseError:
        raise _unusable(url) from None
    if parts.scheme not in _PORTS or not parts.host or parts.auth or parts.path not in {None, "/"} or parts.query:
        raise _unusable(url)
    port = parts.port or _PORTS[parts.scheme]
    host = parts.host.strip("[]")
    return Endpoint(url.rstrip("/"), host, port, tls if parts.scheme == "https" else None)


def _unusable(url: str) -> UsageError:
    shown = url.rpartition("@")[2]  # a password goes into no log
    return UsageError(
        f"the etcd endpoint {shown!r} cannot be used: it must look like https://host:2379, without a user or a password"
    )
