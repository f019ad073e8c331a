"""The Ansible role of contrib/ansible against real Debian machines over ssh: it installs, configures, and rests."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from release.deb import BOOKWORM
from tests.harness import ansible, debs, image, network
from tests.harness.ansible import Controller
from tests.harness.etcd import Etcd
from tests.harness.machines import Machine
from tests.harness.network import own_network
from tests.system.layers import Layers, NewMachine

CONTROLLER, STORE = "10.0.0.10", "10.0.0.9"
NODES = {"n1": "10.0.0.1", "n2": "10.0.0.2"}
VARIABLES: dict[str, Any] = {
    "locksmith_group": "web",
    "locksmith_max": 2,
    "locksmith_etcd_endpoints": [f"http://{STORE}:2379"],
    "locksmith_etcd_username": "locksmith-web",
    "locksmith_etcd_password": 'pass: "word"',
    "locksmith_config": {
        "dry-run": True,
        "window": {"open": ["Mon..Thu 02:00 for 3h"], "zone": "Europe/Berlin"},
        "metrics": {"port": 9600},
    },
}
MAX = "roles/locksmith/tasks/max.yml"
LIMIT = 120.0


@pytest.fixture(scope="module", autouse=True)
def _able():
    if reason := ansible.hindrance() or network.hindrance() or debs.hindrance():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def layers(bare: Layers) -> Layers:
    """A stock Debian machine that Ansible reaches, with what apt would fetch; and etcd for the one that needs it."""
    packages = [*debs.NEEDS[BOOKWORM], "etcd-server", "etcd-client", "openssh-server", "python3-apt"]
    return (image.with_debian_packages(bare[-1], *packages), *bare)


@pytest.fixture(scope="module")
def deb() -> Path:
    """The package for Debian 12."""
    return debs.built(BOOKWORM)


@pytest.fixture
def addresses() -> Iterator[Mapping[str, Path]]:
    with own_network(CONTROLLER, STORE, *NODES.values()) as found:
        yield found


@pytest.fixture
def controller(addresses: Mapping[str, Path], tmp_path: Path) -> Controller:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return Controller(addresses[CONTROLLER], key, tmp_path)


@pytest.fixture
def machine_at(new_machine: NewMachine, layers: Layers, addresses: Mapping[str, Path], controller: Controller):
    def make(name: str, address: str) -> Machine:
        machine = new_machine(name, layers)
        machine.network = addresses[address]
        machine.write("etc/hosts", "127.0.0.1 localhost\n")
        machine.write("root/.ssh/authorized_keys", controller.key.with_suffix(".pub").read_text())
        machine.start()
        machine.wait_booted()
        return machine

    return make


@pytest.fixture
def store(machine_at) -> None:
    """An etcd with a user, as docs/etcd.md has it, without TLS."""
    machine = machine_at("store", STORE)
    machine.write(
        "etc/default/etcd",
        f"ETCD_LISTEN_CLIENT_URLS=http://{STORE}:2379\nETCD_ADVERTISE_CLIENT_URLS=http://{STORE}:2379\n",
    )
    machine.run("systemctl", "restart", "etcd", limit=LIMIT)
    commands = f"""
        export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://{STORE}:2379
        echo root | etcdctl user add root --interactive=false
        etcdctl user grant-role root root
        etcdctl role add web
        etcdctl role grant-permission web --prefix=true readwrite coreos.com/updateengine/rebootlock/groups/web/
        etcdctl user add 'locksmith-web:{VARIABLES["locksmith_etcd_password"]}'
        etcdctl user grant-role locksmith-web web
        etcdctl auth enable
    """
    machine.run("sh", "-ec", commands, limit=LIMIT)


def settings(machine: Machine) -> dict[str, Any]:
    return tomllib.loads((machine.root / "etc/locksmith/locksmith.toml").read_text())


def started(machine: Machine) -> str:
    """When the daemon was started: another one after a restart."""
    show = ("systemctl", "show", "locksmithd", "--value", "--property=ExecMainStartTimestampMonotonic")
    return machine.run(*show).stdout.strip()


def test_the_role_is_clean_under_ansible_lint():
    assert ansible.lint() == ""


def test_a_group_that_has_moved_to_v3_is_not_opened_again_on_v2(tmp_path: Path) -> None:
    """As a node that still has `api = 2` would, next to the lock on v3."""
    programs = Path(sys.executable).parent
    with Etcd(members=1, v2=True) as etcd:
        environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LOCKSMITHCTL_ENDPOINT": ",".join(etcd.endpoints),
            "LOCKSMITHCTL_ETCD_API": "2",
        }

        def ctl(*args: str) -> str:
            command = [str(programs / "locksmithctl"), *args]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environ})
            return done.stdout

        played = ansible.play_here(tmp_path, MAX, {"locksmith_max": 2}, **environ)
        assert (played["localhost"].failed, played["localhost"].changed) == (0, 1), played.said
        assert "Max: 2" in ctl("status")
        ctl("retire-v2")
        refused = ansible.play_here(tmp_path, MAX, {"locksmith_max": 2}, **environ)
        assert refused["localhost"].failed == 1, refused.said
        assert "the group has moved to etcd's v3 API" in " ".join(refused.said.split())
        assert "Max: 0" in ctl("status")


@pytest.mark.usefixtures("store")
def test_the_role_installs_configures_and_then_changes_only_what_is_another(
    controller: Controller, machine_at, deb: Path
):
    machines = {name: machine_at(name, address) for name, address in NODES.items()}
    node = machines["n1"]
    variables = {"locksmith_deb": str(deb), **VARIABLES}

    only = {"n1": NODES["n1"]}
    checked = controller.play(only, variables, "--check")
    assert checked["n1"].failed == 0, checked.said
    assert checked["n1"].changed > 0
    assert not (node.root / "etc/locksmith").exists()
    assert not (node.root / "usr/bin/locksmithd").exists()

    first = controller.play(NODES, variables)
    assert (first["n1"].failed, first["n2"].failed) == (0, 0), first.said
    # The first of the group has set its max, too.
    assert first["n1"].changed == first["n2"].changed + 1
    for machine in machines.values():
        assert machine.run("systemctl", "is-active", "locksmithd").stdout == "active\n"
        assert "Max: 2" in machine.run("locksmithctl", "status").stdout
    wanted = VARIABLES["locksmith_config"]
    etcd = {
        "endpoints": [f"http://{STORE}:2379"],
        "username": "locksmith-web",
        "password-file": "/etc/locksmith/etcd-password",
    }
    assert settings(node) == {"strategy": "etcd-lock", "group": "web", "etcd": etcd, **wanted}
    secret = node.root / "etc/locksmith/etcd-password"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == (VARIABLES["locksmith_etcd_password"], 0o600)
    assert secret.read_text() not in first.said

    before = started(node)
    second = controller.play(NODES, variables)
    assert (second["n1"].changed, second["n2"].changed) == (0, 0), second.said
    assert started(node) == before

    bad = controller.play(only, {**variables, "locksmith_config": {"window": {"duration": "3h"}}})
    assert bad["n1"].failed == 1, bad.said
    assert "duration" in bad.said
    assert settings(node)["window"] == wanted["window"]
    assert (started(node), node.run("ls", "/tmp").stdout.count("tmp.")) == (before, 0)

    other = {**variables, "locksmith_max": "50%", "locksmith_config": {**wanted, "metrics": {"port": 9601}}}
    third = controller.play(only, other)
    # The file, the daemon and the group.
    assert (third["n1"].failed, third["n1"].changed) == (0, 3), third.said
    assert started(node) != before
    again = controller.play(only, other, "--check")
    assert (again["n1"].failed, again["n1"].changed) == (0, 0), again.said
