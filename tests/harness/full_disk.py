"""A disk of a node's own for its state, which takes no writes any more. Needs the right to mount, so root."""

import contextlib
import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE = 1 << 17
PIECE = bytes(1 << 12)


@contextlib.contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Move a folder to a small disk of its own; a test is skipped where nothing may be mounted."""
    kept = folder.with_name(f"{folder.name}-kept")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, kept)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a disk that is full has to be mounted, which is refused here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Write until nothing more goes on the disk of a folder."""
    try:
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(PIECE)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def make_room(folder: Path) -> None:
    """Remove that again."""
    (folder / "ballast").unlink()


def make_read_only(folder: Path) -> None:
    """Have its disk refuse every write, as a file system with errors does."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
