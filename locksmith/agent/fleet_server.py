"""The settings of the strategy `server`, and its lock: a group, on which any of several servers acts. Pure."""

from dataclasses import dataclass
from pathlib import Path

from locksmith.agent.identity import Target

SERVER = "server"
"""The name of the strategy."""
API = 4
"""Tells a claim that was made through a server from those of etcd's APIs, 2 and 3, and of FleetLock, 1."""


@dataclass(frozen=True, slots=True)
class FleetServerSettings:
    """The table `[fleet-server]`: the servers, and who asks them.

    `urls` are the base URLs in order of preference, without a `/` at their ends. The machine shows the token in
    `token_file`, or its client certificate. `cafile` has the CAs that are trusted (None: the system's).
    """

    urls: tuple[str, ...] = ()
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    token_file: Path | None = None


def target(group: str) -> Target:
    """Give the lock of a group. Servers are doors to it: which one is asked does not matter, the cluster does."""
    return Target(SERVER, group, API, ())
