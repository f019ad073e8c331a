"""The texts are kept true: what they name exists, and what exists is named."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from locksmith.config.load import load_daemon
from locksmith.host.paths import Paths

REPOSITORY = Path(__file__).parents[2]
TEXTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()


def prose(path: Path) -> str:
    """A text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The names by which a text's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(path)):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_lists_every_text():
    index = prose(REPOSITORY / "docs/README.md")
    texts = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in texts if f"({name})" not in index} == set()


def test_the_architecture_says_of_each_package_what_the_package_says():
    tree = ARCHITECTURE.partition("```text\n")[2].partition("```")[0]
    listed = dict(re.findall(r"^  (\w+)/ +(.*)$", tree, re.MULTILINE))
    packages = {
        path.parent.name: (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        for path in (REPOSITORY / "locksmith").glob("*/__init__.py")
    }
    assert {name: listed.get(name) for name in packages} == packages


def test_the_architecture_names_tests_that_are_there():
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", ARCHITECTURE))
    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_the_architecture_names_functions_that_are_there():
    rows = [line for line in ARCHITECTURE.splitlines() if "`test_" in line]
    code = "".join(path.read_text() for path in (REPOSITORY / "locksmith").rglob("*.py"))
    code += "".join(path.read_text() for path in (REPOSITORY / "strategies").rglob("*.py"))
    named = {name for row in rows for name in re.findall(r"`(_?[a-z_]+)`", row.split("|")[2])}
    assert {name for name in named if f"def {name}(" not in code and f"{name} = " not in code} == set()


def test_every_dependency_has_its_reason():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    requirements = [
        *project["project"]["dependencies"],
        *(requirement for extra, listed in extras.items() if extra != "dev" for requirement in listed),
        *project["build-system"]["requires"],
    ]
    names = [re.split(r"[<>=!]", requirement)[0] for requirement in requirements]
    reasons = prose(REPOSITORY / "docs/dependencies.md")
    assert [name for name in names if f"| `{name}` |" not in reasons] == []


def test_the_supported_versions_are_those_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    rows = re.findall(
        r"^\| `?([\w-]+)`? \| ([\d.]+) \| ([\d.]*) ?\|", prose(REPOSITORY / "docs/install.md"), re.MULTILINE
    )
    found = {}
    for requirement in [f"Python{project['requires-python']}", *project["dependencies"]]:
        name, low, high = re.findall(r"^([\w-]+)[>=]=([\d.]+)(?:,<([\d.]+))?", requirement)[0]
        found[name] = (low, high)
    assert {name: (low, high) for name, low, high in rows} == found


def test_the_debian_packages_are_named():
    packages = re.findall(r"_PACKAGES := (.*)", (REPOSITORY / "Makefile").read_text())
    reasons = prose(REPOSITORY / "docs/dependencies.md")
    assert [name for line in packages for name in line.split() if f"`{name}`" not in reasons] == []


def test_the_installation_uses_files_that_are_there():
    text = (REPOSITORY / "docs/install.md").read_text()
    files = set(re.findall(r"contrib/[\w./-]+\w", text))
    assert files
    assert {file for file in files if not (REPOSITORY / file).exists()} == set()


def test_the_readmes_configuration_can_be_used(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    paths = Paths(tmp_path)
    paths.config.parent.mkdir(parents=True)
    paths.config.write_text(example)
    assert load_daemon(paths, {}, {}).strategy == "etcd-lock"


def test_the_example_drop_in_can_be_used(tmp_path):
    text = (REPOSITORY / "contrib/systemd/10-etcd-lock.conf").read_text()
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    environ = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    ca = tmp_path / "ca.pem"
    ca.touch()
    environ["LOCKSMITHD_ETCD_CAFILE"] = str(ca)
    config = load_daemon(Paths(tmp_path), environ, {})
    assert (config.strategy, config.group, len(config.store.endpoints)) == ("etcd-lock", "web", 3)
    assert config.window.own.windows
