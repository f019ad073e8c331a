"""`unlock --stale`: the slots that nobody seems to give back, one after another, each confirmed by a person."""

import sys
from datetime import datetime
from functools import partial

from locksmith.cli.lock import free, was
from locksmith.cli.output import ask, claim_fields, note, print_json
from locksmith.cli.session import Session
from locksmith.errors import UsageError
from locksmith.group_reader import read_group
from locksmith.group_view import GroupView
from locksmith.holding import Holding, How, holdings
from locksmith.why import holder_words


def unlock_stale(session: Session, machine: str | None, reason: str, *, sure: bool, as_json: bool) -> None:
    """Ask for each of them, and free those that are confirmed."""
    if machine is not None:
        raise UsageError("--stale goes through all slots: name no machine with it")
    if not sure and not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked: look with `locksmithctl nodes`, then say --yes")
    view = session.with_store(lambda store: read_group(store, session.config.group))
    now = datetime.now().astimezone()
    freed = []
    for one in found(session, view, now):
        words = holder_words(one, now)
        if not sure and not ask(f"Free the slot of {words}?"):
            continue
        claim = session.with_lock(partial(free, one.holder, reason))
        freed.append({"id": one.holder, "undone": claim_fields(claim)})
        if not as_json:
            note(f"unlocked {one.holder}, {was(claim)}")
    if as_json:
        print_json({"group": session.config.group, "freed": freed})
    elif not freed:
        note("nothing was freed: no slot is lost or stale, or none was confirmed")


def found(session: Session, view: GroupView, now: datetime) -> list[Holding]:
    """Name the holders that are lost, and those that are stale by this machine's configuration."""
    after = session.config.halt.stale_after
    return [one for one in holdings(view) if one.how is How.LOST or one.is_stale(now, after)]
