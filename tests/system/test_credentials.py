"""Credentials of the unit on a real systemd, and a node without a configuration."""

import pytest

from tests.harness.certificates import Authority
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.system.layers import Layers, NewMachine

UNIT = "locksmithd.service"
CONFIG = "etc/locksmith/locksmith.toml"
DROP_IN = f"etc/systemd/system/{UNIT}.d/20-credentials.conf"
OTHER_USER = ("setpriv", "--reuid=nobody", "--clear-groups")


@pytest.fixture
def machine(new_machine: NewMachine, installed: Layers) -> Machine:
    return new_machine("m1", installed)


def shown(machine: Machine, name: str) -> str:
    return machine.run("systemctl", "show", UNIT, "--value", f"--property={name}").stdout.strip()


def restart(machine: Machine) -> None:
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT, check=False)


def test_from_a_package_to_a_key_of_another_user_to_credentials(machine: Machine, tmp_path) -> None:
    """A package alone does nothing; a key that root may not read names the line to write; that line is enough."""
    machine.write("usr/lib/locksmith/locksmith.toml", 'strategy = "off"\n')
    machine.start()
    machine.wait_booted()

    wait_until(lambda: shown(machine, "ActiveState") == "inactive", limit=20, what="it ends")
    assert shown(machine, "Result") == "success"
    said = machine.journal("_SYSTEMD_UNIT=locksmithd.service")
    sentence = "this node is not configured, so it will not reboot (its strategy is off by /usr/lib/locksmith/"
    assert sentence in said
    assert sentence in machine.run("locksmithd", "--check-config").stderr
    assert "This node is not configured" in machine.run("locksmithctl", "why").stdout

    authority = Authority(tmp_path)
    pair = authority.issue("client")
    for name, file in (("ca.pem", authority.cert), ("client.crt", pair.cert), ("client.key", pair.key)):
        machine.write(f"etc/etcd/{name}", file.read_text())
    machine.run("chown", "nobody", "/etc/etcd/client.key")
    machine.run("chmod", "600", "/etc/etcd/client.key")
    lines = ['strategy = "etcd-lock"', "metrics.enabled = false", "[etcd]", 'endpoints = ["https://127.0.0.1:1"]']
    lines += ['cafile = "/etc/etcd/ca.pem"', 'certfile = "/etc/etcd/client.crt"']
    machine.write(CONFIG, "\n".join([*lines, 'keyfile = "/etc/etcd/client.key"\n']))
    restart(machine)
    wait_until(lambda: shown(machine, "ExecMainStatus") == "2", limit=20, what="it cannot read the key")
    line = "LoadCredential=etcd.key:/etc/etcd/client.key"
    assert f"`{line}`" in machine.journal("_SYSTEMD_UNIT=locksmithd.service")
    assert f"`{line}`" in machine.run("locksmithd", "--check-config").stderr

    machine.write("root/password", "hush-hush-1")
    sealed = "/etc/locksmith/etcd.password.cred"
    machine.run("systemd-creds", "--with-key=host", "--name=etcd.password", "encrypt", "/root/password", sealed)
    machine.write(DROP_IN, f"[Service]\n{line}\nLoadCredentialEncrypted=etcd.password:{sealed}\n")
    restart(machine)
    wait_until(lambda: shown(machine, "ExecMainStatus") == "2", limit=20, what="it refuses the contradiction")
    said = machine.journal("_SYSTEMD_UNIT=locksmithd.service")
    assert f"/{CONFIG}: etcd.keyfile excludes the credential etcd.key of locksmithd.service" in said

    machine.write(CONFIG, "\n".join([*lines, 'username = "locksmith"\n']))
    machine.run("systemctl", "reset-failed", UNIT)
    restart(machine)
    wait_until(lambda: shown(machine, "ActiveState") == "active", limit=20, what="it runs")
    assert shown(machine, "CapabilityBoundingSet") == ""
    checked = machine.run("locksmithd", "--check-config").stdout
    assert "(from the credential etcd.key)" in checked
    assert 'etcd.password = "***"  (from the credential etcd.password)' in checked
    assert "127.0.0.1:1" in machine.run("locksmithctl", "status", check=False).stderr
    refused = machine.run(*OTHER_USER, "locksmithctl", "status", check=False)
    assert (refused.returncode, "run it as root" in refused.stderr) == (2, True), refused.stderr
    assert "hush-hush-1" not in machine.journal("_SYSTEMD_UNIT=locksmithd.service")
