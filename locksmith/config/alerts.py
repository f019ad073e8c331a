"""The table `[alerts]`: which servers are asked, which alerts count, and who asks."""

from dataclasses import replace
from typing import Any

from locksmith.config import keys
from locksmith.config.files import (
    refuse_half_a_login,
    refuse_tls_without_use,
    refuse_unreadable,
    refuse_unusable_secrets,
)
from locksmith.config.keys import Key
from locksmith.config.sources import Setting, Settings
from locksmith.gates.settings import AlertSettings
from locksmith.store.settings import is_loopback


def read_alerts(settings: Settings, default: AlertSettings) -> AlertSettings:
    """Give the settings. `UsageError`: they contradict each other."""
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
    return _asked_as(settings, alerts)


def _asked_as(settings: Settings, alerts: AlertSettings) -> AlertSettings:
    """Give the settings with whom to ask the alert servers as. `UsageError`: they contradict each other."""
    found = replace(
        alerts,
        username=settings.value(keys.ALERTS_USERNAME, ""),
        password_file=settings.value(keys.ALERTS_PASSWORD_FILE, None),
        token_file=settings.value(keys.ALERTS_TOKEN_FILE, None),
        cafile=settings.value(keys.ALERTS_CAFILE, None),
    )
    refuse_half_a_login(settings, keys.ALERTS_USERNAME, keys.ALERTS_PASSWORD_FILE, keys.ALERTS_TOKEN_FILE)
    urls = [url for url in (found.alertmanager, found.prometheus) if url]
    for setting in _set(settings, keys.ALERTS_USERNAME, keys.ALERTS_TOKEN_FILE, keys.ALERTS_CAFILE):
        if not urls:
            raise setting.refusal("is set without alerts.alertmanager or alerts.prometheus, which it is about")
    refuse_tls_without_use(settings, urls, "no URL of [alerts] begins with https://", keys.ALERTS_CAFILE)
    return found


def refuse_unusable_of_alerts(settings: Settings, alerts: AlertSettings) -> None:
    """Read the files of `[alerts]` as the gate will, which reads them for each question."""
    refuse_unusable_secrets(settings, keys.ALERTS_PASSWORD_FILE, keys.ALERTS_TOKEN_FILE, alerts.username)
    refuse_unreadable(settings, keys.ALERTS_CAFILE)


def caution_of_plain_secret(alerts: AlertSettings) -> tuple[str, ...]:
    """Warn of a secret that is sent without TLS over a network."""
    if not (alerts.username or alerts.token_file):
        return ()
    plain = [url for url in (alerts.alertmanager, alerts.prometheus) if url.startswith("http://")]
    what = "alerts.password-file" if alerts.username else "alerts.token-file"
    return tuple(
        f"the secret of {what} is sent to {url} without TLS, so others on the way can read it: use https://"
        for url in plain
        if not is_loopback(url)
    )


def _set(settings: Settings, *about: Key[Any]) -> list[Setting]:
    return [setting for setting in map(settings.of, about) if setting and setting.value]
