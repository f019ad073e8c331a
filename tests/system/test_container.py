"""The container image by podman, on a machine with its own systemd, bus and logind, in a rollout with another."""

import contextlib
import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import pytest

from release import image as image_of
from tests.harness import container_image as containers
from tests.harness import image
from tests.harness.etcd import Etcd
from tests.harness.history import holders_over_time
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

GROUP = "web"
START_LIMIT = 200.0
"""Seconds for podman to unpack the image on a busy machine, and for locksmithd to start."""
NO_LIMIT = "systemctl reset-failed locksmithd || true"
"""Sets the count of starts back: a fast machine would reach systemd's limit."""
ROLLOUT_LIMIT = 180.0
NSPAWN = ("--system-call-filter=bpf @keyring",)
"""System calls by which a runtime of containers limits them, and which systemd-nspawn forbids its own."""
SETTINGS = {"etc/containers/containers.conf": "[containers]\npids_limit = 0\n"}
"""The machine's cgroups have no controllers."""
HOOK = """#!/bin/sh
cat /usr/lib/locksmith/installed.d/image > /var/lib/locksmith/hook-ran-in
"""


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def with_podman() -> Layers:
    """A machine with podman, and without Python's packages of locksmith."""
    if hindrance := containers.hindrance():
        pytest.skip(hindrance)
    base = image.base(image.TRIXIE)
    return (image.with_debian_packages(base, "podman", "crun"), base)


@pytest.fixture
def machine(new_machine: NewMachine, with_podman: Layers, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which podman runs containers."""
    monkeypatch.setenv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
    machine = new_machine("c1", with_podman)
    # The machine's own root is an overlay, on which podman can have no other.
    storage = machine.root.with_name("containers")
    storage.mkdir()
    machine.options = (*NSPAWN, f"--bind={storage}:/var/lib/containers")
    for name, text in SETTINGS.items():
        machine.write(name, text)
    return machine


@pytest.fixture
def container(machine: Machine) -> Machine:
    """A machine on which the image is loaded and installed, as docs/containers.md says."""
    archive = containers.container_image()
    shutil.copy(archive, machine.root / "srv/locksmith.oci.tar")
    machine.start()
    machine.wait_booted()
    in_shell(machine, "podman load --input /srv/locksmith.oci.tar")
    options = f"--rm --network=host --volume=/etc:/host/etc --entrypoint={INSTALL}"
    in_shell(machine, f"podman run {options} {containers.name_of(archive)} podman")
    return machine


QUADLET = "/etc/containers/systemd/locksmithd.container"
OLDER = "usr/lib/systemd/system/locksmithd.service"
INSTALL = "/usr/share/locksmith/install"


def in_shell(machine: Machine, line: str, *, check: bool = True) -> str:
    """Run a command in a unit of its own: podman wants a place in the machine's cgroups."""
    unit = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--working-directory=/")
    done = machine.run(*unit, "sh", "-c", line, limit=START_LIMIT, check=check)
    return done.stdout + done.stderr


def configuration(etcd: Etcd, *, metrics_port: int) -> str:
    return f"""
        strategy = "etcd-lock"
        group = "{GROUP}"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        metrics.port = {metrics_port}
    """


BROKEN = {
    "s/--pid=host //": "run the container with --pid=host",
    "s#^Volume=/:/host.*##": "the machine's root is not mounted",
    "s#^Volume=/var/lib/locksmith:.*##": "/var/lib/locksmith is not the machine's",
    "s#^Volume=/run/locksmith:.*#Volume=/srv:/run/locksmith#": "/run/locksmith is not the machine's",
    "s#^Volume=/run/update-engine:.*#Volume=/srv/machine-id:/host/etc/machine-id:ro#": "the systemd on its bus has",
    "s#^Volume=/run/update-engine:.*#Volume=/srv:/host/run/dbus:ro#": "the system bus cannot be reached",
}
"""Each change of the quadlet (for sed), and what the daemon then says."""


def test_a_container_that_sees_its_machine_takes_its_turn_in_a_rollout(
    container: Machine, new_machine: NewMachine, installed: Layers, etcd: Etcd
) -> None:
    package = new_machine("m1", installed)
    fleet = [container, package]
    for machine, port in zip(fleet, free_ports(2), strict=True):
        machine.write("etc/locksmith/locksmith.toml", configuration(etcd, metrics_port=port))
    container.write("etc/locksmith/pre-reboot.d/50-note", HOOK)
    (container.root / "etc/locksmith/pre-reboot.d/50-note").chmod(0o755)
    package.start()

    container.run("touch", "/run/reboot-required")
    takes_no_slot_and_says_why(container, etcd)
    starts_no_older_daemon(container)

    package.wait_booted()
    in_shell(container, f"cp /srv/quadlet {QUADLET}; systemctl daemon-reload")
    package.run("touch", "/run/reboot-required")
    in_shell(container, f"{NO_LIMIT}; systemctl restart locksmithd")
    for machine in fleet:
        machine.wait_booted(boots=2, limit=ROLLOUT_LIMIT)
    wait_until(lambda: is_idle(container), limit=START_LIMIT, what="locksmithd is idle in its container")
    wait_until(lambda: holders_over_time(etcd, GROUP)[-1] == [], limit=START_LIMIT, what="the last slot is released")
    assert "c1 needs no reboot" in in_shell(container, "podman exec locksmithd locksmithctl why")
    holders = holders_over_time(etcd, GROUP)
    assert max(map(len, holders)) == 1
    assert {holder for at_once in holders for holder in at_once} == {machine.id for machine in fleet}
    outages = sorted((outage for machine in fleet for outage in machine.outages()), key=lambda one: one.begins)
    assert len(outages) == 2
    assert all(earlier.ends < later.begins for earlier, later in pairwise(outages))
    version = containers.version_of(containers.container_image())
    assert container.run("cat", "/var/lib/locksmith/hook-ran-in").stdout.strip() == version


def takes_no_slot_and_says_why(container: Machine, etcd: Etcd) -> None:
    """Take one thing after another from the container."""
    in_shell(container, f"systemctl reload dbus; cp {QUADLET} /srv/quadlet")
    container.write("srv/machine-id", "0123456789abcdef0123456789abcdef\n")
    for change, says in BROKEN.items():
        in_shell(container, f"sed '{change}' /srv/quadlet > {QUADLET}; systemctl daemon-reload")
        in_shell(container, f"{NO_LIMIT}; systemctl restart --no-block locksmithd")
        wait_until(partial(says_in_journal, container, says), limit=START_LIMIT, what=f"it says: {says}")
    assert container.id not in {holder for at_once in holders_over_time(etcd, GROUP) for holder in at_once}
    assert len(container.boots) == 1


def starts_no_older_daemon(container: Machine) -> None:
    """Have podman make no unit, on a system that has one of this name itself, as Flatcar does."""
    container.write(OLDER, "[Service]\nExecStart=/usr/bin/sleep infinity\n")
    in_shell(container, f"systemctl stop locksmithd; rm {QUADLET}; systemctl daemon-reload; {NO_LIMIT}")
    in_shell(container, "systemctl start locksmithd")
    shown = container.run("systemctl", "show", "locksmithd.service", "--property=FragmentPath,ActiveState").stdout
    assert set(shown.split()) == {f"FragmentPath=/{OLDER}", "ActiveState=inactive"}


def says_in_journal(machine: Machine, sentence: str) -> bool:
    return sentence in machine.journal("SYSLOG_IDENTIFIER=locksmithd")


def is_idle(machine: Machine) -> bool:
    status = machine.run("systemctl", "show", "locksmithd.service", "--value", "--property=StatusText").stdout
    return status.startswith("idle")


def test_the_server_runs_from_its_image_as_the_docs_say(machine: Machine, etcd: Etcd) -> None:
    """No right, no writable file, and a secret that its user alone may read."""
    archive = containers.server_of(containers.container_image())
    version = image_of.tag_of(containers.version_of(containers.container_image()))
    [port] = free_ports(1)
    machine.write(
        "etc/locksmith/locksmith.toml",
        f"""
        strategy = "off"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        server.address = "::"
        server.port = {port}
        server.groups.web.password-file = "/etc/locksmith/password"
        """,
    )
    machine.write("etc/locksmith/password", "a password of 24 letters and more\n")
    shutil.copy(archive, machine.root / f"srv/{archive.name}")
    machine.start()
    machine.wait_booted()
    in_shell(machine, "chown 65532 /etc/locksmith/password; chmod 600 /etc/locksmith/password")
    load, run, check = documented()
    in_shell(machine, load.replace("locksmith-server-VERSION.oci.tar", f"/srv/{archive.name}"))
    # The machine has no network of its own, as its host's is that of etcd.
    run = run.replace("VERSION", version).replace("--publish=3333:3333", "--network=host")
    # In the foreground, in a unit of its own: with the end of a unit, systemd ends what podman has left in it.
    assert "--detach" in run
    machine.run("systemd-run", "--quiet", "--working-directory=/", "sh", "-c", run.replace("--detach", ""))
    wait_until(lambda: alive(port), limit=START_LIMIT, what="the server answers")
    checked = check.replace("VERSION", version).replace("--rm", "--rm --network=host")
    assert "server.groups" in in_shell(machine, checked)
    assert in_shell(machine, "podman exec locksmith-server id -u").strip() == "65532"
    in_shell(machine, "podman stop locksmith-server")
    shown = in_shell(machine, "podman inspect --format '{{.State.ExitCode}}' locksmith-server")
    assert shown.strip() == "0"


def documented() -> list[str]:
    """Give the commands of docs/containers.md for the server: load, run, check."""
    text = (image.REPOSITORY / "docs/containers.md").read_text()
    section = text.partition("\n## The server\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return "".join(blocks).replace("\\\n", "").splitlines()


def alive(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return bool(answer.read() == b"ok\n")
    return False
