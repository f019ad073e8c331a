"""What an import of one group from airlock would do, or why not: decided from one reading of both sides. Pure.

The write (airlock_import.py) is guarded by every version of that reading. So what a person was shown is what is done.
"""

from dataclasses import dataclass
from enum import StrEnum

from locksmith.errors import CorruptValueError
from locksmith.lock.records import airlock, semaphore
from locksmith.lock.records.airlock import AirlockSemaphore, TakenOver
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import Entry, Reading
from locksmith.util.client_ids import id_problem
from locksmith.util.commands import with_group
from locksmith.util.words import named

_NOTHING = Reading(None, 0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator wants of an import.

    `holders`: they keep their slots. `closes`: airlock's semaphore is closed in the same write. `again`: a group that
    was imported before is imported once more.
    """

    holders: bool = True
    closes: bool = True
    again: bool = False


class Outcome(StrEnum):
    """What is to be done."""

    IMPORT = "import"
    DONE = "done"
    """It was imported, and airlock has granted nothing there since."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Readings:
    """Both sides of a group at one moment: airlock's semaphore; here the semaphore, the share and the mark."""

    group: str
    airlock: Reading = _NOTHING
    semaphore: Reading = _NOTHING
    share: Reading = _NOTHING
    mark: Reading = _NOTHING


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import of a group does: the slots, and the holders that keep theirs here.

    `left_out` are holders at airlock that are not taken over. `before` is the number of slots until now; None: the
    group has no semaphore. `new`: the `holders` have no slot here yet. `why` is why it is refused, or was done.
    """

    readings: Readings
    outcome: Outcome
    terms: Terms
    found: AirlockSemaphore = airlock.CLOSED
    left_out: tuple[str, ...] = ()
    before: int | None = None
    new: bool = True
    why: str = ""

    @property
    def group(self) -> str:
        """Name the group."""
        return self.readings.group

    @property
    def holders(self) -> tuple[str, ...]:
        """The holders that keep their slots."""
        return self.found.holders if self.terms.holders else ()

    @property
    def semaphore(self) -> Semaphore:
        """The semaphore that it writes."""
        return Semaphore(self.found.slots, self.holders)


def plan(readings: Readings, terms: Terms) -> Plan:
    """Decide what an import of a group does."""
    try:
        return _plan(readings, terms)
    except CorruptValueError as error:
        return _refused(readings, terms, str(error))


def refuse_name(group: str, terms: Terms) -> Plan | None:
    """Refuse a group by its name alone; None: FleetLock allows it."""
    if airlock.is_group(group):
        return None
    return _refused(Readings(group), terms, "FleetLock allows no group of this name, so no client can ask for it")


def _plan(readings: Readings, terms: Terms) -> Plan:
    key = airlock.semaphore_key(readings.group)
    entry, mark = readings.airlock.entry, _mark(readings.mark.entry)
    if entry is None:
        return _refused(readings, terms, f"airlock has no semaphore of it: {key} does not exist")
    found = airlock.decode(entry.value, key)
    if mark is not None and (done := _after(mark, found, readings, terms)) is not None:
        return done
    now = readings.semaphore.entry
    ours = semaphore.decode(now.value, now.key) if now else Semaphore()
    if problem := _problem_there(found, terms, key) or _problem_here(found, ours, readings, terms):
        return _refused(readings, terms, problem)
    return Plan(
        readings,
        Outcome.IMPORT,
        terms,
        found,
        left_out=() if terms.holders else found.holders,
        before=ours.max if now else None,
        new=not ours.holders,
    )


def _after(mark: TakenOver, found: AirlockSemaphore, readings: Readings, terms: Terms) -> Plan | None:
    """Say what is to be done with a group that was imported before; None: the same as with any other."""
    if found == mark.left and (found.closed or not terms.again):
        return Plan(readings, Outcome.DONE, terms, mark.before, why=f"it was imported {mark.describe()}")
    if terms.again:
        return None
    held = f", held by {named(found.holders)}" if found.holders else ""
    return _refused(
        readings,
        terms,
        f"it was imported {mark.describe()}, and airlock's semaphore was written since (total_slots is "
        f"{found.slots}{held}): stop airlock. If its slots are to be taken over once more, use --again",
    )


def _problem_there(found: AirlockSemaphore, terms: Terms, key: str) -> str:
    """Say what is wrong with airlock's semaphore; empty: nothing is."""
    if found.slots == 0:
        return f"{key} has no slot (total_slots is 0), so airlock lets no machine reboot: set the number there first"
    if terms.holders and len(found.holders) > found.slots:
        return (
            f"{key} has {len(found.holders)} holders and {found.slots} slots, so more machines may be down than it "
            f"allows: wait until airlock has released slots, or correct it ({named(found.holders)})"
        )
    if refused := [one for one in found.holders if terms.holders and id_problem(one)]:
        return (
            f"locksmith-server refuses the id of the holder {refused[0]!r:.80}, so its slot could never be released: "
            f"{id_problem(refused[0])}. Release it at airlock, or use --without-holders while no machine is down"
        )
    return ""


def _problem_here(found: AirlockSemaphore, ours: Semaphore, readings: Readings, terms: Terms) -> str:
    """Say what is in the way in the group itself; empty: nothing is."""
    if readings.share.entry is not None:
        return (
            "the number of its slots follows a share of its machines, which an import would end: "
            f"`locksmithctl set-max {found.slots}` ends it first"
        )
    if readings.semaphore.entry is not None and ours.max < 1:
        return (
            f"its max is {ours.max}, which keeps every machine from rebooting: if it is frozen, `locksmithctl thaw` "
            f"ends that first, else `locksmithctl set-max {found.slots}`"
        )
    wanted = found.holders if terms.holders else ()
    if ours.holders and ours.holders != wanted:
        others = [one for one in ours.holders if one not in wanted] or list(ours.holders)
        return (
            f"slots of the group are held here already, and not by the same machines ({named(others)}): wait until "
            "they are released, or see `locksmithctl unlock --stale`"
        )
    return ""


def _mark(entry: Entry | None) -> TakenOver | None:
    return airlock.decode_mark(entry.value, entry.key) if entry else None


def _refused(readings: Readings, terms: Terms, why: str) -> Plan:
    return Plan(readings, Outcome.REFUSED, terms, why=with_group(why, readings.group))
