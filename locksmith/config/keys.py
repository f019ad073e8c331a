"""Every key of the configuration, with its flag and its environment variable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from locksmith.config.notify_values import TARGETS, TEMPLATES
from locksmith.config.server_values import GROUPS, NETWORKS, PUBLIC_URL
from locksmith.config.values import (
    API_VERSION,
    BLACKOUT_LIST,
    BOOLEAN,
    FLEET_LOCK_SERVER,
    FLEET_SERVERS,
    FULL_TEXT,
    HALT_AFTER,
    LONG_SPAN,
    PATH,
    PATHS,
    PATTERN,
    PER_DAY,
    PERCENT,
    PORT,
    SESSIONS,
    SPAN,
    SPAN_OR_NONE,
    STATUSES,
    STRATEGY_NAME,
    TEXT,
    TEXTS,
    TIMEOUT,
    UNITS,
    URL,
    URLS,
    VERY_LONG_SPAN_OR_NONE,
    WHOLE,
    WINDOW_LENGTH,
    WINDOW_SETS_KIND,
    WINDOW_START,
    WINDOWS,
    ZONE_NAME,
    Kind,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """A key as in the file: `group`, or `etcd.api` for `api` in the table `[etcd]`."""

    name: str
    kind: Kind[T]


STRATEGY: Final = Key("strategy", STRATEGY_NAME)
GROUP: Final = Key("group", TEXT)
DRY_RUN: Final = Key("dry-run", BOOLEAN)
ADOPT: Final = Key("adopt", BOOLEAN)
DEBUG: Final = Key("debug", BOOLEAN)

ENDPOINTS: Final = Key("etcd.endpoints", URLS)
API: Final = Key("etcd.api", API_VERSION)
CAFILE: Final = Key("etcd.cafile", PATH)
CERTFILE: Final = Key("etcd.certfile", PATH)
KEYFILE: Final = Key("etcd.keyfile", PATH)
USERNAME: Final = Key("etcd.username", TEXT)
PASSWORD: Final = Key("etcd.password", TEXT)
PASSWORD_FILE: Final = Key("etcd.password-file", PATH)
STORE_TIMEOUT: Final = Key("etcd.timeout", TIMEOUT)

START: Final = Key("window.start", WINDOW_START)
LENGTH: Final = Key("window.length", WINDOW_LENGTH)
OPEN: Final = Key("window.open", WINDOWS)
BLACKOUTS: Final = Key("window.blackouts", BLACKOUT_LIST)
OPEN_CALENDARS: Final = Key("window.open-calendars", PATHS)
BLACKOUT_CALENDARS: Final = Key("window.blackout-calendars", PATHS)
ZONE: Final = Key("window.zone", ZONE_NAME)
USED_SETS: Final = Key("window.sets", TEXTS)
LEAST: Final = Key("window.min-remaining", SPAN_OR_NONE)
SPLAY: Final = Key("window.splay", PERCENT)
SYNCED: Final = Key("window.require-synced-clock", BOOLEAN)
WINDOW_SETS: Final = Key("window-sets", WINDOW_SETS_KIND)

METRICS_ENABLED: Final = Key("metrics.enabled", BOOLEAN)
METRICS_ADDRESS: Final = Key("metrics.address", FULL_TEXT)
METRICS_PORT: Final = Key("metrics.port", PORT)
METRICS_CERTFILE: Final = Key("metrics.certfile", PATH)
METRICS_KEYFILE: Final = Key("metrics.keyfile", PATH)

LIMIT: Final = Key("reboot.limit", SPAN)
SETTLE: Final = Key("reboot.settle", SPAN)
RETRY: Final = Key("reboot.retry", SPAN)

TRIES: Final = Key("reboot.tries", WHOLE)
REPEAT: Final = Key("reboot.repeat", SPAN_OR_NONE)
MAX_PER_DAY: Final = Key("reboot.max-per-day", PER_DAY)
MIN_UPTIME: Final = Key("reboot.min-uptime", SPAN_OR_NONE)
SPACING: Final = Key("reboot.spacing", SPAN_OR_NONE)

HALT: Final = Key("halt.after", HALT_AFTER)
EXPIRE: Final = Key("halt.expire-after", SPAN_OR_NONE)
STALE: Final = Key("halt.stale-after", LONG_SPAN)

HEALTH_LIMIT: Final = Key("health.limit", LONG_SPAN)
HEALTH_UNITS: Final = Key("health.units", UNITS)

HOOK_LIMIT: Final = Key("programs.hook-limit", SPAN)
CHECK_LIMIT: Final = Key("programs.check-limit", SPAN)

SESSIONS_WHICH: Final = Key("sessions.count", SESSIONS)
SESSIONS_IGNORE: Final = Key("sessions.ignore", TEXTS)
SESSIONS_GRACE: Final = Key("sessions.grace", SPAN)
SESSIONS_LIMIT: Final = Key("sessions.limit", SPAN_OR_NONE)

ALERTMANAGER: Final = Key("alerts.alertmanager", URL)
PROMETHEUS: Final = Key("alerts.prometheus", URL)
QUERY: Final = Key("alerts.query", TEXT)
ALERTS_ONLY: Final = Key("alerts.only", PATTERN)
ALERTS_IGNORE: Final = Key("alerts.ignore", PATTERN)
SEVERITIES: Final = Key("alerts.severities", TEXTS)
ALERTS_USERNAME: Final = Key("alerts.username", TEXT)
ALERTS_PASSWORD_FILE: Final = Key("alerts.password-file", PATH)
ALERTS_TOKEN_FILE: Final = Key("alerts.token-file", PATH)
ALERTS_CAFILE: Final = Key("alerts.cafile", PATH)

FLEET_LOCK_URL: Final = Key("fleet-lock.url", FLEET_LOCK_SERVER)
FLEET_LOCK_ID: Final = Key("fleet-lock.id", TEXT)
FLEET_LOCK_CAFILE: Final = Key("fleet-lock.cafile", PATH)
FLEET_LOCK_CERTFILE: Final = Key("fleet-lock.certfile", PATH)
FLEET_LOCK_KEYFILE: Final = Key("fleet-lock.keyfile", PATH)
FLEET_LOCK_USERNAME: Final = Key("fleet-lock.username", TEXT)
FLEET_LOCK_PASSWORD_FILE: Final = Key("fleet-lock.password-file", PATH)
FLEET_LOCK_TOKEN_FILE: Final = Key("fleet-lock.token-file", PATH)
FLEET_LOCK_PERIOD: Final = Key("fleet-lock.period", SPAN)

FLEET_SERVER_URLS: Final = Key("fleet-server.urls", FLEET_SERVERS)
FLEET_SERVER_CAFILE: Final = Key("fleet-server.cafile", PATH)
FLEET_SERVER_CERTFILE: Final = Key("fleet-server.certfile", PATH)
FLEET_SERVER_KEYFILE: Final = Key("fleet-server.keyfile", PATH)
FLEET_SERVER_TOKEN_FILE: Final = Key("fleet-server.token-file", PATH)

TRIGGERS: Final = Key("triggers.use", TEXTS)
MAX_UPTIME: Final = Key("triggers.max-uptime", VERY_LONG_SPAN_OR_NONE)
COMMAND: Final = Key("triggers.command", TEXTS)
NEEDED: Final = Key("triggers.needed", STATUSES)
NOT_NEEDED: Final = Key("triggers.not-needed", STATUSES)
PERIOD: Final = Key("triggers.period", LONG_SPAN)
COMMAND_LIMIT: Final = Key("triggers.limit", SPAN)

SERVER_ADDRESS: Final = Key("server.address", FULL_TEXT)
SERVER_PORT: Final = Key("server.port", PORT)
SERVER_URL: Final = Key("server.url", PUBLIC_URL)
SERVER_CERTFILE: Final = Key("server.certfile", PATH)
SERVER_KEYFILE: Final = Key("server.keyfile", PATH)
SERVER_CLIENT_CAFILE: Final = Key("server.client-cafile", PATH)
SERVER_HOOK_LIMIT: Final = Key("server.hook-limit", SPAN)
SERVER_METRICS_CLIENTS: Final = Key("server.metrics-clients", NETWORKS)
SERVER_GROUPS: Final = Key("server.groups", GROUPS)

NOTIFY_TARGETS: Final = Key("notify.targets", TARGETS)
NOTIFY_NO_REBOOT_AFTER: Final = Key("notify.no-reboot-after", VERY_LONG_SPAN_OR_NONE)
NOTIFY_REPEAT_AFTER: Final = Key("notify.repeat-after", SPAN_OR_NONE)
NOTIFY_TEMPLATES: Final = Key("notify.templates", TEMPLATES)

_ALL: tuple[Key[Any], ...] = (
    *(STRATEGY, GROUP, DRY_RUN, ADOPT, DEBUG),
    *(ENDPOINTS, API, CAFILE, CERTFILE, KEYFILE, USERNAME, PASSWORD, PASSWORD_FILE, STORE_TIMEOUT),
    *(FLEET_LOCK_URL, FLEET_LOCK_ID, FLEET_LOCK_CAFILE, FLEET_LOCK_CERTFILE, FLEET_LOCK_KEYFILE),
    *(FLEET_LOCK_USERNAME, FLEET_LOCK_PASSWORD_FILE, FLEET_LOCK_TOKEN_FILE, FLEET_LOCK_PERIOD),
    *(FLEET_SERVER_URLS, FLEET_SERVER_CAFILE, FLEET_SERVER_CERTFILE, FLEET_SERVER_KEYFILE, FLEET_SERVER_TOKEN_FILE),
    *(
        START,
        LENGTH,
        OPEN,
        BLACKOUTS,
        OPEN_CALENDARS,
        BLACKOUT_CALENDARS,
        ZONE,
        USED_SETS,
        LEAST,
        SPLAY,
        SYNCED,
        WINDOW_SETS,
    ),
    *(TRIGGERS, MAX_UPTIME, COMMAND, NEEDED, NOT_NEEDED, PERIOD, COMMAND_LIMIT),
    *(METRICS_ENABLED, METRICS_ADDRESS, METRICS_PORT, METRICS_CERTFILE, METRICS_KEYFILE),
    *(LIMIT, SETTLE, RETRY, TRIES, REPEAT, MAX_PER_DAY, MIN_UPTIME, SPACING),
    *(HALT, EXPIRE, STALE),
    *(HEALTH_LIMIT, HEALTH_UNITS),
    *(HOOK_LIMIT, CHECK_LIMIT),
    *(SESSIONS_WHICH, SESSIONS_IGNORE, SESSIONS_GRACE, SESSIONS_LIMIT),
    *(ALERTMANAGER, PROMETHEUS, QUERY, ALERTS_ONLY, ALERTS_IGNORE, SEVERITIES),
    *(ALERTS_USERNAME, ALERTS_PASSWORD_FILE, ALERTS_TOKEN_FILE, ALERTS_CAFILE),
    *(SERVER_ADDRESS, SERVER_PORT, SERVER_URL, SERVER_CERTFILE, SERVER_KEYFILE, SERVER_CLIENT_CAFILE),
    *(SERVER_HOOK_LIMIT, SERVER_METRICS_CLIENTS),
    SERVER_GROUPS,
    *(NOTIFY_TARGETS, NOTIFY_NO_REBOOT_AFTER, NOTIFY_REPEAT_AFTER, NOTIFY_TEMPLATES),
)
KEYS: Mapping[str, Key[Any]] = {key.name: key for key in _ALL}
"""The keys by name, in the order in which they are shown."""

TABLES = frozenset(name.partition(".")[0] for name in KEYS if "." in name)

_PAIR, _OTHERS = (START.name, LENGTH.name), (OPEN.name, OPEN_CALENDARS.name, USED_SETS.name)
RIVALS: Mapping[str, tuple[str, ...]] = {
    PASSWORD.name: (PASSWORD_FILE.name,),
    PASSWORD_FILE.name: (PASSWORD.name,),
    ALERTS_TOKEN_FILE.name: (ALERTS_USERNAME.name, ALERTS_PASSWORD_FILE.name),
    **dict.fromkeys((ALERTS_USERNAME.name, ALERTS_PASSWORD_FILE.name), (ALERTS_TOKEN_FILE.name,)),
    FLEET_LOCK_TOKEN_FILE.name: (FLEET_LOCK_USERNAME.name, FLEET_LOCK_PASSWORD_FILE.name),
    **dict.fromkeys((FLEET_LOCK_USERNAME.name, FLEET_LOCK_PASSWORD_FILE.name), (FLEET_LOCK_TOKEN_FILE.name,)),
    **dict.fromkeys(_PAIR, _OTHERS),
    **dict.fromkeys(_OTHERS, _PAIR),
}
"""Keys that exclude each other: if a later source sets one, the others of earlier sources are dropped."""

FLAGS: Mapping[str, Key[Any]] = {
    "endpoint": ENDPOINTS,
    "etcd-api": API,
    "etcd-cafile": CAFILE,
    "etcd-certfile": CERTFILE,
    "etcd-keyfile": KEYFILE,
    "etcd-username": USERNAME,
    "etcd-password": PASSWORD,
    "group": GROUP,
    "debug": DEBUG,
}
"""CoreOS locksmith's flags, of both programs, and `etcd-api`."""

_REBOOT: Mapping[str, Key[Any]] = {
    "REBOOT_STRATEGY": STRATEGY,
    "REBOOT_WINDOW_START": START,
    "REBOOT_WINDOW_LENGTH": LENGTH,
}


def _variables(prefix: str, keys: Mapping[str, Key[Any]]) -> dict[str, Key[Any]]:
    return {f"{prefix}_{name.upper().replace('-', '_')}": key for name, key in keys.items()}


DAEMON_VARIABLES: Mapping[str, Key[Any]] = {
    **_REBOOT,
    **_variables("LOCKSMITHD", _REBOOT),
    **_variables("LOCKSMITHD", FLAGS),
}
"""The daemon's environment; of two variables for a key, the later in this table wins."""

TOOL_VARIABLES: Mapping[str, Key[Any]] = _variables("LOCKSMITHCTL", FLAGS)
"""The tool's environment."""

OLDER: Mapping[str, str] = {name: key.name for name, key in (*DAEMON_VARIABLES.items(), *TOOL_VARIABLES.items())}
"""Names that a file may have from earlier, and the keys that they are today.

CoreOS locksmith had only variables. A key of locksmith's own that is renamed is added here, and stays here.
"""
