"""The system extension on machines without Python, with a read-only /usr. In that of the first is an older locksmith.

systemd-sysext gets a folder here instead of the .raw file: a container has no loop devices. Its contents are the same
(`tests/release/test_bundle.py`).
"""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from release import bundle
from tests.harness import bundles, image
from tests.harness.etcd import Etcd
from tests.harness.history import holders_over_time
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import NewMachine

LIMIT = 120.0
UNIT = "locksmithd.service"
PLACE = "var/lib/extensions/locksmith"
HOOK = "etc/locksmith/pre-reboot.d/50-environment"
EXAMPLE = image.REPOSITORY / "tests/example_strategy"


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    if hindrance := bundles.hindrance():
        pytest.skip(hindrance)


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bundle.Payload:
    return bundles.built(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


@pytest.fixture
def fleet(new_machine: NewMachine, etcd: Etcd) -> list[Machine]:
    """A machine with systemd 252 and an older locksmith, and a machine with systemd 257 and none."""
    bases = [image.base(suite) for suite in (image.BOOKWORM, image.TRIXIE)]
    machines = [
        new_machine(name, (image.without_python(base), base)) for name, base in zip(("m1", "m2"), bases, strict=True)
    ]
    for older in ("lib/systemd/system/locksmithd.service", "lib/locksmith/locksmithd", "bin/locksmithctl"):
        (machines[1].root / "usr" / older).unlink()
    for machine, port in zip(machines, free_ports(len(machines)), strict=True):
        machine.write(
            "etc/locksmith/locksmith.toml",
            f'strategy = "etcd-lock"\netcd.endpoints = {json.dumps(etcd.endpoints)}\nmetrics.port = {port}\n',
        )
        machine.start()
    for machine in machines:
        machine.wait_booted()
    return machines


def put(machine: Machine, payload: bundle.Payload) -> None:
    """Put a version of the extension where systemd-sysext finds it."""
    place = machine.root / PLACE
    if place.exists():
        take(machine)
    place.parent.mkdir(exist_ok=True)
    with bundle.as_extension(payload, "locksmith") as root:
        shutil.copytree(root, place, symlinks=True)


def take(machine: Machine) -> None:
    """Take the extension away. /usr has it until a refresh, as it has an image that is removed."""
    (machine.root / PLACE).rename(machine.root / f"var/lib/taken-in-boot-{len(machine.boots)}")


def refresh(machine: Machine) -> None:
    """The commands of docs/install-flatcar.md, for the first time and for an upgrade."""
    machine.run("systemd-sysext", "refresh")
    machine.run("/usr/lib/locksmith/start-at-boot")


def lose_the_extension(machine: Machine) -> None:
    """Boot without it: the older daemon must not start, which knows nothing of locksmith.toml."""
    take(machine)
    machine.run("systemctl", "reboot")
    machine.wait_booted(boots=4, limit=LIMIT)
    assert ctl(machine) == "locksmithctl version 0.6.2\n"
    assert (shown(machine, "ConditionResult"), shown(machine, "ActiveState")) == ("no", "inactive")


def remove(fleet: list[Machine]) -> None:
    """The commands of docs/install-flatcar.md. The page has an image, and these machines a folder."""
    page = (image.REPOSITORY / "docs/install-flatcar.md").read_text()
    found = re.search(r"^## Removal$.*?^```sh$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    commands = found[1].replace("rm -f /var/lib/extensions/locksmith.raw", "rm -rf /var/lib/extensions/locksmith")
    for machine in fleet:
        assert "installed" not in machine.journal(f"_SYSTEMD_UNIT={UNIT}")
        machine.run("sh", "-ec", commands)
        assert shown(machine, "MainPID") == "0"


def shown(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", UNIT, "--value", f"--property={name}").stdout.strip()


def ctl(machine: Machine, *args: str) -> str:
    return machine.run("locksmithctl", *args).stdout


def places(etcd: Etcd) -> list[str]:
    """Give the keys of the queue: each has its number, which tells an older place from a newer one."""
    prefix = b"coreos.com/updateengine/rebootlock/waiters/"
    start, end = (base64.b64encode(key).decode() for key in (prefix, prefix[:-1] + b"0"))
    found = etcd.call("/v3/kv/range", key=start, range_end=end, keys_only=True).get("kvs", [])
    return sorted(base64.b64decode(one["key"]).decode() for one in found)


def has_places(etcd: Etcd, number: int) -> bool:
    return len(places(etcd)) == number


def waits(machine: Machine) -> bool:
    return "waiting" in shown(machine, "StatusText")


def add_hook(machine: Machine) -> None:
    """A hook that writes down its environment."""
    machine.write(HOOK, "#!/bin/sh\nenv > /var/lib/environment-of-the-hook\n")
    (machine.root / HOOK).chmod(0o755)


def add_plugin(machine: Machine) -> None:
    """A strategy of another package, as `pip install --target` leaves it."""
    plugins = "opt/locksmith/plugins"
    machine.write(f"{plugins}/locksmith_file_strategy.py", (EXAMPLE / "locksmith_file_strategy.py").read_text())
    machine.write(f"{plugins}/example-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    points = "[locksmith.strategies]\nfile = locksmith_file_strategy:File\n"
    machine.write(f"{plugins}/example-1.0.dist-info/entry_points.txt", points)


def test_a_fleet_without_python_reboots_upgrades_and_has_its_old_unit_back(
    fleet: list[Machine], etcd: Etcd, payload: bundle.Payload, tmp_path: Path
) -> None:
    for machine in fleet:
        assert machine.run("sh", "-c", "command -v python3", check=False).returncode != 0
        assert machine.run("touch", "/usr/bin/new", check=False).returncode != 0
    assert ctl(fleet[0]) == "locksmithctl version 0.6.2\n"
    assert [shown(machine, "Description") for machine in fleet] == ["Cluster reboot manager", UNIT]

    add_hook(fleet[0])
    for machine in fleet:
        put(machine, payload)
        refresh(machine)
        assert shown(machine, "Description") == "Locksmith, the reboot coordinator"
        assert ctl(machine, "--version") == f"locksmithctl version {payload.build.version}\n"
    for machine in fleet:
        ctl(machine, "send-need-reboot")
    for machine in fleet:
        machine.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: holders_over_time(etcd, "")[-1] == [], limit=LIMIT, what="both have released the slot")
    holders = holders_over_time(etcd, "")
    assert max(map(len, holders)) == 1
    assert {holder for at_once in holders for holder in at_once} == {machine.id for machine in fleet}
    for machine in fleet:
        assert shown(machine, "Description") == "Locksmith, the reboot coordinator"
        assert shown(machine, "MemoryMax") == "infinity"
    environment = (fleet[0].root / "var/lib/environment-of-the-hook").read_text()
    assert "LOCKSMITH_" in environment
    assert not re.search("^(LD_LIBRARY_PATH|_PYI|SSL_)", environment, re.MULTILINE)

    add_plugin(fleet[0])
    fleet[0].run("env", "REBOOT_STRATEGY=file", "locksmithd", "--check-config")
    assert fleet[1].run("env", "REBOOT_STRATEGY=file", "locksmithd", "--check-config", check=False).returncode == 2

    ctl(fleet[0], "lock", "an-operator")
    for number, machine in enumerate(fleet, start=1):
        ctl(machine, "send-need-reboot")
        wait_until(partial(has_places, etcd, number), limit=LIMIT, what="it is in the queue")
    queue = places(etcd)
    newer = bundles.newer(payload, tmp_path)
    for machine in fleet:
        put(machine, newer)
        refresh(machine)
        assert ctl(machine, "--version") == "locksmithctl version 99.0\n"
        wait_until(partial(waits, machine), limit=LIMIT, what="it waits again")
    assert places(etcd) == queue
    ctl(fleet[0], "unlock", "an-operator")
    for machine in fleet:
        machine.wait_booted(boots=3, limit=LIMIT)
    wait_until(lambda: holders_over_time(etcd, "")[-1] == [], limit=LIMIT, what="both have released the slot again")

    lose_the_extension(fleet[0])
    remove(fleet)
    fleet[0].run("systemctl", "start", UNIT)
    assert shown(fleet[0], "ActiveState") == "active"
    assert shown(fleet[0], "Description") == "Cluster reboot manager"
    assert fleet[1].run("systemctl", "cat", UNIT, check=False).returncode != 0
