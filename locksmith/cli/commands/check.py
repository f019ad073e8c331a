"""`check`: everything on this machine that may keep it from a reboot, or halt its group after it, asked now."""

import os

import click

from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.rehearsing import note_dry_run
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.util import boottime

HEAD = ("PART", "PASSES", "WHY")


@click.command(cls=GoCommand)
@json_flag
@pass_session
def check(session: Session, *, as_json: bool) -> None:
    """Say whether a reboot of this machine would pass: ask every gate and check now, and rehearse the hooks.

    The window, inhibitors, alerts, check.d, users, the health that counts after a reboot, and the hooks that understand
    --dry-run. No slot is taken, and no hook acts. Exit status 1: something would block or fail. Needs root.
    """
    from locksmith.cli.examine import COLOURS, NO, examine

    if os.geteuid() != 0 and session.paths == Paths():
        raise HostError("the checks and hooks run as root: run `sudo locksmithctl check`")
    config, machine_id = session.config, session.machine_id
    found = boottime.run(examine(config, session.paths, machine_id))
    passes = all(one.passes != NO for one in found)
    if as_json:
        parts = [{"part": one.part, "passes": one.passes, "why": one.why} for one in found]
        print_json({"passes": passes, "dry_run": config.dry_run, "parts": parts})
    else:
        rows = [Row((one.part, one.passes, one.why), COLOURS.get(one.passes, "")) for one in found]
        say_all(table(HEAD, rows, width()))
        note_dry_run(session)
        if not passes:
            note("a reboot would not pass now")
    if not passes:
        raise click.exceptions.Exit(1)
