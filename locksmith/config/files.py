"""The files that settings name: secrets, certificates, and whether other users can read them."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from locksmith.config import keys
from locksmith.config.credentials import how_to_load
from locksmith.config.keys import Key
from locksmith.config.sources import Setting, Settings
from locksmith.errors import HostError
from locksmith.host.secret_file import FollowedSecret, read_secret
from locksmith.host.trust import read_regular, readable_by_others
from locksmith.util import limits
from locksmith.util.secret import keep_secret

Password = tuple[str | None, FollowedSecret | None]
NO_PASSWORD: Password = (None, None)


def password_of(settings: Settings) -> Password:
    """Give the password for etcd, and how to follow its file. `UsageError`: it stands alone, or in two places."""
    literal, file = settings.of(keys.PASSWORD), settings.of(keys.PASSWORD_FILE)
    if literal and file:
        raise literal.refusal("excludes etcd.password-file: keep one of them")
    user = settings.value(keys.USERNAME, "")
    followed = _followed(file, user) if file else None
    password = followed() if followed else settings.value(keys.PASSWORD, "")
    keep_secret(password, user)
    username, given = settings.of(keys.USERNAME), literal or file
    if username and username.value and not password:
        raise username.refusal(
            "is set without a password: name a file that has it in etcd.password-file, or load the credential "
            "etcd.password, which is there only while locksmithd.service runs"
        )
    if given and password and not user:
        raise given.refusal("is set without etcd.username")
    return password or None, followed


def refuse_tls_without_use(settings: Settings, urls: Sequence[str], why: str, *files: Key[Any]) -> None:
    """Refuse the TLS files of a server that is asked without TLS; `why` says where no URL begins with https://."""
    if any(url.startswith("https://") for url in urls):
        return
    for setting in filter(None, map(settings.of, files)):
        if setting.value is not None:
            raise setting.refusal(f"has no use, as {why}")


def _followed(setting: Setting, user: str) -> FollowedSecret | None:
    if not isinstance(setting.value, Path):
        return None
    try:
        return FollowedSecret(setting.value, user=user)
    except HostError as error:
        raise setting.refusal(_with_remedy(f"names {error}", setting)) from None


def _secret(setting: Setting, what: str = "password", user: str = "") -> str:
    if not isinstance(setting.value, Path):
        return ""
    try:
        return read_secret(setting.value, what, user)
    except HostError as error:
        raise setting.refusal(_with_remedy(f"names {error}", setting)) from None


def _with_remedy(problem: str, setting: Setting) -> str:
    how = how_to_load(setting) if "cannot be read" in problem else ""
    return f"{problem}: {how}" if how else problem


def refuse_half_a_login(
    settings: Settings, username: Key[str], password_file: Key[Path | None], token_file: Key[Path | None]
) -> None:
    """Refuse a user without a password, a password without a user, and a token in addition to them."""
    user, password, token = settings.of(username), settings.of(password_file), settings.of(token_file)
    if user and user.value and not (password and password.value):
        raise user.refusal(f"is set without {password_file.name}, which names the file with the password")
    if password and password.value and not (user and user.value):
        raise password.refusal(f"is set without {username.name}")
    if user and ":" in str(user.value):
        raise user.refusal("must not have a colon: the password would begin there")
    if token and token.value and user and user.value:
        raise token.refusal(f"excludes {username.name}: a server is asked with a token, or as a user")


def refuse_unusable_secrets(
    settings: Settings, password_file: Key[Path | None], token_file: Key[Path | None], user: str
) -> None:
    """Read the files of a password and of a token that are read again later."""
    for setting, what in ((settings.of(password_file), "password"), (settings.of(token_file), "token")):
        if setting:
            _secret(setting, what, user)


def refuse_unusable_token(settings: Settings, token_file: Key[Path | None]) -> None:
    """Read the file of a token that is read again later."""
    if setting := settings.of(token_file):
        _secret(setting, "token")


def refuse_unreadable(settings: Settings, *files: Key[Path | None]) -> None:
    """Refuse the files of TLS that cannot be read."""
    for setting in filter(None, map(settings.of, files)):
        if isinstance(setting.value, Path):
            _content(setting, setting.value, limits.PEM)


def _content(setting: Setting, path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except OSError as error:
        problem = f"names {path}, which cannot be read: {error.strerror}"
        raise setting.refusal(_with_remedy(problem, setting)) from None


def cautions_of(settings: Settings) -> tuple[str, ...]:
    """Name the files with a secret that other users can read."""
    named: tuple[Key[Path | None], ...] = (
        *(keys.PASSWORD_FILE, keys.KEYFILE, keys.METRICS_KEYFILE),
        *(keys.ALERTS_PASSWORD_FILE, keys.ALERTS_TOKEN_FILE),
        *(keys.FLEET_LOCK_PASSWORD_FILE, keys.FLEET_LOCK_TOKEN_FILE, keys.FLEET_LOCK_KEYFILE),
        *(keys.FLEET_SERVER_TOKEN_FILE, keys.FLEET_SERVER_KEYFILE),
    )
    files = [setting.value for setting in filter(None, map(settings.of, named)) if isinstance(setting.value, Path)]
    literal = settings.of(keys.PASSWORD)
    if literal and literal.value and Path(literal.origin).is_absolute():
        files.append(Path(literal.origin))
    found = []
    for file in files:
        with suppress(OSError):  # a file that cannot be read is another error
            found += [readable_by_others(file)]
    return tuple(filter(None, found))
