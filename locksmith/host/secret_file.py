"""A file with one secret: a password, or a token."""

from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.trust import changeable_by_others, read_regular
from locksmith.util import limits
from locksmith.util.secret import keep_secret


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
    keep_secret(secret, user, renewed=renewed)
    return secret
