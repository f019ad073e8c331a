"""What the pages show of a group, in words and numbers. Pure."""

from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import ALARMING, HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.machine_table import MachineRow, Weight, machine_rows
from locksmith.fleet.phrases import group_name, how_words
from locksmith.fleet.progress import Progress, progress
from locksmith.lock.records.event import Event
from locksmith.lock.records.incident import HaltAfter, halts
from locksmith.lock.records.order import Order
from locksmith.util.words import clock, named, span

PAGE = 100
"""Machines on one page of the table."""
MOST_QUEUED = 20
"""Places of the queue that are listed."""
MOST_NAMED = 3
"""Holders that the overview of a group names."""

SHAPES = {Weight.WRONG: "▲", Weight.BUSY: "◆", Weight.PLAIN: "●", Weight.QUIET: "○"}
"""A state is never told by its colour alone."""
CLASSES = {Weight.WRONG: "wrong", Weight.BUSY: "busy", Weight.PLAIN: "plain", Weight.QUIET: "quiet"}


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word, with its weight; `says` is the sentence that explains it."""

    word: str
    weight: Weight
    says: str = ""

    @property
    def shape(self) -> str:
        """Give the mark before the word."""
        return SHAPES[self.weight]

    @property
    def css(self) -> str:
        """Name the class of the style sheet."""
        return CLASSES[self.weight]


@dataclass(frozen=True, slots=True)
class MachineFilter:
    """Which machines of a table are shown: by a part of the name or id, and by the state; `page` counts from 1."""

    text: str = ""
    state: str = ""
    page: int = 1

    def of(self, row: MachineRow) -> bool:
        """Tell whether a machine is shown."""
        if self.state and row.state != self.state:
            return False
        wanted = self.text.casefold()
        return not wanted or wanted in row.name.casefold() or wanted in row.machine_id.casefold()


@dataclass(frozen=True, slots=True)
class MachinePage:
    """One page of the table: its rows, how many machines match, and how many pages that are."""

    rows: Sequence[MachineRow]
    matching: int
    pages: int
    page: int


class GroupPage:
    """A group as it is shown. `now` is aware, in the zone in which moments are written."""

    def __init__(self, view: GroupView, events: Sequence[Event], now: datetime, halt_after: HaltAfter) -> None:
        self.view, self.events, self.now = view, events, now
        self._halt_after = halt_after

    @classmethod
    def prepared(cls, view: GroupView, events: Sequence[Event], now: datetime, halt_after: HaltAfter) -> "GroupPage":
        """Make it with all that takes long for a large group."""
        made = cls(view, events, now, halt_after)
        for _ in (made.rows, made.states, made.progress, made.windows, made.badges, made.queue):
            pass
        return made

    def at(self, now: datetime) -> "GroupPage":
        """Give the same for another moment: how long something lasts is counted to it."""
        other = copy(self)
        other.now = now
        return other

    @property
    def group(self) -> str:
        """The group's name; empty: the default one."""
        return self.view.group

    @property
    def title(self) -> str:
        """What a heading calls it."""
        return self.view.group or "(default)"

    @cached_property
    def holders(self) -> list[HolderStatus]:
        """Who holds a slot, what is wrong first."""
        return sorted(holder_statuses(self.view), key=lambda one: one.how not in ALARMING)

    @property
    def named_holders(self) -> list[HolderStatus]:
        """The first of them, for an overview."""
        return self.holders[:MOST_NAMED]

    @cached_property
    def halted(self) -> str:
        """Say what halts the group; empty: it is not halted."""
        wrong = self.view.incidents(self.now)
        if not halts(wrong, self._halt_after.of(len(self.view.machines))):
            return ""
        return named([one.describe() for one in wrong], "; ")

    @cached_property
    def progress(self) -> Progress:
        """How far the rollout is."""
        return progress(self.view, self.events)

    @property
    def frozen(self) -> str:
        """Say by whom, since when and until when it is frozen; empty: it is not."""
        return order_words(self.view.freeze, self.now) if self.view.freeze else ""

    @cached_property
    def badges(self) -> list[Badge]:
        """What is out of the ordinary, the worst first; if nothing is, what goes on."""
        view = self.view
        found = [Badge("halted", Weight.WRONG, self.halted)] if self.halted else []
        counts = Counter(one.how for one in self.holders if one.how in ALARMING)
        found += [Badge(f"{number} {how}", Weight.WRONG) for how, number in counts.items()]
        found += [Badge("frozen", Weight.BUSY, self.frozen)] if view.freeze else []
        found += [Badge(f"{len(view.held_back)} held back", Weight.BUSY)] if view.holds else []
        if rehearsing := sum(node.dry_run for node in view.machines.values()):
            found.append(Badge(f"{rehearsing} in a dry run", Weight.BUSY))
        if view.share is not None and view.share.is_void(view.semaphore.max):
            found.append(Badge("share void", Weight.BUSY))
        if view.problems:
            found.append(Badge(f"{len(view.problems)} unreadable", Weight.WRONG))
        if found:
            return found
        if self.holders:
            return [Badge("rolling out" if self.progress.total else "in use", Weight.PLAIN)]
        return [Badge("waiting", Weight.PLAIN) if self.progress.total else Badge("calm", Weight.QUIET)]

    @property
    def problems(self) -> list[str]:
        """Say what cannot be read, the first of it."""
        return [f"A value cannot be read: {problem}." for problem in self.view.problems[:MOST_NAMED]]

    @property
    def slots(self) -> str:
        """Say how many slots there are, and what they follow."""
        share = f" ({self.view.share.percent} of the machines)" if self.view.share else ""
        return f"{len(self.holders)} of {self.view.semaphore.max} held{share}"

    @cached_property
    def windows(self) -> str:
        """Say when windows are open; empty: no machine that is present has one."""
        nodes = [node for node in self.view.machines.values() if node.window_opens is not None]
        if not nodes:
            return ""
        closes = [node.window_closes for node in nodes if node.window_closes and node.window_closes >= self.now]
        if closes:
            return f"open for {len(closes):,}, until {clock(max(closes), self.now)}"
        opens = [node.window_opens for node in nodes if node.window_opens and node.window_opens > self.now]
        return f"opens {clock(min(opens), self.now)}" if opens else ""

    @property
    def spacing(self) -> str:
        """Say until when no machine begins, because another has just begun; empty: nothing is in the way."""
        spacing = self.view.spacing
        if spacing is None or (spacing.until is not None and spacing.until < self.now):
            return ""
        return f"until {clock(spacing.until, self.now)}" if spacing.until else "for now"

    @cached_property
    def queue(self) -> list[MachineRow]:
        """The first places of the queue."""
        return list(islice((row for row in self.rows if row.place), MOST_QUEUED))

    @cached_property
    def rows(self) -> list[MachineRow]:
        """All machines."""
        return list(machine_rows(self.view, self.now))

    @cached_property
    def states(self) -> list[tuple[str, int, Badge]]:
        """Each state that machines have, with their number; what is wrong first."""
        counts = Counter(row.state for row in self.rows)
        weights = {row.state: row.weight for row in reversed(self.rows)}
        order = list(Weight)
        states = sorted(counts, key=lambda state: (order.index(weights[state]), -counts[state], state))
        return [(state, counts[state], Badge(state, weights[state])) for state in states]

    def machines(self, shown: MachineFilter) -> MachinePage:
        """Give one page of the machines."""
        found = [row for row in self.rows if shown.of(row)]
        pages = max(1, -(-len(found) // PAGE))
        page = min(max(1, shown.page), pages)
        return MachinePage(found[(page - 1) * PAGE : page * PAGE], len(found), pages, page)

    def badge(self, row: MachineRow) -> Badge:
        """Give the state of a machine."""
        return Badge(row.shown_state, row.weight)

    def holder_badge(self, one: HolderStatus) -> Badge:
        """Give what a slot is held for, in a word."""
        weight = Weight.WRONG if one.how in ALARMING | {HolderKind.UNREADABLE, HolderKind.UNSEEN} else Weight.BUSY
        return Badge(one.how.value, weight)

    def holder_words(self, one: HolderStatus) -> str:
        """Say what a slot is held for, and why."""
        words = how_words(one, self.now)
        reason = one.claim.reason if one.claim and one.how in {HolderKind.HELD, HolderKind.REBOOTING} else ""
        words = words.removeprefix(f"{one.how.upper()}: ")
        return f"{words}: {reason}" if reason else words

    def holder_long(self, one: HolderStatus) -> str:
        """Say for how long it is held."""
        return span(self.now - one.since) if one.since else "?"

    @property
    def announcement(self) -> str:
        """Say it in a sentence: what a screen reader is told when it changes."""
        words = [badge.word for badge in self.badges]
        return f"{group_name(self.group)}: {', '.join(words)}; {self.slots}, {len(self.view.waiters)} queued"


def order_words(order: Order, now: datetime) -> str:
    """Say by whom, since when, until when and why there is an order."""
    ends = f", until {clock(order.until, now)}" if order.until else ""
    why = f": {order.reason}" if order.reason else ""
    return f"by {order.who or 'an operator'} since {clock(order.since, now)}{ends}{why}"
