"""Machines that coordinate with no store: a missing etcd is no error of theirs, and they are told so."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from locksmith.agent.fleet_server import SERVER
from locksmith.errors import OtherClusterError, StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from locksmith.agent.strategy import Strategy
    from locksmith.config.model import Config
    from locksmith.host.paths import Paths


OF_NO_SERVER = frozenset({"off", "reboot", "etcd-lock"})
"""Strategies of locksmith whose slots no server grants. They need not be loaded, with the whole loop, to tell that."""


def shares_store(config: "Config", paths: "Paths", strategy: str = "") -> bool:
    """Whether a strategy (that of the configuration, if none is named) coordinates through a store.

    A strategy that cannot be used here counts as one that does: then the store has the answer, or an error.
    """
    from locksmith.agent.strategy import asks_server

    found = _strategy(config, paths, strategy)
    return found is None or (found.present and asks_server(found) is None)


def asked_server(config: "Config", paths: "Paths", strategy: str = "") -> str:
    """Name the server that grants the slots of a strategy; empty: the strategy has a store, or no slots."""
    if (strategy or config.strategy) in OF_NO_SERVER:
        return ""
    from locksmith.agent.strategy import asks_server

    found = _strategy(config, paths, strategy)
    asks = asks_server(found) if found is not None else None
    return asks.server if asks is not None else ""


def never_reboots(config: "Config", paths: "Paths") -> bool:
    """Whether the configured strategy never reboots: then the daemon ends by itself."""
    found = _strategy(config, paths, "")
    return found is not None and not found.reboots


def _strategy(config: "Config", paths: "Paths", name: str) -> "Strategy | None":
    from locksmith.daemon.assembly import make_strategy, target_of

    target = target_of(config)
    try:
        return make_strategy(config, replace(target, strategy=name or target.strategy), paths)
    except UsageError:
        return None


def names_store(flags: Mapping[str, object]) -> bool:
    """Whether a flag or a variable names the store: then that store is meant, under each strategy."""
    return bool(flags.get("endpoint") or os.environ.get("LOCKSMITHCTL_ENDPOINT"))


@contextlib.contextmanager
def saying_so(config: "Config", paths: "Paths", flags: Mapping[str, object]) -> Iterator[None]:
    """Say of a store that cannot be reached that this machine's strategy uses none, or that credentials are missing."""
    try:
        yield
    except OtherClusterError:
        raise
    except StoreUnavailableError as error:
        if names_store(flags) or shares_store(config, paths):
            if config.unread:
                raise StoreUnavailableError(f"{error}; {config.unread}") from None
            raise
        server = asked_server(config, paths)
        if config.strategy == SERVER:
            raise StoreUnavailableError(
                f"this machine has no etcd, as its strategy is {SERVER}: {server} acts on its group. "
                "`locksmithctl why` says what it waits for. Run other commands where etcd can be reached, or "
                f"name etcd with -endpoint and -group (tried here: {error})"
            ) from None
        lacks = (
            f"{server} decides, and alone knows who has a slot"
            if server
            else "it has no slots, no queue and no history"
        )
        raise StoreUnavailableError(
            f"this machine coordinates with no store, as its strategy is {config.strategy}: {lacks}. "
            "`locksmithctl why` says what it waits for. To act on a group that has a store, "
            f"name it with -endpoint and -group (tried here: {error})"
        ) from None
