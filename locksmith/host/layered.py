"""Files of the same name in /etc, /run and /usr/lib: which of them is used, and which are masked.

After UAPI.6, the configuration files specification: the first of these folders that has a name decides about that name.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.trust import refuse_changeable


@dataclass(frozen=True, slots=True)
class Layered:
    """A file that decides about its name. `hides`: the files of that name in the folders after its own."""

    path: Path
    hides: tuple[Path, ...] = ()
    is_mask: bool = False

    @property
    def masks_nothing(self) -> bool:
        """Whether this mask has no file to mask, as after a mistake in its name."""
        return self.is_mask and not self.hides


def is_link_to_null(path: Path) -> bool:
    """Whether this is a link to /dev/null: `ln -s /dev/null NAME`."""
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def is_mask(path: Path) -> bool:
    """Whether this is a link to /dev/null, or an empty file."""
    return is_link_to_null(path) or (path.is_file() and path.stat().st_size == 0)


def layered(
    folders: Sequence[Path], counts: Callable[[Path], bool], masks: Callable[[Path], bool] = is_mask
) -> list[Layered]:
    """Give the file that decides about each name, in the order of the names; `counts` says which files there are.

    `OSError`: a folder cannot be listed. A folder that does not exist has no files.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _listed(folder):
            if counts(path):
                found.setdefault(path.name, []).append(path)
    return [_decide(found[name], masks) for name in sorted(found)]


def first_of(paths: Sequence[Path]) -> Layered | None:
    """Give the first of these files that there is; None: there is none. `OSError`: that cannot be told."""
    there = [path for path in paths if _is_there(path)]
    return _decide(there, is_mask) if there else None


def refuse_changeable_mask(mask: Path, what: str) -> None:
    """Raise `HostError` if other users can change a mask. /dev/null itself, which all may write, does not count."""
    if not mask.is_symlink():
        refuse_changeable(mask, what)
        return
    refuse_changeable(mask.parent, f"the folder of {what}")
    owner = mask.lstat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise HostError(f"{what} {mask} is not used, because the user {owner} can change it: `chown -h root {mask}`")


def _decide(paths: Sequence[Path], masks: Callable[[Path], bool]) -> Layered:
    first, *others = paths
    return Layered(first, tuple(others), masks(first))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _is_there(path: Path) -> bool:
    try:
        path.lstat()  # a link without a target is there: the reading of it fails
    except FileNotFoundError:
        return False
    return True
