"""Which glibc the programs of a folder need: the newest version of a symbol that they take from it."""

import re
import subprocess
from pathlib import Path

OLDEST = (2, 36)
"""The oldest that a node may have, as the docs say: that of Debian 12."""
_SYMBOL = re.compile(r"\bGLIBC_(\d+)\.(\d+)")


def required(folder: Path) -> tuple[int, int]:
    """Measure it."""
    programs = sorted(str(path) for path in folder.rglob("*") if path.is_file() and _is_program(path))
    said = subprocess.run(["objdump", "--dynamic-syms", *programs], check=True, capture_output=True, text=True).stdout
    return max((int(major), int(minor)) for major, minor in _SYMBOL.findall(said))


def check(folder: Path) -> None:
    """End the build if its programs would not start on such a node."""
    if (found := required(folder)) > OLDEST:
        needed, oldest = (".".join(map(str, version)) for version in (found, OLDEST))
        raise SystemExit(f"the programs need glibc {needed}, and nodes may have {oldest}: build on Debian 12")


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
