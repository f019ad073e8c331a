"""Each denial of the lock has a kind of refusal: FleetLock's clients make a label of it."""

import ast
from pathlib import Path

import pytest

import locksmith.lock
from locksmith.lock import denials, errors, queued_lock
from locksmith.lock.answer import Denied
from locksmith.lock.records import order, reboot
from locksmith.server.kinds import KINDS, LONGEST, refused
from locksmith.server.refusal import RefusalKind

LOCK = Path(locksmith.lock.__file__).parent
RAISES = {"Denied", "NotAdmittedError", "HaltedError", "refuse", "denied", "failed"}
"""What makes a denial, or an error that becomes one, with its code as the first argument."""
NAMES = {**vars(order), **vars(reboot), **vars(queued_lock), **vars(denials), **vars(errors)}


def codes() -> set[str]:
    """Find every code in the sources of the lock."""
    found = set()
    for path in LOCK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in RAISES:
                found |= set(_texts(node.args[0]))
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) == "super().__init__":
                found |= set(_texts(node.args[0])) if isinstance(node.args[0], ast.Name) else set()
            if isinstance(node, ast.FunctionDef) and node.name == "forbidden":
                returns = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
                found |= {text for one in returns if isinstance(one, ast.Tuple) for text in _texts(one.elts[0])}
    return found


def _name(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _texts(argument: ast.expr) -> list[str]:
    if isinstance(argument, ast.IfExp):
        return [*_texts(argument.body), *_texts(argument.orelse)]
    if isinstance(argument, ast.Name) and isinstance(NAMES.get(argument.id), str):
        return [NAMES[argument.id]]
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []


@pytest.mark.slow
def test_every_code_with_which_the_lock_denies_a_slot_has_a_kind_and_no_other():
    assert codes() == set(KINDS)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 5000])
def test_a_sentence_is_one_line_of_a_length_that_fits_and_never_empty(text):
    refusal = refused(Denied("queue", text))
    assert refusal.kind is RefusalKind.QUEUED
    assert 0 < len(refusal.sentence) <= LONGEST + len("[... 4000 more characters ...]")
    assert "\n" not in refusal.sentence
