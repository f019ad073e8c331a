"""Files that survive a crash and a power cut: the new file is synced, renamed over the old, and the folder synced."""

import os
from pathlib import Path


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a whole file. `OSError`: the new file did not reach the disk, and the old file may still be there."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
