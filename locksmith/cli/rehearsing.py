"""What the tool says on a machine whose locksmithd is in a dry run, asks a server, or is not configured."""

from contextlib import suppress
from typing import TYPE_CHECKING

from locksmith.cli.output import note
from locksmith.errors import LocksmithError

if TYPE_CHECKING:
    from locksmith.cli.session import Session

DRY_RUN = "DRY RUN: the locksmithd of this machine takes no slot and reboots nothing (dry-run = true)"
IN_EARNEST = "DRY RUN is locksmithd's alone (dry-run = true): this reboot is real"


def note_dry_run(session: "Session", text: str = DRY_RUN) -> None:
    """Say it on standard error; nothing on other machines, or if the configuration cannot be read."""
    with suppress(LocksmithError):
        if session.config.dry_run:
            note(text)


def note_server(session: "Session") -> None:
    """Say on standard error which server decides about this machine's reboots, if one does, and no store was named."""
    from locksmith.cli.without_store import asked_server, names_store

    with suppress(LocksmithError):
        if not names_store(session.flags) and (server := asked_server(session.config, session.paths)):
            note(f"this machine's strategy is {session.config.strategy}: {server} decides about its reboots")


def note_not_configured(session: "Session") -> None:
    """Say on standard error that this machine is not configured, if so."""
    with suppress(LocksmithError):
        if sentence := session.config.not_configured:
            note(f"Warning: {sentence}")
