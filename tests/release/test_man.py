"""The manual pages: complete, without a complaint of any reader of them, and as the sources make them today."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from locksmith.agent import events
from locksmith.cli.daemon import command as locksmithd
from locksmith.cli.main import locksmithctl
from locksmith.config.keys import DAEMON_VARIABLES, KEYS, TOOL_VARIABLES, WINDOW_SETS
from release import man, payload, roff
from release.source import REPOSITORY, Build, build_of

BUILD = Build("1.2.3", 1_780_000_000)
TOOL, DAEMON, SERVER, CONFIGURATION = man.PAGES


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Give the folder of the pages, as below /usr/share/man."""
    folder = tmp_path_factory.mktemp("man")
    man.write(folder, BUILD)
    return folder


def run(*argv: object, columns: int = 80) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": str(columns)}
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.stderr == ""
    assert done.returncode == 0, done.stdout
    return done.stdout


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def shown(root: Path, page: str) -> str:
    """Give a page as a reader sees it, on a terminal so wide that no line is broken."""
    text = run("man", "-l", root / page, columns=1000)
    return re.sub(r".\x08", "", text)


def commands(group: click.Group, context: click.Context):
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield found, click.Context(found, parent=context, info_name=name)
        if isinstance(found, click.Group):
            yield from commands(found, click.Context(found, parent=context, info_name=name))


@needs("man")
def test_each_command_and_option_is_in_the_manual_page_of_the_tool(root):
    text = shown(root, TOOL)
    context = click.Context(locksmithctl, info_name="locksmithctl")
    every = [(locksmithctl, context), *commands(locksmithctl, context)]
    assert len(every) > 30
    for command, own in every:
        path = own.command_path.partition(" ")[2]
        part = re.split(r"\n {0,3}\S", text.partition(f"\n   {path}\n")[2])[0] if path else text
        for param in command.params:
            if isinstance(param, click.Option):
                assert f" {max(param.opts, key=len)}" in part, f"{path} {param.opts}"
        words = " ".join((command.help or "").split(".")[0].split()).replace("`", "")[1:]
        assert words in " ".join(part.split()), path
    assert all(variable in text for variable in TOOL_VARIABLES)
    assert all(f"\n       {code} " in text for code in (0, 1, 2, 130))


@needs("man")
def test_each_option_variable_and_event_is_in_the_manual_page_of_the_daemon(root):
    text = shown(root, DAEMON)
    for param in locksmithd.params:
        assert f"\n       {max(param.opts, key=len)}" in text
    assert all(variable in text for variable in DAEMON_VARIABLES)
    assert all(event.name in text and event.message_id in text for event in events.EVENTS)
    assert all(signal in text for signal in ("SIGHUP", "SIGTERM", "SIGINT"))


@needs("man")
def test_each_key_is_in_the_manual_page_of_the_configuration(root):
    text = shown(root, CONFIGURATION)
    for name in KEYS:
        table, _, key = name.rpartition(".")
        if name == WINDOW_SETS.name:
            assert "[window-sets.NAME] is a set" in text
            continue
        assert re.search(rf"^ {{7}}(.*, )?{re.escape(key)}(, .*)? \(default: ", text, re.MULTILINE), name
        assert not table or f"[{table}]" in text


@needs("mandoc")
@pytest.mark.parametrize("page", man.PAGES)
def test_mandoc_has_no_warning(root, page):
    assert run("mandoc", "-Tlint", "-Wwarning", root / page) == ""


@needs("man")
@pytest.mark.parametrize("page", man.PAGES)
def test_groff_has_no_warning(root, page):
    assert run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", root / page)


@needs("man")
@pytest.mark.parametrize("page", man.PAGES)
def test_a_page_fits_80_columns_and_its_commands_can_be_pasted(root, page):
    text = re.sub(r".\x08", "", run("man", "-l", root / page))
    wide = [line for line in text.splitlines() if len(line) > 80]
    assert all(line.startswith(" " * 11) for line in wide), "only an example may be wider"
    assert re.findall("[\u2010\u2212\u2018\u2019\u00b4\u02c6\u02dc]", text) == [], "signs that no shell takes"


@needs("lexgrog")
@pytest.mark.parametrize(
    ("page", "line"),
    [
        (TOOL, "locksmithctl - show the reboot lock of a fleet, change it, and reboot this machine with it"),
        (DAEMON, "locksmithd - coordinate this machine's reboots with those of its group"),
        (SERVER, "locksmith-server - serve FleetLock: let machines without etcd reboot, one after another"),
        (CONFIGURATION, "locksmith.toml - configuration of locksmithd, locksmithctl and locksmith-server"),
    ],
)
def test_whatis_shows_a_line(root, page, line):
    assert run("lexgrog", root / page) == f'{root / page}: "{line}"\n'


def test_a_page_has_version_date_and_section(root):
    first = (root / DAEMON).read_text().splitlines()[0]
    assert first == '.TH LOCKSMITHD 8 2026-05-28 "locksmith 1.2.3" "System Administration"'


def test_a_package_has_the_pages_that_its_sources_make(tmp_path):
    payload.install(tmp_path)
    made = man.pages(build_of(REPOSITORY))
    assert made == {page: (tmp_path / "usr/share/man" / page).read_text() for page in man.PAGES}


def test_the_unit_names_its_manual_page():
    unit = (REPOSITORY / "contrib/systemd/locksmithd.service").read_text()
    assert "\nDocumentation=man:locksmithd(8) man:locksmith.toml(5)\n" in unit


@pytest.mark.parametrize(
    ("markdown", "written"),
    [
        ("## Keys of `x`", ['.SH "KEYS OF X"']),
        ("### hold MACHINE", ['.SS "hold MACHINE"']),
        ("a `-b` *c* **d `e`** [f](g.md)", [".PP", r"a \fB\-b\fR \fIc\fR \fBd e\fR f"]),
        ("[a](https://b/c)", [".PP", r"a <https:/\:/\:b/\:c>"]),
        ("`.a` b", [".PP", r"\fB.a\fR b"]),
        (".a 'b' \\ c", [".PP", r"\&.a \(aqb\(aq \e c"]),
        ("- a\n  b\n- c", [r".IP \(bu 2", "a b", r".IP \(bu 2", "c"]),
        ("1. a", [".IP 1. 4", "a"]),
        ("```sh\na  -b\n.c\n```", [".PP", ".RS 4", ".EX", r"a  \-b", r"\&.c", ".EE", ".RE"]),
        ("    a\n\n    b", [".PP", ".RS 4", ".EX", "a", r"\&", "b", ".EE", ".RE"]),
        ("| key | meaning |\n|---|---|\n| `a\\|b` | c |", [".TP", r"\fBa|b\fR", "c"]),
        ("| key | default | meaning |\n|---|---|---|\n| a | 1 | c |", [".TP", "a (default: 1)", "c"]),
        ("| flag | one | two |\n|---|---|---|\n| a | 1 | 2 |", [".TP", "a", "one: 1; two: 2"]),
        ("## A\n\nb", ['.SH "A"', "b"]),
    ],
)
def test_each_construct_of_markdown_has_its_macros(markdown, written):
    assert roff.blocks(markdown) == written


@pytest.mark.parametrize("markdown", ["> a quotation", "<b>HTML</b>", "- a\n  - nested", "* a star", "![a](b.png)"])
def test_a_construct_that_is_not_known_is_an_error(markdown):
    with pytest.raises(roff.UnknownMarkdownError):
        roff.blocks(markdown)
