"""`freeze --all-groups` and `thaw --all-groups`: the same order for every group, one group after another.

A group that fails stops no other. It is named, and the command ends with an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from locksmith.cli.commands.ordered import (
    freeze_group,
    ordered_fields,
    tell_ordered,
    thaw_group,
    until_words,
)
from locksmith.cli.output import note, print_json, say
from locksmith.cli.session import Session
from locksmith.errors import LockError, LocksmithError, UsageError
from locksmith.fleet.acts import was_words
from locksmith.fleet.fields import order_fields
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import list_groups
from locksmith.lock.records.order import Order


def in_every_group(session: Session) -> list[Session]:
    """Give a session for each group that is in use; `UsageError`: a flag names one of them."""
    if session.flags.get("group") is not None:
        raise UsageError("--all-groups is about every group: name no group with it")
    return [in_group(session, group) for group in session.with_store(list_groups)]


@dataclass
class Failures:
    """The groups in which an order failed, or an import."""

    what: str = "the order"
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def noted(self, group: str) -> Iterator[None]:
        """Note an error of one group, and go on."""
        try:
            yield
        except LocksmithError as error:
            self.problems.append(f"{group_name(group)}: {error}")
            note(f"not done in {group_name(group)}: {error}")

    def end(self, groups: int) -> None:
        """Raise `LockError` if there is one."""
        if self.problems:
            raise LockError(f"{self.what} failed in {len(self.problems)} of {groups} groups, as said above")


def freeze_all(sessions: list[Session], order: Order, ttl: float | None, *, legacy: bool, as_json: bool) -> None:
    """Freeze every group; print a line, or the fields, of each."""
    if not sessions:
        raise LockError("no group is in use yet: nothing was frozen")
    failures, fields = Failures(), []
    for one in sessions:
        group = one.config.group
        with failures.noted(group):
            done = freeze_group(one, order, ttl, legacy=legacy, keep_longer=True)
            stands = done.before if done.kept and isinstance(done.before, Order) else order
            fields.append({"group": group, "freeze": order_fields(stands), "kept": done.kept, **ordered_fields(done)})
            if not as_json:
                stays = f", {stands.describe()}: that stays" if done.kept else ""
                say(f"{group_name(group)} is frozen{stays or until_words(order)}")
                tell_ordered(one, done, order.reason, legacy=legacy)
    if as_json:
        print_json({"groups": fields, "problems": failures.problems})
    else:
        note("a group that comes into use later is not frozen; `locksmithctl thaw --all-groups` ends every freeze")
    failures.end(len(sessions))


def thaw_all(sessions: list[Session], reason: str, *, as_json: bool) -> None:
    """End the freeze of every group that is frozen; print a line, or the fields, of each."""
    failures, fields = Failures(), []
    for one in sessions:
        group = one.config.group
        with failures.noted(group):
            before = thaw_group(one, reason)
            if before is not None:
                fields.append({"group": group, "was": order_fields(before) if isinstance(before, Order) else None})
                if not as_json:
                    say(f"{group_name(group)} is no longer frozen; that was {was_words(before)}")
    if as_json:
        print_json({"groups": fields, "problems": failures.problems})
    elif not fields and not failures.problems:
        say("nothing to end: no group is frozen")
    failures.end(len(sessions))


def in_group(session: Session, group: str) -> Session:
    """Give the same session for another group, whose configuration was read, and warned of, once."""
    other = replace(session, flags={**session.flags, "group": group})
    vars(other)["config"] = replace(session.config, group=group)
    return other
