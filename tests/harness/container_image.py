"""The container image of this working tree, built once for all sessions of tests that need it."""

import os
import shutil
from functools import cache
from pathlib import Path

from release import image
from release.source import REPOSITORY, build_of
from tests.harness.image import alone

FOLDER = REPOSITORY / ".cache/container"
TOOLS = {"umoci": "umoci", "dpkg-deb": "dpkg", "apt-get": "apt"}


def hindrance() -> str:
    """Why no image can be built here, in a sentence; empty when one can."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    return f"a container image needs the Debian packages {', '.join(missing)}: apt-get install them" if missing else ""


@cache
def container_image() -> Path:
    """Give the archive: that of `LOCKSMITH_CONTAINER_IMAGE`, or one made of this tree.

    The version names the sources, so an archive of that name is theirs.
    """
    if chosen := os.environ.get("LOCKSMITH_CONTAINER_IMAGE"):
        return Path(chosen)
    archive = FOLDER / f"locksmith-{build_of().version}.oci.tar"
    with alone(FOLDER):
        if not (archive.exists() and server_of(archive).exists()):
            for old in FOLDER.glob("*.oci.tar"):
                old.unlink()
            image.build(FOLDER)
    return archive


def server_of(archive: Path) -> Path:
    """Give the archive of the server's image, which is built with that of the daemon's."""
    return archive.with_name(archive.name.replace("locksmith-", f"{image.SERVER}-", 1))


def version_of(archive: Path) -> str:
    """Give the version that an archive is named for."""
    return archive.name.removeprefix("locksmith-").removesuffix(".oci.tar")


def name_of(archive: Path) -> str:
    """Give the name under which the image is loaded."""
    return f"{image.NAME}:{image.tag_of(version_of(archive))}"
