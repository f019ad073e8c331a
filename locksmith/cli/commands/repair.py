"""`repair` and `retire-v2`: the ways out where the lock refuses to go on."""

import sys
from dataclasses import dataclass
from functools import partial

import click

from locksmith.cli.commands.set_max import parse_slots
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import ask, json_flag, note, print_json, say
from locksmith.cli.session import Session, act, pass_session, reason_option
from locksmith.errors import LockError, UsageError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.records.event import REPAIR, RETIRE
from locksmith.lock.records.semaphore import Semaphore
from locksmith.util.text import printable
from locksmith.util.words import quoted

MOST_SHOWN = 400
"""Characters of a corrupt value that are shown."""

KEPT = (
    "Each machine with a record keeps a slot, because it may be rebooting. On etcd's v2 API a record can be left over "
    "from a claim that never got a slot. `locksmithctl unlock {}` frees it."
)


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair found, and what it made of it."""

    was: str
    made: Semaphore


@click.command(cls=GoCommand)
@click.option("--max", "slots", cls=GoOption, required=True, metavar="N", help="The number of slots it gets.")
@click.option("--yes", cls=GoOption, is_flag=True, help="Do not ask.")
@reason_option
@json_flag
@pass_session
def repair(session: Session, *, slots: str, yes: bool, reason: str, as_json: bool) -> None:
    """Make a semaphore new that cannot be read, after showing what is there. A sound one is never touched.

    Each machine with a record keeps a slot, which `unlock` frees.
    """
    new = parse_slots(slots)
    session.group_config()
    done = session.with_admin(lambda lock: _repair(lock, new, reason, sure=yes))
    if as_json:
        print_json({"group": session.config.group, "repaired": done is not None, **(_fields(done) if done else {})})
    elif done:
        kept = ", ".join(done.made.holders)
        say(f"repaired: max is {done.made.max}; " + (f"{kept} kept a slot" if kept else "no machine holds a slot"))
        if kept:
            note(KEPT.format(quoted(done.made.holders[0])))
    else:
        say("nothing to repair: the semaphore is sound")
    if not as_json:
        session.name_group()


@click.command("retire-v2", cls=GoCommand)
@reason_option
@json_flag
@pass_session
def retire_v2(session: Session, *, reason: str, as_json: bool) -> None:
    """Set the max of the group's semaphore on etcd's v2 API to 0 for good, while no machine holds it.

    That stops every node that still locks there, and lets the others lock on v3.
    """
    session.group_config()
    retired = session.with_v2_admin(partial(_retire, reason))
    if as_json:
        print_json({"group": session.config.group, "retired": retired})
    elif retired:
        say("retired: max is 0 on etcd's v2 API, where no machine gets a slot any more; lock on v3 from now on")
    else:
        say("nothing to retire: the group has no semaphore on etcd's v2 API")
    if not as_json:
        session.name_group()


async def _retire(reason: str, lock: LockAdmin) -> bool:
    retired = await lock.retire()
    if retired:
        await lock.history.add(act(RETIRE, reason))
    return retired


async def _repair(lock: LockAdmin, slots: int, reason: str, *, sure: bool) -> Repair | None:
    found = await lock.corruption()
    if found is None:
        return None
    raw, why = found
    note(f"{why.key} holds: {shown(raw)}")
    note(f"It is {why.problem.partition(';')[0]}.")
    if not sure:
        _ask(slots)
    done = Repair(shown(raw), await lock.repair(slots, raw))
    await lock.history.add(act(REPAIR, reason, f"max is {slots}; there was {done.was}"))
    return done


def _ask(slots: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "standard input is no terminal, so no question can be asked: check the value above and use --yes; "
            "nothing was changed"
        )
    if not ask(f"Make it new, with a max of {slots}?"):
        raise LockError("not confirmed; nothing was changed")


def shown(raw: bytes) -> str:
    """Spell any value with printable characters alone, and not more of it than a person reads."""
    text = raw.decode("ascii", errors="backslashreplace")
    spelt = printable(text)
    return f"{spelt[:MOST_SHOWN]}... ({len(raw)} bytes)" if len(spelt) > MOST_SHOWN else spelt or "(nothing)"


def _fields(done: Repair) -> dict[str, object]:
    made = done.made
    return {"was": done.was, "max": made.max, "available": made.available, "holders": list(made.holders)}
