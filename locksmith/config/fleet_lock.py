"""The table `[fleet-lock]`: the FleetLock server of the strategy `fleet-lock`, and who asks it."""

from locksmith.agent.fleet_lock import DEFAULT_GROUP, FLEET_LOCK, GROUP, FleetLockSettings
from locksmith.config import keys
from locksmith.config.files import (
    refuse_half_a_login,
    refuse_tls_without_use,
    refuse_unreadable,
    refuse_unusable_secrets,
)
from locksmith.config.model import Config
from locksmith.config.sources import Setting, Settings
from locksmith.store.settings import is_loopback

_LOGIN = (keys.FLEET_LOCK_USERNAME, keys.FLEET_LOCK_PASSWORD_FILE, keys.FLEET_LOCK_TOKEN_FILE)


def read_fleet_lock(settings: Settings, default: FleetLockSettings) -> FleetLockSettings:
    """Give the settings. `UsageError`: they contradict each other."""
    settings.together(keys.FLEET_LOCK_CERTFILE, keys.FLEET_LOCK_KEYFILE)
    refuse_half_a_login(settings, *_LOGIN)
    url = settings.value(keys.FLEET_LOCK_URL, default.url)
    if url:
        why = "fleet-lock.url does not begin with https://"
        refuse_tls_without_use(settings, [url], why, keys.FLEET_LOCK_CAFILE, keys.FLEET_LOCK_CERTFILE)
    return FleetLockSettings(
        url=url,
        id=settings.value(keys.FLEET_LOCK_ID, default.id),
        cafile=settings.value(keys.FLEET_LOCK_CAFILE, default.cafile),
        certfile=settings.value(keys.FLEET_LOCK_CERTFILE, default.certfile),
        keyfile=settings.value(keys.FLEET_LOCK_KEYFILE, default.keyfile),
        username=settings.value(keys.FLEET_LOCK_USERNAME, default.username),
        password_file=settings.value(keys.FLEET_LOCK_PASSWORD_FILE, default.password_file),
        token_file=settings.value(keys.FLEET_LOCK_TOKEN_FILE, default.token_file),
        period=settings.value(keys.FLEET_LOCK_PERIOD, default.period),
    )


def refuse_unusable_files(settings: Settings, server: FleetLockSettings) -> None:
    """Read the files of `[fleet-lock]` as the daemon will, before each request."""
    refuse_unusable_secrets(settings, keys.FLEET_LOCK_PASSWORD_FILE, keys.FLEET_LOCK_TOKEN_FILE, server.username)
    refuse_unreadable(settings, keys.FLEET_LOCK_CAFILE, keys.FLEET_LOCK_CERTFILE, keys.FLEET_LOCK_KEYFILE)


def refuse_unusable_strategy(settings: Settings, config: Config) -> None:
    """Refuse the strategy `fleet-lock` without a server, in a group that no server can have, or without its windows."""
    strategy = settings.of(keys.STRATEGY)
    if strategy is None or config.strategy != FLEET_LOCK:
        return
    if not config.fleet_lock.url:
        raise strategy.refusal(
            'is "fleet-lock" without fleet-lock.url: name the server there, as in url = "https://fleetlock.example"'
        )
    group = settings.of(keys.GROUP)
    if group is not None and config.group and not GROUP.fullmatch(config.group):
        raise group.refusal(
            f"must have letters, digits, dots and hyphens alone under the strategy fleet-lock, not {config.group!r}; "
            f"without it, the group is {DEFAULT_GROUP!r}"
        )
    sets = settings.of(keys.USED_SETS)
    if sets is not None and config.window.stored and settings.of(keys.ENDPOINTS) is None:
        name = config.window.stored[0]
        raise sets.refusal(
            f"names {name!r}, which is not in [window-sets], and a machine under the strategy fleet-lock has no store "
            "to read it from: define it there, or set etcd.endpoints"
        )


def cautions_of_fleet_lock(settings: Settings, config: Config) -> tuple[str, ...]:
    """Warn of a server that is described and not asked, and of a secret that is sent without TLS over a network."""
    named = (settings.of(key) for name, key in keys.KEYS.items() if name.startswith("fleet-lock."))
    given = [setting for setting in named if setting and setting.value]
    found = [_unused(given[0], config.strategy)] if given and config.strategy != FLEET_LOCK else []
    server = config.fleet_lock
    secret = server.password_file or server.token_file
    if secret and server.url.startswith("http://") and not is_loopback(server.url):
        what = "password-file" if server.password_file else "token-file"
        found.append(
            f"the secret of fleet-lock.{what} is sent to {server.url} without TLS, so others on the way can read it: "
            "use https://"
        )
    return tuple(found)


def _unused(setting: Setting, strategy: str) -> str:
    return (
        f"{setting.origin} sets {setting.key.name}, and the strategy is {strategy}, which asks no FleetLock server: "
        'write strategy = "fleet-lock", or leave [fleet-lock] out'
    )
