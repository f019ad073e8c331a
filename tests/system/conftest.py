"""Machines for the system tests; where they cannot run, every test here says why and is skipped."""

from collections.abc import Generator, Iterator

import pytest

from tests.harness import image
from tests.harness.machine_pool import machine_pool
from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine

JOURNAL_LINES = 80
_MACHINES = pytest.StashKey[list[Machine]]()


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    hindrance = image.hindrance()
    if hindrance:
        pytest.skip(hindrance)


@pytest.fixture(scope="session")
def bare() -> Layers:
    """A machine without locksmith."""
    return (image.base(),)


@pytest.fixture(scope="session")
def installed(bare: Layers) -> Iterator[Layers]:
    """A machine with the package, the unit and the bus policy of this working tree."""
    with machine_pool() as folder:
        yield (image.install(bare[0], folder), *bare)


@pytest.fixture(scope="session")
def trixie() -> Iterator[Layers]:
    """The same on systemd 257."""
    lower = image.base(image.TRIXIE)
    with machine_pool() as folder:
        yield (image.install(lower, folder), lower)


@pytest.fixture(scope="session")
def stock_debian(bare: Layers) -> Layers:
    """A machine that installs its updates by itself, without locksmith."""
    return (image.orphaned_for(bare[0]), *bare)


@pytest.fixture
def new_machine(request: pytest.FixtureRequest) -> Iterator[NewMachine]:
    """Make machines; all lose their power, and their disks, when the test ends."""
    machines: list[Machine] = request.node.stash.setdefault(_MACHINES, [])
    with machine_pool() as folder:

        def make(name: str, layers: Layers) -> Machine:
            machines.append(Machine(folder, name, layers))
            return machines[-1]

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the machines said last, where a test failed."""
    report = yield
    if call.when == "call" and report.failed:
        for machine in item.stash.get(_MACHINES, []):
            last_words = machine.journal().splitlines()[-JOURNAL_LINES:]
            report.sections.append((f"journal of {machine.name}", "\n".join(last_words)))
    return report
