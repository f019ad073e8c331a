"""The manual pages of the three programs and of locksmith.toml(5), from the help texts and the documentation.

`python -m release.man [FOLDER]` writes them into dist/man, or another folder. A package gets them through
`release/payload.py`.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from locksmith.cli.daemon import command as locksmithd
from locksmith.cli.main import locksmithctl
from locksmith.cli.server import command as server
from locksmith.config.keys import DAEMON_VARIABLES, FLAGS, TOOL_VARIABLES, Key
from release import roff
from release.source import REPOSITORY, Build, build_of

PAGES = ("man1/locksmithctl.1", "man8/locksmithd.8", "man8/locksmith-server.8", "man5/locksmith.toml.5")
_FOLDERS = {"1": "User Commands", "5": "File Formats", "8": "System Administration"}

_UNBROKEN = (".nr HY 0", ".nh", ".ad l")
"""No word is broken: a command that is hyphenated cannot be pasted. groff's macros set `.nh` back to HY."""


def pages(build: Build, docs: Path = REPOSITORY / "docs") -> dict[str, str]:
    """Give the text of each page by its path below /usr/share/man."""
    bodies = (_tool(docs), _daemon(docs), _server(docs), _configuration(docs))
    return {path: _page(path, body, build) for path, body in zip(PAGES, bodies, strict=True)}


def _tool(docs: Path) -> list[str]:
    text = (docs / "locksmithctl.md").read_text()
    context = click.Context(locksmithctl, info_name="locksmithctl")
    return [
        *_name("locksmithctl", locksmithctl),
        *roff.heading(1, "Synopsis"),
        *roff.fill(rf"\fBlocksmithctl\fR {roff.escape('[FLAGS] COMMAND [ARGUMENTS]')}"),
        *roff.heading(1, "Description"),
        *_first_paragraphs(text),
        *roff.heading(1, "Options"),
        *roff.fill(roff.inline(f"The options come before the command. {locksmithctl.epilog}")),
        *_options(locksmithctl, context, with_help=True),
        *roff.heading(1, "Commands"),
        *_commands(locksmithctl, context),
        *_sections(text, {"How to name a machine": "Machines", "The group of this machine": "Group"}),
        *_sections(text, {"Output and exit codes": "Exit status"}),
        *_environment(TOOL_VARIABLES),
        *roff.heading(1, "Files"),
        *roff.tagged(
            roff.inline("`/etc/locksmith/locksmith.toml`"),
            "The operator\\(aqs configuration. locksmith.toml(5) names all its files.",
        ),
        *_see_also("locksmithd(8)", "locksmith.toml(5)", "docs/locksmithctl.md"),
    ]


def _daemon(docs: Path) -> list[str]:
    text, events = (docs / "locksmithd.md").read_text(), (docs / "journal.md").read_text()
    context = click.Context(locksmithd, info_name="locksmithd")
    return [
        *_name("locksmithd", locksmithd),
        *roff.heading(1, "Synopsis"),
        *roff.fill(rf"\fBlocksmithd\fR {roff.escape('[FLAGS]')}"),
        *roff.heading(1, "Description"),
        *_first_paragraphs(text),
        *roff.heading(1, "Options"),
        *roff.fill(roff.inline(_paragraphs(locksmithd)[1])),
        *_options(locksmithd, context, with_help=True),
        *_sections(text, {"Signals": "Signals", "Exit status": "Exit status"}),
        *_environment(DAEMON_VARIABLES),
        *_sections(text, {"Files": "Files"}),
        *_sections(events, {"Events": "Events"}),
        *_see_also("locksmithctl(1)", "locksmith.toml(5)", "systemd.unit(5)", "journalctl(1)", "docs/safety.md"),
    ]


def _server(docs: Path) -> list[str]:
    text = (docs / "server.md").read_text()
    context = click.Context(server, info_name="locksmith-server")
    return [
        *_name("locksmith-server", server),
        *roff.heading(1, "Synopsis"),
        *roff.fill(rf"\fBlocksmith-server\fR {roff.escape('[FLAGS]')}"),
        *roff.heading(1, "Description"),
        *_first_paragraphs(text),
        *roff.heading(1, "Options"),
        *roff.fill(roff.inline(_paragraphs(server)[1])),
        *_options(server, context, with_help=True),
        *_sections(text, {"Who may call": "Access", "TLS": "TLS", "Limits for clients": "Limits"}),
        *_sections(text, {"Signals": "Signals", "Exit status": "Exit status", "Files": "Files"}),
        *_see_also("locksmithd(8)", "locksmithctl(1)", "locksmith.toml(5)", "docs/server.md", "docs/fleetlock.md"),
    ]


def _configuration(docs: Path) -> list[str]:
    text = (docs / "configuration.md").read_text()
    return [
        *roff.heading(1, "Name"),
        roff.escape("locksmith.toml - configuration of locksmithd, locksmithctl and locksmith-server"),
        *roff.heading(1, "Description"),
        *roff.blocks(text)[1:],  # its heading has begun the first paragraph
        *_see_also("locksmithd(8)", "locksmithctl(1)", "docs/windows.md", "docs/triggers.md", "docs/hooks.md"),
    ]


def _page(path: str, body: list[str], build: Build) -> str:
    name, _, section = Path(path).name.rpartition(".")
    date = datetime.fromtimestamp(build.epoch, UTC).date().isoformat()
    version = build.package_version.partition("+")[0]  # the commit too would reach the date in the middle
    title = f'.TH {name.upper()} {section} {date} "locksmith {version}" "{_FOLDERS[section]}"'
    origin = r".\" made by release/man.py from the help texts and docs/"
    return "\n".join((title, origin, *_UNBROKEN, *body)) + "\n"


def _name(program: str, command: click.Command) -> list[str]:
    """Write the line that whatis(1) shows."""
    words = _paragraphs(command)[0].rstrip(".")
    return [*roff.heading(1, "Name"), *roff.fill(roff.escape(f"{program} - {words[0].lower()}{words[1:]}"))]


def _first_paragraphs(markdown: str) -> list[str]:
    """Write what a document says before its first section."""
    return roff.blocks(markdown.partition("\n## ")[0])[1:]


def _sections(markdown: str, titles: dict[str, str]) -> Iterator[str]:
    """Write sections of a document, under other titles. `ValueError`: there is no such section any more."""
    for wanted, title in titles.items():
        found = re.search(rf"^(##+) {re.escape(wanted)}\n(.*?)(?=^##|\Z)", markdown, re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"the documentation has no section {wanted!r} for the manual pages")
        yield from roff.blocks(f"## {title}\n{found[2]}")


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = click.Context(command, parent=context, info_name=name)
        path = own.command_path.partition(" ")[2]
        usage = " ".join(command.collect_usage_pieces(own)).replace("[OPTIONS]", "[options]")
        first, *others = [roff.inline(paragraph) for paragraph in _paragraphs(command)]
        yield from [*roff.heading(2, path), *roff.fill(rf"\fB{roff.escape(path)}\fR {roff.escape(usage)}"), ".PP"]
        yield from roff.fill(first)
        for paragraph in others:
            yield from [".PP", *roff.fill(paragraph)]
        yield from _options(command, own, with_help=False)
        if isinstance(command, click.Group):
            yield from _commands(command, own)


def _options(command: click.Command, context: click.Context, *, with_help: bool) -> Iterator[str]:
    for param in command.get_params(context):
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is None or (not with_help and "--help" in param.opts):
            continue
        yield from roff.tagged(rf"\fB{roff.escape(record[0])}\fR", roff.inline(record[1]))


def _environment(variables: Mapping[str, Key[Any]]) -> Iterator[str]:
    """Write the variables, and which flag or key each of them is."""
    flags = {id(key): f"the flag `--{name}`" for name, key in FLAGS.items()}
    yield from roff.heading(1, "Environment")
    for variable, key in variables.items():
        what = flags.get(id(key), f"the key `{key.name}`")
        yield from roff.tagged(rf"\fB{variable}\fR", roff.inline(f"Has the meaning of {what}."))


def _paragraphs(command: click.Command) -> list[str]:
    """Give the help of a command, each paragraph on one line."""
    return [" ".join(one.split()) for one in inspect.cleandoc(command.help or "").split("\n\n")]


def _see_also(*names: str) -> list[str]:
    shown = ", ".join(rf"\fB{roff.escape(name)}\fR" for name in names)
    return [*roff.heading(1, "See also"), *roff.fill(shown)]


def write(folder: Path, build: Build) -> None:
    """Write every page below a folder, as below /usr/share/man."""
    for path, text in pages(build).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else REPOSITORY / "dist/man", build_of())
