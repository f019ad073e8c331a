"""The commands of the tool that messages suggest: found in the sources, and in what was said."""

import ast
import re
import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import locksmith
from locksmith.window.window_set import EXAMPLE

SAMPLE = "4711"
"""Stands for what is filled in: a name, a number, an id."""

_COMMAND = re.compile(r"`((?:sudo )?locksmithctl [^`]+)`")


class _Messages(ast.NodeVisitor):
    """Collects the texts of a module, but docstrings and helps, which tell of commands by their names."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "help":
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.found.append("".join(map(_filled, node.values)))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)


@cache
def messages(word: str = "") -> tuple[tuple[str, str], ...]:
    """Give every text that a program may say, after its module; `word`: of the modules with this word in the source."""
    folder, said = Path(locksmith.__file__).parent, list[tuple[str, str]]()
    for path in sorted(folder.rglob("*.py")):
        if word in (source := path.read_text()):
            collected = _Messages()
            collected.visit(ast.parse(source))
            said += [(str(path.relative_to(folder)), text) for text in collected.found]
    return tuple(said)


def commands_in(said: str) -> list[str]:
    """Give each command of a text, as it can be pasted."""
    return _COMMAND.findall(said)


def suggestions() -> list[tuple[str, str]]:
    """Give each command that the sources suggest, with samples in it, after the module that has it."""
    return suggested_by((*messages("`locksmithctl "), *messages("`sudo ")))


def suggested_by(said: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give each command in these messages, with samples in it, after the module that has it."""
    return sorted({(place, one.replace("{}", SAMPLE)) for place, text in said for one in commands_in(text)})


def shape(command: str) -> str:
    """Give a command without its values: `unlock X`, `window set X --open`."""
    words = shlex.split(command.removeprefix("sudo "))[1:]
    while words[0].startswith("-"):
        words = words[1:]
    names = 2 if words[0] == "window" else 1
    args, flags = [*words[names:]], []
    while args and args[0].startswith("--") and args[0] != "--":
        flags.append(args.pop(0).partition("=")[0])
        if flags[-1] in {"--open", "--max", "--replaces"}:
            args.pop(0)
    return " ".join([*words[:names], *(["X"] if args and not args[0].startswith("--o") else []), *flags, *_open(args)])


def _open(args: list[str]) -> list[str]:
    return ["--open"] if "--open" in args else []


def _filled(part: ast.expr) -> str:
    """Give a part of an f-string; the constant EXAMPLE has its own value."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    return EXAMPLE if "EXAMPLE" in ast.dump(part) else SAMPLE
