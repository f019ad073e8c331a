"""The table `[server]`, put together and checked: docs/server.md."""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from locksmith.config import keys
from locksmith.config.files import refuse_unreadable
from locksmith.config.model import WindowSettings
from locksmith.config.server_model import MOST_PASSWORDS, ServedGroup, ServerSettings
from locksmith.config.sources import Setting, Settings
from locksmith.errors import HostError, UsageError
from locksmith.host.secret_file import read_secrets
from locksmith.host.trust import readable_by_others
from locksmith.util.words import listed

SHORTEST_PASSWORD = 12
"""Characters: a shorter password is warned of, as others may guess it."""


def read_server(settings: Settings) -> ServerSettings:
    """Give the settings of `locksmith-server`. `UsageError`: they contradict each other. No file is read."""
    default = ServerSettings()
    settings.together(keys.SERVER_CERTFILE, keys.SERVER_KEYFILE)
    server = ServerSettings(
        address=settings.value(keys.SERVER_ADDRESS, default.address),
        port=settings.value(keys.SERVER_PORT, default.port),
        url=settings.value(keys.SERVER_URL, default.url),
        certfile=settings.value(keys.SERVER_CERTFILE, default.certfile),
        keyfile=settings.value(keys.SERVER_KEYFILE, default.keyfile),
        client_cafile=settings.value(keys.SERVER_CLIENT_CAFILE, default.client_cafile),
        hook_limit=settings.value(keys.SERVER_HOOK_LIMIT, default.hook_limit),
        metrics_clients=settings.value(keys.SERVER_METRICS_CLIENTS, default.metrics_clients),
        groups=settings.value(keys.SERVER_GROUPS, default.groups),
    )
    cafile, groups = settings.of(keys.SERVER_CLIENT_CAFILE), settings.of(keys.SERVER_GROUPS)
    if cafile and server.client_cafile and not server.certfile:
        raise cafile.refusal("has no use without TLS: set server.certfile and server.keyfile, too")
    for name, group in server.groups.items():
        if groups and group.certificates and not server.client_cafile:
            raise groups.refusal(
                f"has {name}.certificates, but no server.client-cafile says who signs the clients' certificates"
            )
    return server


def refuse_unusable_of_server(settings: Settings, server: ServerSettings) -> None:
    """Read the files as the server will. `UsageError`: it could not serve."""
    refuse_unreadable(settings, keys.SERVER_CERTFILE, keys.SERVER_KEYFILE, keys.SERVER_CLIENT_CAFILE)
    setting = settings.of(keys.SERVER_GROUPS)
    if setting is None or not server.groups:
        raise UsageError(
            "no group is served: write a table [server.groups.NAME] into locksmith.toml for each group of FleetLock "
            "clients, with who they are (docs/server.md)"
        )
    for name, group in server.groups.items():
        if group.password_file:
            _refuse_passwords(setting, name, group.password_file)


def _refuse_passwords(setting: Setting, name: str, file: Path) -> None:
    try:
        read_secrets(file, "password or token", MOST_PASSWORDS)
    except HostError as error:
        raise setting.refusal(f"has {name}.password-file, which names {error}") from None


def cautions_of_windows(server: ServerSettings, window: WindowSettings) -> tuple[str, ...]:
    """Warn of windows that bind this machine's locksmithd alone."""
    found = []
    open_at_any_time = [name for name, group in server.groups.items() if not group.window_sets]
    if open_at_any_time and (window.sets or any(one.windows or one.blackouts for one in window.of_file)):
        found.append(
            f"[window] is for this machine's locksmithd alone: the FleetLock clients of {listed(open_at_any_time)} may "
            "reboot at any time; name sets of windows in window-sets of [server.groups.NAME]"
        )
    return tuple(found)


def cautions_of_server(server: ServerSettings) -> tuple[str, ...]:
    """Warn of secrets that others can read or guess."""
    files = [(name, group.password_file) for name, group in server.groups.items() if group.password_file]
    found = []
    for file in (server.keyfile, *(file for _, file in files)):
        with suppress(OSError):  # a file that cannot be read is another error
            found += [readable_by_others(file)] if file else []
    for name, file in files:
        with suppress(HostError):
            if min(map(len, read_secrets(file, "password or token", MOST_PASSWORDS))) < SHORTEST_PASSWORD:
                found.append(
                    f"a password of the group {name} has less than {SHORTEST_PASSWORD} characters, so others may "
                    f"guess it: `openssl rand -hex 20 > {file}` writes a better one"
                )
    if files and not server.certfile and not _is_loopback(server.address):
        found.append(
            f"the passwords of {listed([name for name, _ in files])} are sent to {server.address} without TLS, "
            "so others on the way can read them: set server.certfile and server.keyfile"
        )
    return tuple(filter(None, found))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def sets_of_store(group: ServedGroup, known: object) -> tuple[str, ...]:
    """Name the sets of windows of a group that are not in the configuration, so in the store."""
    return tuple(name for name in group.window_sets if not (isinstance(known, dict) and name in known))
