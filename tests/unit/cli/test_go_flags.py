"""Go's flags, the way a program ends, help and completion: `locksmithctl` as a person or a shell meets it."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from locksmith import __version__
from locksmith.cli import run as running
from locksmith.cli.go_flags import GoCommand, GoGroup, GoOption, store_flags, version_flag
from locksmith.cli.main import COMMANDS, PROGRAM, locksmithctl
from locksmith.config.keys import FLAGS
from locksmith.errors import CorruptValueError, LocksmithError, UsageError

TOOL = Path(sys.executable).with_name(PROGRAM)
APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
"""What keeps the two outputs apart in click before 8.2; later versions always do."""


@click.group(cls=GoGroup, invoke_without_command=True)
@store_flags
@version_flag("tool")
@click.pass_context
def tool(context, /, **flags):
    context.obj = {name: value for name, value in flags.items() if value not in (None, ())}
    if context.invoked_subcommand is None:
        click.echo(repr(context.obj))


@tool.command(cls=GoCommand)
@click.option("--json", "as_json", cls=GoOption, is_flag=True)
@click.option("--reason", cls=GoOption)
@click.argument("ids", nargs=-1)
@click.pass_obj
def lock(flags, *, as_json, reason, ids):
    click.echo(repr((flags, as_json, reason, ids)))


def parsed(*args: str):
    ended = CliRunner().invoke(tool, args)
    assert ended.exit_code == 0, ended.output
    return eval(ended.stdout)  # what the commands above have just printed


def refused(*args: str) -> str:
    ended = CliRunner(**APART).invoke(tool, args)
    assert (ended.exit_code, ended.stdout) == (2, "")
    return ended.stderr


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("name", sorted(set(FLAGS) - {"endpoint", "debug", "etcd-api"}))
def test_each_flag_takes_one_dash_or_two_and_its_value_either_way(dashes, name):
    key = name.replace("-", "_")
    assert parsed(f"{dashes}{name}", "x y") == {key: "x y"}
    assert parsed(f"{dashes}{name}=a=b") == {key: "a=b"}
    assert parsed(f"{dashes}{name}=") == {key: ""}
    assert parsed(f"{dashes}{name}", "-debug") == {key: "-debug"}


def test_a_flag_that_is_repeated():
    assert parsed("-endpoint", "a,b", "--endpoint=c") == {"endpoint": ("a,b", "c")}
    assert parsed("-group", "a", "--group", "b") == {"group": "b"}


@pytest.mark.parametrize(
    ("spelt", "value"),
    [
        ("-debug", True),
        ("--debug", True),
        ("-debug=true", True),
        ("--debug=1", True),
        ("-debug=false", False),
        ("--debug=F", False),
        ("--no-debug", False),
    ],
)
def test_a_switch_takes_no_value_but_after_an_equals_sign(spelt, value):
    assert parsed(spelt) == {"debug": value}
    assert parsed(spelt, "lock", "n1") == ({"debug": value}, False, None, ("n1",))


def test_a_commands_own_flags_stand_before_or_behind_its_arguments():
    assert parsed("lock", "-json", "-reason", "-x", "n1") == ({}, True, "-x", ("n1",))
    assert parsed("lock", "n1", "-json", "--reason=why", "n2") == ({}, True, "why", ("n1", "n2"))
    assert parsed("lock", "-json=false", "--", "-json") == ({}, False, None, ("-json",))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["-gruop", "x"], "No such option:? '?--gruop"),
        (["-g"], "No such option:? '?--g\\b"),
        (["-debug=maybe"], "must be true or false, not 'maybe'"),
        (["-group"], "requires an argument"),
        (["-etcd-api", "4"], "'4' is not one of '2', '3'"),
        (["lock", "-resaon", "x"], "No such option:? '?--resaon"),
        (["unlock"], "No such command 'unlock'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_whole_name(args, sentence):
    assert re.search(sentence, refused(*args))


@pytest.mark.parametrize("spelt", ["-version", "--version", "-version=true"])
def test_the_version(spelt):
    assert CliRunner().invoke(tool, [spelt]).stdout == f"tool version {__version__}\n"


@pytest.mark.parametrize("args", [[], ["help"], ["-h"], ["-help"], ["--help"]], ids=" ".join)
def test_help_lists_every_command_and_each_flag_once(args):
    ended = CliRunner().invoke(locksmithctl, args, prog_name=PROGRAM)
    assert ended.exit_code == 0
    lines = [line.split()[0] for line in ended.stdout.splitlines() if line.startswith("  ")]
    assert [name for name in lines if name in COMMANDS] == list(COMMANDS)
    assert [name for name in lines if name == "--endpoint"] == ["--endpoint"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command):
    by_help = CliRunner().invoke(locksmithctl, ["help", command], prog_name=PROGRAM)
    by_flag = CliRunner().invoke(locksmithctl, [command, "-h"], prog_name=PROGRAM)
    assert by_help.stdout == by_flag.stdout
    assert by_help.stdout.startswith(f"Usage: {PROGRAM} {command} ")


class TestTheEnd:
    """Whatever a command raises: an exit status, and one line at most."""

    @pytest.fixture
    def ends(self, monkeypatch, capsys):
        def run(error):
            @click.command()
            def command():
                raise error

            monkeypatch.setattr(sys, "argv", ["tool"])
            with pytest.raises(SystemExit) as end:
                running.run(command, "tool")
            return end.value.code, capsys.readouterr().err

        return run

    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (LocksmithError("it failed"), 1, "Error: it failed\n"),
            (UsageError("bad"), 2, "Error: bad\n"),
            (CorruptValueError("key", "two\n\n lines \x1b[2J\u202e"), 1, "Error: key: two lines \\x1b[2J\\u202e\n"),
        ],
    )
    def test_an_error_is_one_line(self, ends, error, status, said):
        assert ends(error) == (status, said)

    def test_ctrl_c_says_nothing(self, ends):
        status, said = ends(KeyboardInterrupt())
        assert (status, said.strip()) == (130, "")


@pytest.mark.slow
def test_a_reader_that_went_away_is_no_trouble():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        ended = subprocess.run([TOOL, "help"], stdout=pipe, stderr=subprocess.PIPE, timeout=20, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_the_shell_reads(shell):
    ended = subprocess.run([TOOL, "completion", shell], capture_output=True, timeout=20, check=True, text=True)
    assert f"_LOCKSMITHCTL_COMPLETE={shell}_complete" in ended.stdout
    if shutil.which(shell):
        read = subprocess.run(
            [shell, "-n"], input=ended.stdout, capture_output=True, timeout=20, check=False, text=True
        )
        assert (read.returncode, read.stderr) == (0, "")


def completed(words: str) -> list[str]:
    """Ask as bash does, for the last word of a line."""
    environment = {"_LOCKSMITHCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ended = CliRunner().invoke(locksmithctl, [], prog_name=PROGRAM, env=environment)
    assert ended.exit_code == 0
    return [line.partition(",")[2] or line for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("locksmithctl ", list(COMMANDS)),
        ("locksmithctl re", ["resume", "reboot", "request", "recheck", "repair", "retire-v2"]),
        ("locksmithctl -gr", ["-group"]),
        ("locksmithctl --gr", ["--group"]),
        ("locksmithctl -debug -endpoint x st", ["status"]),
        ("locksmithctl -debug=false st", ["status"]),
        ("locksmithctl -etcd-api ", ["2", "3"]),
        ("locksmithctl -etcd-cafile ", ["file,"]),
        ("locksmithctl lock -r", ["-reason"]),
        ("locksmithctl completion ", ["bash", "zsh", "fish"]),
        ("locksmithctl help retire", ["retire-v2"]),
    ],
)
def test_completion_knows_commands_flags_and_values(words, expected):
    assert completed(words) == expected


def test_completion_offers_each_flag_once():
    offered = completed("locksmithctl -")
    assert len(offered) == len(set(offered))
    assert all(name.startswith("--") or name == "-h" for name in offered)


@pytest.mark.slow
def test_help_and_completion_load_neither_d_bus_nor_a_stores_client():
    story = (
        "import sys; from locksmith.cli.main import locksmithctl; locksmithctl(['help'], standalone_mode=False);"
        "print({'dbus_fast', 'urllib3', 'prometheus_client', 'etcd'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", story], capture_output=True, timeout=20, check=True, text=True)
    assert ended.stdout.splitlines()[-1] == "set()"
