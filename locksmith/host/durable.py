"""Files that survive a crash and a lost power: written new, synced, renamed over the old one, the folder synced."""

import os
from pathlib import Path


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a file as a whole; `OSError`: it did not reach the disk, and the old one may still stand there."""
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
