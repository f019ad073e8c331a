"""How to reach the store, as the configuration says; nothing is connected yet."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

V2, V3 = 2, 3
"""The APIs of etcd, by their own names."""

DEFAULT_ENDPOINTS = ("http://127.0.0.1:2379", "http://127.0.0.1:4001")
"""The default of CoreOS locksmith."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Endpoints (tried in turn), the API to speak (2 or 3, never guessed), TLS files, credentials.

    `timeout` bounds each call, all endpoints together, in seconds. `renewed` gives a password that may change, as it is
    now; `password` is as it was at the start.
    """

    endpoints: tuple[str, ...] = DEFAULT_ENDPOINTS
    api: int = V3
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 5.0
    renewed: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def password_now(self) -> str:
        """The password for the next login; empty: none."""
        return (self.renewed() if self.renewed else self.password) or ""


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine: by a loopback address, or by the name `localhost`."""
    with suppress(ValueError):  # no URL: the connection reports it
        host = (urlsplit(url).hostname or "").rstrip(".")
        return host == "localhost" or host.endswith(".localhost") or _is_own(host)
    return False


def _is_own(host: str) -> bool:
    address = ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
