"""What a machine shows of itself to its group: the step of its loop, as a record that changes seldom. Pure."""

from dataclasses import replace
from datetime import datetime

from locksmith import __version__
from locksmith.agent import state
from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import Phase
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Commit, Step, Wait
from locksmith.lock.answer import Granted
from locksmith.lock.records import states
from locksmith.lock.records.node import TTL, Node
from locksmith.util import limits
from locksmith.util.commands import naming_group
from locksmith.window.windows import Opening, Windows

QUEUED = {"queue", "slot"}
"""Reasons to wait whose words change with every release. The place of each machine is read from the queue itself."""


def describe(step: Step, snapshot: Snapshot, member: Member, target: Target) -> Node:
    """Make the record of a step; moments are whole seconds, so that it reads back as the same."""
    now = snapshot.now.replace(microsecond=0)
    need = snapshot.needs[0] if snapshot.needs else None
    _, _, until = _why(step)
    windows = snapshot.window.windows
    opening = windows.opening(now) if windows else None
    holds = _holds(step, snapshot)
    known = windows.in_zone(now.tzinfo) if windows and now.tzinfo else None
    return replace(
        _shown(step, now, member, target),
        boot_id=snapshot.boot.boot_id,
        until=until and until.replace(microsecond=0),
        need=need.trigger if need else "",
        need_version=limits.text(need.version) if need else "",
        need_since=need.since.replace(microsecond=0) if need else None,
        need_reasons=limits.texts([one.reason for one in snapshot.needs if one.reason]),
        window_opens=_opens(windows, opening, now),
        window_closes=opening.closes if opening else None,
        window_moment=_moment(snapshot, now),
        windows=tuple(map(str, known.windows)) if known else (),
        blackouts=tuple(map(str, known.blackouts)) if known else (),
        userspace=snapshot.boot.userspace,
        claim=snapshot.journal.entry.claim.nonce if snapshot.journal.entry else "",
        dry_run=snapshot.settings.dry_run,
        written=now if holds else None,
        lasts=_lasts(snapshot) if holds else 0,
    )


def describe_unobserved(
    step: Step,
    now: datetime,
    member: Member,
    target: Target,
    claim: str | None,
    *,
    dry_run: bool = False,
    longer: float = 0.0,
) -> Node:
    """Make the record of a machine that cannot observe itself: what failed, and the claim that it knows of, if any.

    With a claim, or where it does not know of any yet (None), it may hold a slot. It counts `longer`, in seconds, while
    the machine may be going down: the bus ends before its daemon.
    """
    now, holds = now.replace(microsecond=0), claim != ""
    return replace(
        _shown(step, now, member, target),
        claim=claim,
        dry_run=dry_run,
        written=now if holds else None,
        lasts=int(TTL + longer) if holds else 0,
    )


def _shown(step: Step, now: datetime, member: Member, target: Target) -> Node:
    """Make what each record has: who this machine is, and what it does."""
    code, reason, _ = _why(step)
    return Node(
        machine_id=member.machine_id,
        hostname=member.hostname,
        boot_id=member.boot_id,
        group=target.group,
        strategy=target.strategy,
        state=state.state_of(step),
        since=now,
        version=__version__,
        code=code,
        reason=limits.text(naming_group(reason, target.group)),
        instance=member.instance,
        hardware=member.hardware,
    )


def _holds(step: Step, snapshot: Snapshot) -> bool:
    """Tell whether this machine holds a slot, as far as it knows."""
    entry = snapshot.journal.entry
    if entry is None:
        return False
    booted = entry.boot != snapshot.boot
    return booted or entry.phase is Phase.COMMITTED or isinstance(snapshot.answer, Granted) or isinstance(step, Commit)


def _lasts(snapshot: Snapshot) -> int:
    """Say for how long the record counts: while the machine goes down, for as long as its reboot may take in addition.

    So a machine with a long `reboot.limit` does not count as lost before that.
    """
    entry = snapshot.journal.entry
    goes_down = entry is not None and entry.boot == snapshot.boot and entry.phase is Phase.COMMITTED
    return int(TTL + (snapshot.settings.limit.total_seconds() if goes_down else 0))


def next_opening(snapshot: Snapshot) -> datetime | None:
    """Give the start of the opening that is open, or else of the next; None: there is none, or it has no beginning."""
    windows, now = snapshot.window.windows, snapshot.now.replace(microsecond=0)
    if windows is None:
        return None
    return _opens(windows, windows.opening(now), now)


def _opens(windows: Windows | None, opening: Opening | None, now: datetime) -> datetime | None:
    if opening is not None:
        return opening.opens
    return windows.next_open(now) if windows else None


def _moment(snapshot: Snapshot, now: datetime) -> datetime | None:
    """Give this machine's own moment in the window that is open or comes next, if it is later than the opening."""
    windows, least = snapshot.window.windows, snapshot.settings.min_remaining
    if not snapshot.settings.splay.share:
        return None
    opens = windows.next_open(now, least) if windows else None
    if windows is None or opens is None:
        return None
    moment = snapshot.settings.splay.asks_from(windows, opens, least)
    return moment and moment.replace(microsecond=0)


def _why(step: Step) -> tuple[str, str, datetime | None]:
    if not isinstance(step, Wait):
        return "", "", None
    if step.code in QUEUED:
        return "queue", "queued for a slot", None
    # An error is tried again every few seconds: that is no end of the wait.
    return step.code, step.text, None if step.code in states.ERRORS else step.until
