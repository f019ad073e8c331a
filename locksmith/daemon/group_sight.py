"""What a machine knows of its whole group, from keys that it reads together with its check of the store.

So a machine that is idle asks the store no more than without it: one request every five minutes. The price is that what
it knows is as old as its last check.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from locksmith.errors import CorruptValueError
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.lock.holder import read_record
from locksmith.lock.records import incident, keys, node, semaphore
from locksmith.lock.records.claim import COMMITTED, HELD, Claim
from locksmith.lock.records.incident import HaltAfter, Incident, halts
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.states import REBOOTING, STUCK
from locksmith.store.protocol import Entry, Reading

log = logging.getLogger(__name__)

AT_ONCE = 40
"""How many holders are read with one check: two keys each. Of more holders, others follow with the next check."""

UNKNOWN = float("nan")
"""A figure that this machine does not know. No comparison with it is true, and `max` of Prometheus leaves it out."""


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """A group in numbers. `lost`, `overdue` and `halted` are `UNKNOWN` while a holder was never read."""

    slots: float = UNKNOWN
    held: float = UNKNOWN
    frozen: float = UNKNOWN
    lost: float = UNKNOWN
    overdue: float = UNKNOWN
    halted: float = UNKNOWN


@dataclass(frozen=True, slots=True)
class _Holder:
    """A holder's record and its presence, as they were last read; None: there is none that can be read."""

    claim: Claim | None
    machine: Node | None


class GroupSight:
    """The view of one group that grows with each check. `show` is told each new one.

    `machines` says how many machines the group has (0: that is not known), which a halt after a share needs. `limit` is
    this machine's `reboot.limit`: it counts for a machine that does not say its own.
    """

    def __init__(
        self,
        group: str,
        halt_after: HaltAfter,
        machines: Callable[[], int],
        limit: timedelta,
        show: Callable[[GroupFigures], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._group = group
        self._halt_after = halt_after
        self._machines = machines
        self._limit = limit
        self._show = show
        self._clock = clock
        self._holders: dict[str, _Holder | None] = {}
        self._noted_before = False

    @property
    def is_incomplete(self) -> bool:
        """Whether holders that may have their slots for long were not read yet: right after the start."""
        return None in self._holders.values()

    def keys(self) -> list[str]:
        """Name the keys to read in addition to the semaphore: of the holders, those whose turn it is."""
        asked = list(self._holders)[:AT_ONCE]
        records = [keys.holder_key(self._group, one) for one in asked]
        nodes = [keys.node_key(self._group, one) for one in asked]
        return [keys.freeze_key(self._group), keys.incidents_key(self._group), *records, *nodes]

    def note(self, read: Mapping[str, Reading]) -> None:
        """Take note of the semaphore and these keys, all read at one moment."""
        try:
            figures = self._figures(read)
        except Exception as error:  # noqa: BLE001 - no lock decision needs this: other machines' records must not stop it
            log.debug("the figures of the group are not known: %s: %s", type(error).__name__, error)
            figures = GroupFigures()  # what cannot be read is an error of each take, which says so
        self._show(figures)

    def _figures(self, read: Mapping[str, Reading]) -> GroupFigures:
        entry = read[keys.semaphore_key(self._group)].entry
        now = semaphore.decode(entry.value, entry.key) if entry else Semaphore()
        self._follow(now, read)
        noted = read[keys.incidents_key(self._group)].entry
        known = {holder: found for holder, found in self._holders.items() if found is not None}
        view = GroupView(
            group=self._group,
            semaphore=now,
            claims={holder: found.claim for holder, found in known.items()},
            machines={holder: found.machine for holder, found in known.items() if found.machine},
            noted=tuple(incident.decode(noted.value, noted.key)) if noted else (),
        )
        moment = self._clock()
        statuses = holder_statuses(view)
        return GroupFigures(
            slots=now.max,
            held=len(now.holders),
            frozen=read[keys.freeze_key(self._group)].entry is not None,
            lost=self._at_least(sum(_is_lost(one, moment) for one in statuses)),
            overdue=self._at_least(sum(self._is_overdue(one, view, moment) for one in statuses)),
            halted=self._at_least(self._halted(view.incidents(moment))),
        )

    def _follow(self, now: Semaphore, read: Mapping[str, Reading]) -> None:
        """Keep what is known of those who hold a slot now; those that were read have their next turn last.

        A holder that was not there at the last check has its slot for five minutes at most. That is too short for
        anything to be wrong. Of the holders at the first check nothing is known.
        """
        new = _Holder(None, None) if self._noted_before else None
        self._noted_before = True
        before = [one for one in self._holders if one in now.holders]
        turns = sorted(before, key=lambda one: keys.holder_key(self._group, one) in read)
        arrived = [one for one in now.holders if one not in self._holders]
        found = {one: self._seen(one, read) or self._holders.get(one, new) for one in [*arrived, *turns]}
        self._holders = found

    def _seen(self, holder: str, read: Mapping[str, Reading]) -> _Holder | None:
        record = read.get(keys.holder_key(self._group, holder))
        shown = read.get(keys.node_key(self._group, holder))
        if record is None or shown is None:
            return None
        claim = read_record(holder, record.entry)
        machine = _machine(holder, shown.entry, self._clock())
        if isinstance(claim, CorruptValueError) or isinstance(machine, CorruptValueError):
            return _Holder(None, None)
        return _Holder(claim, machine)

    def _is_overdue(self, status: HolderStatus, view: GroupView, now: datetime) -> bool:
        machine = view.machines.get(status.holder)
        past = status.claim is not None and status.claim.state == COMMITTED
        return past and machine is not None and is_overdue(machine, now, self._limit)

    def _at_least(self, number: float) -> float:
        """Give a number that may be higher only if it says something already."""
        return UNKNOWN if self.is_incomplete and not number else number

    def _halted(self, found: list[Incident]) -> float:
        machines = self._machines()
        if self._halt_after.percent is not None and not machines:
            return UNKNOWN if found else 0
        return halts(found, self._halt_after.of(machines))


def is_overdue(machine: Node, now: datetime, limit: timedelta) -> bool:
    """Whether a machine past its commit takes longer for its reboot than its `reboot.limit`, and is not lost yet.

    With its commit it writes that its presence lasts for so much longer than any other. Otherwise `limit` counts.
    """
    if machine.state == STUCK:
        return True
    own = timedelta(seconds=machine.lasts - TTL)
    return machine.state == REBOOTING and now - machine.since > (own if own > timedelta(0) else limit)


def _is_lost(status: HolderStatus, now: datetime) -> bool:
    """Whether a holder's machine is gone. A machine that has just got its slot may not have shown itself yet."""
    claim = status.claim
    if status.how is not HolderKind.LOST or claim is None:
        return False
    return not (claim.state == HELD and now - claim.held_since < timedelta(seconds=TTL))


def _machine(machine_id: str, entry: Entry | None, now: datetime) -> Node | CorruptValueError | None:
    if entry is None or not node.shows_machine(entry.value, entry.key, machine_id, now, leased=bool(entry.lease)):
        return None
    try:
        return node.decode(entry.value, entry.key, machine_id)
    except CorruptValueError as error:
        return error
