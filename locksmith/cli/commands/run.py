"""`run`: a command that needs a slot, and no reboot."""

import os
import shutil

import click

from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import fail, note
from locksmith.cli.reboot.wait import QueueWait, queue_wait
from locksmith.cli.session import Session, pass_session
from locksmith.cli.wake import wake_daemon
from locksmith.errors import HostError, LocksmithError
from locksmith.host.paths import Paths
from locksmith.util import boottime

NOT_RUN, NOT_FOUND = 125, 127
"""Exit statuses of this program itself, as those of timeout(1) and nohup(1): a command seldom ends with them."""


@click.command(cls=GoCommand, context_settings={"allow_interspersed_args": False})
@click.option("--reason", cls=GoOption, default="", help="Why, for people who find the slot taken.")
@click.option("--timeout", cls=GoOption, metavar="D", help="Wait so long for a slot, like 90s or 1h30m; else for ever.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
@pass_session
def run(session: Session, *, command: tuple[str, ...], reason: str, timeout: str | None) -> int:
    """Hold a slot of this machine while a command runs, and end with the command's exit status.

    It waits in the queue as the machines do. Freeze, hold, halt and the pause between reboots apply, windows and gates
    do not. The slot is released when the command has ended, also if it was killed. 125: there was no slot, and the
    command was not run. 127: there is no such command. Needs root.
    """
    wait = queue_wait(note, waits=True, timeout=timeout)
    if shutil.which(command[0]) is None:
        fail(f"there is no command {command[0]}, or it is not executable")
        return NOT_FOUND
    try:
        return _run(session, command, reason, wait)
    except LocksmithError as error:
        fail(str(error))
        return NOT_RUN


def _run(session: Session, command: tuple[str, ...], reason: str, wait: QueueWait) -> int:
    from locksmith.cli.reboot.run import run_command

    if os.geteuid() != 0 and session.paths == Paths():
        raise HostError("a slot of this machine needs root: call locksmithctl with sudo")
    session.own_config()
    try:
        return boottime.run(run_command(session, command, reason, wait))
    finally:
        wake_daemon(session.paths)
