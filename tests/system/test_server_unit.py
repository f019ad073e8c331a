"""`locksmith-server.service` on a real machine: its sandbox, a credential, a hook, its stop."""

import json
import re
import time
import tomllib
from http.client import HTTPConnection

import pytest

from tests.harness import image
from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

UNIT = "locksmith-server.service"
EXTRA = tomllib.loads((image.REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["server"]
TOKEN = "a token of 21 letters"
HOOK = "#!/bin/sh\nid -u >/run/locksmith-server/who && test ! -w /etc/locksmith\n"
DYNAMIC = range(61184, 65520)
"""The users of DynamicUser= (systemd.exec(5))."""


@pytest.fixture
def machine(new_machine: NewMachine, installed: Layers) -> Machine:
    """A machine with locksmith and the libraries of its server, as docs/server.md installs them."""
    package, base = installed
    machine = new_machine("server", (package, image.with_packages(base, image.BOOKWORM, EXTRA), base))
    machine.write(f"etc/systemd/system/{UNIT}", (image.REPOSITORY / "contrib/systemd" / UNIT).read_text())
    machine.write(
        f"etc/systemd/system/{UNIT}.d/credentials.conf", "[Service]\nLoadCredential=token:/etc/locksmith/token\n"
    )
    machine.write("etc/locksmith/token", f"{TOKEN}\n")
    (machine.root / "etc/locksmith/token").chmod(0o600)
    machine.write("etc/locksmith/fleetlock-pre-reboot.d/drain", HOOK)
    (machine.root / "etc/locksmith/fleetlock-pre-reboot.d/drain").chmod(0o755)
    (machine.root / "usr/bin/locksmith-server").symlink_to("/opt/locksmith/bin/locksmith-server")
    return machine


def test_the_unit_serves_in_a_sandbox_with_its_credential_and_stops_in_time(machine: Machine) -> None:
    [port] = free_ports(1)
    group = f"unit-{port}"
    with Etcd(members=1) as etcd:
        machine.write(
            "etc/locksmith/locksmith.toml",
            f'strategy = "off"\n[etcd]\nendpoints = {json.dumps(etcd.endpoints)}\n[server]\nport = {port}\n'
            f'[server.groups.{group}]\npassword-file = "/run/credentials/{UNIT}/token"\n',
        )
        machine.start()
        machine.wait_booted()
        machine.run("systemctl", "start", UNIT)
        assert _shown(machine, "StatusText") == f"serves {group} at http://127.0.0.1:{port}"
        assert _call(port, group, "wrong") == 401
        wait_until(lambda: _call(port, group, TOKEN) == 200, limit=30, what="the slot is had")
        assert int(machine.run("cat", "/run/locksmith-server/who").stdout) in DYNAMIC
        assert TOKEN not in machine.journal("-u", UNIT)
        verdict = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout.splitlines()[-1]
        found = re.search(r"level for locksmith-server.service: ([\d.]+) OK", verdict)
        assert found, verdict
        assert float(found[1]) <= 1.2
        assert machine.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}").stderr == ""
        begun = time.monotonic()
        machine.run("systemctl", "stop", UNIT)
        assert time.monotonic() - begun < 10
        assert _shown(machine, "Result") == "success"


def _shown(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", UNIT, "--value", f"--property={name}").stdout.strip()


def _call(port: int, group: str, token: str) -> int:
    """Ask for a slot, from the host, whose network the machine shares; give the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"fleet-lock-protocol": "true", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/v1/pre-reboot", json.dumps({"client_params": {"id": "n1", "group": group}}), headers)
    try:
        return connection.getresponse().status
    finally:
        connection.close()
