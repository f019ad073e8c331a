"""The Python packages: `python -m release.wheel` builds a wheel and an sdist into dist/."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.source import REPOSITORY, export

DIST = REPOSITORY / "dist"


def build(dist: Path = DIST, repository: Path = REPOSITORY) -> list[Path]:
    """Build both into a folder, and name them. hatchling gives all files the time of SOURCE_DATE_EPOCH."""
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="locksmith-wheel-") as folder:
        sources, made = Path(folder) / "locksmith", Path(folder) / "made"
        build = export(sources, repository)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(made)],
            check=True,
            cwd=sources,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(build.epoch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return [Path(shutil.copy(path, dist)) for path in sorted(made.iterdir())]


if __name__ == "__main__":
    for path in build():
        print(path.relative_to(REPOSITORY))
