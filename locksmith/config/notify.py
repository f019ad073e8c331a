"""The table `[notify]`, put together and checked: docs/notifications.md."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from locksmith.config import keys
from locksmith.config.credentials import VARIABLE
from locksmith.config.notify_model import NotifySettings, Target
from locksmith.config.sources import Settings
from locksmith.errors import HostError, UsageError
from locksmith.host.paths import Paths
from locksmith.host.secret_file import read_secret
from locksmith.host.trust import readable_by_others
from locksmith.util.words import instead_of

URL: Final = "URL"
"""What the only line of a target's file is, in a sentence."""


def read_notify(settings: Settings) -> NotifySettings:
    """Give the settings of notifications. No file is read."""
    default = NotifySettings()
    return NotifySettings(
        targets=settings.value(keys.NOTIFY_TARGETS, default.targets),
        no_reboot_after=settings.value(keys.NOTIFY_NO_REBOOT_AFTER, default.no_reboot_after),
        repeat_after=settings.value(keys.NOTIFY_REPEAT_AFTER, default.repeat_after),
        templates=settings.value(keys.NOTIFY_TEMPLATES, default.templates),
    )


def with_credentials(notify: NotifySettings, paths: Paths, environ: Mapping[str, str]) -> NotifySettings:
    """Name the file of each target that has none: the credential `notify.NAME` of locksmith-server.service.

    A process that is not the unit's reads that of the running unit, as root.
    """
    folder = Path(environ[VARIABLE]) if environ.get(VARIABLE) else paths.server_credentials
    named = {
        name: target if target.url_file else replace(target, url_file=folder / f"notify.{name}")
        for name, target in notify.targets.items()
    }
    return replace(notify, targets=named)


def read_url(target: Target) -> str:
    """Give the URL of a target as its file has it now. `HostError`: the file cannot be used."""
    if target.url_file is None:
        raise HostError(f"the target {target.name} has no url-file")
    return read_secret(target.url_file, URL, renewed=True)


def refuse_unusable_of_notify(settings: Settings, notify: NotifySettings) -> None:
    """Read the files as the server will. `UsageError`: a target could never be reached."""
    setting = settings.of(keys.NOTIFY_TARGETS)
    for name, target in notify.targets.items():
        try:
            read_url(target)
        except HostError as error:
            if setting is not None:
                where = _where(target, settings)
                raise setting.refusal(f"has the target {name}, whose {where} {error}") from None


def _where(target: Target, settings: Settings) -> str:
    given = settings.value(keys.NOTIFY_TARGETS, {}).get(target.name)
    return "url-file is" if given is not None and given.url_file else "URL is expected in the credential"


def cautions_of_notify(settings: Settings, notify: NotifySettings) -> tuple[str, ...]:
    """Warn of URLs that other users can read, and of settings without a use."""
    found = []
    for target in notify.targets.values():
        with suppress(OSError):  # a file that cannot be read is another error
            found += [readable_by_others(target.url_file)] if target.url_file else []
    only_with_targets: tuple[keys.Key[Any], ...] = (
        keys.NOTIFY_NO_REBOOT_AFTER,
        keys.NOTIFY_REPEAT_AFTER,
        keys.NOTIFY_TEMPLATES,
    )
    for key in only_with_targets:
        setting = settings.of(key)
        if setting is not None and not notify.targets:
            found.append(f"{setting.origin}: {key.name} has no use without a target: write [notify.targets.NAME]")
    return tuple(filter(None, found))


def chosen(notify: NotifySettings, name: str) -> tuple[Target, ...]:
    """Give the target of that name, or all. `UsageError`: there is none."""
    if not notify.targets:
        raise UsageError(
            "no target is configured: write a table [notify.targets.NAME] into locksmith.toml on the machine of "
            "locksmith-server (docs/notifications.md)"
        )
    if not name:
        return tuple(notify.targets.values())
    if name not in notify.targets:
        raise UsageError(f"there is no target {name!r}: known are {instead_of(name, notify.targets)}")
    return (notify.targets[name],)
