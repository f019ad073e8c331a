"""The settings of `locksmith-server`, as values: the table `[server]` of the configuration. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

MOST_PASSWORDS: Final = 8
"""Lines of a group's password file: the passwords that count at a time."""


@dataclass(frozen=True, slots=True)
class ServedGroup:
    """A group whose FleetLock clients are served, and who counts as one of them.

    A call must satisfy each that is set: it comes from one of `clients`, it has the password or the token of the file
    (`Authorization: Basic` with any user, or `Bearer`), it shows a client certificate. At least one is set: a server
    that lets every client in says so, `clients = ["0.0.0.0/0", "::/0"]`.

    `limit` is how long a client's reboot takes at most, until its next steady-state; after it the client is overdue,
    and 15 minutes later it is lost. `window_sets` names the sets of windows, of the configuration or of the store, in
    which its clients may reboot (none: at any time).
    """

    clients: tuple[Network, ...] = ()
    password_file: Path | None = None
    certificates: bool = False
    limit: timedelta = timedelta(minutes=15)
    window_sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The address, TLS, and the groups by their names; `hook_limit` is for each program of a client's hooks.

    Who asks from one of `metrics_clients` gets the metrics of all groups without a credential.

    `url` is where people and machines find the server, without a `/` at its end; empty: at its own address.

    With `certfile` and `keyfile` the port speaks TLS; `client_cafile` is who signs certificates of clients.
    """

    address: str = "127.0.0.1"
    port: int = 3333
    url: str = ""
    certfile: Path | None = None
    keyfile: Path | None = None
    client_cafile: Path | None = None
    hook_limit: timedelta = timedelta(minutes=5)
    metrics_clients: tuple[Network, ...] = ()
    groups: Mapping[str, ServedGroup] = field(default_factory=dict, hash=False)

    @property
    def prefix(self) -> str:
        """The path of the URL, such as `/locksmith`; empty: the server has its host for itself."""
        return urlsplit(self.url).path

    @property
    def is_reached_by_tls(self) -> bool:
        """Whether the URL says that people come by TLS, which a proxy may have ended."""
        return self.url.startswith("https:")
