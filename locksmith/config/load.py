"""The configuration of both programs: defaults < file < drop-ins < environment < flags (docs/configuration.md)."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from locksmith.config import keys
from locksmith.config.keys import Key
from locksmith.config.model import (
    Config,
    HaltSettings,
    HealthSettings,
    MetricsSettings,
    ProgramSettings,
    RebootSettings,
)
from locksmith.config.shown import conflicts, under_daemon
from locksmith.config.sources import Setting, Settings, from_environment, from_files, from_flags
from locksmith.config.windows import read_windows
from locksmith.errors import UsageError
from locksmith.gates.settings import AlertSettings
from locksmith.host.paths import Paths
from locksmith.host.settings import SessionSettings
from locksmith.host.trust import changeable_by_others, read_regular, readable_by_others
from locksmith.lock.records.keys import group_prefix
from locksmith.store.settings import StoreSettings, is_loopback
from locksmith.triggers.settings import TriggerSettings
from locksmith.util import limits
from locksmith.window.duration import format_duration


def load_daemon(paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Give the configuration of `locksmithd`. `UsageError` names the source and the key that cannot be used."""
    settings = from_files(paths.config).under(_typed(environ, flags, keys.DAEMON_VARIABLES))
    config = _build(settings)
    _readable(settings, keys.METRICS_CERTFILE, keys.METRICS_KEYFILE)
    _tls_has_use(settings, config.store)
    return replace(config, cautions=(*config.cautions, *_caution_of_own_etcd(config)))


def load_tool(
    paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object], daemon: Settings | None = None
) -> Config:
    """Give the configuration of `locksmithctl`: the machine's files, and the tool's environment and flags.

    What a running `daemon` has shown takes the place of the files.
    """
    own = daemon or Settings()
    typed = _typed(environ, flags, keys.TOOL_VARIABLES)
    config = _build(under_daemon(from_files(paths.config), own).under(typed))
    return replace(config, conflicts=conflicts(typed, own))


def _typed(environ: Mapping[str, str], flags: Mapping[str, object], variables: Mapping[str, Key[Any]]) -> Settings:
    return from_environment(environ, variables).under(from_flags(flags))


def _build(settings: Settings) -> Config:
    default = Config()
    return Config(
        strategy=settings.value(keys.STRATEGY, default.strategy),
        group=_group(settings, default.group),
        dry_run=settings.value(keys.DRY_RUN, default.dry_run),
        adopt=settings.value(keys.ADOPT, default.adopt),
        debug=settings.value(keys.DEBUG, default.debug),
        window=read_windows(settings),
        store=_store(settings, default.store),
        metrics=_metrics(settings, default.metrics),
        reboot=_reboot(settings, default.reboot),
        halt=HaltSettings(
            after=settings.value(keys.HALT, default.halt.after),
            expire_after=settings.value(keys.EXPIRE, default.halt.expire_after),
            stale_after=settings.value(keys.STALE, default.halt.stale_after),
        ),
        health=HealthSettings(
            limit=settings.value(keys.HEALTH_LIMIT, default.health.limit),
            units=settings.value(keys.HEALTH_UNITS, default.health.units),
        ),
        programs=ProgramSettings(
            hook_limit=settings.value(keys.HOOK_LIMIT, default.programs.hook_limit),
            check_limit=settings.value(keys.CHECK_LIMIT, default.programs.check_limit),
        ),
        sessions=SessionSettings(
            which=settings.value(keys.SESSIONS_WHICH, default.sessions.which),
            ignore=settings.value(keys.SESSIONS_IGNORE, default.sessions.ignore),
        ),
        grace=settings.value(keys.SESSIONS_GRACE, default.grace),
        sessions_limit=_sessions_limit(settings, default),
        alerts=_alerts(settings, default.alerts),
        triggers=_triggers(settings, default.triggers),
        origins=_origins(settings),
        cautions=_cautions(settings),
    )


def _group(settings: Settings, default: str) -> str:
    group = settings.value(keys.GROUP, default)
    try:
        group_prefix(group)
    except UsageError as error:
        raise UsageError(f"{_origins(settings)[keys.GROUP.name]}: {error}") from None
    return group


def _store(settings: Settings, default: StoreSettings) -> StoreSettings:
    settings.together(keys.CERTFILE, keys.KEYFILE)
    _readable(settings, keys.CAFILE, keys.CERTFILE, keys.KEYFILE)
    timeout = settings.value(keys.STORE_TIMEOUT, timedelta(seconds=default.timeout))
    return StoreSettings(
        endpoints=settings.value(keys.ENDPOINTS, default.endpoints),
        api=settings.value(keys.API, default.api),
        cafile=settings.value(keys.CAFILE, default.cafile),
        certfile=settings.value(keys.CERTFILE, default.certfile),
        keyfile=settings.value(keys.KEYFILE, default.keyfile),
        username=settings.value(keys.USERNAME, "") or None,
        password=_password(settings),
        timeout=timeout.total_seconds(),
    )


def _metrics(settings: Settings, default: MetricsSettings) -> MetricsSettings:
    settings.together(keys.METRICS_CERTFILE, keys.METRICS_KEYFILE)
    return MetricsSettings(
        enabled=settings.value(keys.METRICS_ENABLED, default.enabled),
        address=settings.value(keys.METRICS_ADDRESS, default.address),
        port=settings.value(keys.METRICS_PORT, default.port),
        certfile=settings.value(keys.METRICS_CERTFILE, default.certfile),
        keyfile=settings.value(keys.METRICS_KEYFILE, default.keyfile),
    )


def _reboot(settings: Settings, default: RebootSettings) -> RebootSettings:
    limit, settle = settings.value(keys.LIMIT, default.limit), settings.value(keys.SETTLE, default.settle)
    setting = settings.of(keys.SETTLE) or settings.of(keys.LIMIT)
    if setting and settle >= limit:
        raise setting.refusal("must leave reboot.settle shorter than reboot.limit")
    return RebootSettings(
        limit=limit,
        settle=settle,
        retry=settings.value(keys.RETRY, default.retry),
        tries=settings.value(keys.TRIES, default.tries),
        repeat=settings.value(keys.REPEAT, default.repeat),
        min_uptime=settings.value(keys.MIN_UPTIME, default.min_uptime),
        spacing=settings.value(keys.SPACING, default.spacing),
    )


def _sessions_limit(settings: Settings, default: Config) -> timedelta:
    """Give how long users may hold up a slot: by default an hour, or twice their grace if that is longer."""
    grace, setting = settings.value(keys.SESSIONS_GRACE, default.grace), settings.of(keys.SESSIONS_LIMIT)
    limit = settings.value(keys.SESSIONS_LIMIT, max(default.sessions_limit, 2 * grace))
    if setting and timedelta(0) < limit < grace:
        raise setting.refusal(
            f"must be 0s (no limit) or at least sessions.grace, {format_duration(grace)}: no user would get that time"
        )
    return limit


def _alerts(settings: Settings, default: AlertSettings) -> AlertSettings:
    alerts = AlertSettings(
        alertmanager=settings.value(keys.ALERTMANAGER, default.alertmanager),
        prometheus=settings.value(keys.PROMETHEUS, default.prometheus),
        query=settings.value(keys.QUERY, default.query),
        only=settings.value(keys.ALERTS_ONLY, default.only),
        ignore=settings.value(keys.ALERTS_IGNORE, default.ignore),
        severities=settings.value(keys.SEVERITIES, default.severities),
    )
    for key, other in ((keys.PROMETHEUS, alerts.query), (keys.QUERY, alerts.prometheus)):
        setting = settings.of(key)
        if setting and setting.value and not other:
            raise setting.refusal("stands alone: alerts.prometheus and alerts.query need each other")
    about_alerts: tuple[Key[Any], ...] = (keys.ALERTS_ONLY, keys.ALERTS_IGNORE, keys.SEVERITIES)
    for setting in filter(None, map(settings.of, about_alerts)):
        if setting.value and not alerts.alertmanager:
            raise setting.refusal("is set without alerts.alertmanager, whose alerts it is about")
    return alerts


def _triggers(settings: Settings, default: TriggerSettings) -> TriggerSettings:
    triggers = TriggerSettings(
        use=settings.value(keys.TRIGGERS, default.use),
        max_uptime=settings.value(keys.MAX_UPTIME, default.max_uptime),
        command=settings.value(keys.COMMAND, default.command),
        needed=settings.value(keys.NEEDED, default.needed),
        not_needed=settings.value(keys.NOT_NEEDED, default.not_needed),
        period=settings.value(keys.PERIOD, default.period),
        limit=settings.value(keys.COMMAND_LIMIT, default.limit),
    )
    both = set(triggers.needed) & set(triggers.not_needed)
    statuses: tuple[Key[Any], ...] = (keys.NEEDED, keys.NOT_NEEDED)
    for setting in filter(None, map(settings.of, statuses)):
        if both:
            raise setting.refusal(f"must not have {min(both)} in it, which would say yes and no")
        if not triggers.command and (triggers.needed, triggers.not_needed) != (default.needed, default.not_needed):
            raise setting.refusal("is set without triggers.command, whose exit statuses it is about")
    least, uptime = settings.value(keys.MIN_UPTIME, timedelta(0)), settings.of(keys.MAX_UPTIME)
    if uptime and timedelta(0) < triggers.max_uptime <= least:
        raise uptime.refusal("must be longer than reboot.min-uptime")
    return triggers


def _password(settings: Settings) -> str | None:
    literal, file = settings.of(keys.PASSWORD), settings.of(keys.PASSWORD_FILE)
    if literal and file:
        raise literal.refusal("excludes etcd.password-file: keep one of them")
    password = _secret(file) if file else settings.value(keys.PASSWORD, "")
    username, given = settings.of(keys.USERNAME), literal or file
    if username and username.value and not password:
        raise username.refusal("is set without a password: name a file that has it in etcd.password-file")
    if given and password and not settings.value(keys.USERNAME, ""):
        raise given.refusal("is set without etcd.username")
    return password or None


def _secret(setting: Setting) -> str:
    if not isinstance(setting.value, Path):
        return ""
    content = _content(setting, setting.value, limits.SECRET)
    if problem := changeable_by_others(setting.value):
        raise setting.refusal(f"names {setting.value}, which other users can change: {problem}")
    try:
        secret = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""
    if not secret or "\n" in secret:
        raise setting.refusal(f"names {setting.value}, which must be one line of text with the password alone")
    return secret


def _readable(settings: Settings, *files: Key[Path | None]) -> None:
    for setting in filter(None, map(settings.of, files)):
        if isinstance(setting.value, Path):
            _content(setting, setting.value, limits.PEM)


def _content(setting: Setting, path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except OSError as error:
        raise setting.refusal(f"names {path}, which cannot be read: {error.strerror}") from None


def _cautions(settings: Settings) -> tuple[str, ...]:
    """Name the files with a secret that other users can read."""
    named: tuple[Key[Path | None], ...] = (keys.PASSWORD_FILE, keys.KEYFILE, keys.METRICS_KEYFILE)
    files = [setting.value for setting in filter(None, map(settings.of, named)) if isinstance(setting.value, Path)]
    literal = settings.of(keys.PASSWORD)
    if literal and literal.value and Path(literal.origin).is_absolute():
        files.append(Path(literal.origin))
    found = []
    for file in files:
        with suppress(OSError):  # a file that cannot be read is another error
            found += [readable_by_others(file)]
    return tuple(filter(None, found))


def _caution_of_own_etcd(config: Config) -> tuple[str, ...]:
    """Warn that each machine may have its own etcd, and so its own lock."""
    store = config.store
    if config.strategy != "etcd-lock" or not all(is_loopback(url) for url in store.endpoints):
        return ()
    caution = (
        f"all etcd.endpoints are on this machine itself ({', '.join(store.endpoints)}): if each machine has its own "
        "etcd, each has its own lock, and all may reboot at once; name the members of the one cluster, as in endpoints "
        '= ["http://etcd1:2379", "http://etcd2:2379"], unless a member or a proxy of it listens here'
    )
    return (caution,)


def _tls_has_use(settings: Settings, store: StoreSettings) -> None:
    if any(endpoint.startswith("https://") for endpoint in store.endpoints):
        return
    for setting in filter(None, map(settings.of, (keys.CAFILE, keys.CERTFILE))):
        if setting.value is not None:
            raise setting.refusal("has no use, as no endpoint begins with https://: correct etcd.endpoints")


def _origins(settings: Settings) -> dict[str, str]:
    origins = {name: setting.origin for name, setting in settings.by_name.items()}
    file = settings.of(keys.PASSWORD_FILE)
    if file and file.value is not None:
        origins[keys.PASSWORD.name] = f"{file.value}, which {file.origin} names"
    return origins
