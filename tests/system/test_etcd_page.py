"""docs/etcd.md, pasted: an etcd for a trial, and three members with TLS and users, which a node then uses to reboot."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import image, network
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.network import own_network
from tests.harness.pages import blocks, without_apt
from tests.system.layers import Layers, NewMachine

PAGE = "docs/etcd.md"
MEMBERS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
TRIAL, OPERATOR, NODE = "10.0.0.9", "10.0.0.10", "10.0.0.11"
LIMIT = 120.0
LOG = "_SYSTEMD_UNIT=locksmithd.service"


@pytest.fixture(scope="module")
def layers(installed: Layers) -> Layers:
    """A machine with locksmith, and with the Debian packages that the page installs."""
    packages = image.with_debian_packages(installed[-1], "etcd-server", "etcd-client", "openssh-server")
    return (packages, *installed)


@pytest.fixture
def addresses() -> Iterator[Mapping[str, Path]]:
    """The network with the addresses of the page."""
    if reason := network.hindrance():
        pytest.skip(reason)
    with own_network(*MEMBERS, TRIAL, OPERATOR, NODE) as found:
        yield found


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key with which the operator reaches the machines by ssh."""
    file = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


@pytest.fixture
def machine_at(new_machine: NewMachine, layers: Layers, addresses: Mapping[str, Path], key: Path):
    def make(name: str, address: str) -> Machine:
        machine = new_machine(name, layers)
        machine.network = addresses[address]
        machine.write("etc/hosts", "127.0.0.1 localhost\n")
        machine.write("root/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
        machine.write("root/.ssh/id_ed25519", key.read_text())
        (machine.root / "root/.ssh/id_ed25519").chmod(0o600)
        machine.write("root/.ssh/config", "StrictHostKeyChecking accept-new\n")
        machine.start()
        machine.wait_booted()
        return machine

    return make


def paste(machine: Machine, block: str, folder: str = "/root") -> str:
    """Run a block of the page; give what it printed."""
    done = machine.run("sh", "-ec", f"cd {folder}\n{without_apt(block)}", limit=LIMIT)
    return done.stdout + done.stderr


def test_the_etcd_for_a_trial_serves_after_one_command_and_others_after_a_second(machine_at):
    machine = machine_at("trial", TRIAL)
    first, second = blocks(PAGE, "For a trial")
    paste(machine, first)
    assert "Max: 1" in machine.run("locksmithctl", "status").stdout
    paste(machine, second)
    elsewhere = machine.run("locksmithctl", "-endpoint", f"http://{TRIAL}:2379", "status").stdout
    assert "Max: 1" in elsewhere


def test_three_members_with_tls_and_users_serve_a_node_that_reboots(machine_at):
    operator = machine_at("operator", OPERATOR)
    members = [machine_at(f"etcd-{number}", address) for number, address in enumerate(MEMBERS, 1)]
    node = machine_at("node", NODE)
    node.run("systemctl", "stop", "locksmithd")

    [certificates] = blocks(PAGE, "1. Certificates")
    paste(operator, certificates)
    [of_member] = blocks(PAGE, "2. The members")
    for number, member in enumerate(members, 1):
        paste(member, of_member.replace("member=1\n", f"member={number}\n"))
    wait_until(lambda: all(active(member) for member in members), limit=LIMIT, what="the members serve")
    users, later = blocks(PAGE, "3. Users and rights")
    exports = "".join(line + "\n" for line in users.splitlines() if line.startswith("export "))
    folder = "/root/etcd-for-locksmith"
    paste(operator, users, folder)
    assert "coreos.com/updateengine/rebootlock/groups/web/" in paste(operator, exports + later, folder)

    copied, of_node = blocks(PAGE, "4. A node")
    paste(operator, copied, folder)
    assert "Max: 1" in paste(node, of_node)

    password = (operator.root / "root/etcd-for-locksmith/web-password").read_text().strip()
    outside = (
        f"{exports}export ETCDCTL_USER=locksmith-web:{password}\n"
        "if etcdctl put coreos.com/updateengine/rebootlock/semaphore x; then exit 9; fi\n"
    )
    assert "permission denied" in paste(operator, outside, folder)
    assert (node.root / "etc/locksmith/etcd-password").stat().st_mode & 0o777 == 0o600

    members[0].kill()
    node.run("locksmithctl", "request", "--reason", "a test")
    node.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: "releasing the slot" in node.journal(LOG), limit=LIMIT, what="the node releases its slot")
    assert password not in node.journal(LOG)


def active(member: Machine) -> bool:
    return member.run("systemctl", "is-active", "etcd", check=False).stdout.strip() == "active"
