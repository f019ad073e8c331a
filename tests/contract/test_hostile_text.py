"""Text of other machines on its way to a terminal: no command passes on what would steer it, or forges a line.

Each command of `locksmithctl` is found by itself, so that a new one is tried too. Every key of a group on a real etcd
has hostile text in every field.
"""

import json
import os
import pty
import signal
import subprocess
import uuid
from dataclasses import replace
from datetime import timedelta

import click
import pytest

from locksmith.cli.main import locksmithctl
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import event as event_record
from locksmith.lock.records import incident, keys, node, semaphore, share, waiter
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import FAILED, MANUAL, REBOOT, Claim
from locksmith.lock.records.event import Event
from locksmith.lock.records.incident import EXPIRED, Incident
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.records.waiter import Waiter
from locksmith.util import records
from tests.contract.fleets import NOW, TOOL, Fleet, root
from tests.harness.bus import PrivateBus
from tests.harness.ctl import Ctl
from tests.harness.etcd import wait_until

__all__ = ["root"]

EVIL = (
    "evil\x1b]0;pwned\x07\x1b[2J\x9b31m\x9d\x7f\0\b\r\nError: forged\n<3>forged\v\f\x85"
    "\u2028forged\u2029forged\u202e\u2066\u2069\u200b\u200d\u2060\ufeff\u00ad\u061c\u3164\U000e0041"
)
BROKEN = f"{EVIL}\ud800"
"""With half a surrogate pair, which JSON can spell and no terminal can be sent."""
LONG = BROKEN + "x" * 30_000
ID, OTHER, LOST = (digit * 32 for digit in "123")

PLAN = """[groups.web]
machines = 3
slots = 1
reboot = "90s"
"""


class HostileFleet(Fleet):
    """A group whose every record is hostile."""

    def fill(self) -> None:
        """Write every kind of key that there is."""
        for key, value in self.records().items():
            self(lambda store, key=key, value=value: store.create(key, value))

    def fill_again(self) -> None:
        """Write what a command before has changed or removed."""

        async def story(store):
            for key, value in self.records().items():
                reading = await store.get(key)
                if reading.entry is None or reading.entry.value != value:
                    await store.swap(key, value, reading.version)

        self(story)

    def records(self) -> dict[str, bytes]:
        """Give them by their keys."""
        group = self.group
        order = Order(BROKEN, NOW, LONG, NOW + timedelta(hours=1), slots=3, nonce=EVIL)
        event = Event(NOW, BROKEN, BROKEN, LONG, BROKEN, EVIL, BROKEN, BROKEN, BROKEN, NOW, NOW - timedelta(hours=1))
        lost = self.of(LOST, "committed")
        return {
            keys.semaphore_key(group): semaphore.encode(Semaphore(9, (ID, LOST, EVIL, f"bare {EVIL}"))),
            keys.holder_key(group, ID): claim_record.encode(self.of(ID, FAILED)),
            keys.holder_key(group, LOST): claim_record.encode(lost),
            keys.holder_key(group, EVIL): claim_record.encode(replace(self.of(EVIL, "held"), kind=MANUAL)),
            keys.node_key(group, ID): node.encode(self.machine(ID, "rebooting")),
            keys.node_key(group, OTHER): node.encode(self.machine(OTHER, "waiting")),
            keys.node_key(group, EVIL): node.encode(self.machine(EVIL, BROKEN)),
            f"{keys.nodes_prefix(group)}corrupt{EVIL}": b'{"hostname":"\\u001b[2J","\\u0007":1}',
            f"{keys.waiters_prefix(group)}{OTHER}": waiter.encode(Waiter.of(self.of(OTHER, ""))),
            f"{keys.waiters_prefix(group)}evil": waiter.encode(Waiter(EVIL, MANUAL, "n", NOW, BROKEN, BROKEN, LONG)),
            keys.share_key(group): share.encode(Share("10%", (9, 9))),
            keys.freeze_key(group): order_record.encode(order),
            keys.hold_key(group, OTHER): order_record.encode(order),
            keys.hold_key(group, EVIL): b"\x1b]0;pwned\x07",
            keys.spacing_key(group): order_record.encode(order),
            keys.incidents_key(group): incident.encode([Incident(lost, EXPIRED, BROKEN)]),
            keys.resume_key(group): order_record.encode(order),
            keys.window_key(f"{group}-set"): json.dumps(
                {"schema": 1, "open": ["02:00 for 1h"], "who": BROKEN, "reason": LONG, "since": records.moment(NOW)}
            ).encode(),
            keys.window_key(f"{group}{EVIL}"): b'{"open":["\\u001b]0;pwned\\u0007"]}',
            f"{keys.history_prefix(group)}1700000000000-00000000": event_record.encode(event),
            f"{keys.history_prefix(group)}1700000000001-00000000": b'{"\\u001b":1}',
            f"{keys.groups_prefix()}{keys.query_escape(group + EVIL)}/semaphore": b"\x1b[2J",
        }

    @staticmethod
    def of(holder: str, state: str) -> Claim:
        """Make a claim that says nothing good."""
        claim = Claim(holder, REBOOT, f"nonce {EVIL}", NOW, "locksmithd", BROKEN, BROKEN, BROKEN, state, LONG)
        return replace(claim, failure=LONG, system=BROKEN, taken=NOW)

    def machine(self, machine_id: str, state: str) -> Node:
        """Make a machine's presence that says nothing good."""
        return Node(
            *(machine_id, BROKEN, BROKEN, BROKEN, BROKEN, state, NOW, BROKEN, BROKEN, LONG, NOW),
            need=BROKEN,
            need_version=BROKEN,
            need_since=NOW,
            need_reasons=(BROKEN, LONG),
            windows=(BROKEN,),
            clone=BROKEN,
            clone_boot=BROKEN,
        )


def leaves(command, path=()):
    """Give every command that can be called, with its words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        if path and command.invoke_without_command:
            yield path, command
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*path, name))
    else:
        yield path, command


COMMANDS = {" ".join(path): command for path, command in leaves(locksmithctl)}

VALUES = {
    "secret_file": "{plan}",
    "machine": ID,
    "reason": "x",
    "slots": "7",
    "name": "{group}-set",
    "windows": "02:00 for 1h",
    "shell": "bash",
    "plan": "{plan}",
    "command": "why",
}
"""What a parameter is given; one that is not here and is required fails its command's test."""

MORE = {
    "unlock": [["--stale", "--yes"], [EVIL], ["no such machine \x1b[2J"]],
    "repair": [["--max", "2", "--yes"]],
    "why": [[OTHER], [LOST], [], ["no such machine \x1b[2J"]],
    "hold": [
        [OTHER, "--reason", "x"],
        ["no such\x07machine", "--reason", "x"],
        [BROKEN.strip("\ud800"), "--reason", "x"],
    ],
    "unhold": [[OTHER], ["no such\x07machine"]],
    "freeze": [["--legacy", "--reason", "x"], ["--reason", "\x1b[2J", "--until", "\x1b[2J"]],
    "lock": [[OTHER, "--reason", "x"], [LOST, "--wait", "--timeout", "1s"]],
    "set-max": [["10%"], ["\x1b[2J"]],
    "window": [["--group", "{group}"], ["--set", "{group}-set"], ["--set", "\x1b[2J"], ["--spec", "\x1b[2J for 1h"]],
    "window set": [["{group}-set", "--open", "\x1b[2J for 1h"]],
    "window show": [[], ["\x1b[2J"]],
    "simulate": [["--from-etcd", "--runs", "2"], ["/no\x1b[2J"]],
    "status": [["\x1b[2J"], ["--\x1b[2J"]],
}
"""Further ways to call some of them."""


@pytest.fixture
def hostile(wheel_etcd, monkeypatch):
    group = f"g-{uuid.uuid4()}"
    fleet = HostileFleet(wheel_etcd, 3, group)
    fleet.fill()
    with PrivateBus() as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        yield fleet
    empty(fleet)


def empty(fleet):
    """Leave nothing that other groups' tests would list."""

    async def story(store):
        for prefix in (keys.windows_prefix(), keys.groups_prefix()):
            for entry in (await store.list(prefix)).entries:
                if fleet.group in entry.key:
                    await store.delete(entry.key, entry.version)

    fleet(story)


def ways(name, command):
    """Give the arguments of each call of a command: what it must be given, and each of `MORE`."""
    given = []
    for param in command.params:
        value = VALUES.get(param.name or "")
        if isinstance(param, click.Argument) and (value or param.required):
            assert value, f"say in VALUES what {name} is given as {param.name}"
            given.append(value)
        elif param.required or (param.name == "windows" and name == "window set"):
            assert value, f"say in VALUES what {name} is given as {param.name}"
            given += [param.opts[0], value]
    calls = [given, *MORE.get(name, [])]
    if any("--json" in param.opts for param in command.params):
        calls += [[*call, "--json"] for call in calls]
    return calls


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_passes_on_what_steers_a_terminal_or_forges_a_line(name, hostile, monkeypatch, capfd, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    ctl = Ctl(monkeypatch, capfd, *hostile.flags)
    for call in ways(name, COMMANDS[name]):
        words = [word.format(group=hostile.group, plan=plan) if "{" in word else word for word in call]
        hostile.fill_again()
        ended = ctl(*name.split(), *words)
        said = ended.out + ended.err
        assert said, words
        assert not {char for char in said if not char.isprintable()} - {"\n"}, (words, said)
        assert not [line for line in said.splitlines() if line.startswith(("Error: forged", "<3>", "forged"))], words
        assert all(len(line) < 5000 for line in said.splitlines() if not line.startswith("{")), words
        if "--json" in words and ended.status == 0:
            assert json.loads(ended.out)


@pytest.mark.parametrize(
    "words", [["nodes"], ["why", ID], ["groups"], ["history"], ["status", "--watch"], ["nodes", "--watch"]]
)
def test_a_terminal_gets_no_colours_and_commands_but_our_own(words, hostile):
    """Colours are printed there: whatever else begins with an escape is not ours."""
    said = on_a_terminal(hostile, words)
    assert "evil" in said
    assert not [char for char in said if char in "\x07\x9b\x9d\x7f\0\b\v\f\x85\u202e\u2066\u200b\u2028\u2029\ufeff"]
    assert "\x1b]" not in said
    assert "\x1b[2J" not in said


def on_a_terminal(hostile, words):
    """Run the tool on a pseudo terminal until it has said all, or for what watches, until it has shown its picture."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
    tool = subprocess.Popen([TOOL, *hostile.flags, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    os.set_blocking(ours, False)
    said = bytearray()

    def heard():
        try:
            said.extend(os.read(ours, 65536))
        except (BlockingIOError, OSError):
            return tool.poll() is not None
        return "--watch" in words and b"evil" in said

    try:
        wait_until(heard, f"{words} is shown")
    finally:
        if tool.poll() is None:
            tool.send_signal(signal.SIGINT)
        tool.wait(10)
        os.close(ours)
    return said.decode()


def test_a_reason_of_another_node_forges_no_line_of_a_daemons_log(site):
    async def story(node):
        order = Order(f"alice\n00:00:00 INFO rebooted and healthy{EVIL}", NOW, f"x\r\n<3>forged{LONG}")
        site.lock.put(order_record.encode(order), keys.freeze_key(site.group))
        node.need_reboot("4081.2.0")
        await node.says("waiting (freeze): frozen by alice 00:00:00 INFO rebooted and healthyevil\\x1b]0;pwned\\x07")
        for line in node.said.splitlines():
            assert line.isprintable()
            assert line[:9].replace(":", "").strip().isdigit(), line
            assert len(line) < 5000
        assert " more characters ...]" in node.said

    site.play(story)
