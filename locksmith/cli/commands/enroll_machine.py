"""`enroll machine`: this machine gets its credential for locksmith-server."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from locksmith.agent.fleet_lock import GROUP
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import note, say
from locksmith.cli.session import Session, pass_session
from locksmith.errors import HostError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.host.hostname import read_hostname
from locksmith.store.settings import is_loopback
from locksmith.util import boottime, tokens
from locksmith.util.secret import keep_secret
from locksmith.util.tokens import Kind
from locksmith.util.words import quoted

if TYPE_CHECKING:
    from locksmith.config.model import Config

DEFAULT_FILE: Final = "etc/locksmith/server-token"
"""Where the token goes if neither a flag nor the configuration names a file."""
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=GoCommand)
@click.option(
    "--server", "urls", cls=GoOption, multiple=True, metavar="URL", help="A server. Default: fleet-server.urls."
)
@click.option(
    "--secret-file",
    cls=GoOption,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    required=True,
    metavar="FILE",
    help="A file with the secret of `enroll open`; - is standard input.",
)
@click.option(
    "--token-file",
    cls=GoOption,
    type=FILE,
    metavar="FILE",
    help="Where the token goes. Default: fleet-server.token-file.",
)
@click.option(
    "--cafile", cls=GoOption, type=FILE, metavar="FILE", help="The CAs that are trusted. Default: the system's."
)
@click.option("--again", cls=GoOption, is_flag=True, help="Get another token, also if there is one.")
@pass_session
def enroll_machine(
    session: Session,
    *,
    urls: tuple[str, ...],
    secret_file: Path,
    token_file: Path | None,
    cafile: Path | None,
    again: bool,
) -> None:
    """Enrol this machine in its group, and write its token to a file that root alone can read.

    The token is made here; the server gets its SHA-256. If the machine has a token already, nothing is done. If the
    answer is lost, run it again. A machine that is enrolled needs `enroll forget` before it gets another token.
    """
    from locksmith.host.enrolment import Applicant, Servers, enrol
    from locksmith.host.machine_token import MachineToken

    config = session.config
    refuse_group(config.group)
    servers = Servers(urls or config.fleet_server.urls, cafile or config.fleet_server.cafile)
    _refuse_urls(servers.urls)
    path = token_file or config.fleet_server.token_file or session.paths.root / DEFAULT_FILE
    machine = session.machine_id
    kept = MachineToken(path, config.group, machine)
    if kept.is_there and not again:
        say(f"{path} has a token of this machine in {group_name(config.group)} already: nothing was done")
        return
    secret = _secret(secret_file)
    token = kept.prepare()
    who = Applicant(config.group, machine, read_hostname(session.paths), secret, token.digest)
    url = boottime.run(enrol(servers, who))
    kept.settle()
    say(f"this machine is enrolled in {group_name(config.group)} at {url}: its token is in {path}")
    _tell_next(config, path)


def refuse_group(group: str) -> None:
    """Refuse a group that no locksmith-server can have. `UsageError` says which it can have."""
    if not GROUP.fullmatch(group) or group in {".", ".."}:
        raise UsageError(
            f"{group_name(group)} cannot be reached through a server: its name must be of letters, digits, dots and "
            "hyphens. Name another with --group, or set group; nothing was done"
        )


def _refuse_urls(urls: Sequence[str]) -> None:
    if not urls:
        raise UsageError("no server is named: use --server URL, or set fleet-server.urls; nothing was done")
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--server: {url!r} must begin with https:// or http://; nothing was done")
        if url.startswith("http://") and not is_loopback(url):
            note(f"Warning: the enrolment secret is sent to {url} without TLS, so others on the way can read it")


def _secret(file: Path) -> str:
    """Read the enrolment secret. `UsageError`: it is none. No sentence has what was read in it."""
    if str(file) == "-":
        text, where = sys.stdin.readline(4096).strip(), "standard input"
    else:
        from locksmith.host.secret_file import read_secret

        try:
            text, where = read_secret(file, "enrolment secret").strip(), str(file)
        except HostError as error:
            raise UsageError(f"--secret-file names {error}") from None
    keep_secret(text)
    token = tokens.parse(text)
    if token is None or token.kind is not Kind.ENROLMENT:
        raise UsageError(f"{where} has no secret of `locksmithctl enroll open`: it begins with lse_; nothing was done")
    return text


def _tell_next(config: "Config", path: Path) -> None:
    if config.fleet_server.token_file != path:
        note(f'Set token-file = "{path}" in [fleet-server] of locksmith.toml, and restart locksmithd')
    elif not config.fleet_server.urls:
        note(f"Set urls in [fleet-server] of locksmith.toml; the token is in {quoted(path)}")
