"""What the tests of packages share: each package is built once."""

from pathlib import Path

import pytest

from release import bundle
from tests.harness import bundles
from tests.harness import container_image as containers


@pytest.fixture(scope="session")
def container_image() -> Path:
    """Give the archive of the container image."""
    if hindrance := containers.hindrance():
        pytest.skip(hindrance)
    return containers.container_image()


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bundle.Payload:
    """Give the self-contained build. No test changes it."""
    if hindrance := bundles.hindrance():
        pytest.skip(hindrance)
    return bundles.built(tmp_path_factory.mktemp("bundle"))
