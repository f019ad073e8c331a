"""The set-up of a fresh machine: which Python `make` takes, and what it says of missing packages."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import matrix

REPOSITORY = Path(__file__).parents[2]
FIND_PYTHON = REPOSITORY / "scripts/find-python"
NEED_PACKAGES = REPOSITORY / "scripts/need-packages"
TOOLS = ("dirname", "grep")
OLD = "sys.version, sys.version_info = '3.9.2', (3, 9, 2)"
NO_VENV = "sys.modules['ensurepip'] = None"


@pytest.fixture
def path(tmp_path):
    """A folder that is all of PATH."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    return tmp_path


def program(path, name, text):
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)


def python(path, name, change=""):
    """Put a Python there; `change` makes it another one."""
    code = f"import sys; {change or 'pass'}; exec(sys.argv[1])"
    program(path, name, f'exec {sys.executable} -c "{code}" "$2"')


def run(path, script, *args, **environ):
    done = subprocess.run(
        [script, *args], env={"PATH": str(path), **environ}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.slow
def test_the_first_python_that_is_new_enough_and_makes_environments_is_taken(path):
    program(path, "python3.11", "exit 127")
    python(path, "python3.12", NO_VENV)
    python(path, "python3.13")
    python(path, "python3")
    assert run(path, FIND_PYTHON) == (0, str(path / "python3.13"), "")


def test_a_plain_python3_is_taken_if_it_is_new_enough(path):
    python(path, "python3")
    assert run(path, FIND_PYTHON) == (0, str(path / "python3"), "")


def test_without_a_python_that_serves_the_message_says_what_each_lacks(path):
    program(path, "python3.11", "exit 127")
    python(path, "python3.12", NO_VENV)
    python(path, "python3", OLD)
    code, printed, said = run(path, FIND_PYTHON)
    assert (code, printed) == (1, "")
    assert f"{path}/python3.11 does not run." in said
    assert f"{path}/python3.12 has no venv (Debian: apt-get install python3-venv)." in said
    assert f"{path}/python3 is 3.9.2, which is too old." in said
    assert "make PYTHON=" in said


def test_a_python_that_was_named_is_taken_or_refused(path):
    python(path, "python3")
    python(path, "mine")
    assert run(path, FIND_PYTHON, "mine")[1] == str(path / "mine")
    assert run(path, FIND_PYTHON, "python9")[0] == 1


def debian(path, *, user):
    program(path, "id", f"echo {user}")
    program(path, "apt-get", f'echo "$@" >> {path}/asked')
    program(path, "dpkg-query", "exit 1")


def test_root_on_debian_is_told_what_is_installed_before_that_happens(path):
    debian(path, user=0)
    program(path, "apt-get", f'echo "$@" >> {path}/asked; echo asked >&2')
    done = subprocess.run(
        [NEED_PACKAGES, "python3-venv", "--", "curl"],
        env={"PATH": str(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    )
    first, *rest = done.stdout.splitlines()
    assert first.startswith("Installing the Debian packages python3-venv curl (apt-get install")
    assert rest == ["asked", "asked"]
    update, install = (path / "asked").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("--no-install-recommends python3-venv curl")


def test_a_user_is_told_the_one_command_and_a_package_that_must_be_there_is_an_error(path):
    debian(path, user=1000)
    said = "Missing here: python3-venv. As root, run: apt-get install --no-install-recommends python3-venv curl"
    assert run(path, NEED_PACKAGES, "python3-venv", "--", "curl") == (1, "", said)
    assert not (path / "asked").exists()


def test_a_package_that_may_be_missing_stops_nothing(path):
    debian(path, user=1000)
    python(path, "python3")
    code, _, said = run(path, NEED_PACKAGES, "python3-venv", "--", "nothing-like-this")
    assert code == 0
    assert said.startswith("What needs one of nothing-like-this is skipped. As root, run: apt-get install")


def test_what_is_there_is_not_asked_for_wherever_it_comes_from(path):
    debian(path, user=0)
    python(path, "python3")
    program(path, "dbus-daemon", "")
    program(path, "etcd", "")
    assert run(path, NEED_PACKAGES, "python3-venv", "dbus-daemon", "--", "etcd-server") == (0, "", "")
    assert not (path / "asked").exists()


def test_on_another_system_the_packages_of_debian_are_named(path):
    said = "Missing here: python3-venv. This is not Debian: install what these Debian packages bring: python3-venv"
    assert run(path, NEED_PACKAGES, "python3-venv") == (1, "", said)


def test_each_python_that_is_tried_is_one_that_the_package_names():
    """The classifiers, the package's own lower bound and the names that are tried agree."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    stated = {one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)}
    tried = set(re.findall(r"python(3\.\d+)", FIND_PYTHON.read_text().partition("set -- ")[2].partition("\n")[0]))
    assert stated <= tried
    assert project["requires-python"] == f">={min(tried)}"


def test_the_lowest_version_is_the_one_that_a_requirement_begins_with():
    assert matrix.lowest("urllib3>=2.3,<3,!=2.6.0") == "urllib3==2.3"
    assert matrix.lowest("python-etcd==0.4.5") == "python-etcd==0.4.5"


def test_the_tests_of_other_versions_are_there():
    named = [*matrix.UNIT, *matrix.ONLY_BUS, *matrix._contract()]
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("package", matrix.PURE)
def test_a_package_whose_tests_no_dependency_changes_imports_none(package):
    text = "\n".join(path.read_text() for path in (REPOSITORY / "locksmith" / package).rglob("*.py"))
    imported = set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported - sys.stdlib_module_names <= {"locksmith", "a", "the"}
