"""What the machines of these tests are: stock Debian with its own PID 1, bus and logind, that really reboots."""

from tests.system.layers import Layers, NewMachine

LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def test_a_machine_reboots_when_logind_is_asked_to(new_machine: NewMachine, bare: Layers) -> None:
    machine = new_machine("m1", bare)
    machine.start()
    machine.wait_booted()
    first = machine.boot_id()

    # The bus goes down with the machine, and may take the answer with it.
    machine.run("busctl", "call", *LOGIND, "Reboot", "b", "false", check=False)
    machine.wait_booted(boots=2)

    assert machine.boot_id() != first
    assert machine.boot_ids() == [first.replace("-", ""), machine.boot_id().replace("-", "")]
    (outage,) = machine.outages()
    ended = machine.boots[0].ended
    assert ended is not None
    assert outage.begins < ended < outage.ends


def test_two_machines_have_nothing_in_common_but_the_kernel(new_machine: NewMachine, bare: Layers) -> None:
    one, other = new_machine("m1", bare), new_machine("m2", bare)
    for machine in (one, other):
        machine.start()
        machine.wait_booted()
    one.run("systemctl", "reboot")
    one.wait_booted(boots=2)

    assert len(one.boot_ids()) == 2
    assert other.boot_ids() == [other.boot_id().replace("-", "")]
    assert one.run("cat", "/etc/machine-id").stdout.strip() == one.id != other.id
    assert other.run("uname", "--nodename").stdout.strip() == "m2"


def test_a_machine_whose_plug_was_pulled_comes_back_with_its_disk(new_machine: NewMachine, bare: Layers) -> None:
    machine = new_machine("m1", bare)
    machine.start()
    machine.wait_booted()
    first = machine.boot_id()
    machine.run("touch", "/var/lib/kept", "/run/forgotten")

    machine.kill()
    machine.start()
    machine.wait_booted(boots=2)

    assert machine.boot_id() != first
    assert machine.outages() == []
    assert machine.run("ls", "/var/lib/kept", "/run/forgotten", check=False).stdout == "/var/lib/kept\n"


def test_logind_has_the_interface_the_daemon_works_with(new_machine: NewMachine, bare: Layers) -> None:
    machine = new_machine("m1", bare)
    machine.start()
    machine.wait_booted()

    inhibitors = machine.run("busctl", "call", *LOGIND, "ListInhibitors").stdout
    preparing = machine.run("busctl", "get-property", *LOGIND, "PreparingForShutdown").stdout
    answer = machine.run("busctl", "call", *LOGIND, "CanReboot").stdout

    assert inhibitors == "a(ssssuu) 0\n"
    assert preparing == "b false\n"
    assert answer == 's "yes"\n'
