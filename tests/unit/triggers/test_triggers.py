"""The triggers that look at files: what they want a reboot for, and what they do not."""

import asyncio
import gzip
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot
from locksmith.errors import UsageError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.triggers.kernel import NewerKernel
from locksmith.triggers.max_uptime import MaxUptime
from locksmith.triggers.plugin import TriggerContext, make_triggers
from locksmith.triggers.reboot_required import RebootRequired
from locksmith.triggers.settings import TriggerSettings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BOOT, SOFT, NEXT = Boot("one", 1), Boot("one", 2), Boot("two", 1)
LIMIT = 5.0


class Machine:
    """A folder that stands for the root of a machine."""

    def __init__(self, root):
        self.paths = Paths(root)
        (root / "run").mkdir(exist_ok=True)

    def write(self, path, text=""):
        file = self.paths.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def remove(self, path):
        (self.paths.root / path).unlink()

    def asks_for_a_reboot(self, *packages):
        """Do what a package does."""
        self.write("run/reboot-required", "*** System restart required ***\n")
        self.write("run/reboot-required.pkgs", "".join(f"{package}\n" for package in packages))

    def kernel(self, running, *installed, before=()):
        """Install kernels; those of `before` were there when this boot began."""
        self.write("proc/sys/kernel/osrelease", f"{running}\n")
        self.booted = 0.0
        for name in before:
            self.booted = self.write(f"boot/vmlinuz-{name}").stat().st_ctime + 0.01
        time.sleep(0.02 if before else 0)  # files know their time to a few milliseconds
        for name in installed:
            self.write(f"usr/lib/modules/{name}/vmlinuz")
        return NewerKernel(self.paths, lambda: self.booted)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def look(trigger, boot=BOOT):
    return asyncio.run(trigger.check(NOW, boot))


def test_a_package_that_asks_for_a_reboot_is_a_wish_with_its_name(machine):
    trigger = RebootRequired(machine.paths)
    assert look(trigger).need is None
    machine.asks_for_a_reboot("libc6", "dbus", "libc6")
    need = look(trigger).need
    assert (need.trigger, need.reason) == ("reboot-required", "packages ask for it: libc6 and dbus")
    assert abs(need.since - datetime.now(UTC)) < timedelta(minutes=1)


def test_without_a_list_it_is_a_wish_all_the_same(machine):
    machine.write("run/reboot-required")
    assert look(RebootRequired(machine.paths)).need.reason == "/run/reboot-required asks for it"


def test_a_list_of_rubbish_is_bounded_and_read_as_text(machine):
    machine.asks_for_a_reboot()
    (machine.paths.root / "run/reboot-required.pkgs").write_bytes(b"\xff\xfe\n" + b"x\n" * 10**6)
    assert "packages ask for it" in look(RebootRequired(machine.paths)).need.reason


def test_a_file_that_goes_takes_its_wish_back(machine):
    trigger = RebootRequired(machine.paths)
    machine.asks_for_a_reboot("dbus")
    assert look(trigger).need
    machine.remove("run/reboot-required")
    assert look(trigger).need is None


def test_a_soft_reboot_did_what_the_file_asked_for_though_it_is_still_there(machine):
    machine.asks_for_a_reboot("dbus")
    assert look(RebootRequired(machine.paths)).need
    for _ in range(2):
        seen = look(RebootRequired(machine.paths), SOFT)
        assert seen.need is None
        assert "is from before this boot" in seen.says


@pytest.mark.parametrize("package", ["linux-image-6.1.0-28-amd64", "linux-base", "intel-microcode"])
def test_a_soft_reboot_brings_no_kernel_and_no_microcode(machine, package):
    machine.asks_for_a_reboot("dbus", package)
    assert look(RebootRequired(machine.paths)).need
    assert look(RebootRequired(machine.paths), SOFT).need


def test_after_a_soft_reboot_a_package_may_ask_again(machine):
    machine.asks_for_a_reboot("dbus")
    look(RebootRequired(machine.paths))
    trigger = RebootRequired(machine.paths)
    assert look(trigger, SOFT).need is None
    machine.remove("run/reboot-required")
    machine.asks_for_a_reboot("libc6")
    os.utime(machine.paths.reboot_required, ns=(0, 10**18))
    assert look(trigger, SOFT).need.reason == "packages ask for it: libc6"
    assert look(trigger, SOFT).need


def test_a_machine_whose_run_survives_a_reboot_does_not_reboot_for_ever(machine):
    machine.asks_for_a_reboot("dbus")
    assert look(RebootRequired(machine.paths)).need
    assert look(RebootRequired(machine.paths), NEXT).need is None


def test_the_same_packages_are_the_same_version_and_others_are_not(machine):
    """A file that is written again, as by a program at each boot, is no new reason."""

    trigger = RebootRequired(machine.paths)
    machine.asks_for_a_reboot("dbus", "libc6")
    first = look(trigger).need.version
    os.utime(machine.paths.reboot_required, ns=(0, 10**18))
    machine.asks_for_a_reboot("libc6", "dbus")
    assert look(trigger).need.version == first
    machine.asks_for_a_reboot("libc6", "dbus", "linux-image-6.1.0-40-amd64")
    assert look(trigger).need.version != first


@pytest.mark.parametrize("name", ["reboot-required", "reboot-needed"])
def test_a_file_that_names_no_package_has_one_version(machine, name):
    trigger = RebootRequired(machine.paths)
    assert "there is neither " in look(trigger).says
    machine.write(f"run/{name}")
    need = look(trigger).need
    assert (need.version, need.reason) == ("reboot-required", f"/run/{name} asks for it")


def test_a_file_of_this_boot_proves_nothing_and_one_from_before_it_does(machine):
    """A program may write the file again after the reboot that it asked for."""

    machine.asks_for_a_reboot("linux-image-6.1.0-40-amd64")
    assert not look(RebootRequired(machine.paths)).need.judges
    assert look(RebootRequired(machine.paths), SOFT).need.judges


def test_a_soft_reboot_did_what_either_file_asked_for(machine):
    machine.write("run/reboot-needed")
    assert look(RebootRequired(machine.paths)).need
    assert look(RebootRequired(machine.paths), SOFT).need is None
    machine.asks_for_a_reboot("dbus")
    assert look(RebootRequired(machine.paths), SOFT).need.reason == "packages ask for it: dbus"


@pytest.mark.parametrize("rubbish", ["", "{}", '{"boot_id":"one","userspace":1,"file":[1],"left":[]}'])
def test_a_memory_that_cannot_be_read_is_begun_anew(machine, rubbish):
    machine.asks_for_a_reboot("dbus")
    machine.write("run/locksmith/reboot-required.json", rubbish)
    assert look(RebootRequired(machine.paths)).need


async def test_the_loop_is_woken_when_the_file_comes_is_replaced_and_goes(machine):
    woken = asyncio.Event()
    trigger = RebootRequired(machine.paths)
    trigger.listen(woken.set)
    await asyncio.sleep(0.05)  # it watches from the next turn of the event loop on

    async def wakes(act):
        woken.clear()
        act()
        await asyncio.wait_for(woken.wait(), LIMIT)

    await wakes(lambda: machine.asks_for_a_reboot("dbus"))
    new = machine.write("run/elsewhere/new")
    await asyncio.sleep(0.05)
    await wakes(lambda: new.rename(machine.paths.reboot_required))
    await wakes(lambda: machine.write("run/reboot-required.pkgs", "dbus\nlibc6\n"))
    await wakes(lambda: machine.remove("run/reboot-required"))
    await wakes(lambda: machine.write("run/reboot-needed"))
    await wakes(lambda: machine.remove("run/reboot-needed"))
    await trigger.close()


def test_a_newer_kernel_that_was_installed_is_a_wish_for_it(machine):
    need = look(machine.kernel("6.1.0-9-amd64", "6.1.0-10-amd64", before=["6.1.0-9-amd64"])).need
    assert (need.version, need.reason) == (
        "6.1.0-10-amd64",
        "kernel 6.1.0-10-amd64 is installed, and 6.1.0-9-amd64 runs",
    )


def test_a_newer_kernel_that_the_boot_loader_did_not_choose_is_none(machine):
    seen = look(machine.kernel("6.1.0-9-amd64", before=["6.1.0-9-amd64", "6.1.0-10-amd64"]))
    assert seen.need is None
    assert seen.not_applied == "6.1.0-10-amd64"
    assert seen.says == "6.1.0-10-amd64 was installed before this boot, and 6.1.0-9-amd64 was booted"


@pytest.mark.parametrize(
    ("running", "installed"),
    [
        ("6.1.0-10-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"]),
        ("6.1.0-9-amd64", ["6.12.0-1-cloud-amd64"]),
        ("6.1.0-9-amd64", ["6.12.0-1-rt-amd64", "rescue-0123456789abcdef"]),
        ("6.20.0-custom", ["6.1.0-9-amd64"]),
        ("6.11.4-301.fc41.x86_64", ["6.11.4-301.fc41.x86_64", "6.10.9-200.fc40.x86_64"]),
    ],
)
def test_older_kernels_and_other_flavours_are_no_reason(machine, running, installed):
    assert look(machine.kernel(running, *installed)).need is None


@pytest.mark.parametrize(
    ("running", "newest"),
    [
        ("6.9.12-200.fc40.x86_64", "6.11.4-301.fc41.x86_64"),
        ("6.8.0-45-generic", "6.8.0-100-generic"),
        ("6.11.5-arch1-1", "6.11.6-arch1-1"),
        ("6.4.0-150600.23.7-default", "6.4.0-150600.23.25-default"),
    ],
)
def test_numbers_are_compared_as_numbers_across_releases_of_a_distribution(machine, running, newest):
    assert look(machine.kernel(running, running, newest)).need.version == newest


@pytest.mark.parametrize(
    ("running", "newest"),
    [
        ("6.1.0-40-amd64", "6.12.48+deb13-amd64"),
        ("6.1.0-40-amd64", "6.12.43+deb12-amd64"),
        ("6.1.0-40-amd64", "6.12.9+bpo-amd64"),
        ("6.1.0-0.deb11.13-amd64", "6.1.0-40-amd64"),
        ("6.12.9+bpo-amd64", "6.12.48+deb13-amd64"),
        ("6.1.0-40-cloud-amd64", "6.12.48+deb13-cloud-amd64"),
        ("6.1.0-40-rt-arm64", "6.12.48+deb13-rt-arm64"),
        ("6.1.0-40-686-pae", "6.12.43+deb12-686-pae"),
        ("6.12~rc6-amd64", "6.12-amd64"),
        ("6.1.21-v8+", "6.6.20+rpt-rpi-v8"),
        ("6.1.21-v7l+", "6.6.20+rpt-rpi-v7l"),
        ("6.1.21+", "6.6.20+rpt-rpi-v6"),
        ("6.6.20+rpt-rpi-2712", "6.12.25+rpt-rpi-2712"),
        ("5.14.0-362.8.1.el9_3.x86_64", "6.12.0-55.el10_0.x86_64"),
        ("4.18.0-513.rt7.316.el8_9.x86_64", "4.18.0-553.rt7.342.el8_10.x86_64"),
        ("6.7.0-0.rc8.20240104gitac865f00af29.62.fc40.x86_64", "6.7.0-68.fc40.x86_64"),
        ("6.6.8-zen1-1-zen", "6.6.8-zen2-1-zen"),
        ("6.6.8-x64v3-xanmod1", "6.6.9-x64v3-xanmod2"),
    ],
)
def test_an_update_changes_versions_and_tags_and_keeps_the_flavour(machine, running, newest):
    others = ["6.12.48+deb13-other", "7.0.0+rpt-rpi-v9", "rescue-0123456789abcdef"]
    assert look(machine.kernel(running, running, newest, *others)).need.version == newest
    assert look(machine.kernel(newest, running, newest, *others)).need is None


def test_a_board_does_not_run_the_kernels_of_other_boards(machine):
    """Raspberry Pi OS installs those for all boards at once."""

    boards = ["6.6.31+rpt-rpi-v6", "6.6.31+rpt-rpi-v7", "6.6.31+rpt-rpi-v7l", "6.6.31+rpt-rpi-v8"]
    for board in boards:
        seen = look(machine.kernel(board, *boards))
        assert (seen.need, seen.not_applied) == (None, "")


@pytest.mark.parametrize("image", ["boot/vmlinux-6.1.0-41-powerpc64le", "usr/lib/modules/6.1.0-41-powerpc64le/Image"])
def test_an_image_may_have_another_name(machine, image):
    trigger = machine.kernel("6.1.0-40-powerpc64le")
    machine.write(image)
    assert look(trigger).need.version == "6.1.0-41-powerpc64le"


def test_a_kernel_whose_name_is_no_version_is_not_compared(machine):
    seen = look(machine.kernel("custom", "6.1.0-9-amd64"))
    assert (seen.need, seen.error) == (None, None)
    assert "no version that can be compared" in seen.says


NAME = "6.1.0-40-amd64"
RUNS, BUILT = (
    "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)",
    "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)",
)


def x86(build: str) -> bytes:
    """Make what the header of an image for x86 has (Documentation/arch/x86/boot.rst)."""
    head = bytearray(0x4000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x3000).to_bytes(2, "little")
    text = f"{NAME} (debian-kernel@lists.debian.org) {build}".encode() + b"\0"
    head[0x3200 : 0x3200 + len(text)] = text
    return bytes(head)


def plain(build: str) -> bytes:
    """Make what any other kernel has: the sentence twice, once without its number."""
    said = f"Linux version {NAME} (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) "
    first, second = said + build.replace("#1", "#"), said + build
    return b"MZ" + bytes(3 * 1024 * 1024 - 40) + f"{first}\n\0{second}\n\0".encode() + bytes(5000)


def packed(build: str) -> bytes:
    return gzip.compress(plain(build)) + b"rest"


@pytest.mark.parametrize("form", [x86, plain, packed])
def test_another_build_under_the_same_name_is_a_newer_kernel(machine, form):
    trigger = machine.kernel(NAME)
    machine.write("proc/sys/kernel/version", f"{RUNS}\n")
    image = machine.write(f"boot/vmlinuz-{NAME}")
    image.write_bytes(form(RUNS))
    assert look(trigger).need is None
    image.write_bytes(form(BUILT))
    need = look(trigger).need
    assert (need.version, need.judges) == (f"{NAME} {BUILT}", True)
    assert need.reason == f"another build of kernel {NAME} is installed ({BUILT}), and {RUNS} runs"
    machine.write("proc/sys/kernel/version", f"{BUILT}\n")
    assert look(trigger).need is None


def test_another_build_that_was_there_at_the_boot_was_not_booted(machine):
    trigger = machine.kernel(NAME, before=[NAME])
    machine.write("proc/sys/kernel/version", f"{RUNS}\n")
    image = machine.write(f"boot/vmlinuz-{NAME}")
    image.write_bytes(x86(BUILT))
    machine.booted = image.stat().st_ctime + 1
    seen = look(trigger)
    assert (seen.need, seen.not_applied) == (None, f"{NAME} {BUILT}")


@pytest.mark.parametrize(
    "rubbish", [b"", b"HdrS", x86("")[:0x3200], x86("#"), b"\x1f\x8b\x08rubbish", packed(BUILT)[:900]]
)
def test_an_image_that_does_not_say_its_build_is_no_reason(machine, rubbish):
    trigger = machine.kernel(NAME)
    machine.write("proc/sys/kernel/version", f"{RUNS}\n")
    machine.write(f"boot/vmlinuz-{NAME}").write_bytes(rubbish)
    seen = look(trigger)
    assert (seen.need, seen.error, seen.not_applied) == (None, None, "")


def test_a_kernel_that_was_removed_while_it_runs_is_compared_all_the_same(machine):
    assert look(machine.kernel("6.11.5-arch1-1", "6.11.6-arch1-1")).need


def test_in_a_container_the_kernel_is_the_hosts(machine):
    trigger = machine.kernel("6.1.0-9-amd64", "6.1.0-10-amd64")
    assert trigger.found()
    machine.write("run/systemd/container", "systemd-nspawn")
    assert not trigger.found()


def test_without_the_running_kernels_name_there_is_a_doubt(machine):
    machine.write("boot/vmlinuz-6.1.0-9-amd64")
    assert "cannot be read" in look(NewerKernel(machine.paths)).error


def test_a_machine_that_has_been_up_for_long_enough_wants_a_reboot(machine):
    month = timedelta(days=30)
    assert look(MaxUptime(month, machine.paths, lambda: month - timedelta(hours=1))).need is None
    need = look(MaxUptime(month, machine.paths, lambda: month + timedelta(hours=1))).need
    assert (need.version, need.since) == ("", NOW - timedelta(hours=1))
    assert need.reason == "it has been up for more than 30 d"


def test_in_a_container_its_own_userspace_counts(machine):
    machine.write("run/systemd/container", "systemd-nspawn")
    now = int(datetime.now(UTC).timestamp())
    trigger = MaxUptime(timedelta(days=1), machine.paths, lambda: timedelta(days=now))
    started = int(time.monotonic() * 1e6)
    assert look(trigger, Boot("one", started)).need is None


def test_without_a_length_it_is_not_found(machine):
    assert not MaxUptime(timedelta(0), machine.paths).found()


def make(machine, **settings):
    async def note(_version):
        pass

    return make_triggers(
        TriggerContext(machine.paths, SystemBus("unix:path=/nowhere"), TriggerSettings(**settings), note)
    )


def test_a_machine_uses_the_triggers_for_what_it_has(machine):
    used, unused = make(machine)
    assert [trigger.name for trigger in used] == ["update-engine", "reboot-required"]
    assert list(unused) == ["kernel", "needs-restarting", "max-uptime"]
    assert set(unused.values()) == {None}
    machine.write("boot/vmlinuz-6.1.0-9-amd64")
    machine.write("usr/bin/zypper")
    used, unused = make(machine, max_uptime=timedelta(days=30))
    assert [trigger.name for trigger in used] == [
        "update-engine", "reboot-required", "kernel", "needs-restarting", "max-uptime"
    ]  # fmt: skip
    assert unused == {}


def test_the_configuration_names_others(machine):
    used, unused = make(machine, use=("kernel", "reboot-required"))
    assert [trigger.name for trigger in used] == ["kernel", "reboot-required"]
    assert list(unused) == ["update-engine", "needs-restarting", "max-uptime"]


def test_one_that_is_not_installed_is_refused_with_those_that_are(machine):
    with pytest.raises(UsageError) as refused:
        make(machine, use=("kernle",))
    assert str(refused.value).startswith("there is no trigger 'kernle'; installed are: kernel, max-uptime, needs-")
