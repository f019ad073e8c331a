"""A configuration as lines for a person: each key, its value, and its origin."""

import json
from collections.abc import Sequence
from datetime import timedelta

from locksmith.config import keys
from locksmith.config.model import (
    DEFAULT_ORIGIN,
    Config,
)
from locksmith.config.notify_model import NotifySettings, Target
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.layered import Layered
from locksmith.window.duration import format_duration
from locksmith.window.window_set import WindowSet

NOT_SET = "(not set)"
"""The value of a key that has none."""


def describe(config: Config) -> list[tuple[str, str, str]]:
    """Give every key, its value in TOML, and its origin; the password is `***`."""
    return [
        (name, _written(value), config.origins.get(name, DEFAULT_ORIGIN)) for name, value in _values(config).items()
    ]


def describe_files(config: Config, programs: Sequence[Layered] = ()) -> list[str]:
    """Give a line for each file of the configuration, in the order in which they are read; then checks and hooks."""
    files = ["Files, in the order in which they are read:", *map(describe_file, config.files)]
    return [
        *(files if config.files else ["There is no file of the configuration."]),
        *(["Checks and hooks:", *map(describe_file, programs)] if programs else []),
    ]


def describe_file(file: Layered) -> str:
    """Give a line for a file: what it replaces, or masks."""
    hidden = ", ".join(map(str, file.hides))
    if file.is_mask:
        return f"{file.path} masks {hidden or 'nothing'}"
    return f"{file.path} replaces {hidden}" if hidden else str(file.path)


def _values(config: Config) -> dict[str, object]:
    store, metrics, reboot, window = config.store, config.metrics, config.reboot, config.window
    original = window.own.windows[0] if keys.START.name in config.origins else None
    return {
        "strategy": config.strategy,
        "group": config.group,
        "dry-run": config.dry_run,
        "adopt": config.adopt,
        "debug": config.debug,
        "etcd.endpoints": store.endpoints,
        "etcd.api": store.api,
        "etcd.cafile": store.cafile,
        "etcd.certfile": store.certfile,
        "etcd.keyfile": store.keyfile,
        "etcd.username": store.username,
        "etcd.password": store.password and "***",
        "etcd.timeout": timedelta(seconds=store.timeout),
        "fleet-lock.url": config.fleet_lock.url or None,
        "fleet-lock.id": config.fleet_lock.id or None,
        "fleet-lock.cafile": config.fleet_lock.cafile,
        "fleet-lock.certfile": config.fleet_lock.certfile,
        "fleet-lock.keyfile": config.fleet_lock.keyfile,
        "fleet-lock.username": config.fleet_lock.username or None,
        "fleet-lock.password-file": config.fleet_lock.password_file,
        "fleet-lock.token-file": config.fleet_lock.token_file,
        "fleet-lock.period": config.fleet_lock.period,
        "fleet-server.urls": config.fleet_server.urls,
        "fleet-server.cafile": config.fleet_server.cafile,
        "fleet-server.certfile": config.fleet_server.certfile,
        "fleet-server.keyfile": config.fleet_server.keyfile,
        "fleet-server.token-file": config.fleet_server.token_file,
        "window.start": original and original.starts,
        "window.length": original and original.length,
        "window.open": () if original else window.own.windows,
        "window.blackouts": window.own.blackouts,
        "window.open-calendars": window.open_calendars,
        "window.blackout-calendars": window.blackout_calendars,
        "window.zone": window.own.zone or None,
        "window.sets": window.sets,
        "window.min-remaining": window.least,
        "window.splay": None if window.splay is None else f"{window.splay * 100:g}%",
        "window.require-synced-clock": window.synced,
        "window-sets": {name: _set_values(known) for name, known in window.known.items()} or None,
        "triggers.use": config.triggers.use,
        "triggers.max-uptime": config.triggers.max_uptime,
        "triggers.command": config.triggers.command,
        "triggers.needed": config.triggers.needed,
        "triggers.not-needed": config.triggers.not_needed,
        "triggers.period": config.triggers.period,
        "triggers.limit": config.triggers.limit,
        "metrics.enabled": metrics.enabled,
        "metrics.address": metrics.address,
        "metrics.port": metrics.port,
        "metrics.certfile": metrics.certfile,
        "metrics.keyfile": metrics.keyfile,
        "reboot.limit": reboot.limit,
        "reboot.settle": reboot.settle,
        "reboot.retry": reboot.retry,
        "reboot.tries": reboot.tries,
        "reboot.repeat": reboot.repeat,
        "reboot.max-per-day": reboot.max_per_day,
        "reboot.min-uptime": reboot.min_uptime,
        "reboot.spacing": reboot.spacing,
        "halt.after": config.halt.after,
        "halt.expire-after": config.halt.expire_after,
        "halt.stale-after": config.halt.stale_after,
        "health.limit": config.health.limit,
        "health.units": config.health.units,
        "programs.hook-limit": config.programs.hook_limit,
        "programs.check-limit": config.programs.check_limit,
        "sessions.count": config.sessions.which,
        "sessions.ignore": config.sessions.ignore,
        "sessions.grace": config.grace,
        "sessions.limit": config.sessions_limit,
        "alerts.alertmanager": config.alerts.alertmanager or None,
        "alerts.prometheus": config.alerts.prometheus or None,
        "alerts.query": config.alerts.query or None,
        "alerts.only": config.alerts.only and config.alerts.only.pattern,
        "alerts.ignore": config.alerts.ignore and config.alerts.ignore.pattern,
        "alerts.severities": config.alerts.severities,
        "alerts.username": config.alerts.username or None,
        "alerts.password-file": config.alerts.password_file,
        "alerts.token-file": config.alerts.token_file,
        "alerts.cafile": config.alerts.cafile,
        **_server_values(config.server),
        **_notify_values(config.notify),
    }


def _notify_values(notify: NotifySettings) -> dict[str, object]:
    """Give the table; no URL of a target is in it, only the file that has it."""
    common = notify.templates
    texts = {"title": common.title, "message": common.message}
    own = {event: {"title": one.title, "message": one.message} for event, one in common.by_event.items()}
    return {
        "notify.targets": {name: _target_values(target) for name, target in notify.targets.items()} or None,
        "notify.no-reboot-after": notify.no_reboot_after,
        "notify.repeat-after": notify.repeat_after,
        "notify.templates": {**texts, **own},
    }


def _target_values(target: Target) -> dict[str, object]:
    values: dict[str, object] = {"url-file": target.url_file, "events": target.events, "groups": target.groups}
    return {key: value for key, value in values.items() if value is not None}


def _server_values(server: ServerSettings) -> dict[str, object]:
    return {
        "server.address": server.address,
        "server.port": server.port,
        "server.url": server.url or None,
        "server.certfile": server.certfile,
        "server.keyfile": server.keyfile,
        "server.client-cafile": server.client_cafile,
        "server.hook-limit": server.hook_limit,
        "server.metrics-clients": server.metrics_clients,
        "server.groups": {name: _group_values(group) for name, group in server.groups.items()} or None,
    }


def _group_values(group: ServedGroup) -> dict[str, object]:
    values: dict[str, object] = {
        "clients": group.clients or None,
        "password-file": group.password_file,
        "certificates": group.certificates or None,
        "limit": group.limit,
        "window-sets": group.window_sets or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _set_values(known: WindowSet) -> dict[str, object]:
    return {"open": known.windows, "blackouts": known.blackouts, "zone": known.zone}


def _written(value: object) -> str:
    match value:
        case None:
            return NOT_SET
        case bool() | int():
            return json.dumps(value)
        case tuple():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return f"{{{', '.join(f'{json.dumps(key)} = {_written(held)}' for key, held in value.items())}}}"
        case timedelta():
            return _written(format_duration(value))
        case _:
            return json.dumps(str(value), ensure_ascii=False)
