"""The machines of a group, one after another, with the words for each: what the tool and the page show. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import ALARMING, HolderKind, HolderStatus, holder_statuses
from locksmith.fleet.machine_sentences import BELIEVES_NOTHING
from locksmith.fleet.phrases import absent_words, how_words
from locksmith.lock.records import states
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.util.words import clock, span


class Weight(Enum):
    """How much a machine's state asks for attention."""

    WRONG = auto()
    """An operator should inspect it."""
    BUSY = auto()
    """It is about to go down, is down, or comes up; or it is gone, and needed a reboot."""
    PLAIN = auto()
    QUIET = auto()
    """It needs nothing, or is gone."""


HELD_BACK = "held back"
QUEUED = "queued"
ABSENT = "absent"

_WEIGHTS = {
    **dict.fromkeys((*ALARMING, HolderKind.UNSEEN, HolderKind.UNREADABLE), Weight.WRONG),
    **dict.fromkeys((HolderKind.REBOOTING, HolderKind.VERIFYING, HolderKind.HELD, HolderKind.COMMAND), Weight.BUSY),
}
_STATES = {**{how: how.upper() for how in ALARMING}, HolderKind.HELD: "holds"}


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One machine: `state` in a word or two, `since` when (None: not known), and `why` in a few words.

    `place` is its place in the queue (0: none). `node` is what it shows of itself (None: it is not present).
    `unknown` is what stands for how long it has been so, if that is not known.
    """

    machine_id: str
    name: str
    state: str
    weight: Weight
    since: datetime | None
    why: str
    node: Node | None = None
    place: int = 0
    unknown: str = ""

    @property
    def shown_state(self) -> str:
        """Write the state, with the place in the queue."""
        return f"{self.state} #{self.place}" if self.place else self.state

    def long(self, now: datetime) -> str:
        """Say for how long it has been so."""
        return span(now - self.since) if self.since else self.unknown

    def window(self, now: datetime) -> str:
        """Say when its window opens, or after a dash when the open one closes; empty: it has none."""
        node = self.node
        if node is None or node.window_opens is None:
            return ""
        if node.window_closes is not None and node.window_closes >= now:
            return f"-{clock(node.window_closes, now)}"
        return clock(node.window_opens, now)


def machine_rows(view: GroupView, now: datetime) -> Iterator[MachineRow]:
    """Give a row for each machine: holders, what is wrong first, then the queue, then the others by name."""
    held = holder_statuses(view)
    for one in sorted(held, key=lambda one: one.how not in ALARMING):
        yield _holder(view, one, now)
    seen = {one.holder for one in held}
    for place, waiter in enumerate(view.waiters, 1):
        own = waiter.is_machines
        node = view.machines.get(waiter.holder) if own else None
        seen |= {waiter.holder} if own else set()
        why, weight = (_need(node) if node else "") or waiter.reason or waiter.who, Weight.PLAIN
        if place == 1 and node is not None and node.state == states.WAITING and node.code in states.ERRORS:
            why, weight = f"cannot take a slot: {node.reason}", Weight.WRONG
        name = waiter.name if own or waiter.holder not in view.machines else view.machines[waiter.holder].name
        yield MachineRow(waiter.holder, name, QUEUED, weight, waiter.since, why, node, place)
    rest = [node for machine_id, node in view.machines.items() if machine_id not in seen]
    for node in sorted(rest, key=lambda node: (node.state == states.IDLE, node.name)):
        yield _machine(node, view.holds.get(node.machine_id))
    gone = [member for machine_id, member in view.absent.items() if machine_id not in seen]
    for member in sorted(gone, key=lambda member: (not member.need, member.name)):
        yield _absent(member, now)


def _holder(view: GroupView, one: HolderStatus, now: datetime) -> MachineRow:
    node = view.machines.get(one.holder)
    if node is not None and node.state == states.STUCK:
        return MachineRow(one.holder, one.name, "STUCK", Weight.WRONG, one.since, node.reason, node, unknown="?")
    state = _STATES.get(one.how, one.how.value)
    own = one.claim is not None and one.how in {HolderKind.HELD, HolderKind.REBOOTING}
    reason = one.claim.reason if own and one.claim else how_words(one, now)
    weight = _WEIGHTS.get(one.how, Weight.PLAIN)
    why = reason.removeprefix(f"{state}: ")
    return MachineRow(one.holder, one.name, state, weight, one.since, why, node, unknown="?")


def _machine(node: Node, hold: Order | None) -> MachineRow:
    state = node.code if node.code and (node.state == states.WAITING or node.code in BELIEVES_NOTHING) else node.state
    why = f"{node.clone} has the same id" if node.clone else node.reason or _need(node)
    if hold is not None:
        state, why = HELD_BACK, hold.describe()
    weight = Weight.QUIET if node.state == states.IDLE else Weight.PLAIN
    if node.clone or state in {states.STUCK, *BELIEVES_NOTHING}:
        weight = Weight.WRONG
    if node.dry_run:
        state = "DRY RUN" if node.code == "dry_run" else f"DRY RUN {state}"
    return MachineRow(node.machine_id, node.name, state, weight, node.since, why, node)


def _absent(member: Member, now: datetime) -> MachineRow:
    needed = f", needed a reboot: {member.need}" if member.need else ""
    why, weight = f"{absent_words(member, now)}{needed}", Weight.BUSY if member.need else Weight.QUIET
    return MachineRow(member.machine_id, member.name, ABSENT, weight, member.gone, why)


def _need(node: Node) -> str:
    return "; ".join(node.need_reasons) or f"{node.need} {node.need_version}".strip()
