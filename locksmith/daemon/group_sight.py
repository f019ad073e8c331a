"""What a machine knows of its whole group, from keys that it reads together with its check of the store.

So a machine that is idle asks the store no more than without it: one request every five minutes. The price is that what
it knows is as old as its last check.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from random import Random

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
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.protocol import Entry, Reading

log = logging.getLogger(__name__)

SMALL = 1000
"""Up to how many machines a group is small. Its checks are few, so each may read more."""
AT_ONCE, IN_LARGE = 40, 4
"""How many holders are read with one check, in a small group and in a large one: two keys each, 0.1 ms of etcd's CPU.

Of more holders, others follow with the next check. In a large group the members read different ones.
"""

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
    """What was wrong with a holder when it was last read. One that has just got its slot is well."""

    lost: bool = False
    overdue: bool = False
    incidents: tuple[Incident, ...] = ()

    @property
    def is_wrong(self) -> bool:
        return self.lost or self.overdue or bool(self.incidents)


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
        rng: Random | None = None,
    ) -> None:
        self._group = group
        self._halt_after = halt_after
        self._machines = machines
        self._limit = limit
        self._show = show
        self._clock = clock
        self._rng = rng or Random()  # noqa: S311 - whom to read first, no secret
        self._holders: dict[str, _Holder | None] = {}
        self._checks = 0

    @property
    def hurries(self) -> bool:
        """Whether the next check is wanted soon: after the first, which has only shown who holds a slot."""
        return self._checks == 1 and self._is_incomplete

    @property
    def _is_incomplete(self) -> bool:
        """Whether holders that may have their slots for long were not read yet."""
        return None in self._holders.values()

    def keys(self) -> list[str]:
        """Name the keys to read in addition to the semaphore: of the holders, those whose turn it is."""
        asked = list(self._holders)[: AT_ONCE if 0 < self._machines() <= SMALL else IN_LARGE]
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
        known = [found for found in self._holders.values() if found is not None]
        return GroupFigures(
            slots=now.max,
            held=len(now.holders),
            frozen=read[keys.freeze_key(self._group)].entry is not None,
            lost=self._at_least(sum(one.lost for one in known)),
            overdue=self._at_least(sum(one.overdue for one in known)),
            halted=self._at_least(self._halted(known, read[keys.incidents_key(self._group)].entry)),
        )

    def _follow(self, now: Semaphore, read: Mapping[str, Reading]) -> None:
        """Keep what is known of those who hold a slot now, in the order in which they are read.

        Those that were read now come after the others. Every second is one with which something is wrong, so that it is
        noticed soon when that ends. A holder that was not there at the last check comes last: it has its slot for five
        minutes at most, and that is too short for anything to be wrong. Of the holders at the first check nothing is
        known. Each member reads them in an order of its own.
        """
        new = None if self._checks == 0 else _Holder()
        arrived = [one for one in now.holders if one not in self._holders]
        self._rng.shuffle(arrived)
        before = [one for one in self._holders if one in now.holders]
        found = {one: self._seen(one, read) or self._holders.get(one, new) for one in [*before, *arrived]}

        def turn(holder: str) -> tuple[bool, bool]:
            return holder in arrived, keys.holder_key(self._group, holder) in read

        wrong = {one for one, judged in found.items() if judged is not None and judged.is_wrong}
        order = sorted(found, key=turn)
        by_turns = zip_longest((one for one in order if one in wrong), (one for one in order if one not in wrong))
        self._holders = {one: found[one] for pair in by_turns for one in pair if one is not None}
        self._checks += 1

    def _seen(self, holder: str, read: Mapping[str, Reading]) -> _Holder | None:
        record = read.get(keys.holder_key(self._group, holder))
        shown = read.get(keys.node_key(self._group, holder))
        if record is None or shown is None:
            return None
        claim, now = read_record(holder, record.entry), self._clock()
        machine = _machine(holder, shown.entry, now)
        if not isinstance(claim, Claim) or isinstance(machine, CorruptValueError):
            return _Holder()
        present = {} if machine is None else {holder: machine}
        [status] = holder_statuses(GroupView(self._group, Semaphore(1, (holder,)), {holder: claim}, machines=present))
        return _Holder(
            lost=is_lost(status, now),
            overdue=claim.state == COMMITTED and machine is not None and is_overdue(machine, now, self._limit),
            incidents=tuple(incidents([claim], present, (), now)),
        )

    def _at_least(self, number: float) -> float:
        """Give a number that may be higher only if it says something already."""
        return UNKNOWN if self._is_incomplete and not number else number

    def _halted(self, known: list[_Holder], noted: Entry | None) -> float:
        held = [one for holder in known for one in holder.incidents]
        # On v2 what is noted may be of a slot that is still held.
        nonces = {one.claim.nonce for one in held}
        left = incident.decode(noted.value, noted.key) if noted else []
        found = [*held, *(one for one in left if one.claim.nonce not in nonces)]
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


def is_lost(status: HolderStatus, now: datetime) -> bool:
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
