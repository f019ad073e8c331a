"""What the tests of packages share: each package is built once."""

from pathlib import Path

import pytest

from tests.harness import container_image as containers


@pytest.fixture(scope="session")
def container_image() -> Path:
    """Give the archive of the container image."""
    if hindrance := containers.hindrance():
        pytest.skip(hindrance)
    return containers.container_image()
