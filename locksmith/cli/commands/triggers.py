"""`triggers`: the triggers of this machine, what each of them says, and when it last checked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import click

from locksmith.cli import complete
from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, print_json, say_all
from locksmith.cli.rehearsing import note_dry_run
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import Row, table, width
from locksmith.errors import LockError
from locksmith.util import boottime
from locksmith.util.records import moment
from locksmith.util.words import listed, span

Said = tuple[str, str, int, str]
"""A trigger's name, its word, when it looked, and its sentence."""
FIRST_ANSWER, AGAIN = 30.0, 0.2
"""Seconds for the first answers after a start of locksmithd, and between two readings."""

COLOURS = {"yes": "yellow", "error": "red"}


@click.command(cls=GoCommand)
@click.argument("names", nargs=-1, metavar="[TRIGGER]...", shell_complete=complete.triggers)
@json_flag
@pass_session
def triggers(session: Session, *, names: tuple[str, ...], as_json: bool) -> None:
    """Show the triggers of this machine's locksmithd: what was found here, what each says, when it last checked.

    `yes`: a reboot is needed; `no`: it is not; `error`: the trigger could not check, which is never a reason to reboot;
    `unused`: this machine has no use for the trigger.
    """
    from locksmith.cli.daemon_bus import daemon_bus
    from locksmith.daemon.bus_service import read_triggers

    note_dry_run(session)

    async def ask() -> list[Said]:
        async with daemon_bus(session.paths) as bus:
            return await _answered(lambda: read_triggers(bus))

    said = _named(boottime.run(ask()), names)
    if as_json:
        fields = [
            {"name": name, "says": word, "looked": moment(_time(looked)) if looked else None, "text": text}
            for name, word, looked, text in said
        ]
        print_json({"triggers": fields})
        return
    rows = [Row((name, word, _ago(looked), text), COLOURS.get(word, "")) for name, word, looked, text in said]
    say_all(table(("TRIGGER", "SAYS", "LOOKED", "WHY"), rows, width()))


def _named(said: list[Said], names: tuple[str, ...]) -> list[Said]:
    """Give those with these names, or all. `LockError`: this machine has no such trigger."""
    known = [name for name, *_ in said]
    for name in names:
        if name not in known:
            raise LockError(f"there is no trigger {name!r} on this machine; there is {listed(known) or 'none'}")
    return [one for one in said if not names or one[0] in names]


async def _answered(read: Callable[[], Awaitable[list[Said]]]) -> list[Said]:
    """Read the triggers until each has answered once, as after a start of locksmithd; in the end as they are."""
    from locksmith.agent.facts import BEING_ASKED

    end = asyncio.get_running_loop().time() + FIRST_ANSWER
    while True:
        said = await read()
        asked = [name for name, _, _, text in said if text == BEING_ASKED]
        if not asked or asyncio.get_running_loop().time() > end:
            return said
        await asyncio.sleep(AGAIN)


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)


def _ago(micros: int) -> str:
    return f"{span(datetime.now(UTC) - _time(micros))} ago" if micros else "-"
