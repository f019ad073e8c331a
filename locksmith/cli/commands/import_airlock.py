"""`import-airlock`: the groups of airlock, another FleetLock server, become groups of `locksmith-server`."""

import contextlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from locksmith.cli import complete
from locksmith.cli.commands.all_groups import Failures, in_group
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import ask, can_ask, json_flag, note, print_json, say
from locksmith.cli.session import Session, act, pass_session, reason_option
from locksmith.config.server_model import ServedGroup
from locksmith.errors import LockError, UsageError
from locksmith.host.hostname import read_hostname
from locksmith.lock.airlock_import import AirlockImport, airlock_groups, plan_import
from locksmith.lock.airlock_plan import Outcome, Plan, Terms, refuse_name
from locksmith.lock.guarded import Guarded
from locksmith.lock.records import airlock
from locksmith.lock.records.airlock import TakenOver
from locksmith.lock.records.event import IMPORT_AIRLOCK
from locksmith.store.protocol import Store
from locksmith.store.settings import V3
from locksmith.util.words import count, named, quoted

_NEXT = "airlock grants no slot there any more: serve these groups with locksmith-server, at the address of airlock"
_RUNNING = (
    "an airlock that still runs makes the semaphore of each group of its configuration that has none in etcd yet, with "
    "all its slots, at the first call for it. The import does not close that. So stop every airlock, and its unit: "
    "`pkill --exact airlock` on each of its machines; then `ss -ltnp` shows none"
)
_STILL_OPEN = (
    "airlock's semaphores are as they were: an airlock that runs lets machines reboot that hold no slot here. Keep it "
    "stopped"
)


@click.command("import-airlock", cls=GoCommand)
@click.argument("groups", nargs=-1, metavar="[GROUP]...", shell_complete=complete.groups_of_airlock)
@click.option("--dry-run", cls=GoOption, is_flag=True, help="Show what it would do, and change nothing.")
@click.option("--without-holders", cls=GoOption, is_flag=True, help="Take over no holder: only while none is down.")
@click.option("--leave-airlock", cls=GoOption, is_flag=True, help="Do not close airlock's semaphores: it is stopped.")
@click.option("--again", cls=GoOption, is_flag=True, help="Also groups that were imported before.")
@click.option("--yes", "sure", cls=GoOption, is_flag=True, help="Do not ask.")
@reason_option
@json_flag
@pass_session
def import_airlock(
    session: Session,
    *,
    groups: tuple[str, ...],
    dry_run: bool,
    without_holders: bool,
    leave_airlock: bool,
    again: bool,
    sure: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Take over the semaphores of airlock from the same etcd, all or those of the named groups. Stop airlock first.

    It shows what it will do, and asks. A group gets as many slots as it has at airlock, and each holder keeps its slot:
    the next steady-state of that client releases it. airlock's semaphores are closed in the same write, so an airlock
    that still runs grants nothing more. Their keys stay.
    """
    if session.config.store.api != V3:
        raise UsageError(
            "airlock keeps its semaphores on etcd's v3 API: use `--etcd-api 3`, or set etcd.api = 3; nothing was done"
        )
    terms = Terms(holders=not without_holders, closes=not leave_airlock, again=again)
    wanted = list(dict.fromkeys(groups)) or session.with_store(airlock_groups)
    plans = [_plan(session, group, terms) for group in wanted]
    _refuse(plans)
    todo = [one for one in plans if one.outcome is Outcome.IMPORT]
    if todo:
        note(f"Warning: {_RUNNING}")
    if dry_run:
        _tell(plans, [_planned(one) for one in plans], [], as_json=as_json)
        return
    if todo and not sure:
        _confirm(todo)
    failures, done = Failures("the import"), []
    for one in plans:
        with failures.noted(one.group) if len(plans) > 1 else contextlib.nullcontext():
            if one.outcome is Outcome.IMPORT:
                _import(session, one, reason)
            done.append(one)
    _tell(done, [_done(one) for one in done], failures.problems, as_json=as_json)
    if todo and done:
        note(_NEXT if terms.closes else f"Warning: {_STILL_OPEN}")
    failures.end(len(plans))


def _plan(session: Session, group: str, terms: Terms) -> Plan:
    if refused := refuse_name(group, terms):
        return refused
    return in_group(session, group).with_store(lambda store: plan_import(store, group, terms))


def _refuse(plans: Sequence[Plan]) -> None:
    """Say why groups cannot be imported; `LockError`: there is one, so none is."""
    refused = [one for one in plans if one.outcome is Outcome.REFUSED]
    if not refused:
        return
    for one in refused[:-1] if len(plans) > 1 else ():
        note(f"{one.group}: {one.why}")
    last = f"group {quoted(refused[-1].group)} cannot be imported: {refused[-1].why}; nothing was imported"
    others = [quoted(one.group) for one in plans if one.outcome is Outcome.IMPORT]
    raise LockError(f"{last}. `locksmithctl import-airlock {' '.join(others)}` leaves it out" if others else last)


def _confirm(todo: Sequence[Plan]) -> None:
    for one in todo:
        note(_planned(one))
    left_out = sorted({holder for one in todo for holder in one.left_out})
    if left_out:
        note(
            f"Warning: these have slots at airlock, and get none here: {named(left_out)}. While one of them is down, "
            "more machines may go down than max allows"
        )
    if not can_ask():
        raise UsageError(
            "standard input is no terminal, so no question can be asked: check what it will do, and use --yes; "
            "nothing was imported"
        )
    groups = "this group" if len(todo) == 1 else f"these {count(len(todo))} groups"
    closes = ", and close airlock's semaphore" if todo[0].terms.closes else ""
    if not ask(f"Import {groups}{closes}?"):
        raise LockError("not confirmed; nothing was imported")


def _import(session: Session, planned: Plan, reason: str) -> None:
    event = act(IMPORT_AIRLOCK, reason, _detail(planned))
    mark = TakenOver(
        nonce=secrets.token_hex(16),
        at=datetime.now(UTC),
        who=event.who,
        host=read_hostname(session.paths),
        before=planned.found,
        kept=planned.terms.holders,
        closed=planned.terms.closes,
    )

    served = session.config.server.groups.get(planned.group, ServedGroup())

    async def work(store: Store) -> None:
        guarded = Guarded(store, planned.group)
        await AirlockImport(guarded, planned, mark, served.limit).run()
        await guarded.history.add(event)

    in_group(session, planned.group).with_store(work)


def _detail(planned: Plan) -> str:
    before = "" if planned.before is None else f"max {planned.before} -> "
    slots = f"{before}{planned.found.slots}" if before else f"max {planned.found.slots}"
    kept = f", held by {named(planned.holders)}" if planned.holders else ""
    left_out = f"; not taken over: {named(planned.left_out)}" if planned.left_out else ""
    return f"{slots}{kept}{left_out}{'' if planned.terms.closes else '; airlock was left as it is'}"


def _planned(planned: Plan) -> str:
    """Say what is to be done with a group."""
    return f"{planned.group}: {planned.why or _detail(planned)}"


def _done(planned: Plan) -> str:
    if planned.outcome is Outcome.DONE:
        return f"{planned.group}: {planned.why}, and nothing is to be done"
    return f"imported {planned.group}: {_detail(planned)}"


def _tell(plans: Sequence[Plan], lines: Sequence[str], problems: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"groups": [_fields(one) for one in plans], "problems": list(problems)})
    elif lines:
        say(*lines)
    elif not problems:
        say(f"nothing to import: this etcd has no semaphore of airlock below {airlock.PREFIX}")


def _fields(planned: Plan) -> dict[str, object]:
    return {
        "group": planned.group,
        "outcome": planned.outcome.value,
        "max": planned.found.slots,
        "old_max": planned.before,
        "holders": [{"id": one} for one in planned.holders],
        "left_out": [{"id": one} for one in planned.left_out],
        "closes": planned.terms.closes,
        "why": planned.why or None,
    }
