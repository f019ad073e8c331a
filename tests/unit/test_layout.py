"""Code and tests are easy to find and to read: their folders, their imports, their names, the length of modules."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGES = TESTS.parent / "locksmith"
LONGEST_NAME = 80
LONGEST_MODULE, REASON = 300, "Above 300 lines, in one piece: "
IMPORTS, FUNCTIONS = (ast.Import, ast.ImportFrom), (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.fixture(scope="module")
def nodes() -> dict[Path, list[ast.AST]]:
    """The imports and functions of each module of the tests."""
    modules = sorted(TESTS.rglob("*.py"))
    return {path.relative_to(TESTS.parent): imports_and_functions(path.read_text()) for path in modules}


def imports_and_functions(text: str) -> list[ast.AST]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, (*IMPORTS, *FUNCTIONS))]


def imported(nodes: list[ast.AST]) -> set[str]:
    """All modules that a module imports, wherever it does; of `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_collected(path: Path) -> bool:
    """Whether pytest reads tests or fixtures of it: such a module is for pytest alone."""
    return path.name.startswith("test_") or path.name == "conftest.py"


@pytest.mark.slow
def test_no_module_imports_a_test_module(nodes):
    """What tests share belongs in tests/builders or tests/harness."""
    of_pytest = {".".join(path.with_suffix("").parts) for path in nodes if is_collected(path)}
    assert of_pytest
    assert {path: found for path in nodes if (found := imported(nodes[path]) & of_pytest)} == {}


@pytest.mark.slow
def test_the_name_of_a_test_has_at_most_eighty_characters(nodes):
    names = [node.name for found in nodes.values() for node in found if isinstance(node, FUNCTIONS)]
    assert [name for name in names if name.startswith("test_") and len(name) > LONGEST_NAME] == []


def test_the_folders_of_the_unit_tests_are_the_packages():
    folders = {path.parent.name for path in (TESTS / "unit").glob("*/test_*.py")}
    assert folders <= {path.parent.name for path in PACKAGES.glob("*/__init__.py")} | {"strategies"}


def test_a_module_above_300_lines_says_why_it_is_in_one_piece():
    modules = [*PACKAGES.rglob("*.py"), *(TESTS.parent / "strategies").rglob("*.py")]
    long = [path for path in modules if len(path.read_text().splitlines()) > LONGEST_MODULE]
    assert long
    assert [path for path in long if REASON not in path.read_text().split('"""')[1]] == []


@pytest.mark.parametrize(
    "line",
    [
        "from tests.unit.test_layout import TESTS",
        "from tests.unit import test_layout",
        "import tests.unit.test_layout",
        "def late():\n    from tests.unit.test_layout import TESTS",
    ],
)
def test_every_form_of_an_import_is_seen(line):
    assert "tests.unit.test_layout" in imported(imports_and_functions(line))
