"""The conformance suite for FleetLock servers: our server passes it, and on a wrong server the named checks fail."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.store.connect import open_store
from tests.harness.balancer import balancing
from tests.harness.certificates import Authority
from tests.harness.fleetlock_caught import WRONG
from tests.harness.fleetlock_crude import Crude
from tests.harness.fleetlock_double import Double, serving
from tests.harness.fleetlock_server import ANYBODY, FleetLockServer
from tests.harness.fleetlock_wrong import OneTooMany, PlainText

REPOSITORY = Path(__file__).parents[2]
SUITE = "tests/conformance/fleetlock"
LIMIT = 240.0
SLOTS = 2


def run(*command: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run a module of Python; pytest there has no plugins, and knows nothing of the run around it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = [sys.executable, "-m", *command]
    return subprocess.run(arguments, cwd=cwd, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)


def conformance(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite against a server, as its users do."""
    return run("pytest", SUITE, "--fleetlock-url", url, "-p", "no:cacheprovider", *arguments)


@pytest.fixture
def group(wheel_etcd):
    """A group of its own with two slots."""
    name = f"conformance-{uuid.uuid4().hex}"

    async def prepare() -> None:
        store = open_store(wheel_etcd.settings())
        try:
            await LockAdmin(Guarded(store, name)).set_max(SLOTS)
        finally:
            await store.close()

    asyncio.run(prepare())
    return name


def assert_passed(done: subprocess.CompletedProcess[str]) -> None:
    """Check that each MUST and each SHOULD is met."""
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-8000:] + done.stderr[-2000:]


def test_two_of_our_servers_pass_every_check_together(wheel_etcd, group):
    """Each connection goes to the other server: what one has answered, the other knows."""
    groups = {group: ANYBODY, f"{group}.other": ANYBODY}
    options = [f"--fleetlock-slots={SLOTS}", f"--fleetlock-other-group={group}.other", "--fleetlock-clients=5"]
    with ExitStack() as stack:
        urls = [stack.enter_context(FleetLockServer(wheel_etcd, groups)).url for _ in range(2)]
        url = stack.enter_context(balancing(urls))
        assert_passed(conformance(url, f"--fleetlock-group={group}", *options, "--fleetlock-strict"))


def test_our_server_passes_the_checks_of_logins_over_tls(wheel_etcd, group, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / "password").chmod(0o600)
    files = {"certfile": pair.cert, "keyfile": pair.key}
    with FleetLockServer(wheel_etcd, {group: {"password-file": tmp_path / "password"}}, server=files) as server:
        options = [f"--fleetlock-group={group}", f"--fleetlock-slots={SLOTS}", f"--fleetlock-cafile={authority.cert}"]
        chosen = ["-k", "credentials or taken_and_released or kept_connection or pipelined", "--fleetlock-strict"]
        for secret in ("--fleetlock-password=open sesame", "--fleetlock-token=open sesame"):
            assert_passed(conformance(server.url, *options, *chosen, secret))


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


@pytest.mark.parametrize("correct", [Double, Crude], ids=lambda correct: correct.__name__)
def test_a_correct_double_passes_the_same_checks(outcomes, correct):
    wrong = [checks for kind, checks in WRONG.items() if issubclass(kind, correct)]
    assert outcomes[correct.__name__] == {check: "passed" for checks in wrong for check in checks}


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


def test_a_group_that_is_not_empty_is_what_the_report_says_first():
    double = Double(2)
    double.semaphore("conformance").holders.append("left by a run that was killed")
    with serving(double) as url:
        done = conformance(url, "--fleetlock-slots=2", "-k", "no_more_holders_than_slots", "--fleetlock-wait=1")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    said = "LOOK HERE FIRST: at the start only 1 of 2 slot(s) could be taken: pre-reboot was not granted within 1 s"
    assert said in done.stdout


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
