"""The conformance suite for FleetLock servers is whole: it can be copied, and its page says what it checks."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conformance.fleetlock.wire import Server

REPOSITORY = Path(__file__).parents[2]
SUITE = REPOSITORY / "tests/conformance/fleetlock"
MODULES = sorted(SUITE.glob("*.py"))


def checks() -> dict[str, set[tuple[str, str]]]:
    """The name and the marks of each check, by its module."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(SUITE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [ast.unparse(decorator).removeprefix("pytest.mark.") for decorator in node.decorator_list]
                levels = " ".join(mark.upper() for mark in marks if mark in {"must", "should"})
                found.setdefault(path.name, set()).add((node.name.removeprefix("test_"), levels))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_suite_needs_pytest_and_the_standard_library_alone(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"pytest"}


def test_the_page_lists_each_check_with_its_level():
    page = (SUITE / "README.md").read_text()
    sections = re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    listed = {name: set(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)) for name, text in sections}
    assert listed == checks()


def test_each_check_has_one_level():
    assert {level for found in checks().values() for _, level in found} == {"MUST", "SHOULD"}


def test_each_check_catches_a_wrong_server():
    """So none passes on every server. tests/contract/test_fleetlock_conformance.py runs them."""
    named = (
        REPOSITORY / "tests/harness/fleetlock_caught.py"
    ).read_text()  # not imported: a server may not be installed
    caught = set(re.findall(r'"(test_\w+\.py::test_\w+)', named))
    assert caught == {f"{module}::test_{name}" for module, found in checks().items() for name, _ in found}


def test_the_page_names_each_option():
    named = set(re.findall(r"--fleetlock-[a-z-]+", (SUITE / "README.md").read_text()))
    assert named == set(re.findall(r'add\("(--fleetlock-[a-z-]+)"', (SUITE / "conftest.py").read_text()))


@pytest.mark.slow
def test_no_run_of_all_tests_begins_the_suite_without_a_server(tmp_path):
    """It would end with an error, since no check may be skipped for want of a server."""
    options = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    for name in ("pytest", "python"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "BIN": str(tmp_path)}
    said = subprocess.run([REPOSITORY / "scripts/run-tests"], env=environ, capture_output=True, text=True, check=True)
    folders = {"/".join(word.split("/")[:2]) for word in said.stdout.split() if word.startswith("tests/")}
    assert folders == set(options["testpaths"]) | {"tests/mutants"} & folders


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:3333", "/v1/pre-reboot"),
        ("http://127.0.0.1:3333/", "/v1/pre-reboot"),
        ("http://lock.example.org/fleet/lock", "/fleet/lock/v1/pre-reboot"),
        ("http://lock.example.org/fleet/lock/", "/fleet/lock/v1/pre-reboot"),
        ("http://[::1]:3333/base", "/base/v1/pre-reboot"),
    ],
)
def test_the_path_of_a_base_url_is_kept(url, path):
    assert Server.at(url).path("pre-reboot") == path


@pytest.mark.parametrize("url", ["127.0.0.1:3333", "", "http://", "ftp://h/", "http://h/?a=b", "http://h:x/"])
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(ValueError, match=r"base URL|[Pp]ort"):
        Server.at(url)


def test_an_ipv6_address_stands_in_brackets_in_the_request():
    assert b"\r\nHost: [::1]:3333\r\n" in Server.at("http://[::1]:3333/").request("pre-reboot", b"{}")
