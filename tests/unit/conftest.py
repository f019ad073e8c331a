import gc
import os
import sys
from itertools import count
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


@pytest.hookimpl
def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end of the run: the modules and the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give what the product draws without a seed one of its own: which of its rare ways a test meets is no accident."""
    seeds, seeded = count(1), Random.__init__

    def drawn(self: Random, x: int | None = None) -> None:
        is_products = x is None and str(sys._getframe(1).f_globals.get("__name__")).startswith("locksmith")
        seeded(self, next(seeds) if is_products else x)

    monkeypatch.setattr(Random, "__init__", drawn)


@pytest.fixture(autouse=True)
def _no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after a test which secrets it has read: a drawn password may be a word of what the next test is told."""
    monkeypatch.setattr(secret, "_KNOWN", secret._Known())
