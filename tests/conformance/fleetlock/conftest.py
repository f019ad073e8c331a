"""The options of the suite, its two levels, and what it reports."""

import base64
import os
import ssl
from collections import Counter
from collections.abc import Callable, Generator, Iterator

import pytest

from .fleet import Fleet, Patience, new_id
from .wire import STEADY_STATE, NoAnswerError, Server, body_of

MUST, SHOULD = "must", "should"
LEVELS = {
    MUST: "MUST: of the published specification",
    SHOULD: "SHOULD: what the specification recommends, and what clients and operators in the field need",
}
RESULTS = pytest.StashKey[dict[str, Counter[str]]]()
UNMET = pytest.StashKey[list[str]]()
START = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; a secret may also come from the environment, where `ps` does not show it."""
    add = parser.getgroup("fleetlock", "FleetLock conformance").addoption
    add("--fleetlock-url", metavar="URL", help="base URL of the server, such as http://127.0.0.1:3333/")
    add("--fleetlock-group", metavar="NAME", default="conformance", help="a group of its own, empty")
    add("--fleetlock-slots", metavar="N", type=int, default=1, help="how many slots the group has (1)")
    add("--fleetlock-other-group", metavar="NAME", help="a second empty group, with one slot or more")
    add("--fleetlock-strict", action="store_true", help="what is only a SHOULD fails the run too")
    add("--fleetlock-token", metavar="TOKEN", help="for Authorization: Bearer; or $FLEETLOCK_TOKEN")
    add("--fleetlock-user", metavar="NAME", default="fleetlock", help="for Authorization: Basic")
    add("--fleetlock-password", metavar="PASSWORD", help="of that user; or $FLEETLOCK_PASSWORD")
    add("--fleetlock-cafile", metavar="FILE", help="who signed the server's certificate")
    add("--fleetlock-certfile", metavar="FILE", help="the client's certificate, if the server wants one")
    add("--fleetlock-keyfile", metavar="FILE", help="the key of that certificate")
    add("--fleetlock-wait", metavar="S", type=float, default=10.0, help="seconds a good call may be refused (10)")
    add("--fleetlock-timeout", metavar="S", type=float, default=30.0, help="seconds an answer may take (30)")
    add("--fleetlock-clients", metavar="N", type=int, default=16, help="how many clients call at once (16)")


def pytest_configure(config: pytest.Config) -> None:
    """Make the levels known, and refuse to share the group with other processes of this run."""
    if config.getoption("--fleetlock-url", default=None) and config.getoption("numprocesses", default=None):
        raise pytest.UsageError("the FleetLock conformance suite needs its group for itself: run it without -n")
    for name, text in LEVELS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    results: dict[str, Counter[str]] = {name: Counter() for name in LEVELS}
    config.stash[RESULTS] = results
    config.stash[UNMET] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run without a server: no check may be skipped for it."""
    ours = any(item.get_closest_marker(name) for item in session.items for name in LEVELS)
    if not ours or session.config.option.collectonly:
        return
    if not session.config.getoption("--fleetlock-url", default=None):
        raise pytest.UsageError(
            "the FleetLock conformance suite needs a server: pytest tests/conformance/fleetlock --fleetlock-url URL"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count the result in its level; a SHOULD that is not met fails no run unless it is strict."""
    report = yield
    level = next((name for name in LEVELS if item.get_closest_marker(name)), None)
    if level is None or (report.when != "call" and report.outcome == "passed"):
        return report
    result = report.outcome
    if level == SHOULD and report.when == "call" and report.failed:
        sentence = str(call.excinfo.value).partition("\n")[0] if call.excinfo else ""
        item.config.stash[UNMET].append(f"{item.name}: {sentence}")
        result = "failed"
        if not item.config.getoption("--fleetlock-strict"):
            report.outcome = "skipped"
            report.wasxfail = f"SHOULD: {sentence}"
    item.config.stash[RESULTS][level][result] += 1
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report the two levels apart."""
    if not any(config.stash[RESULTS].values()):
        return
    terminalreporter.section("FleetLock conformance")
    terminalreporter.line(
        f"{config.getoption('--fleetlock-url')}, group {config.getoption('--fleetlock-group')}, "
        f"{config.getoption('--fleetlock-slots')} slot(s)"
    )
    if said := config.stash.get(START, ""):
        terminalreporter.line(f"LOOK HERE FIRST: {said}", red=True)
    for name, counts in config.stash[RESULTS].items():
        said = ", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped"))
        terminalreporter.line(f"{name.upper()}: {said}")
    for line in config.stash[UNMET]:
        terminalreporter.line(f"SHOULD not met: {line}")


def _tls(config: pytest.Config) -> ssl.SSLContext | None:
    cafile, certfile = config.getoption("--fleetlock-cafile"), config.getoption("--fleetlock-certfile")
    if not cafile and not certfile:
        return None
    context = ssl.create_default_context(cafile=cafile)
    if certfile:
        context.load_cert_chain(certfile, config.getoption("--fleetlock-keyfile"))
    return context


def _authorization(config: pytest.Config) -> str | None:
    if token := config.getoption("--fleetlock-token") or os.environ.get("FLEETLOCK_TOKEN"):
        return f"Bearer {token}"
    if password := config.getoption("--fleetlock-password") or os.environ.get("FLEETLOCK_PASSWORD"):
        pair = f"{config.getoption('--fleetlock-user')}:{password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return None


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """Give the server under test; the run ends if nothing answers there."""
    url = pytestconfig.getoption("--fleetlock-url")
    try:
        timeout = pytestconfig.getoption("--fleetlock-timeout")
        found = Server.at(url, _tls(pytestconfig), _authorization(pytestconfig), timeout)
        found.ask(STEADY_STATE, body_of(new_id(), pytestconfig.getoption("--fleetlock-group")))
    except (OSError, ValueError, NoAnswerError) as error:
        pytest.exit(f"no FleetLock server at {url}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    return found


@pytest.fixture(scope="session")
def patience(pytestconfig: pytest.Config) -> Patience:
    """Say how long good calls may be refused."""
    return Patience(pytestconfig.getoption("--fleetlock-wait"))


@pytest.fixture(scope="session")
def new_fleet(pytestconfig: pytest.Config, server: Server, patience: Patience) -> Callable[[], Fleet]:
    """Give what makes the clients of the group. Its slots are tried first, so that a report can begin with that."""
    option = pytestconfig.getoption
    group, slots = option("--fleetlock-group"), option("--fleetlock-slots")
    pytestconfig.stash[START] = Fleet(server, group, slots, patience).rehearse()
    return lambda: Fleet(server, group, slots, patience)


@pytest.fixture
def fleet(new_fleet: Callable[[], Fleet]) -> Iterator[Fleet]:
    """Give the clients of the group; what they have is released afterwards."""
    found = new_fleet()
    yield found
    found.clean()


@pytest.fixture
def other_fleet(pytestconfig: pytest.Config, server: Server, patience: Patience) -> Iterator[Fleet]:
    """Give the clients of the second group."""
    group = pytestconfig.getoption("--fleetlock-other-group")
    if not group:
        pytest.skip("no --fleetlock-other-group")
    found = Fleet(server, group, 1, patience)
    yield found
    found.clean()


@pytest.fixture
def clients(pytestconfig: pytest.Config, fleet: Fleet) -> int:
    """Say how many clients call at once: more than the group has slots."""
    number: int = pytestconfig.getoption("--fleetlock-clients")
    return max(number, fleet.slots + 2)
