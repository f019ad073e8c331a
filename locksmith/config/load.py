"""The configuration of both programs: defaults < file < drop-ins < environment < flags (docs/configuration.md).

Above 300 lines, in one piece: each function makes one part of the same configuration from the same settings.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from locksmith.config import credentials, fleet_lock, fleet_server, keys
from locksmith.config.alerts import caution_of_plain_secret, read_alerts, refuse_unusable_of_alerts
from locksmith.config.calendars import read_calendars
from locksmith.config.cautions import caution_of_no_strategy, caution_of_own_etcd
from locksmith.config.credentials import Credentials
from locksmith.config.files import (
    NO_PASSWORD,
    cautions_of,
    password_of,
    refuse_tls_without_use,
    refuse_unreadable,
)
from locksmith.config.folders import MAIN, cautions_of_files, cautions_of_masked_programs, find_files
from locksmith.config.keys import Key
from locksmith.config.model import (
    Config,
    HaltSettings,
    HealthSettings,
    MetricsSettings,
    ProgramSettings,
    RebootSettings,
)
from locksmith.config.notify import cautions_of_notify, read_notify, refuse_unusable_of_notify, with_credentials
from locksmith.config.problems import EVERYTHING, Problems
from locksmith.config.server import cautions_of_server, cautions_of_windows, read_server, refuse_unusable_of_server
from locksmith.config.shown import conflicts, under_daemon
from locksmith.config.sources import NO_KEY, Settings, from_environment, from_files, from_flags
from locksmith.config.windows import read_windows
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.host.settings import SessionSettings
from locksmith.lock.records.keys import group_prefix
from locksmith.store.settings import StoreSettings
from locksmith.triggers.settings import TriggerSettings
from locksmith.window.duration import format_duration
from locksmith.window.window_set import WindowSet


def load_daemon(paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Give the configuration of `locksmithd`. `UsageError` names the source and the key that cannot be used."""
    problems = Problems()
    config, _ = _daemon(paths, environ, flags, problems, credentials.of_daemon(environ))
    problems.refuse("locksmithd")
    return config


def examine_daemon(paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object], problems: Problems) -> Config:
    """Give the configuration of `locksmithd` for an operator, as far as it can be used, and note all its problems."""
    config, settings = _daemon(paths, environ, flags, problems, credentials.of_others(paths, environ))
    return replace(config, cautions=(*config.cautions, *credentials.cautions_of_rights(settings)))


def _daemon(
    paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object], problems: Problems, given: Credentials
) -> tuple[Config, Settings]:
    files = find_files(paths.config_folders, problems)
    explicit = from_files(files, problems).under(_typed(environ, flags, keys.DAEMON_VARIABLES, problems))
    problems.attempt_value(partial(credentials.refuse_unread, given), EVERYTHING)
    credentials.refuse_contradictions(explicit, given.settings, problems)
    settings = given.settings.under(explicit)
    config = replace(_build(settings, problems), files=files, not_configured=not_configured(settings, paths))
    check = problems.check
    check(lambda: refuse_unreadable(settings, keys.METRICS_CERTFILE, keys.METRICS_KEYFILE), None, "metrics")
    check(lambda: refuse_unusable_of_alerts(settings, config.alerts), None, "alerts")
    check(lambda: fleet_lock.refuse_unusable_files(settings, config.fleet_lock), None, "fleet-lock")
    check(lambda: fleet_server.refuse_unusable_files(settings), None, "fleet-server")
    check(lambda: fleet_server.refuse_unusable_strategy(settings, config), None, "fleet-server", "group")
    check(lambda: _tls_has_use(settings, config.store), None, "etcd")
    check(
        lambda: fleet_lock.refuse_unusable_strategy(settings, config),
        None,
        "fleet-lock",
        "group",
        "window",
        "window-sets",
    )
    cautions = (
        *caution_of_own_etcd(config),
        *caution_of_no_strategy(settings),
        *caution_of_plain_secret(config.alerts),
        *fleet_lock.cautions_of_fleet_lock(settings, config),
        *fleet_server.cautions_of_fleet_server(settings, config),
        *given.cautions,
        *cautions_of_files(paths.config_folders, files),
        *cautions_of_masked_programs(paths),
    )
    return replace(config, cautions=(*config.cautions, *cautions)), settings


def load_server(paths: Paths, environ: Mapping[str, str], problems: Problems) -> Config:
    """Give the configuration of `locksmith-server`, of files and credentials alone, and note all its problems."""
    given, files = credentials.of_daemon(environ), find_files(paths.config_folders, problems)
    explicit = from_files(files, problems)
    problems.attempt_value(partial(credentials.refuse_unread, given), EVERYTHING)
    credentials.refuse_contradictions(explicit, given.settings, problems)
    settings = given.settings.under(explicit)
    config = _with_notify(replace(_build(settings, problems), files=files), paths, environ)
    problems.check(lambda: refuse_unusable_of_server(settings, config.server), None, "server")
    problems.check(lambda: _tls_has_use(settings, config.store), None, "etcd")
    problems.check(lambda: refuse_unusable_of_notify(settings, config.notify), None, "notify")
    own = (
        *cautions_of_server(config.server),
        *cautions_of_notify(settings, config.notify),
        *cautions_of_windows(config.server, config.window),
        *given.cautions,
        *cautions_of_files(paths.config_folders, files),
    )
    return replace(config, cautions=(*config.cautions, *own))


def load_notify(paths: Paths, environ: Mapping[str, str]) -> Config:
    """Give the configuration of `locksmith-server` for its notifications alone, of files and credentials.

    The files of the targets' URLs are not read. `UsageError`: a file has an error.
    """
    problems = Problems()
    files = find_files(paths.config_folders, problems)
    config = _build(from_files(files, problems), problems)
    problems.refuse("locksmith-server")
    return _with_notify(replace(config, files=files), paths, environ)


def _with_notify(config: Config, paths: Paths, environ: Mapping[str, str]) -> Config:
    return replace(config, notify=with_credentials(config.notify, paths, environ))


def load_tool(
    paths: Paths, environ: Mapping[str, str], flags: Mapping[str, object], daemon: Settings | None = None
) -> Config:
    """Give the configuration of `locksmithctl`: the machine's files, and the tool's environment and flags.

    What a running `daemon` has shown takes the place of the files.
    """
    problems, own = Problems(), daemon or Settings()
    typed = _typed(environ, flags, keys.TOOL_VARIABLES, problems)
    files, given = find_files(paths.config_folders, problems), credentials.of_others(paths, environ)
    settings = given.settings.under(under_daemon(from_files(files, problems), own)).under(typed)
    config = replace(_build(settings, problems), files=files, not_configured=not_configured(settings, paths))
    problems.refuse("locksmithd", hint=given.unread)
    return replace(config, conflicts=conflicts(typed, own), unread=given.unread)


def _typed(
    environ: Mapping[str, str], flags: Mapping[str, object], variables: Mapping[str, Key[Any]], problems: Problems
) -> Settings:
    return from_environment(environ, variables, problems).under(from_flags(flags, problems))


def _build(settings: Settings, problems: Problems) -> Config:
    default, check = Config(), problems.check
    calendars = problems.attempt_value(lambda: read_calendars(settings), "window") or WindowSet()
    return Config(
        strategy=settings.value(keys.STRATEGY, default.strategy),
        group=check(lambda: _group(settings, default.group), default.group, "group"),
        dry_run=settings.value(keys.DRY_RUN, default.dry_run),
        adopt=settings.value(keys.ADOPT, default.adopt),
        debug=settings.value(keys.DEBUG, default.debug),
        window=check(lambda: read_windows(settings, calendars), default.window, "window", "window-sets"),
        store=_store(settings, default.store, problems),
        metrics=check(lambda: _metrics(settings, default.metrics), default.metrics, "metrics"),
        reboot=check(lambda: _reboot(settings, default.reboot), default.reboot, "reboot"),
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
        sessions_limit=check(lambda: _sessions_limit(settings, default), default.sessions_limit, "sessions"),
        alerts=check(lambda: read_alerts(settings, default.alerts), default.alerts, "alerts"),
        fleet_lock=check(
            lambda: fleet_lock.read_fleet_lock(settings, default.fleet_lock), default.fleet_lock, "fleet-lock"
        ),
        fleet_server=check(
            lambda: fleet_server.read_fleet_server(settings, default.fleet_server), default.fleet_server, "fleet-server"
        ),
        triggers=check(lambda: _triggers(settings, default.triggers), default.triggers, "triggers", "reboot"),
        server=check(lambda: read_server(settings), default.server, "server"),
        notify=read_notify(settings),
        origins=_origins(settings),
        cautions=cautions_of(settings),
    )


def not_configured(settings: Settings, paths: Paths) -> str:
    """Say that this machine is not configured: its strategy is `off` by the package's file, or one without a key."""
    setting = settings.of(keys.STRATEGY)
    if setting is None or setting.value != "off":
        return ""
    packages = paths.config_folders[-1] / MAIN
    if setting.origin != str(packages) and not setting.origin.endswith(NO_KEY):
        return ""
    why = f"its strategy is off by {setting.origin}"
    return f"this node is not configured, so it will not reboot ({why}): write {paths.config}"


def _group(settings: Settings, default: str) -> str:
    group = settings.value(keys.GROUP, default)
    try:
        group_prefix(group)
    except UsageError as error:
        raise UsageError(f"{_origins(settings)[keys.GROUP.name]}: {error}") from None
    return group


def _store(settings: Settings, default: StoreSettings, problems: Problems) -> StoreSettings:
    problems.check(lambda: settings.together(keys.CERTFILE, keys.KEYFILE), None, "etcd")
    problems.check(lambda: refuse_unreadable(settings, keys.CAFILE, keys.CERTFILE, keys.KEYFILE), None, "etcd")
    password, renewed = problems.check(lambda: password_of(settings), NO_PASSWORD, "etcd")
    timeout = settings.value(keys.STORE_TIMEOUT, timedelta(seconds=default.timeout))
    return StoreSettings(
        endpoints=settings.value(keys.ENDPOINTS, default.endpoints),
        api=settings.value(keys.API, default.api),
        cafile=settings.value(keys.CAFILE, default.cafile),
        certfile=settings.value(keys.CERTFILE, default.certfile),
        keyfile=settings.value(keys.KEYFILE, default.keyfile),
        username=settings.value(keys.USERNAME, "") or None,
        password=password,
        timeout=timeout.total_seconds(),
        renewed=renewed,
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
        max_per_day=settings.value(keys.MAX_PER_DAY, default.max_per_day),
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


def _tls_has_use(settings: Settings, store: StoreSettings) -> None:
    why = "no endpoint begins with https://: correct etcd.endpoints"
    refuse_tls_without_use(settings, store.endpoints, why, keys.CAFILE, keys.CERTFILE)


def _origins(settings: Settings) -> dict[str, str]:
    origins = {name: setting.origin for name, setting in settings.by_name.items()}
    file = settings.of(keys.PASSWORD_FILE)
    if file and file.value is not None:
        is_credential = file.origin.startswith("the credential ")
        origins[keys.PASSWORD.name] = file.origin if is_credential else f"{file.value}, which {file.origin} names"
    return origins
