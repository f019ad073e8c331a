import gc
import os
import sys
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings

from locksmith.util import secret

# A busy machine makes no property false: no example has a time limit of its own.
settings.register_profile("locksmith", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `make mutants`: the same few examples each time, as each mutant meets them anew.
settings.register_profile(
    "mutants", settings.get_profile("locksmith"), max_examples=10, derandomize=True, database=None
)
# For `make quick` and `python -m tests.matrix`: few examples, other ones each time.
settings.register_profile("quick", settings.get_profile("locksmith"), max_examples=5, database=None)
# For CI: other examples each time, so that its runs together try as many.
settings.register_profile("fewer", settings.get_profile("locksmith"), max_examples=30)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "locksmith"))

# Thousands of short tests leave little garbage: the collector at its usual pace would take a tenth of their time.
gc.set_threshold(100_000)

_FOLDERS = count(1)
_PATCH = pytest.MonkeyPatch()


@pytest.hookimpl
def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end of the run: the modules and the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Let pytest find what was left open, in one pass of the collector: each of its own five finds nothing more."""
    gc.collect()
    gc.freeze()


# Two hooks, and no fixtures that every test uses: those would take four times as long.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give what the product draws without a seed one of its own, and let it forget which secrets it has read.

    So which of its rare ways a test meets is no accident. A drawn password may be a word of what the next test is told.
    """
    seeds, seeded = count(1), Random.__init__

    def drawn(self: Random, x: int | None = None) -> None:
        is_products = x is None and str(sys._getframe(1).f_globals.get("__name__")).startswith("locksmith")
        seeded(self, next(seeds) if is_products else x)

    _PATCH.setattr(Random, "__init__", drawn)
    _PATCH.setattr(secret, "_KNOWN", secret._Known())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Restore what `pytest_runtest_setup` has replaced: the generator of random numbers, and the known secrets."""
    _PATCH.undo()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder to each test as pytest does, but without reading the others for its name."""
    folder = tmp_path_factory.getbasetemp() / f"{next(_FOLDERS)}"
    folder.mkdir(0o700)
    return folder
