"""What both programs print: the result on standard output, everything else that is said on standard error.

No other module prints. Records of the store hold text of other machines: here it is made safe for a terminal.
"""

import io
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from locksmith.cli.go_flags import GoOption
from locksmith.cli.painted import Painted, painted
from locksmith.cli.pasted import pasteable
from locksmith.util import records
from locksmith.util.secret import redacted
from locksmith.util.text import one_line

SCHEMA = 1

json_flag = click.option("--json", "as_json", cls=GoOption, is_flag=True, help="Print one JSON object instead.")


def say(*lines: str) -> None:
    """Print lines of the result, each of them as one line, with any content."""
    say_all(lines)


def say_all(lines: Iterable[str]) -> None:
    """Do the same; nothing is printed where there is no line."""
    if text := "\n".join(painted(line if isinstance(line, Painted) else pasteable(line)) for line in lines):
        click.echo(text)


def say_own(text: str) -> None:
    """Print a text of the program's own, with all its lines: a help, a script for a shell."""
    click.echo(text)


def ask(question: str) -> bool:
    """Ask a person for a yes or a no, on standard error."""
    return click.confirm(one_line(pasteable(question)), err=True)


def can_ask() -> bool:
    """Whether a person sees a question, and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def fail(problem: str, usage: str = "") -> None:
    """Say in one line why the program ends, after its usage where that was wrong."""
    if usage:
        click.echo(usage, err=True)
    click.echo(f"Error: {one_line(pasteable(problem))}", err=True)


def spell_out_unwritable() -> None:
    """Have what the terminal's encoding does not know spelt out, where it would else be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def note(text: str) -> None:
    """Tell the person something that no script parses."""
    click.echo(one_line(pasteable(text)), err=True)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one object on one line, after the schema's number."""
    # JSON spells every control character out but this one.
    shown = _pasteable(redacted(fields, records.DECIDING))
    click.echo(json.dumps({"schema": SCHEMA, **shown}).replace("\x7f", "\\u007f"))


def _pasteable(value: Any) -> Any:
    match value:
        case str():
            return pasteable(value)
        case Mapping():
            return {name: _pasteable(held) for name, held in value.items()}
        case list() | tuple():
            return [_pasteable(held) for held in value]
        case _:
            return value
