"""The files of checks and hooks: which of them are run, which are masked, and which cannot be run."""

import os
import re
from pathlib import Path

from locksmith.errors import HostError
from locksmith.host.layered import Layered, is_link_to_null, layered
from locksmith.host.paths import Paths
from locksmith.host.trust import refuse_changeable

FOLDERS = (
    *("check", "pre-reboot", "abort-reboot", "health", "post-reboot"),
    *("fleetlock-pre-reboot", "fleetlock-steady-state"),
)
"""The stages with a folder of programs."""
UNDERSTANDS_DRY_RUN = b"locksmith: dry-run"
"""What stands in a program that understands `--dry-run`: to call another with it might drain the machine."""
HEAD = 4096
"""Bytes of a program that are searched for it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_LEFT_BY_EDITORS = (".bak", ".orig", ".rej", ".swp", ".disabled", ".md", ".txt", ".rpmnew", ".rpmsave")


def program_files(paths: Paths, stage: str) -> list[Path]:
    """Name the programs of a stage in their order, without the leftovers of editors and package managers.

    A mask that other users can change stays in the list, as a program that cannot be run. `HostError`: a folder cannot
    be listed, or other users can change it.
    """
    return [file.path for file in _found(paths, stage) if not file.is_mask or _changeable_mask(file.path)]


def all_program_files(paths: Paths) -> list[Layered]:
    """Give the file that decides about each program, masks too. `HostError`: a folder cannot be listed."""
    return [file for stage in FOLDERS for file in _found(paths, stage)]


def why_unusable(program: Path) -> str:
    """Say why a program is not run; empty: it can be run."""
    if sentence := _changeable_mask(program):
        return sentence
    try:
        is_empty = program.stat().st_size == 0
    except OSError as error:  # a link into a closed folder, as /home is in the unit, or to nothing
        return f"it cannot be examined ({error.strerror}): put the program itself into the folder, not a link to it"
    if is_empty:
        # A full disk leaves such a file too: only a link to /dev/null says that an operator wants no program.
        return "it is empty: write it again, or mask it with a link to /dev/null"
    if not os.access(program, os.X_OK):
        return "it is not executable: `chmod +x` it, or take it out of the folder"
    try:
        refuse_changeable(program, "the program")
    except HostError as error:
        return str(error)
    return ""


def understands_dry_run(program: Path) -> bool:
    """Whether a program says of itself that it changes nothing if it is called with `--dry-run`."""
    try:
        with program.open("rb") as file:
            return UNDERSTANDS_DRY_RUN in file.read(HEAD)
    except OSError:
        return False


def _found(paths: Paths, stage: str) -> list[Layered]:
    folders = paths.program_folders(stage)
    try:
        return layered(folders, _is_program)
    except OSError as error:
        folder = error.filename or folders[0]
        raise HostError(f"the programs of {folder} cannot be listed: {error.strerror}") from None


def _is_program(path: Path) -> bool:
    # os.path: what cannot be examined is a program that cannot be run.
    return _counts(path.name) and not os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises PermissionError


def _counts(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.endswith(_LEFT_BY_EDITORS) and not name.startswith("README")


def _changeable_mask(path: Path) -> str:
    """Say of a mask why it does not count; empty: it does, or this is none."""
    if not is_link_to_null(path):
        return ""
    try:
        refuse_changeable(path, "the mask")
    except HostError as error:
        return str(error)
    return ""
