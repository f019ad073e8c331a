"""Runs the conformance suite on each wrong server, in few processes, and prints what each check said, as JSON.

    python -m tests.harness.fleetlock_trial

Only the checks are run that must fail on it: `{"Draining": {"test_slots.py::test_...": "failed"}, ...}`. All of them
are run on the correct doubles too, under the names `Double` and `Crude`.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.harness import fleetlock_crude
from tests.harness.fleetlock_caught import WRONG
from tests.harness.fleetlock_crude import Crude
from tests.harness.fleetlock_double import TOKEN, Double, serving

SUITE = Path(__file__).parents[1] / "conformance/fleetlock"
SLOTS = 2
CONTROL: dict[type[Double] | type[Crude], tuple[str, ...]] = {
    correct: tuple({check: None for wrong, checks in WRONG.items() if issubclass(wrong, correct) for check in checks})
    for correct in (Double, Crude)
}
"""What the correct doubles pass."""
PROCESSES = 4
"""They mostly wait."""


class Outcomes:
    """Collects the outcome of each check: of its call, or what went wrong before."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a report."""
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self.found[report.nodeid.partition("/fleetlock/")[2]] = report.outcome


def trial(kind: type[Double] | type[Crude]) -> tuple[str, dict[str, str]]:
    """Run the checks that must fail on a server, and give its name and what they said."""
    return kind.__name__, outcomes(kind, {**CONTROL, **WRONG}[kind])


def outcomes(kind: type[Double] | type[Crude], checks: Sequence[str]) -> dict[str, str]:
    """Run checks against a double, each SHOULD as strictly as a MUST."""
    collected = Outcomes()
    limits = {} if kind in CONTROL else {"wait": 0.3, "timeout": 1}
    server = serving(kind(SLOTS, has_logins=True)) if issubclass(kind, Double) else fleetlock_crude.serving(kind(SLOTS))
    with server as url, contextlib.redirect_stdout(io.StringIO()) as said:
        options = {"url": url, "slots": SLOTS, "other-group": "other", "clients": 6, "token": TOKEN, **limits}
        args = [f"--fleetlock-{name}={value}" for name, value in options.items()]
        files = [f"{SUITE}/{check}" for check in checks]
        pytest.main([*files, *args, "--fleetlock-strict", "--tb=no", "-p", "no:cacheprovider"], plugins=[collected])
    return collected.found or {"no check ran": said.getvalue()}


if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the doubles have imported what a plugin wants to rewrite
    with ProcessPoolExecutor(PROCESSES, get_context("fork")) as pool:
        sys.stdout.write(json.dumps(dict(pool.map(trial, [*CONTROL, *WRONG]))))
