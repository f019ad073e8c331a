"""The reasons of `make mutants` stay those of the code of today: tests/mutants/survivors.toml."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REASONS = "tests/mutants/survivors.toml"
SURVIVORS = tomllib.loads((ROOT / REASONS).read_text())["survivor"]
MUTATED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]


@cache
def functions(path: str) -> dict[str, list[str]]:
    """Give the lines of each function of a file, without their indentation."""
    text = (ROOT / path).read_text()
    lines, found = text.splitlines(), {}
    for node in ast.parse(text).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for one in members:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                found[prefix + one.name] = [line.strip() for line in lines[one.lineno - 1 : one.end_lineno]]
    return found


def wrong(entry: dict[str, str]) -> str:
    """Say what of an entry is not so in the code; empty: nothing."""
    path, function = entry["path"], entry["function"]
    if path not in MUTATED:
        return f"{path} is not mutated"
    if function not in functions(path):
        return f"{path} has no function {function}"
    missing = [line for line in entry["was"].splitlines() if line not in functions(path)[function]]
    return f"{path}: {function} has no line {missing[0]}" if missing else ""


def test_each_reason_is_about_a_line_of_the_code_of_today():
    assert [text for text in map(wrong, SURVIVORS) if text] == []


def test_each_survivor_has_one_reason_of_one_sentence():
    changes = [(one["path"], one["function"], one["was"], one["now"]) for one in SURVIVORS]
    assert len(set(changes)) == len(changes)
    assert [one for one in SURVIVORS if not one["reason"].endswith(".") or one["was"] == one["now"]] == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"path": "locksmith/lock/no_such_module.py"}, "locksmith/lock/no_such_module.py is not mutated"),
        ({"function": "Queue.no_such"}, "locksmith/lock/queue.py has no function Queue.no_such"),
        ({"was": "self._old = 1"}, "locksmith/lock/queue.py: Queue.left has no line self._old = 1"),
        ({}, ""),
    ],
)
def test_an_entry_that_is_out_of_date_is_seen(change, text):
    entry = {"path": "locksmith/lock/queue.py", "function": "Queue.left", "was": "self._place = self._view = None"}
    assert wrong(entry | change) == text


def test_every_file_that_is_mutated_exists():
    assert [path for path in MUTATED if not (ROOT / path).is_file()] == []
