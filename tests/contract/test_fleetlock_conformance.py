"""The conformance suite for FleetLock servers: our server passes it, and on a wrong server the named checks fail."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.fleetlock_double import Double, serving
from tests.harness.fleetlock_wrong import WRONG, OneTooMany, PlainText

REPOSITORY = Path(__file__).parents[2]
SUITE = "tests/conformance/fleetlock"
LIMIT = 240.0


def run(*command: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run a module of Python; pytest there has no plugins, and knows nothing of the run around it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = [sys.executable, "-m", *command]
    return subprocess.run(arguments, cwd=cwd, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)


def conformance(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite against a server, as its users do."""
    return run("pytest", SUITE, "--fleetlock-url", url, "-p", "no:cacheprovider", *arguments)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, str]]:
    """What each check said on each server of the trial."""
    done = run("tests.harness.fleetlock_trial")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_server_fails_the_checks_of_its_fault(outcomes, wrong):
    assert outcomes[wrong.__name__] == dict.fromkeys(WRONG[wrong], "failed")


def test_the_correct_double_passes_the_same_checks(outcomes):
    found = outcomes[Double.__name__]
    assert set(found) == {check for checks in WRONG.values() for check in checks}
    assert set(found.values()) == {"passed"}


def test_a_should_that_is_not_met_fails_only_a_strict_run():
    checks = "a_refusal_has_a_kind or success_has_status"
    with serving(PlainText(1)) as url:
        lenient, strict = (conformance(url, "-k", checks, *more) for more in ((), ("--fleetlock-strict",)))
    assert (lenient.returncode, strict.returncode) == (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    for done in (lenient, strict):
        assert "MUST: 1 passed, 0 failed, 0 skipped\nSHOULD: 0 passed, 7 failed, 0 skipped\n" in done.stdout
        assert (
            "SHOULD not met: test_a_refusal_has_a_kind_and_a_value[full]: full: the answer has no text" in done.stdout
        )


def test_a_must_fails_any_run():
    with serving(OneTooMany(1)) as url:
        done = conformance(url, "-k", "no_more_holders_than_slots")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "a further client got a slot (200 b'{}') while 1 had one" in done.stdout


def test_a_copy_of_the_suite_runs_alone(tmp_path):
    """In a folder of its own, by a Python that has pytest, and keeps the path of the base URL."""
    shutil.copytree(REPOSITORY / SUITE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__"))
    with serving(Double(1), "/fleet/lock") as url:
        command = [
            "pytest",
            "suite/test_slots.py",
            "--fleetlock-url",
            url.rstrip("/"),
            "--fleetlock-other-group",
            "other",
        ]
        done = run(*command, cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "SHOULD: 3 passed, 0 failed, 0 skipped" in done.stdout


def test_without_a_server_the_suite_is_an_error_and_no_skip():
    done = run("pytest", SUITE, "-q")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "needs a server: pytest tests/conformance/fleetlock --fleetlock-url URL" in done.stderr + done.stdout


def test_a_server_that_is_not_there_is_named():
    done = conformance("http://127.0.0.1:1/")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no FleetLock server at http://127.0.0.1:1/: " in done.stdout + done.stderr
