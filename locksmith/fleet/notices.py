"""What people are to be told of a group: the events between what was told before and the group as it is. Pure.

Above 300 lines, in one piece: each method finds one kind of event in the same two states of a group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.phrases import group_name, how_words
from locksmith.fleet.rollout import OWN
from locksmith.lock.records import incident as incidents
from locksmith.lock.records import keys, notice_events, went_wrong
from locksmith.lock.records.claim import FAILED, REBOOTS, Claim
from locksmith.lock.records.claim import UNHEALTHY as SICK
from locksmith.lock.records.event import HELD, REBOOTED, THAW, Event
from locksmith.lock.records.incident import EXPIRED, FIRST, ORPHANED, HaltAfter, Incident, halts
from locksmith.lock.records.notice import Ledger, Notice, Told, digest
from locksmith.util.text import one_line
from locksmith.util.words import MOST_NAMED, clock, listed, named, quoted, span

GATHER: Final = timedelta(minutes=1)
"""After a notice of machines, further machines of the same event are gathered for so long, and told of together."""
SETTLE: Final = timedelta(minutes=5)
"""For so long no machine needs a reboot, or has a slot for one, before a rollout is done."""
MOST_TOLD: Final = 2000
"""Machines of an event that a ledger remembers. With more, there is one notice of it in each `repeat_after`."""
LONGEST_NAME: Final = 100
LONGEST_HEADLINE: Final = 240
LONGEST_SENTENCE: Final = 1500

_EVENT_OF: Final = {
    SICK: notice_events.UNHEALTHY,
    FAILED: notice_events.UNHEALTHY,
    ORPHANED: notice_events.UNHEALTHY,
    incidents.LOST: notice_events.LOST,
    EXPIRED: notice_events.LOST,
}
_WORDS: Final = {
    notice_events.UNHEALTHY: "unhealthy after a reboot",
    notice_events.LOST: "lost: down for a reboot, and not back",
    notice_events.OVERDUE: "overdue: the reboot takes longer than it may",
}


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """When a group counts as halted, when a machine is told of again, and how long one may wait (0: for ever)."""

    halt_after: HaltAfter = FIRST
    repeat_after: timedelta = timedelta(hours=1)
    no_reboot_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class _Found:
    """A machine that something is to be said of: by what cause, and in which words."""

    machine_id: str
    name: str
    cause: str
    words: str

    @property
    def key(self) -> str:
        """What stands for it in the ledger."""
        return digest(self.machine_id)


def compare(
    before: Ledger, view: GroupView, now: datetime, rules: NoticeRules, past: Iterable[Event] = ()
) -> tuple[Ledger, tuple[Notice, ...]]:
    """Give what is seen and told from now on, and the notices of what is new.

    `now` is aware, in the zone of those who read the notices. `past` is the group's history, where `asks_past` wants
    it. What cannot be read is taken to be as it was.
    """
    compared = _Comparison(before, view, now, rules, tuple(past))
    return compared.ledger, compared.notices


def asks_past(before: Ledger, view: GroupView, now: datetime) -> bool:
    """Tell whether the words of a notice need the group's history."""
    thawed = before.frozen is not None and view.freeze is None
    return thawed or (before.quiet is not None and now - before.quiet >= SETTLE)


class _Comparison:
    """One comparison: each method is one kind of event, and adds to the ledger and to the notices."""

    def __init__(
        self, before: Ledger, view: GroupView, now: datetime, rules: NoticeRules, past: Sequence[Event]
    ) -> None:
        self.ledger = before
        self.notices: tuple[Notice, ...] = ()
        self._view, self._now, self._rules, self._past = view, now, rules, past
        self._group = group_name(view.group)
        self._unreadable = {problem.key for problem in view.problems}
        self._holders = holder_statuses(view)
        self._incidents = self._read_incidents()
        self._freeze()
        self._rollout()
        self._halt()
        self._machines()

    def _add(self, event: str, cause: Sequence[str], headline: str, sentence: str, names: Sequence[str] = ()) -> None:
        shown = tuple(one_line(name, LONGEST_NAME) for name in names[:MOST_NAMED])
        last = self.ledger.last.get(event)  # the same cause may be told again, if it went and came back
        made = Notice(
            f"{event}-{digest(self._view.group, last.isoformat() if last else '', *cause)}",
            event,
            self._view.group,
            self._now,
            one_line(headline, LONGEST_HEADLINE),
            one_line(sentence, LONGEST_SENTENCE),
            shown,
            len(names),
        )
        self.notices = (*self.notices, made)
        self.ledger = replace(self.ledger, last={**self.ledger.last, event: self._now.replace(microsecond=0)})

    def _freeze(self) -> None:
        view, before, now = self._view, self.ledger.frozen, self._now
        if keys.freeze_key(view.group) in self._unreadable:
            return
        order = view.freeze
        since = order.since.replace(microsecond=0) if order else None
        if since == before:
            return
        self.ledger = replace(self.ledger, frozen=since)
        if order is not None and since is not None:
            ends = f", until {clock(order.until, now)}" if order.until else ""
            why = f": {order.reason}" if order.reason else ""
            self._add(
                notice_events.FROZEN,
                [since.isoformat()],
                f"{self._group} is frozen",
                f"{self._group} is frozen by {order.who or 'an operator'} since {clock(since, now)}{ends}{why}. "
                "No machine of it begins a reboot. `locksmithctl thaw` ends that.",
            )
        elif before is not None:
            thaw = next((one for one in reversed(self._past) if one.act == THAW and one.at >= before), None)
            who = f" by {thaw.who}" if thaw and thaw.who else ""
            why = f": {thaw.reason}" if thaw and thaw.reason else ""
            self._add(
                notice_events.THAWED,
                [before.isoformat()],
                f"{self._group} is thawed",
                f"{self._group} is thawed{who}{why}. It had been frozen since {clock(before, now)}.",
            )

    def _rollout(self) -> None:
        view, began, now = self._view, self.ledger.rollout, self._now
        down = [one for one in self._holders if one.how in OWN and one.claim is not None and one.claim.kind in REBOOTS]
        needing = [node.name for node in view.machines.values() if node.need]
        queued = [one.name for one in view.waiters if one.kind in REBOOTS]
        if began is None:
            if down:
                self._begins(down, len({*needing, *queued, *(one.name for one in down)}))
            return
        quiet = None if down or needing or queued else (self.ledger.quiet or now)
        self.ledger = replace(self.ledger, quiet=quiet)
        if quiet is None or now - quiet < SETTLE:
            return
        self.ledger = replace(self.ledger, rollout=None, quiet=None)
        rebooted = {one.holder for one in self._past if _is_reboot(one) and one.at >= began}
        how_many = f"{len(rebooted)} {'machines' if len(rebooted) != 1 else 'machine'} rebooted in "
        self._add(
            notice_events.DONE,
            [began.isoformat()],
            f"the rollout of {self._group} is done",
            f"The rollout of {self._group} is done: {how_many if rebooted else 'it took '}{span(quiet - began)}. "
            "No machine of it needs a reboot.",
        )

    def _begins(self, down: Sequence[HolderStatus], wanted: int) -> None:
        self.ledger = replace(self.ledger, rollout=self._now.replace(microsecond=0), quiet=None)
        names = listed([one.name for one in down])
        many = f"{wanted} machines need a reboot" if wanted != 1 else "one machine needs a reboot"
        self._add(
            notice_events.BEGINS,
            [one.claim.nonce for one in down[:1] if one.claim],
            f"the rollout of {self._group} begins",
            f"The rollout of {self._group} begins: {many}, and {names} {'has' if len(down) == 1 else 'have'} a slot.",
            [one.name for one in down],
        )

    def _halt(self) -> None:
        found, rules, now = self._incidents, self._rules, self._now
        limit = rules.halt_after.of(len(self._view.machines))
        is_halted = found is not None and halts(found, limit)
        if found is None:
            return
        causes, told, last = {digest(one.claim.nonce) for one in found}, self.ledger.halted_by, self.ledger.last
        if not is_halted:
            # If an incident goes and comes again, so does the halt: the same one is not told twice.
            kept = told if _is_within(last.get(notice_events.HALTED), now, rules.repeat_after) else ()
            self.ledger = replace(self.ledger, halted=False, halted_by=kept)
            return
        is_new = not self.ledger.halted and not causes <= set(told)
        self.ledger = replace(self.ledger, halted=True, halted_by=tuple(sorted(causes))[:MOST_TOLD])
        if is_new:
            names = [one.name for one in found]
            said = named([one.describe() for one in found], "; ")
            self._add(
                notice_events.HALTED,
                sorted(causes),
                f"the rollout of {self._group} is halted",
                f"{self._group} is HALTED: {said}. No machine in the group will reboot. "
                f"Inspect {listed(names)}, then run `locksmithctl resume`.",
                names,
            )

    def _machines(self) -> None:
        for event, found in self._troubled().items():
            told = self.ledger.told.get(event, {})
            kept, new = self._new(event, sorted(found, key=lambda one: (one.name, one.machine_id)), told)
            others = {name: machines for name, machines in self.ledger.told.items() if name != event}
            self.ledger = replace(self.ledger, told={**others, event: kept} if kept else others)
            if new:
                self._tell(event, new)

    def _new(
        self, event: str, found: Sequence[_Found], told: Mapping[str, Told]
    ) -> tuple[dict[str, Told], Sequence[_Found]]:
        """Give whom the ledger remembers from now on, and who is told of now."""
        now, again = self._now, self._rules.repeat_after
        there = {one.key for one in found}
        kept = {name: one for name, one in told.items() if name in there or _is_within(one.at, now, again)}
        due = [one for one in found if _is_due(one, kept.get(one.key), now, again)]
        pause = again if len(kept) >= MOST_TOLD else GATHER
        if not due or _is_within(self.ledger.last.get(event), now, pause):
            return kept, ()
        new = {one.key: Told(digest(one.cause), now) for one in due}
        kept = {**kept, **new}
        return dict(list(kept.items())[:MOST_TOLD]), due

    def _tell(self, event: str, new: Sequence[_Found]) -> None:
        names = [one.name for one in new]
        what = _WORDS.get(event) or f"without its reboot for {_days(self._rules.no_reboot_after)}"
        cause = [text for one in new for text in (one.machine_id, one.cause)]
        if len(new) == 1:
            [one] = new
            self._add(
                event,
                cause,
                f"{one.name} of {self._group} is {what}",
                f"{one.name} of {self._group} is {one.words}. `locksmithctl why {quoted(one.name)}` says more.",
                names,
            )
            return
        what = what.replace("its reboot", "their reboot")
        self._add(
            event,
            cause,
            f"{len(new)} machines of {self._group} are {what}",
            f"{len(new)} machines of {self._group} are {what}: {named(names)}. "
            "`locksmithctl nodes` and `locksmithctl status` show them.",
            names,
        )

    def _troubled(self) -> dict[str, list[_Found]]:
        """Give the machines of each event; an event about which nothing can be said now is left out."""
        now, found = self._now, dict[str, list[_Found]]()
        by_nonce = {one.claim.nonce: one for one in self._holders if one.claim is not None}
        if self._incidents is not None:
            found |= {notice_events.UNHEALTHY: [], notice_events.LOST: []}
            for one in self._incidents:
                holder = by_nonce.get(one.claim.nonce)
                words = how_words(holder, now) if holder else f"{one.how}{f': {one.why}' if one.why else ''}"
                told = _Found(one.claim.holder, one.name, one.claim.nonce, words)
                found.setdefault(_EVENT_OF.get(one.how, notice_events.UNHEALTHY), []).append(told)
        found[notice_events.OVERDUE] = [
            _Found(one.holder, one.name, one.claim.nonce, how_words(one, now))
            for one in self._holders
            if one.how is HolderKind.OVERDUE and one.claim is not None
        ]
        if after := self._rules.no_reboot_after:
            found[notice_events.NO_REBOOT] = [
                _Found(
                    node.machine_id, node.name, node.need_since.isoformat(), _unmet(node.need_since, now, node.reason)
                )
                for node in self._view.machines.values()
                if node.need and node.need_since is not None and now - node.need_since >= after
            ]
        return found

    def _read_incidents(self) -> list[Incident] | None:
        """Give what went wrong; None: a record of it cannot be read. A presence that cannot be read is a presence."""
        view = self._view
        if keys.incidents_key(view.group) in self._unreadable:
            return None
        claims = [claim for claim in view.claims.values() if isinstance(claim, Claim)]
        hidden = [one.holder for one in claims if keys.node_key(view.group, one.holder) in self._unreadable]
        present = {**dict.fromkeys(hidden), **view.machines}
        return went_wrong.incidents(claims, present, view.noted, self._now)


def _unmet(since: datetime, now: datetime, reason: str) -> str:
    return f"without its reboot for {span(now - since)}{f', and waits: {reason}' if reason else ''}"


def _days(length: timedelta) -> str:
    return f"{span(length)} or longer"


def _is_reboot(event: Event) -> bool:
    return event.act == HELD and event.detail == REBOOTED


def _is_within(at: datetime | None, now: datetime, length: timedelta) -> bool:
    """Whether a moment is less than that long ago. One that is ahead (another server's clock) is not."""
    return at is not None and timedelta(0) <= now - at < length


def _is_due(found: _Found, told: Told | None, now: datetime, again: timedelta) -> bool:
    if told is None:
        return True
    return told.cause != digest(found.cause) and not _is_within(told.at, now, again)
