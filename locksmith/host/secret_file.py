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
    lines = _lines(path)
    if len(lines) != 1 or not lines[0]:
        raise HostError(f"{path}, which must be one line of text with the {what} alone")
    keep_secret(lines[0], user, renewed_in=str(path) if renewed else "")
    return lines[0]


def read_secrets(path: Path, what: str, most: int) -> tuple[str, ...]:
    """Give the secrets of a file with one in each line, as of `read_secret` with `renewed`. `HostError` as there."""
    lines = _lines(path)
    if not all(line.strip() for line in lines) or not 0 < len(lines) <= most:
        raise HostError(f"{path}, which must have 1 to {most} lines of text, each with a {what} alone")
    # Alone it may be a password that begins so. With others it is a comment, which would be one to guess.
    if len(lines) > 1 and any(line.lstrip().startswith("#") for line in lines):
        raise HostError(f"{path}, which has a line that begins with #: each is a {what}, and none a comment")
    for line in lines:
        keep_secret(line, renewed_in=str(path))
    return tuple(lines)


def _lines(path: Path) -> list[str]:
    """Give the lines of a file; without any it has an empty one, or is no text. `HostError`: see `read_secret`."""
    try:
        content = read_regular(path, limits.SECRET)
        problem = changeable_by_others(path)
    except OSError as error:
        raise HostError(f"{path}, which cannot be read: {error.strerror}") from None
    if problem:
        raise HostError(f"{path}, which other users can change: {problem}")
    try:
        lines = content.decode().rstrip("\r\n").split("\n")
    except UnicodeDecodeError:
        return [""]
    # A carriage return within the only line is a part of it, as it always was.
    return lines if len(lines) == 1 else [line.rstrip("\r") for line in lines]


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
