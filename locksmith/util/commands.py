"""The commands that a message suggests: each can be pasted, and is about the same lock as the message. Pure.

A sentence has its commands in backquotes. What writes a sentence mostly does not know the group, or how the reader's
tool reaches etcd. So the program that shows the sentence adds both.
"""

import re
import shlex
import textwrap
from collections.abc import Mapping

GROUP = "group"

LOCAL = frozenset({"request", "cancel", "recheck", "triggers", "send-need-reboot", "completion", "help"})
"""Commands about this machine itself, which use no lock."""
FLEETWIDE = frozenset({"window", "groups", "import-airlock", "enroll"})
"""Commands that use the store, and are about no group."""
EVERY_GROUP = "--all-groups"
"""The flag by which a command is about every group, and so about none by name."""

_VALUE = r"""(?:[^\s`'"]|'[^'`]*'|"[^"`]*")*"""
_COMMAND = re.compile(
    rf"`(?P<program>(?:sudo )?locksmithctl)(?P<flags>(?: --?[a-z][a-z0-9-]*={_VALUE})*) "
    r"(?P<command>[a-z][a-z0-9-]*)(?P<rest>(?: [^`]*)?)`"
)
_QUOTED = re.compile("`[^`]*`")
_GLUE = "\0"
"""Stands for a space at which no line is broken; no line that is shown has this character."""
_NAME = re.compile(r" --?([a-z][a-z0-9-]*)=")


def with_flags(sentence: str, flags: Mapping[str, str]) -> str:
    """Give a sentence whose commands have these flags, by their names; a flag that a command has already is kept."""
    if not flags or "locksmithctl " not in sentence:
        return sentence
    return _COMMAND.sub(lambda found: _with_flags(found, flags), sentence)


def with_group(sentence: str, group: str) -> str:
    """Give a sentence whose commands name the group that they are about."""
    return with_flags(sentence, {GROUP: group})


def naming_group(sentence: str, group: str) -> str:
    """Do the same unless the group is the default one: what has no flag is about the group of this machine."""
    return with_group(sentence, group) if group else sentence


def wrapped(line: str, columns: int) -> list[str]:
    """Break a line between words, and no command in it: a command that is too long stays whole, to be pasted."""
    glued = _QUOTED.sub(lambda found: found[0].replace(" ", _GLUE), line)
    lines = textwrap.wrap(glued, columns, break_long_words=False, break_on_hyphens=False)
    return [one.replace(_GLUE, " ") for one in lines]


def _with_flags(found: re.Match[str], flags: Mapping[str, str]) -> str:
    command, rest = found["command"], found["rest"]
    present = {*_NAME.findall(found["flags"]), *_NAME.findall(rest)}
    if command in LOCAL:
        return found[0]
    if command in FLEETWIDE or EVERY_GROUP in rest.split():
        present.add(GROUP)
    words = "".join(f" -{name}={shlex.quote(value)}" for name, value in flags.items() if name not in present)
    return f"`{found['program']}{found['flags']}{words} {command}{rest}`"
