"""Files of the same name in /etc, /run and /usr/lib: which of them is used, and which are masked.

After UAPI.6, the configuration files specification: the first of these folders that has a name decides about that name.
"""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def layered(folders: Sequence[Path], counts: Callable[[Path], bool]) -> list[Layered]:
    """Give the file that decides about each name, in the order of the names; `counts` says which files there are.

    A folder that does not exist has no files. `OSError`: a folder cannot be listed, or is a link to none. `HostError`:
    other users can change a folder.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _listed(folder):
            if counts(path):
                found.setdefault(path.name, []).append(path)
    return [_decide(found[name]) for name in sorted(found)]


def first_of(paths: Sequence[Path]) -> Layered | None:
    """Give the first of these files that there is; None: there is none. It raises what `layered` does."""
    there = [path for path in paths if _is_there(path)]
    return _decide(there) if there else None


def _decide(paths: Sequence[Path]) -> Layered:
    first, *others = paths
    return Layered(first, tuple(others), is_link_to_null(first))


def _listed(folder: Path) -> list[Path]:
    _refuse_unsafe(folder)
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _is_there(path: Path) -> bool:
    _refuse_unsafe(path.parent)
    try:
        path.lstat()  # a link without a target is there: the reading of it fails
    except FileNotFoundError:
        return False
    return True


def _refuse_unsafe(folder: Path) -> None:
    """Refuse a folder whose files may be missing: other users can remove them, or their disk is not mounted.

    Of a folder that does not exist, the folder that it would be in counts.
    """
    place = next(place for place in (folder, *folder.parents) if place.is_symlink() or place.exists())
    if not place.exists():
        raise OSError(errno.ENOENT, "it is a link to a folder that does not exist", str(place))
    refuse_changeable(place, "the folder")
