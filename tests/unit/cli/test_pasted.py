"""Each command that a message suggests is one that the tool has, with arguments that it takes, and can be pasted."""

import re
import shlex

import click
import pytest

from locksmith.cli.main import COMMANDS, locksmithctl
from locksmith.cli.pasted import typed_flags
from locksmith.util.commands import FLEETWIDE, LOCAL, naming_group, with_flags, with_group, wrapped
from tests.harness.suggested import SAMPLE, messages, suggested_by, suggestions

BARE = re.compile(rf"`({'|'.join(COMMANDS)})(?: [^`]*)?`")

SUGGESTED = suggestions()
G = {"group": "a"}


def test_suggestions_are_found():
    assert len(SUGGESTED) > 25


@pytest.mark.slow
def test_suggestions_are_found_in_every_module():
    """The tests of each are collected often, so only the modules with such words are read for them."""
    assert suggested_by(messages()) == SUGGESTED


@pytest.mark.parametrize(("place", "words"), SUGGESTED)
def test_a_suggested_command_has_arguments_that_the_tool_takes(place, words):
    name, *args = shlex.split(words.removeprefix("sudo "))[1:]
    command = locksmithctl.get_command(click.Context(locksmithctl), name)
    assert command is not None, place
    context = command.make_context(name, [*args])
    while isinstance(command, click.Group) and args:
        inner = command.get_command(context, args[0])
        assert inner is not None, place
        inner.make_context(args[0], args[1:])
        break
    assert not re.search(r"\b[A-Z]+(-[A-Z]+)?\b", words.replace(SAMPLE, "")), "a placeholder cannot be pasted"


@pytest.mark.slow
def test_no_message_names_a_command_without_its_program():
    """`thaw` alone is no command of a shell."""
    bare = [(place, text) for place, text in messages() for _ in BARE.findall(text)]
    assert bare == []


@pytest.mark.parametrize(
    ("sentence", "flags", "expected"),
    [
        ("run `locksmithctl thaw`.", {"group": "a b"}, "run `locksmithctl -group='a b' thaw`."),
        ("`locksmithctl unlock -- -x`", {"group": "web"}, "`locksmithctl -group=web unlock -- -x`"),
        ("`locksmithctl -group=db thaw`", {"group": "web"}, "`locksmithctl -group=db thaw`"),
        ("`locksmithctl -group='a b' thaw`", {"group": "w", "debug": "x"}, "`locksmithctl -group='a b' -debug=x thaw`"),
        ("`locksmithctl thaw --group=db`", {"group": "web"}, "`locksmithctl thaw --group=db`"),
        ("`sudo locksmithctl reboot`", {"group": "web"}, "`sudo locksmithctl -group=web reboot`"),
        ("`locksmithctl recheck`", {"group": "web", "endpoint": "http://a"}, "`locksmithctl recheck`"),
        ("`locksmithctl window show`", {"group": "web", "debug": "x"}, "`locksmithctl -debug=x window show`"),
        ("`locksmithctl why`, `locksmithctl thaw`", G, "`locksmithctl -group=a why`, `locksmithctl -group=a thaw`"),
        ("`locksmithctl thaw --all-groups`", G, "`locksmithctl thaw --all-groups`"),
        ("a locksmithctl that runs", {"group": "web"}, "a locksmithctl that runs"),
        ("`locksmithctl", {"group": "web"}, "`locksmithctl"),
    ],
)  # fmt: skip
def test_the_commands_of_a_sentence_get_the_flags_that_they_lack(sentence, flags, expected):
    assert with_flags(sentence, flags) == expected
    assert with_flags(expected, flags) == expected


@pytest.mark.parametrize("group", ["web", "a b", "it's", '"', "$(touch x)", "ü", ""])
def test_a_group_is_read_back_by_a_shell_and_named_once(group):
    named = with_group("`locksmithctl thaw`", group)
    assert shlex.split(named.strip("`")) == ["locksmithctl", f"-group={group}", "thaw"]
    assert with_group(named, "other") == named


def test_the_default_group_needs_no_name_on_its_own_machine():
    assert naming_group("`locksmithctl thaw`", "") == "`locksmithctl thaw`"


def test_no_password_is_repeated():
    flags = {"endpoint": ("http://a", "http://b"), "etcd_username": "u", "etcd_password": "hidden", "group": None}
    assert typed_flags(flags) == {"endpoint": "http://a,http://b", "etcd-username": "u", "etcd-password": "PASSWORD"}


def test_a_command_is_not_broken_between_lines():
    line = "x" * 30 + " then run `locksmithctl -group=web resume` or `locksmithctl nodes` and so on, for a while"
    lines = wrapped(line, 40)
    assert " ".join(lines) == line
    assert any("`locksmithctl -group=web resume`" in one for one in lines)
    assert all(len(one) <= 40 for one in lines)


def test_the_words_about_commands_are_commands():
    assert set(COMMANDS) >= LOCAL | FLEETWIDE
