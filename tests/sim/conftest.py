import logging

import pytest


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """The story tells more than the log of eight machines at once."""
    caplog.set_level(logging.CRITICAL, "locksmith")
