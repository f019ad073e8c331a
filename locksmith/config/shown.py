"""What a running locksmithd shows of its configuration on the bus, and what the tool makes of it. Pure.

Every user may read the bus. So this shows where the lock is and when this machine may reboot, and no more: no user
name, no password, no token, and no URL but those of etcd and of the FleetLock server, which have no credentials
(`config/urls.py`).
"""

import tomllib
from collections.abc import Mapping
from typing import Any

from locksmith.agent.fleet_lock import FLEET_LOCK
from locksmith.agent.fleet_server import SERVER
from locksmith.config import keys
from locksmith.config.keys import Key
from locksmith.config.model import Config
from locksmith.config.show import NOT_SET, describe
from locksmith.config.sources import Setting, Settings
from locksmith.errors import UsageError

ORIGIN = "locksmithd"
"""The origin of a setting that the daemon has shown."""

_SHOWN: tuple[Key[Any], ...] = (
    *(keys.STRATEGY, keys.GROUP, keys.DRY_RUN),
    *(keys.ENDPOINTS, keys.API, keys.CAFILE, keys.CERTFILE, keys.KEYFILE),
    *(keys.FLEET_LOCK_URL, keys.FLEET_LOCK_ID, keys.FLEET_SERVER_URLS),
    *(keys.START, keys.LENGTH, keys.OPEN, keys.BLACKOUTS, keys.ZONE, keys.USED_SETS, keys.WINDOW_SETS),
    *(keys.OPEN_CALENDARS, keys.BLACKOUT_CALENDARS, keys.LEAST, keys.SPLAY, keys.SYNCED),
)
SHOWN = frozenset(key.name for key in _SHOWN)
"""The keys that are shown."""

NEEDED = frozenset(key.name for key in (keys.STRATEGY, keys.GROUP, keys.ENDPOINTS, keys.API))
"""The keys without which the daemon's lock is unknown."""

LOCKLESS = frozenset({"reboot", "off", FLEET_LOCK, SERVER})
"""Strategies without a lock in a store: no flag for a store contradicts them."""


def shown(config: Config) -> dict[str, str]:
    """Give what the bus shows: keys and values, as TOML."""
    return {name: value for name, value, _ in describe(config) if name in SHOWN and value != NOT_SET}


def read_shown(values: Mapping[str, str]) -> Settings:
    """Give the settings that a daemon has shown. `UsageError`: they cannot be read, or the lock is not among them."""
    if missing := sorted(NEEDED - values.keys()):
        raise UsageError(f"its {missing[0]} is missing")
    found = {}
    for name in SHOWN & values.keys():
        key = keys.KEYS[name]
        try:
            value = key.kind.typed(tomllib.loads(f"value = {values[name]}")["value"])
        except (ValueError, RecursionError) as error:
            raise UsageError(f"its {name} cannot be read: {error}") from None
        found[name] = Setting(key, value, ORIGIN)
    return Settings(found)


def under_daemon(files: Settings, daemon: Settings) -> Settings:
    """Give the settings of the files, with those of a running daemon instead of theirs."""
    if not daemon.by_name:
        return files
    own = Settings({name: setting for name, setting in files.by_name.items() if name not in SHOWN})
    return own.under(daemon)


def conflicts(typed: Settings, daemon: Settings) -> tuple[str, ...]:
    """Say which flags and variables name another lock than the daemon's; some of its endpoints are its own store."""
    if not daemon.by_name or daemon.value(keys.STRATEGY, "") in LOCKLESS:
        return ()
    about: tuple[Key[Any], ...] = (keys.GROUP, keys.ENDPOINTS, keys.API)
    return tuple(
        f"{given.origin} says {_said(given.value)}, and this machine's locksmithd has {key.name} {_said(own.value)}"
        for key in about
        if (given := typed.of(key)) and (own := daemon.of(key)) and not _agrees(given.value, own.value)
    )


def other_lock(config: Config, daemon: Settings) -> str:
    """Say in which setting a daemon has another lock than `config`; empty: it has the same lock."""
    strategy = daemon.value(keys.STRATEGY, "")
    used: list[tuple[Key[Any], object]] = [(keys.STRATEGY, config.strategy)]
    if strategy == FLEET_LOCK:
        server = config.fleet_lock
        used += [(keys.GROUP, config.group), (keys.FLEET_LOCK_URL, server.url), (keys.FLEET_LOCK_ID, server.id or None)]
    elif strategy == SERVER:
        used += [(keys.GROUP, config.group)]
    elif strategy not in LOCKLESS:
        used += [(keys.GROUP, config.group), (keys.ENDPOINTS, config.store.endpoints), (keys.API, config.store.api)]
    for key, value in used:
        own = daemon.value(key, None)
        if not _agrees(value, own):
            return f"this machine's locksmithd has {key.name} {_said(own)} by now, and not {_said(value)}"
    return ""


def _agrees(given: object, own: object) -> bool:
    if isinstance(given, tuple) and isinstance(own, tuple):
        return set(given) <= set(own)
    return given == own


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) or "'' (the default group)"
