"""`needs-restarting`: real programs, run as the daemon runs them, that answer as those of package managers do."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import BEING_ASKED, Boot
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.host.programs import Programs
from locksmith.triggers import needs_restarting
from locksmith.triggers.needs_restarting import NeedsRestarting
from locksmith.triggers.settings import TriggerSettings

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIMIT = 20.0


class Machine:
    """A folder that stands for the root of a machine, with package managers in it."""

    def __init__(self, root):
        self.paths = Paths(root)

    def program(self, script, path="usr/bin/check"):
        file = self.paths.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def trigger(self, **settings):
        configured = TriggerSettings(**settings)
        programs = Programs(self.paths, SystemBus("unix:path=/nowhere"), configured.limit.total_seconds())
        return NeedsRestarting(configured, self.paths, programs)

    def answer(self, **settings):
        trigger = self.trigger(**settings)
        try:
            return asyncio.run(trigger.ask())
        finally:
            reap(trigger)


def reap(trigger):
    """Wait for those who watched over the programs: they end right after their answer."""
    for child in trigger._programs._children:
        child.wait(LIMIT)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


PLUGIN = {
    "usr/bin/dnf": "usr/lib/python3.9/site-packages/dnf-plugins/needs_restarting.py",
    "usr/bin/dnf5": "usr/lib64/dnf5/plugins/needs_restarting_cmd_plugin.so",
}
DNF_SAYS = """Core libraries or services have been updated since boot-up:
  * glibc
  * kernel-core

Reboot is required to fully utilize these updates.
More information: https://access.redhat.com/solutions/27943
"""
"""What dnf 4 and dnf5 print if a reboot is needed."""
MANAGERS = [
    ("usr/bin/needs-restarting", "-r"),
    ("usr/bin/dnf", "needs-restarting -r"),
]
DNF5 = "usr/bin/dnf5"
DNF5_SAYS = """[
  {
    "type":"reboot",
    "reboot_required":%s,
    "packages":[%s],
    "documentation":"https://access.redhat.com/solutions/27943"
  }
]
"""
"""What dnf5 5.4.6 of Debian unstable prints with --json."""
UNKNOWN_OPTION = 'Unknown argument "--json" for command "needs-restarting". Add "--help" for more information.'


def dnf5(required, *packages, exits):
    """A dnf5 that knows --json, and writes its progress to standard error."""
    text = DNF5_SAYS % (required, ",".join(f'"{package}"' for package in packages))
    asked = '[ "$*" = "--cacheonly needs-restarting --json" ] || exit 7'
    return f"{asked}\necho Updating and loading repositories: >&2\n{says(text)}\nexit {exits}"


def older_dnf5(text, exits):
    """A dnf5 without --json."""
    refuses = f"{{ echo '{UNKNOWN_OPTION}' >&2; exit 2; }}"
    return f'[ "$*" = "--cacheonly needs-restarting" ] || {refuses}\n{says(text)}\nexit {exits}'


def rhel_80(_text="", _exits=0):
    """The dnf of RHEL 8.0, which knows no -r."""
    return "echo 'dnf needs-restarting: error: unrecognized arguments: -r' >&2\nexit 2"


def says(text):
    return f"cat <<'END'\n{text}END"


@pytest.mark.parametrize(
    ("path", "words", "says_so", "needed"),
    [
        *((*manager, says(DNF_SAYS), 1) for manager in MANAGERS),
        ("usr/bin/zypper", "--non-interactive needs-rebooting", "true", 102),
    ],
)
def test_the_package_managers_own_command_is_asked_as_it_is_documented(machine, path, words, says_so, needed):
    machine.program("", PLUGIN.get(path, "unused"))
    machine.program(f'[ "$*" = "{words}" ] || exit 7\n{says_so}\nexit {needed}', path)
    assert machine.trigger().found()
    assert "says that a reboot is needed" in machine.answer().need.reason
    machine.program(f'[ "$*" = "{words}" ] || exit 7; exit 0', path)
    answer = machine.answer()
    assert (answer.need, answer.error) == (None, None)
    machine.program("echo no such plugin >&2; exit 5", path)
    assert "failed with exit status 5: no such plugin" in machine.answer().error


@pytest.mark.parametrize("path", PLUGIN)
def test_dnf_is_asked_where_its_plugin_is_there(machine, path):
    machine.program(dnf5("true", "glibc", exits=1) if path == DNF5 else f"{says(DNF_SAYS)}\nexit 1", path)
    assert not machine.trigger().found()
    machine.program("", PLUGIN[path])
    assert machine.answer().need


@pytest.mark.parametrize(("path", "words"), MANAGERS)
@pytest.mark.parametrize(
    "failure",
    [
        "Error: Failed to download metadata for repo 'fedora': Cannot prepare internal mirrorlist\n",
        'Traceback (most recent call last):\n  File "/usr/bin/needs-restarting", line 1\nModuleNotFoundError: dnf\n',
        "",
    ],
    ids=["mirrors", "traceback", "silent"],
)
def test_a_package_manager_that_fails_is_an_error_and_no_need(machine, path, words, failure):
    machine.program("", PLUGIN.get(path, "unused"))
    machine.program(f'[ "$*" = "{words}" ] || exit 7\n{{ {says(failure)}\n}} >&2\nexit 1', path)
    answer = machine.answer()
    assert answer.need is None
    assert "failed with exit status 1" in answer.error


def test_the_reason_names_the_packages_and_only_they_are_the_version(machine):
    def needed(packages, progress):
        listed = "".join(f"  * {package}\n" for package in packages)
        text = f"Core libraries or services have been updated:\n{listed}\nReboot is required.\n"
        machine.program(f"echo '{progress}' >&2\n{says(text)}\nexit 1", "usr/bin/needs-restarting")
        return machine.answer().need

    first = needed(["glibc", "kernel-core"], "Updating and loading repositories: 17.1 KiB/s")
    assert first.reason.endswith("says that a reboot is needed: glibc and kernel-core")
    assert needed(["kernel-core", "glibc"], "Updating and loading repositories: 99.9 KiB/s").version == first.version
    assert needed(["glibc", "kernel-core", "systemd"], "").version != first.version


@pytest.fixture
def fedora(machine):
    machine.program("", PLUGIN[DNF5])
    return machine


def test_dnf5_is_asked_for_json_without_its_mirrors(fedora):
    fedora.program(dnf5("true", "glibc", "kernel-core", exits=1), DNF5)
    need = fedora.answer().need
    assert need.reason == (
        "`dnf5 --cacheonly needs-restarting --json` says that a reboot is needed: glibc and kernel-core"
    )
    fedora.program(dnf5("true", "kernel-core", "glibc", exits=1), DNF5)
    assert fedora.answer().need.version == need.version
    fedora.program(dnf5("false", exits=0), DNF5)
    answer = fedora.answer()
    assert (answer.need, answer.error) == (None, None)


def test_a_dnf5_that_does_not_know_json_is_asked_for_its_sentence(fedora):
    fedora.program(older_dnf5(DNF_SAYS, 1), DNF5)
    assert fedora.answer().need.reason.endswith(
        "`dnf5 --cacheonly needs-restarting` says that a reboot is needed: glibc and kernel-core"
    )
    fedora.program(older_dnf5("Reboot should not be necessary.\n", 0), DNF5)
    answer = fedora.answer()
    assert (answer.need, answer.error) == (None, None)
    fedora.program(older_dnf5("", 1), DNF5)
    assert "failed with exit status 1" in fedora.answer().error
    fedora.program(rhel_80(), DNF5)
    assert "failed with exit status 2: " in fedora.answer().error


@pytest.mark.parametrize(
    "script",
    [
        dnf5("true", "glibc", exits=0),
        dnf5("false", exits=1),
        dnf5('"true"', "glibc", exits=1),
        dnf5("null", exits=0),
        dnf5("true", "glibc", exits=1).replace("type", '"'),
        "exit 1",
        "exit 0",
        "echo '[]'; exit 0",
        "echo '{}'; exit 1",
        "echo '[{}, {}]'; exit 1",
        "echo '[3]'; exit 0",
        "echo 'Cache-only enabled but no cache for repository \"fedora\"' >&2; exit 1",
        f"{says(DNF_SAYS)}\nexit 1",
    ],
)
def test_an_answer_of_dnf5_that_is_none_is_an_error(fedora, script):
    fedora.program(script, DNF5)
    answer = fedora.answer()
    assert answer.need is None
    assert "`dnf5 --cacheonly needs-restarting --json` failed with exit status " in answer.error


@pytest.mark.parametrize(
    ("path", "script", "error"),
    [
        (
            "usr/bin/dnf",
            rhel_80(),
            "failed with exit status 2: dnf needs-restarting: error: unrecognized arguments: -r",
        ),
        (
            "usr/bin/zypper",
            "echo 'System management is locked by the application with pid 25564 (zypper).' >&2; exit 7",
            "failed with exit status 7: System management is locked by the application with pid 25564 (zypper).",
        ),
    ],
)
def test_a_manager_that_cannot_answer_says_why(machine, path, script, error):
    machine.program("", PLUGIN.get(path, "unused"))
    machine.program(script, path)
    answer = machine.answer()
    assert (answer.need, error in answer.error) == (None, True)


def test_any_command_with_exit_statuses_of_its_own(machine):
    machine.program('exit "$1"')
    said = {
        status: machine.answer(command=("/usr/bin/check", str(status)), needed=(3, 4), not_needed=(0, 9))
        for status in (0, 1, 3, 4, 9)
    }
    assert [status for status, answer in said.items() if answer.need] == [3, 4]
    assert [status for status, answer in said.items() if answer.error] == [1]


def test_a_missing_command_is_an_error_and_never_a_wish(machine):
    answer = machine.answer(command=("gone", "-r"))
    assert (answer.need, answer.error) == (None, "needs-restarting: gone is not installed")
    machine.program("exit 1")
    (machine.paths.root / "usr/bin/check").chmod(0o644)
    answer = machine.answer(command=("check",))
    assert answer.need is None
    assert "cannot be started: Permission denied" in answer.error


def test_one_that_runs_too_long_is_ended_and_an_error(machine):
    machine.program("sleep 600")
    answer = machine.answer(command=("check",), limit=timedelta(seconds=0.3))
    assert answer.need is None
    assert "it ran longer than 0.3 s" in answer.error


@pytest.mark.parametrize("character", ["x", '"', "\U0001f600", "\x00"], ids=["letters", "quotes", "faces", "rubbish"])
def test_any_amount_of_any_output_leaves_the_answer_readable(machine, character):
    (machine.paths.root / "output").write_text(character * 100_000)
    machine.program(f"cat '{machine.paths.root}/output'; exit 1")
    assert machine.answer(command=("check",)).need


def test_progress_on_standard_error_hides_no_answer_and_makes_none(machine):
    """dnf5 writes its progress there, without a terminal too: more of it than is kept, and no end of line."""

    progress = "yes 'Updating and loading repositories: 17.1 KiB/s' | head -c 50000 >&2"
    machine.program(f"{progress}\n{says(DNF_SAYS)}\n{progress}\nexit 1", "usr/bin/needs-restarting")
    assert machine.answer().need.reason.endswith(": glibc and kernel-core")
    machine.program(f"{{ {says(DNF_SAYS)}\n}} >&2\nexit 1", "usr/bin/needs-restarting")
    assert machine.answer().need is None


@pytest.mark.parametrize("text", ["Error: Reboot is required\n", "no Reboot is required\n", "reboot is required\n"])
def test_a_sentence_that_is_not_dnfs_is_no_need(machine, text):
    machine.program(f"{says(text)}\nexit 1", "usr/bin/needs-restarting")
    answer = machine.answer()
    assert (answer.need, "failed with exit status 1" in answer.error) == (None, True)


def test_other_output_of_a_command_is_no_new_need(machine):
    machine.program("date +%s%N; exit 1")
    versions = {machine.answer(command=("check",)).need.version for _ in range(3)}
    assert versions == {"needs-restarting"}


async def test_it_is_asked_again_and_wakes_the_loop_when_the_answer_is_another(machine):
    machine.program("exit 0")
    trigger = machine.trigger(command=("check",), period=timedelta(seconds=0.1))
    woken = asyncio.Event()
    trigger.listen(woken.set)

    async def wants():
        return (await trigger.check(NOW, Boot("one"))).need is not None

    assert (await trigger.check(NOW, Boot("one"))).says == BEING_ASKED
    await asyncio.wait_for(woken.wait(), LIMIT)
    woken.clear()
    assert (await trigger.check(NOW, Boot("one"))).says == "`check` says that no reboot is needed"
    machine.program("exit 1")
    await asyncio.wait_for(woken.wait(), LIMIT)
    assert await wants()
    woken.clear()
    machine.program("exit 0")
    await asyncio.wait_for(woken.wait(), LIMIT)
    assert not await wants()
    await trigger.close()
    reap(trigger)


async def test_one_that_could_not_be_run_is_tried_again_soon(machine, monkeypatch):
    monkeypatch.setattr(needs_restarting, "NOT_RUN", 0.05)

    trigger = machine.trigger(command=("check",), period=timedelta(hours=1))
    woken = asyncio.Event()
    trigger.listen(woken.set)
    await asyncio.wait_for(woken.wait(), LIMIT)
    assert "not installed" in str((await trigger.check(NOW, Boot("one"))).error)
    woken.clear()
    machine.program("exit 1")
    await asyncio.wait_for(woken.wait(), LIMIT)
    assert (await trigger.check(NOW, Boot("one"))).need
    await trigger.close()
    reap(trigger)
