"""The settings of the strategy `fleet-lock`, and its lock: a group at a FleetLock server. Pure."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from locksmith.agent.identity import Target

FLEET_LOCK = "fleet-lock"
"""The name of the strategy."""
API = 1
"""The version of FleetLock's protocol; etcd's APIs are 2 and 3."""
DEFAULT_GROUP = "default"
GROUP = re.compile(r"[a-zA-Z0-9.-]+")
"""What FleetLock allows as the name of a group."""


@dataclass(frozen=True, slots=True)
class FleetLockSettings:
    """The table `[fleet-lock]`: a server, and who asks it.

    `url` is the base URL, without a `/` at its end (empty: none is configured). `id` is this machine's id there (empty:
    the one that Zincati derives). The server is asked as `username`, with the password in `password_file`, or with the
    token in `token_file`. `cafile` has the CAs that are trusted (None: the system's). `period` is the least time
    between two requests for permission.
    """

    url: str = ""
    id: str = ""
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    username: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    period: timedelta = timedelta(minutes=5)

    def at(self, target: Target) -> "FleetLockSettings":
        """Give the settings for the server of a target, which may be that of an older configuration.

        No other server is shown the secret.
        """
        url = target.endpoints[0] if target.endpoints else ""
        found = replace(self, url=url, id=target.client)
        if _server(url) == _server(self.url):
            return found
        return replace(found, username="", password_file=None, token_file=None, certfile=None, keyfile=None)


def target(group: str, settings: FleetLockSettings) -> Target:
    """Give the lock of a group at the configured server."""
    return Target(FLEET_LOCK, group, API, (settings.url,), client=settings.id)


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
