"""What is known of each mutant: what mutmut has found, what the simulation has, and the reasons of those that stay."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

FOLDER = Path("mutants")
REASONS = Path(__file__).with_name("survivors.toml")
SIMULATED = FOLDER / "simulated.json"

NOTICED, OPEN, UNCHECKED = "noticed", "open", "unchecked"
_KINDS = {"killed": NOTICED, "not checked": UNCHECKED}
"""All else is open, a time-out too: a busy machine looks the same as a loop without an end."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function. `kind`: what the unit tests make of it."""

    name: str
    path: str
    kind: str

    @property
    def function(self) -> str:
        """Name the function, with its class."""
        mangled = self.name.rpartition("__mutmut_")[0].rpartition(".")[2]
        return ".".join(mangled.split("ǁ")[1:]) or mangled.removeprefix("x_")

    @property
    def diff(self) -> str:
        """Show the change."""
        return _diff(self.name, self.path)

    @property
    def change(self) -> "Change":
        """Say what it changes, wherever in the file that stands by now."""
        lines = self.diff.splitlines()[2:]
        was, now = (tuple(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
        return Change(self.path, self.function, "\n".join(was), "\n".join(now))

    @property
    def line(self) -> int:
        """Give the line of the file that it changes, or begins to."""
        begins = _lines_of_functions(self.path).get(self.function, 1)
        hunk = re.search(r"^@@ -(\d+)", self.diff, re.MULTILINE)
        body = self.diff.splitlines()[3:]
        before = next((number for number, line in enumerate(body) if line[:1] in "-+"), 0)
        return begins + (int(hunk[1]) - 1 if hunk else 0) + before


@dataclass(frozen=True, slots=True)
class Change:
    """The lines that a mutant takes away, and those that it puts there."""

    path: str
    function: str
    was: str
    now: str


def mutants() -> list[Mutant]:
    """Give every mutant that mutmut has made, in the order of the files."""
    return [
        Mutant(name, path, _KINDS.get(status_by_exit_code[code], OPEN))
        for path in _paths()
        for name, code in _data(path).exit_code_by_key.items()
    ]


def reasons() -> dict[Change, str]:
    """Read why mutants may stay unnoticed."""
    fields = ("path", "function", "was", "now")
    found = tomllib.loads(REASONS.read_text()).get("survivor", [])
    return {Change(**{name: one[name] for name in fields}): one["reason"] for one in found}


def simulated() -> dict[str, bool | None]:
    """Read which changes the simulation was tried with, and whether a rule was broken; None: it did not end."""
    found: dict[str, bool | None] = json.loads(SIMULATED.read_text()) if SIMULATED.exists() else {}
    return found


def keep_simulated(found: dict[str, bool | None]) -> None:
    """Write that down, so that the next run goes on from there."""
    SIMULATED.write_text(json.dumps(found, indent=1))


def _paths() -> Iterator[str]:
    for meta in sorted(FOLDER.rglob("*.py.meta")):
        yield str(meta.relative_to(FOLDER)).removesuffix(".meta")


def _data(path: str) -> SourceFileMutationData:
    data = SourceFileMutationData(path=path)
    data.load()
    return data


@cache
def _diff(name: str, path: str) -> str:
    return str(get_diff_for_mutant(name, path=path))


@cache
def _lines_of_functions(path: str) -> dict[str, int]:
    tree = ast.parse(Path(path).read_text())
    found: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node.lineno
        elif isinstance(node, ast.ClassDef):
            methods = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}": one.lineno for one in methods}
    return found
