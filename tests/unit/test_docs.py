"""The texts are kept true: what they name exists, and what exists is named."""

import ast
import re
import shlex
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from locksmith.config.load import load_daemon
from locksmith.host.paths import Paths
from locksmith.lock.records import states
from tests.harness import pages

REPOSITORY = Path(__file__).parents[2]
TEXTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


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


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_pasted_block_stops_at_a_question_of_apt(path):
    """Its answer would be the next line."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE)
    asking = re.compile(r"apt(?:-get)? install (?!-y )")
    assert [line for block in blocks for line in block.splitlines() if asking.search(line)] == []


def test_the_index_lists_every_text():
    index = prose(REPOSITORY / "docs/README.md")
    texts = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in texts if f"({name})" not in index} == set()


def test_the_index_of_decisions_lists_each_by_its_number_and_title():
    pages = sorted((REPOSITORY / "docs/decisions").glob("0*.md"))
    titles = [page.read_text().partition("\n")[0].removeprefix("# ") for page in pages]
    index = prose(REPOSITORY / "docs/decisions/README.md")
    assert re.findall(r"^\d+\. .*", index, re.MULTILINE) == [
        f"{title.partition(' ')[0]} [{title.partition(' ')[2]}]({page.name})"
        for page, title in zip(pages, titles, strict=True)
    ]
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == sorted(set(numbers))


def test_each_decision_has_its_context_and_its_consequences():
    pages = (REPOSITORY / "docs/decisions").glob("0*.md")
    headings = {page.name: re.findall(r"^## (\w+)", page.read_text(), re.MULTILINE) for page in pages}
    wanted = {"Context", "Decision", "Consequences"}
    assert {name: found for name, found in headings.items() if not wanted <= set(found)} == {}


def test_the_architecture_says_of_each_package_what_the_package_says():
    tree = ARCHITECTURE.partition("```text\n")[2].partition("```")[0]
    listed = dict(re.findall(r"^  (\w+)/ +(.*)$", tree, re.MULTILINE))
    packages = {
        path.parent.name: (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        for path in (REPOSITORY / "locksmith").glob("*/__init__.py")
    }
    assert {name: listed.get(name) for name in packages} == packages


def diagram(kind: str) -> str:
    """The lines of the architecture's diagram of a kind, without the indentation."""
    block = ARCHITECTURE.partition(f"```mermaid\n{kind}\n")[2].partition("```")[0]
    return re.sub(r"^ +", "", block, flags=re.MULTILINE)


def test_the_diagram_of_the_layers_is_the_contract():
    [contract] = [one for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    layers = [layer.replace(" | ", " & ") for layer in contract["layers"]]
    drawn = [f"{upper} --> {lower}" for upper, lower in pairwise(layers)]
    assert diagram("flowchart TD").splitlines() == drawn


def test_the_diagram_of_the_states_enters_and_leaves_each_state():
    arrows = re.findall(r"^(\S+) --> ([^:\n]+)", diagram("stateDiagram-v2"), re.MULTILINE)
    assert {source for source, _ in arrows} == {"[*]", *states.ALL}
    assert {target for _, target in arrows} == {"[*]", *states.ALL}


def named(pattern: str) -> set[str]:
    """What the texts name that matches a pattern."""
    return {name for path in TEXTS for name in re.findall(pattern, path.read_text())}


def source(*folders: str) -> str:
    return "".join(path.read_text() for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def test_the_texts_name_tests_that_are_there():
    tests = set(re.findall(r"def (test_\w+)\(", source("tests")))
    assert named(r"`(test_\w+)`") - tests == set()


def test_the_texts_name_modules_that_are_there():
    """A module is named with its folder: `lock/cas.py`, `tests/sim/rules.py`."""
    roots = [REPOSITORY, REPOSITORY / "locksmith"]
    modules = named(r"`([\w./]+/\w+\.py)`")
    assert {name for name in modules if not any((root / name).exists() for root in roots)} == set()


def test_the_architecture_names_functions_that_are_there():
    rows = [line for line in ARCHITECTURE.splitlines() if line.startswith("|") and "`test_" in line]
    assert rows
    code = source("locksmith", "strategies")
    functions = {name for row in rows for name in re.findall(r"`(_?[a-z_]+)`", row.split("|")[2])}
    assert {name for name in functions if f"def {name}(" not in code} == set()


def test_every_dependency_has_its_reason():
    extras = PROJECT["project"]["optional-dependencies"]
    requirements = [
        *PROJECT["project"]["dependencies"],
        *(requirement for extra, listed in extras.items() if extra != "dev" for requirement in listed),
        *PROJECT["build-system"]["requires"],
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


def test_the_contributors_page_names_files_and_commands_that_are_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    files = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.\w+))`", text))
    assert {"locksmith/lock/queue.py", "locksmith/gates/", "pyproject.toml"} <= files
    assert {file for file in files if not (REPOSITORY / file).exists()} == set()
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) - targets == set()


def test_the_contributors_page_answers_the_six_questions():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    rows = text.partition("## Where is it?")[2].partition("\n## ")[0]
    answers = [line.split("|")[2] for line in rows.splitlines() if "?" in line]
    assert len(answers) == 6
    assert [answer for answer in answers if not re.search(r"`locksmith/[\w/]+(?:\.py|/)`", answer)] == []


KINDS = {"debian12", "debian13", "flatcar", "nopython"}
"""The kinds of nodes that `tests/system/test_pages.py` makes."""


def test_a_kind_of_node_needs_at_most_three_commands():
    blocks = [block for page in pages.pages_for_nodes() for block in pages.marked(page)]
    assert {block.page: block.commands for block in blocks if len(block.commands) > 3} == {}
    assert {kind for block in blocks for kind in block.kinds} <= KINDS


@pytest.mark.skipif(shutil.which("make") is None, reason="the matrix runs this where there is no make")
def test_make_help_lists_each_command_that_a_person_calls():
    makefile = (REPOSITORY / "Makefile").read_text()
    told = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets - told == {name for name in targets if name.startswith("packages-")}
    done = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([a-z-]+)", done.stdout, re.MULTILINE)) == told
