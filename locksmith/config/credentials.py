"""Credentials of the unit, as systemd's LoadCredential= gives them: files with fixed names in a folder of its own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from locksmith.config import keys
from locksmith.config.keys import RIVALS, Key
from locksmith.config.problems import Problems
from locksmith.config.sources import Setting, Settings
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.host.trust import closed_to_root

NAMES: Mapping[str, Key[Path | None]] = {
    "etcd.password": keys.PASSWORD_FILE,
    "etcd.ca": keys.CAFILE,
    "etcd.crt": keys.CERTFILE,
    "etcd.key": keys.KEYFILE,
    "alerts.password": keys.ALERTS_PASSWORD_FILE,
    "alerts.token": keys.ALERTS_TOKEN_FILE,
    "alerts.ca": keys.ALERTS_CAFILE,
    "fleet-lock.password": keys.FLEET_LOCK_PASSWORD_FILE,
    "fleet-lock.token": keys.FLEET_LOCK_TOKEN_FILE,
    "fleet-lock.ca": keys.FLEET_LOCK_CAFILE,
    "fleet-lock.crt": keys.FLEET_LOCK_CERTFILE,
    "fleet-lock.key": keys.FLEET_LOCK_KEYFILE,
    "fleet-server.token": keys.FLEET_SERVER_TOKEN_FILE,
    "fleet-server.ca": keys.FLEET_SERVER_CAFILE,
    "fleet-server.crt": keys.FLEET_SERVER_CERTFILE,
    "fleet-server.key": keys.FLEET_SERVER_KEYFILE,
    "metrics.crt": keys.METRICS_CERTFILE,
    "metrics.key": keys.METRICS_KEYFILE,
}
"""Each credential, and the key whose file it is."""

VARIABLE: Final = "CREDENTIALS_DIRECTORY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The settings of the credentials that there are; `unread` says why those of locksmithd cannot be read.

    `cautions` name those that look like locksmith's own, and are not.
    """

    settings: Settings = field(default_factory=Settings)
    unread: str = ""
    cautions: tuple[str, ...] = ()


def of_daemon(environ: Mapping[str, str]) -> Credentials:
    """Give the credentials that systemd has given to this process."""
    if not environ.get(VARIABLE):
        return Credentials()
    folder = Path(environ[VARIABLE])
    return _in(folder, f"{VARIABLE} names the folder {folder}, which does not exist: correct it")


def of_others(paths: Paths, environ: Mapping[str, str]) -> Credentials:
    """Give the credentials for a process that is not the daemon: those of its own unit, else the running daemon's.

    The daemon's are there while it runs, and root alone can read them.
    """
    own = of_daemon(environ)
    if own.settings.by_name:
        return own
    return _in(paths.credentials)


def _in(folder: Path, if_missing: str = "") -> Credentials:
    try:
        listed = set(os.listdir(folder))  # noqa: PTH208 - the names alone count
    except FileNotFoundError:
        return Credentials(unread=if_missing)
    except OSError as error:
        said = f"the credentials of locksmithd.service cannot be read ({error.strerror}: {folder}): run it as root"
        return Credentials(unread=said)
    found = {
        NAMES[name].name: Setting(NAMES[name], folder / name, f"the credential {name}")
        for name in NAMES
        if name in listed
    }
    tables = {name.partition(".")[0] for name in NAMES}
    strange = sorted(name for name in listed - NAMES.keys() if "." in name and name.partition(".")[0] in tables)
    cautions = (f"the credential {name} is not used: known are {', '.join(NAMES)}" for name in strange)
    return Credentials(Settings(found), cautions=tuple(cautions))


def refuse_unread(credentials: Credentials) -> None:
    """Refuse credentials that cannot be read: the daemon must not go on without what it was given."""
    if credentials.unread:
        raise UsageError(credentials.unread)


def refuse_contradictions(settings: Settings, credentials: Settings, problems: Problems) -> None:
    """Refuse a setting whose file is a credential, too: which of them counts must not be a question of order."""
    for given in credentials.by_name.values():
        for name in (given.key.name, *RIVALS.get(given.key.name, ())):
            setting = settings.by_name.get(name)
            if setting is not None and setting.value != given.value:
                problems.attempt_value(partial(_refuse, setting, given), name.partition(".")[0])


def _refuse(setting: Setting, given: Setting) -> None:
    raise setting.refusal(f"excludes {given.origin} of locksmithd.service: keep one of them")


def how_to_load(setting: Setting) -> str:
    """Say how the unit gets a file that it has no right to read; empty: it has the right, or needs no such file."""
    name = next((name for name, key in NAMES.items() if key.name == setting.key.name), None)
    if name is None or not isinstance(setting.value, Path):
        return ""
    try:
        place = closed_to_root(setting.value)
    except OSError:
        return ""
    return place and (
        f"{place}, and locksmithd.service has no right to what root itself may not read; run `systemctl edit "
        f"locksmithd.service`, write there the lines `[Service]` and `LoadCredential={name}:{setting.value}`, remove "
        f"{setting.key.name} from {setting.origin}, and run `systemctl restart locksmithd.service`"
    )


def cautions_of_rights(settings: Settings) -> tuple[str, ...]:
    """Name the files that the unit's daemon cannot read, although a root shell can."""
    named = [setting for key in NAMES.values() if (setting := settings.of(key))]
    return tuple(
        f"{setting.origin}: {setting.key.name} names {setting.value}, which locksmithd.service cannot read: {how}"
        for setting in named
        if (how := how_to_load(setting))
    )
