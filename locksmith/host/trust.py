"""Which other users may change or read a file of this machine; and the contents of regular files."""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.util.words import quoted

_MOST_LINKS = 40


def read_regular(path: Path, most: int) -> bytes:
    """Read a whole regular file of at most `most` bytes. `OSError`: it is larger, or a folder, device or pipe."""
    # Without O_NONBLOCK, the opening of a pipe waits for a writer that may never come.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a file")
        raw = b""
        while len(raw) <= most and (piece := os.read(fd, most + 1 - len(raw))):
            raw += piece
    finally:
        os.close(fd)
    if len(raw) > most:
        raise OSError(0, f"it has more than the {most} bytes that are read")
    return raw


def changeable_by_others(path: Path) -> str:
    """Say which other user can change a file or folder, and what to run; empty: only root and this user can.

    All that leads to the file counts as well: each folder from the root on, each link and its target. /dev/null itself,
    which all users may write, does not: it stays empty.
    """
    trusted, groups = {0, os.geteuid()}, _trusted_groups()
    for place, found in _way(path):
        if place == Path(os.devnull):
            continue
        if found.st_uid not in trusted:
            chown = "chown -h root" if stat.S_ISLNK(found.st_mode) else "chown root"
            return f"{place} belongs to {_user(found.st_uid)}, who can change it: `{chown} {quoted(place)}`"
        # In a folder like /tmp, users can remove only their own files.
        if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            continue
        if found.st_mode & stat.S_IWOTH:
            return f"every user can change {place}: `chmod go-w {quoted(place)}`"
        if found.st_mode & stat.S_IWGRP and found.st_gid not in groups:
            return f"the group {found.st_gid} can change {place}: `chmod g-w {quoted(place)}`"
    return ""


def refuse_changeable(path: Path, what: str) -> None:
    """Raise `HostError` if root would use a file that other users can change; other users risk only their own files."""
    if os.geteuid() != 0:
        return
    try:
        problem = changeable_by_others(path)
    except OSError as error:
        raise HostError(f"{what} {path} cannot be examined: {error.strerror}") from None
    if problem:
        raise HostError(f"{what} {path} is not used, because other users can change it: {problem}")


def refuse_changeable_folders(paths: Paths) -> None:
    """Raise `HostError` if other users can change the files of this machine's memory."""
    for folder in (paths.state, paths.run):
        if folder.exists() or folder.is_symlink():
            refuse_changeable(folder, "the folder")


def closed_to_root(path: Path) -> str:
    """Say what keeps root from a file, if root has no capability, as in the daemon's unit; empty: nothing does."""
    if os.geteuid() != 0:
        return ""
    for place, found in _way(path):  # ends at a closed folder, whose files such a root cannot even examine
        needed = stat.S_IXUSR if stat.S_ISDIR(found.st_mode) else stat.S_IRUSR
        if found.st_uid != 0:
            needed >>= 3 if found.st_gid == 0 else 6
        if not stat.S_ISLNK(found.st_mode) and not found.st_mode & needed:
            return f"{place} belongs to {_user(found.st_uid)} and has the mode {stat.S_IMODE(found.st_mode):04o}"
    return ""


def readable_by_others(path: Path) -> str:
    """Say which other user can read a file with a secret, and what to run; empty: only root and its owner can."""
    *folders, (place, found) = _way(path)
    modes = [folder.st_mode for _, folder in folders if stat.S_ISDIR(folder.st_mode)]
    if found.st_mode & stat.S_IROTH and all(mode & stat.S_IXOTH for mode in modes):
        return f"every user can read {place}, which has a secret in it: `chmod go-rwx {quoted(place)}`"
    if found.st_mode & stat.S_IRGRP and found.st_gid not in _trusted_groups() and all(mode & 0o011 for mode in modes):
        return f"the group {found.st_gid} can read {place}, which has a secret in it: `chmod g-rwx {quoted(place)}`"
    return ""


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give all folders and links from the root to a file, the links' targets too, and at the end the file."""
    left, here, links = [*Path(os.path.abspath(path)).parts[1:]], Path("/"), 0  # noqa: PTH100 - keeps links
    yield here, here.lstat()
    while left:
        name = left.pop(0)
        here = here.parent if name == ".." else here / name
        found = here.lstat()
        yield here, found
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = here.readlink()
            here = Path("/") if target.is_absolute() else here.parent
            left[:0] = target.parts[1:] if target.is_absolute() else target.parts


def _trusted_groups() -> set[int]:
    """Give root's group, and this user's private group, which may write by default on many systems."""
    try:
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(user.pw_gid)
    except KeyError:
        return {0}
    private = group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    return {0, group.gr_gid} if private else {0}


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user {uid}"
