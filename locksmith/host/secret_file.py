"""A file with one secret: a password, or a token."""

import logging
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.trust import changeable_by_others, read_regular
from locksmith.util import limits
from locksmith.util.secret import keep_secret
from locksmith.util.tls_files import stamp_of

log = logging.getLogger(__name__)


def read_secret(path: Path, what: str = "password", user: str = "", *, renewed: bool = False) -> str:
    """Give the secret that is the only line of a file, and remember that it is one.

    `HostError`: the file cannot be used. The text begins with the path and goes on with `, which ...`.
    """
    try:
        content = read_regular(path, limits.SECRET)
        problem = changeable_by_others(path)
    except OSError as error:
        raise HostError(f"{path}, which cannot be read: {error.strerror}") from None
    if problem:
        raise HostError(f"{path}, which other users can change: {problem}")
    try:
        secret = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""
    if not secret or "\n" in secret:
        raise HostError(f"{path}, which must be one line of text with the {what} alone")
    keep_secret(secret, user, renewed_in=str(path) if renewed else "")
    return secret


class FollowedSecret:
    """Gives the secret of a file as it is now. If a new file cannot be used, that is logged once, and the old stays."""

    def __init__(self, path: Path, what: str = "password", user: str = "") -> None:
        self._path, self._what, self._user = path, what, user
        self._stamp = stamp_of(path)
        self._secret = read_secret(path, what, user)

    def __call__(self) -> str:
        """Give the secret for the next login. Any thread may call."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp:
            try:
                self._secret = read_secret(self._path, self._what, self._user, renewed=True)
            except HostError as error:
                log.warning("a new %s cannot be used, so the one before stays in use: it is in %s", self._what, error)
            self._stamp = stamp
        return self._secret
