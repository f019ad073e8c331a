"""What real shells offer for machines, groups, window sets, triggers and strategies: with etcd, and without."""

import asyncio
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from locksmith.cli import complete
from locksmith.cli.main import PROGRAM, locksmithctl
from locksmith.lock.window_sets import WindowStore
from locksmith.window.window_set import WindowSet
from tests.contract.fleets import TOOL, ctl, fleet, root

__all__ = ["ctl", "fleet", "root"]

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
LIMIT = 60.0
"""Seconds for an answer to a key: a busy machine may have the tool miss its own limit, and the key is typed again."""
ENDED_BY_FORCE = 1
"""The exit status of the tool at its hard limit."""
PROMPT = "ready> "


@pytest.fixture(params=[3], ids=["v3"])
def api(request):
    return request.param


@pytest.fixture
def shell(fleet, api, tmp_path, monkeypatch):
    """Set up the environment of a shell, as that of a user whose tool has its settings in variables."""
    monkeypatch.setenv("LOCKSMITHCTL_ENDPOINT", ",".join(fleet.etcd.endpoints))
    monkeypatch.setenv("LOCKSMITHCTL_ETCD_API", str(api))
    monkeypatch.setenv("LOCKSMITHCTL_GROUP", fleet.group)
    monkeypatch.setenv("PATH", f"{TOOL.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def patient(monkeypatch):
    """Have the tool wait for a busy machine: these tests ask what is offered, not how soon."""
    monkeypatch.setattr(complete, "LIMIT", LIMIT)


@pytest.fixture
def machines(fleet, patient):  # noqa: ARG001 - what is set
    for name in ("node-one.example", "node-two.example", "other.example"):
        fleet.present(name)


def asked_for(words: str) -> dict[str, str]:
    """Give the variables by which bash's script asks for the last word of a line."""
    return {"_LOCKSMITHCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}


def offered(words: str) -> list[str]:
    """Ask in this process."""
    ended = CliRunner().invoke(locksmithctl, [], prog_name=PROGRAM, env=asked_for(words))
    assert ended.exit_code == 0
    return [line.partition(",")[2] for line in ended.stdout.strip().splitlines()]


def said(words: str, status: int = 0) -> str:
    """Ask as a shell does, again where a busy machine has the tool end at its hard limit."""
    end = time.monotonic() + LIMIT
    while True:
        ended = subprocess.run(
            [TOOL], env=os.environ | asked_for(words), capture_output=True, text=True, timeout=20, check=False
        )
        assert ended.stderr == ""
        if ended.returncode == status:
            return ended.stdout.strip()
        assert time.monotonic() < end, ended


@pytest.mark.usefixtures("shell", "machines")
@pytest.mark.parametrize("api", [3, 2], ids=["v3", "v2"], indirect=True)
def test_each_argument_offers_what_it_takes(ctl, fleet):
    assert ctl("lock", "other.example").status == 0
    assert ctl("hold", "node-two", "--reason", "a demo").status == 0
    sets = f"nights-{uuid.uuid4().hex[:8]}"  # all groups of this etcd share the sets
    fleet(lambda store: WindowStore(store).write(sets, WindowSet()))
    for command in ("why", "hold", "lock", "history --machine", "nodes --name"):
        assert offered(f"locksmithctl {command} ") == ["node-one", "node-two", "other"], command
    assert offered("locksmithctl why node-") == ["node-one", "node-two"]
    assert offered("locksmithctl unlock ") == ["other"]
    assert offered("locksmithctl unhold ") == ["node-two"]
    assert offered("locksmithctl forget ") == []
    for command in ("window --set", "window show", "window set", "window rm"):
        assert offered(f"locksmithctl {command} {sets[:-1]}") == [sets], command
    for flag in ("--group", "-group", "freeze --group", "thaw --group"):
        assert fleet.group in offered(f"locksmithctl {flag} {fleet.group[:6]}"), flag
    assert offered("locksmithctl nodes --state unh") == ["unhealthy"]
    assert offered("locksmithctl nodes --strategy etcd") == ["etcd-lock"]
    assert "update-engine" in offered("locksmithctl nodes --trigger u")
    assert "kernel" in offered("locksmithctl triggers ")


@pytest.mark.usefixtures("shell", "machines")
def test_machines_are_those_of_the_group_that_was_typed(monkeypatch, fleet):
    monkeypatch.delenv("LOCKSMITHCTL_GROUP")
    assert offered(f"locksmithctl -group={fleet.group} why node-o") == ["node-one"]
    assert offered(f"locksmithctl nodes --group {fleet.group} --name node-o") == ["node-one"]
    assert offered("locksmithctl why node-o") == []


@pytest.mark.usefixtures("shell", "patient")
def test_no_name_is_offered_that_a_shell_would_run_or_split(fleet):
    for name in ("$(reboot)", "`id`", "a b", "a;id", "*", "-rf", "ä", "x\ny", "good"):
        fleet.present(name)
    assert offered("locksmithctl why ") == ["good"]


def test_a_machine_without_a_name_of_its_own_is_offered_by_a_longer_name():
    names = {"a" * 32: "n1.one", "b" * 32: "n1.two", "c" * 32: "n2.one", "d" * 32: "", "e" * 32: "n3", "f" * 32: "n3"}
    assert complete._short(names) == ["n1.one", "n1.two", "n2", "d" * 32, "e" * 32, "f" * 32]


@contextmanager
def store_that(does):
    """Give the address of a store that is away, or accepts connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if does == "hangs":
            listener.listen(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("does", "words"), [("is away", "why "), ("hangs", "why "), ("hangs", "--group ")])
def test_without_a_store_nothing_is_offered_soon_and_in_silence(monkeypatch, does, words):
    with store_that(does) as address:
        monkeypatch.setenv("LOCKSMITHCTL_ENDPOINT", address)
        assert said(f"locksmithctl {words}") == ""


@pytest.mark.usefixtures("shell")
def test_a_store_that_needs_many_answers_offers_nothing_after_the_limit():
    async def slow(_store, _group):
        await asyncio.sleep(600)
        return ["late"]

    context = locksmithctl.make_context(PROGRAM, [], resilient_parsing=True)
    assert complete._from_store(slow)(context, context.command.params[0], "") == []


def test_a_bus_that_hangs_ends_the_question_at_its_limit(tmp_path, monkeypatch):
    (tmp_path / "run/locksmith").mkdir(parents=True)
    pid = tmp_path / "run/locksmith/locksmithd.pid"
    pid.write_text("1\n")
    with socket.socket(socket.AF_UNIX) as bus, pid.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # a daemon runs, it seems
        bus.bind(str(tmp_path / "bus"))
        bus.listen()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
        assert said("locksmithctl why ", ENDED_BY_FORCE) == ""


@pytest.mark.parametrize("text", ["not = [TOML", 'unknown = "key"', '[etcd]\npassword-file = "/none"\nusername = "u"'])
def test_a_configuration_that_cannot_be_used_offers_nothing_in_silence(tmp_path, text):
    (tmp_path / "etc/locksmith").mkdir()
    (tmp_path / "etc/locksmith/locksmith.toml").write_text(text)
    assert said("locksmithctl why ") == ""
    assert "unhealthy" in said("locksmithctl nodes --state unh"), "what needs no configuration is offered"


def test_an_empty_variable_asks_for_no_completion():
    empty = os.environ | {"_LOCKSMITHCTL_COMPLETE": ""}
    ended = subprocess.run([TOOL, "nosuch"], env=empty, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, "nosuch" in ended.stderr) == (2, True)


class Terminal:
    """A shell on a terminal, and a person who types."""

    def __init__(self, argv, environment):
        child, self._fd = pty.fork()
        if child == 0:
            os.execvpe(argv[0], argv, environment)
        self._child = child

    def type(self, keys):
        os.write(self._fd, keys.encode())

    def read(self, seconds, *expected):
        """Give what is shown within that time, or until all that is expected is shown."""
        end, shown = time.monotonic() + seconds, ""
        while (left := end - time.monotonic()) > 0 and not (expected and all(one in shown for one in expected)):
            if select.select([self._fd], [], [], left)[0]:
                shown += os.read(self._fd, 65536).decode(errors="replace")
                shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        return shown

    def shows(self, line, *expected):
        """Type a line and the key for completion until all of that is shown."""
        end, seen = time.monotonic() + LIMIT, ""
        while time.monotonic() < end:
            self.type(f"{line}\t\t")
            seen = self.read(3 * complete.HARD_LIMIT, *expected)
            if all(one in seen for one in expected):
                return seen
            self.type("\x15")  # Ctrl-U: begin the line again
        raise AssertionError(f"{expected} not shown: {seen!r}")

    def end(self):
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        os.close(self._fd)


@contextmanager
def terminal(shell, tmp_path):
    """Start a shell as a user does who has the completion of a package."""
    script = subprocess.run([TOOL, "completion", shell], capture_output=True, text=True, timeout=20, check=True).stdout
    file = tmp_path / "_locksmithctl"
    file.write_text(script)
    where = shlex.quote(str(tmp_path))
    if shell == "bash":
        loaded = tmp_path / ".local/share/bash-completion/completions"  # at the first use, as from the package's folder
        loaded.mkdir(parents=True)
        (loaded / "locksmithctl").write_text(script)
        start = tmp_path / "bashrc"
        start.write_text(f"PS1='{PROMPT}'\n. {BASH_COMPLETION}\n")
        argv = ["bash", "--noprofile", "--rcfile", str(start), "-i"]
    else:
        (tmp_path / ".zshrc").write_text(f"PS1='{PROMPT}'\nfpath=({where} $fpath)\nautoload -U compinit\ncompinit -u\n")
        argv = ["zsh", "-i"]
    running = Terminal(argv, os.environ | {"ZDOTDIR": str(tmp_path), "COLUMNS": "80"})
    try:
        yield running
    finally:
        running.end()


@pytest.mark.usefixtures("shell", "machines")
@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_shell_on_a_terminal_shows_and_completes_machines(name, tmp_path, fleet):
    if shutil.which(name) is None or (name == "bash" and not BASH_COMPLETION.exists()):
        pytest.skip(f"{name}, or bash-completion, is not installed")
    with terminal(name, tmp_path) as typed:
        typed.shows("locksmithctl why node-", "node-one", "node-two")
        typed.type("\x15")
        typed.shows("locksmithctl why oth", "why other")
        typed.type("\x15")
        typed.shows(f"locksmithctl -endpoint={fleet.etcd.endpoints[0]} -group={fleet.group} why oth", "why other")
        typed.type("\x15")
        typed.shows(f"locksmithctl -group={fleet.group[:8]}", f"-group={fleet.group} ")
        typed.type("\x15")
        typed.shows("locksmithctl fre", "locksmithctl freeze")


@pytest.mark.usefixtures("shell", "machines")
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_machines(tmp_path, fleet):
    script = subprocess.run([TOOL, "completion", "fish"], capture_output=True, text=True, timeout=20, check=True).stdout
    (tmp_path / "locksmithctl.fish").write_text(script)
    load = f"source {shlex.quote(str(tmp_path / 'locksmithctl.fish'))}"
    group = fleet.group
    for line, expected in (
        ("why node-", ["node-one", "node-two"]),
        (f"-group={group[:8]}", [f"-group={group}"]),
        (f"-group={group} why oth", ["other"]),
    ):
        offers(f"{load}; complete -C 'locksmithctl {line}'", expected)


def offers(ask, expected):
    end = time.monotonic() + LIMIT
    while True:
        ended = subprocess.run(["fish", "-c", ask], capture_output=True, text=True, timeout=60, check=False)
        if ended.stdout.split() == expected:
            return
        assert time.monotonic() < end, ended
