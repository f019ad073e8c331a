"""Bad days of real machines: one comes up sick, hooks run in units of their own, the plug is pulled amid them."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.harness.etcd import Etcd
from tests.harness.machine_pool import wait_until
from tests.harness.machines import Machine
from tests.harness.ports import free_ports
from tests.system.layers import Layers, NewMachine

Boot = Callable[..., list[Machine]]

GROUP = "web"
LIMIT = 90.0

WEB_SERVICE = """
    [Unit]
    Description=Fails once it was broken
    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/bin/sh -c 'test ! -e /var/lib/broken'
    [Install]
    WantedBy=multi-user.target
"""
BLESS = """
    [Unit]
    Requires=boot-complete.target
    After=boot-complete.target
    [Service]
    Type=oneshot
    ExecStart=/bin/true
"""
JUDGE = """
    [Unit]
    Before=boot-complete.target
    [Service]
    Type=oneshot
    ExecStart=/bin/false
"""
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
OLD_FAILURE = """
    [Service]
    Type=oneshot
    ExecStart=/bin/false
    [Install]
    WantedBy=multi-user.target
"""


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd(members=1) as cluster:
        yield cluster


def unit(machine: Machine, name: str, text: str) -> None:
    machine.write(f"etc/systemd/system/{name}", "\n".join(line.strip() for line in text.splitlines()))
    wants = machine.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / name).symlink_to(f"/etc/systemd/system/{name}")


def program(machine: Machine, path: str, text: str) -> None:
    machine.write(f"etc/locksmith/{path}", f"#!/bin/sh\n{text}\n")
    (machine.root / "etc/locksmith" / path).chmod(0o755)


@pytest.fixture
def booted(new_machine: NewMachine, installed: Layers, etcd: Etcd) -> Boot:
    """Boot machines of one group that can spare one of them, each with a unit that fails at every boot."""

    def boot(*names: str) -> list[Machine]:
        machines = [new_machine(name, installed) for name in names]
        for machine, port in zip(machines, free_ports(len(machines)), strict=True):
            machine.write("etc/locksmith/locksmith.toml", configuration(etcd, metrics_port=port))
            unit(machine, "web.service", WEB_SERVICE)
            unit(machine, "old-trouble.service", OLD_FAILURE)
            machine.start()
        for machine in machines:
            machine.wait_booted()
        return machines

    return boot


@pytest.fixture
def machine(booted: Boot) -> Machine:
    """One of them."""
    return booted("m1")[0]


def configuration(etcd: Etcd, *, metrics_port: int) -> str:
    return f"""
        strategy = "etcd-lock"
        group = "{GROUP}"
        etcd.endpoints = {json.dumps(etcd.endpoints)}
        metrics.port = {metrics_port}
        health.limit = "5s"
        health.units = ["dbus.service"]
        sessions.grace = "3s"
        reboot.retry = "3s"
    """


def ctl(machine: Machine, *args: str) -> str:
    done = machine.run("locksmithctl", *args)
    return done.stdout + done.stderr


def status_text(machine: Machine) -> str:
    return machine.run("systemctl", "show", "locksmithd.service", "--value", "--property=StatusText").stdout.strip()


def says(machine: Machine, text: str, limit: float = LIMIT) -> None:
    wait_until(
        lambda: text in machine.journal("_SYSTEMD_UNIT=locksmithd.service"), limit=limit, what=f"{machine.name}: {text}"
    )


def test_the_second_of_three_comes_up_sick_and_the_third_does_not_reboot(booted: Boot) -> None:
    first, second, third = fleet = booted("m1", "m2", "m3")
    ctl(first, "lock", "rack", "--reason", "until all stand in line")
    second.run("touch", "/var/lib/broken")
    for number, machine in enumerate(fleet, 1):
        ctl(machine, "send-need-reboot")
        says(machine, "(slot)" if number == 1 else f"number {number} of {number}")
    ctl(first, "unlock", "rack")

    first.wait_booted(boots=2, limit=LIMIT)
    second.wait_booted(boots=2, limit=LIMIT)
    says(second, "unhealthy: web.service has failed")
    says(third, "waiting (halt): the group is halted: m2 is unhealthy: web.service has failed")

    why = ctl(third, "why")
    assert "Group web is HALTED: m2 is unhealthy: web.service has failed." in why
    assert "`locksmithctl -group=web resume`" in why
    assert "1 UNHEALTHY, HALTED" in ctl(first, "nodes")
    assert len(third.boots) == 1

    second.run("rm", "/var/lib/broken")
    second.run("systemctl", "restart", "web.service")
    says(second, "no unit or check complains now")
    assert len(third.boots) == 1
    assert "acknowledged: m2 is unhealthy" in ctl(first, "resume", "--reason", "web.service is repaired")
    third.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: status_text(third).startswith("idle"), limit=LIMIT, what="the third is done")
    assert [len(machine.boots) for machine in fleet] == [2, 2, 2]
    assert "resume" in ctl(first, "history")


def test_hooks_run_in_own_units_that_the_daemons_sandbox_and_restart_do_not_touch(machine: Machine) -> None:
    program(
        machine,
        "pre-reboot.d/10-drain",
        "echo draining; touch /etc/drained; while ! [ -e /run/go ]; do sleep 0.1; done",
    )
    program(machine, "post-reboot.d/10-uncordon", "rm /etc/drained; echo $LOCKSMITH_GROUP > /var/lib/uncordoned")
    ctl(machine, "send-need-reboot")
    wait_until((machine.root / "etc/drained").exists, limit=LIMIT, what="the hook runs")
    for _ in range(2):
        machine.run("systemctl", "kill", "--signal=KILL", "locksmithd.service")
        wait_until(lambda: status_text(machine).startswith("waiting (hooks)"), limit=LIMIT, what="it waits for it")
    units = machine.run("systemctl", "list-units", "--no-legend", "locksmith-pre-reboot-*").stdout
    assert units.count("running") == 1
    machine.run("touch", "/run/go")
    machine.wait_booted(boots=2, limit=LIMIT)
    wait_until((machine.root / "var/lib/uncordoned").exists, limit=LIMIT, what="the hook after it ran")
    assert (machine.root / "var/lib/uncordoned").read_text() == f"{GROUP}\n"
    assert machine.journal("SYSLOG_IDENTIFIER=10-drain").count("draining") == 1


def test_a_plug_that_is_pulled_amid_the_hooks_ends_with_those_after_the_reboot(machine: Machine) -> None:
    program(machine, "pre-reboot.d/10-drain", "touch /etc/drained; sync; sleep 1000")
    program(machine, "post-reboot.d/10-uncordon", "rm -f /etc/drained")
    ctl(machine, "send-need-reboot")
    wait_until((machine.root / "etc/drained").exists, limit=LIMIT, what="the hook runs")
    machine.kill()
    machine.start()
    machine.wait_booted(boots=2, limit=LIMIT)
    wait_until(lambda: not (machine.root / "etc/drained").exists(), limit=LIMIT, what="the hook after it ran")
    wait_until(lambda: "MACHINE ID" not in ctl(machine, "status"), limit=LIMIT, what="the slot is given back")


def test_a_hook_that_hangs_is_ended_with_all_it_has_started_and_the_slot_goes_back(machine: Machine) -> None:
    text = (machine.root / "etc/locksmith/locksmith.toml").read_text()
    machine.write("etc/locksmith/locksmith.toml", f'{text}\nprograms.hook-limit = "1s"\nreboot.tries = 1\n')
    machine.run("systemctl", "restart", "locksmithd.service")
    program(machine, "pre-reboot.d/10-drain", "setsid sleep 4711 & sleep 4711")
    ctl(machine, "send-need-reboot")
    says(
        machine,
        "waiting (given_up): 1 tries to reboot failed, the last one: pre-reboot.d/10-drain: it ran longer than 1 s",
    )
    look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'slee[p] 4711'"
    wait_until(lambda: machine.run("sh", "-c", look, check=False).stdout == "0\n", limit=LIMIT, what="all end")
    assert "MACHINE ID" not in ctl(machine, "status")
    assert len(machine.boots) == 1


def test_a_boot_that_is_not_blessed_is_not_healthy(machine: Machine) -> None:
    """boot-complete.target counts where something pulls it in, and only there: the other machines' is inactive."""
    unit(machine, "bless.service", BLESS)
    unit(machine, "judge.service", JUDGE)
    pulled = machine.root / "etc/systemd/system/boot-complete.target.requires"
    pulled.mkdir()
    (pulled / "judge.service").symlink_to("/etc/systemd/system/judge.service")
    ctl(machine, "send-need-reboot")
    machine.wait_booted(boots=2, limit=LIMIT)
    says(machine, "unhealthy: boot-complete.target is inactive")
    wait_until(lambda: "UNHEALTHY" in ctl(machine, "nodes"), limit=LIMIT, what="its group is told, after the log")


def scheduled(machine: Machine) -> str:
    return machine.run("busctl", "get-property", *LOGIND, "ScheduledShutdown").stdout


def test_somebody_who_is_logged_in_is_warned_by_the_real_logind(machine: Machine) -> None:
    machine.run(
        *("systemd-run", "--unit=alice", "--property=PAMName=login", "--property=User=nobody"),
        *("--setenv=XDG_SESSION_TYPE=tty", "--setenv=XDG_SESSION_CLASS=user", "sleep", "1000"),
    )
    wait_until(lambda: "nobody" in machine.run("loginctl", "--no-legend").stdout, limit=LIMIT, what="a session")
    ctl(machine, "send-need-reboot")
    says(machine, "nobody (session")
    assert '"reboot"' in scheduled(machine)
    ctl(machine, "hold", "m1", "--reason", "not now")
    ctl(machine, "recheck")
    says(machine, "aborting the reboot and releasing its slot: held back")
    wait_until(lambda: '"reboot"' not in scheduled(machine), limit=LIMIT, what="the warning is taken back")
    ctl(machine, "unhold", "m1")
    machine.wait_booted(boots=2, limit=LIMIT)


def test_a_block_inhibitor_holds_a_real_machine_up_until_it_goes(machine: Machine) -> None:
    machine.run(
        *("systemd-run", "--unit=backup", "systemd-inhibit", "--what=shutdown", "--who=backup", "--why=weekly backup"),
        *("--mode=block", "sleep", "1000"),
    )
    wait_until(lambda: "backup" in machine.run("systemd-inhibit", "--list").stdout, limit=LIMIT, what="it blocks")
    ctl(machine, "send-need-reboot")
    says(machine, "waiting (inhibitor): shutdown is blocked by backup")
    assert "shutdown is blocked by backup" in ctl(machine, "why")
    machine.run("systemctl", "stop", "backup")
    machine.wait_booted(boots=2, limit=LIMIT)


def test_the_daemon_is_on_the_bus_of_a_real_machine(machine: Machine) -> None:
    manager = ("org.locksmith1", "/org/locksmith1", "org.locksmith1.Manager")
    shown = machine.run("busctl", "get-property", *manager, "State")
    assert shown.stdout == 's "idle"\n'
    described = machine.run("busctl", "introspect", "org.locksmith1", "/org/locksmith1").stdout
    assert ".Request" in described
    refused = machine.run(
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("busctl", "call", *manager, "Request", "s", "mischief"),
        check=False,
    )
    assert refused.returncode != 0
    assert "Access denied" in refused.stderr
    assert status_text(machine).startswith("idle")


def test_whether_the_clock_is_synchronised_is_systemds_word(machine: Machine) -> None:
    """The machine's clock is this host's: whichever word systemd has for it, the daemon goes by that."""
    config = (machine.root / "etc/locksmith/locksmith.toml").read_text()
    machine.write("etc/locksmith/locksmith.toml", f"{config}\nwindow.require-synced-clock = true\n")
    machine.run("systemctl", "restart", "locksmithd.service")
    synced = machine.run("timedatectl", "show", "--property=NTPSynchronized", "--value").stdout.strip()
    ctl(machine, "request", "--reason", "a test")
    if synced == "yes":
        machine.wait_booted(boots=2, limit=LIMIT)
    else:
        says(machine, "waiting (clock): the clock is not synchronised")


def test_a_command_says_in_a_unit_of_its_own_that_a_reboot_is_needed(machine: Machine) -> None:
    config = (machine.root / "etc/locksmith/locksmith.toml").read_text()
    triggers = 'triggers.command = ["needs-it", "now"]\ntriggers.needed = [7]\ntriggers.period = "2s"'
    machine.write("etc/locksmith/locksmith.toml", f"{config}\n{triggers}\n")
    machine.write("usr/bin/needs-it", '#!/bin/sh\ncat /proc/self/cgroup\n[ "$1" = now ] && exit $(cat /var/lib/it)\n')
    (machine.root / "usr/bin/needs-it").chmod(0o755)
    machine.run("sh", "-c", "echo 0 > /var/lib/it; systemctl restart locksmithd.service")

    def says_now() -> str:
        said = json.loads(ctl(machine, "triggers", "--json"))["triggers"]
        return next(str(one["text"]) for one in said if one["name"] == "needs-restarting")

    wait_until(lambda: says_now() == "`needs-it now` says that no reboot is needed", limit=LIMIT, what="it was asked")
    assert "locksmith-trigger-needs-restarting.service" in machine.journal("SYSLOG_IDENTIFIER=needs-it")
    machine.run("sh", "-c", "echo 7 > /var/lib/it")
    machine.wait_booted(boots=2, limit=LIMIT)
    says(machine, "waiting (repeated): it has rebooted for needs-restarting")
