"""`locksmith-server`."""

import logging
import os
import re
from importlib.metadata import PackageNotFoundError, version

import click

from locksmith.cli.contacts import say_contacts
from locksmith.cli.go_flags import GoCommand, GoOption, check_config_flag, version_flag
from locksmith.cli.logs import set_up
from locksmith.cli.output import fail, note, say
from locksmith.cli.run import BAD_USAGE, run
from locksmith.config.load import load_server
from locksmith.config.model import Config
from locksmith.config.problems import Problems
from locksmith.config.show import describe, describe_files
from locksmith.errors import LocksmithError, UsageError
from locksmith.host.notify import Notifier
from locksmith.host.paths import Paths
from locksmith.host.trust import refuse_changeable_folders
from locksmith.util import boottime

log = logging.getLogger(__name__)

PROGRAM = "locksmith-server"
LIBRARIES = {"jinja2": "3.1", "starlette": "0.46", "uvicorn": "0.32"}
"""The libraries of the extra `server`, and their lowest versions."""


@click.command(cls=GoCommand)
@version_flag(PROGRAM)
@click.option("--debug/--no-debug", cls=GoOption, default=None, help="Log more, each request too.")
@check_config_flag
@click.option(
    "--online",
    cls=GoOption,
    is_flag=True,
    help="With --check-config: also ask etcd, for sets of windows too, and whether the URLs of notifications can be "
    "used; 1 when one of them cannot.",
)
def command(*, debug: bool | None, check_config: bool, online: bool) -> int:
    """Serve FleetLock: let machines without etcd reboot, one after another.

    Settings: locksmith.toml in /etc/locksmith, /run/locksmith or /usr/lib/locksmith, and its drop-ins: the tables
    `[server]`, `[etcd]` and `[notify]`.
    """
    paths = Paths.from_environment()
    _refuse_missing_packages()
    if check_config:
        return _check(paths, online=online)
    if online:
        raise UsageError("--online is for --check-config: `locksmith-server --check-config --online`")
    problems = Problems()
    config = load_server(paths, os.environ, problems)
    problems.refuse(PROGRAM)
    refuse_changeable_folders(paths)
    set_up(debug=config.debug if debug is None else debug, program=PROGRAM)
    for caution in config.cautions:
        log.warning("%s", caution)

    from locksmith.server import service  # after the check that its packages are there

    boottime.run(service.run(config, paths, Notifier.from_environment()))
    return 0


def _refuse_missing_packages() -> None:
    """Refuse to run without the extra's libraries, or with older ones, as Debian 12 has them."""
    missing = [f"{name} {lowest}" for name, lowest in LIBRARIES.items() if not _is_there(name, lowest)]
    if missing:
        raise LocksmithError(
            f"{PROGRAM} needs {' and '.join(missing)} or newer, which the extra `server` of the package has: run "
            "`pip install 'locksmith[server]'`"
        )


def _is_there(name: str, lowest: str) -> bool:
    try:
        found = version(name)
    except PackageNotFoundError:
        return False
    # The first numbers suffice: `0.46` is older than `1.0rc1`.
    return _numbers(found) >= _numbers(lowest)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _check(paths: Paths, *, online: bool) -> int:
    """Print every problem, or every setting; give the exit status."""
    from locksmith.server import service

    logging.getLogger("locksmith").addHandler(logging.NullHandler())  # what a person has to know is printed
    noted = Problems()
    config = load_server(paths, os.environ, noted)
    noted.attempt(lambda: service.tls_of(config.server), None)
    problems = [*noted.found, *_problem_of_folders(paths)]
    for problem in dict.fromkeys(problems):
        fail(problem)
    for caution in config.cautions:
        note(f"Warning: {caution}")
    if problems:
        return BAD_USAGE
    for line in describe_files(config):
        say(f"# {line}")
    for key, value, origin in describe(config):
        say(f"{key} = {value}  (from {origin})")
    return _ask(config) if online else 0


def _problem_of_folders(paths: Paths) -> list[str]:
    try:
        refuse_changeable_folders(paths)
    except LocksmithError as error:
        return [str(error)]
    return []


def _ask(config: Config) -> int:
    from locksmith.server.online import contact_all

    return say_contacts(boottime.run(contact_all(config)))


def main() -> None:
    """Run the server and exit."""
    run(command, PROGRAM)
