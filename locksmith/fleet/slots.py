"""Who holds the slots of a group, since when and why: one sentence, for whom finds none free. Pure."""

from datetime import datetime

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.phrases import how_words
from locksmith.util.words import clock, listed


def busy_words(view: GroupView, now: datetime) -> str:
    """Say that no slot is free, and for each holder who it is, since when and why; empty: one is free."""
    slots = view.semaphore
    if slots.available > 0:
        return ""
    if slots.max <= 0:
        none = "`locksmithctl set-max 1` makes one"
        return f"no slot is free: max is {slots.max}, held by {_held(view, now) or 'no machine'}; {none}"
    return f"no slot is free: max is {slots.max}, held by {_held(view, now)}"


def _held(view: GroupView, now: datetime) -> str:
    return listed([_words(one, now) for one in holder_statuses(view)])


def _words(one: HolderStatus, now: datetime) -> str:
    since = f" since {clock(one.since, now)}" if one.since else ""
    reason = one.claim.reason if one.claim and one.how in {HolderKind.HELD, HolderKind.REBOOTING} else ""
    return f"{one.name}{since} ({how_words(one, now)}{f': {reason}' if reason else ''})"
