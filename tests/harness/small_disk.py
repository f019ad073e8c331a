"""A small disk for the data of one etcd member, which can be filled. Needs the right to mount, so root."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.etcd import Member

PIECE = bytes(1 << 12)


class SmallDisk:
    """The disk, mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write until nothing more goes on it."""
        try:
            with self._ballast.open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(PIECE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def make_room(self) -> None:
        """Remove that again."""
        self._ballast.unlink()


@contextmanager
def small_disk(member: Member, size: int) -> Iterator[SmallDisk]:
    """Move the data of a member to a disk of `size` bytes; a test is skipped where nothing may be mounted."""
    member.stop()
    kept = member.data.with_name(f"{member.name}-kept")
    shutil.copytree(member.data, kept)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(member.data)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a disk that is full has to be mounted, which is refused here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, member.data, dirs_exist_ok=True)
        member.start()
        yield SmallDisk(member.data)
    finally:
        # At once: the kernel lets go of it when the member does.
        subprocess.run(["umount", "--lazy", member.data], check=True)
