"""The gaps of a rollout: how long a slot stood idle from one machine's return to the next one's shutdown, and on what.

All moments are wall-clock seconds of one kernel: the machines of the benchmark are its containers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.recorder import Written
from locksmith.lock.records import claim, keys, semaphore
from locksmith.lock.records.claim import COMMITTED

PARTS = ("start", "give back", "take", "commit", "logind")
"""What a gap is made of; `Gap.parts` has them in this order."""


@dataclass(frozen=True, slots=True)
class Trip:
    """One machine's reboot.

    `down` is logind's last word before the shutdown, `started` the moment before PID 1 starts locksmithd in the next
    boot, `ready` when locksmithd says that it is there.
    """

    machine: str
    down: float
    started: float
    ready: float


@dataclass(frozen=True, slots=True)
class Gap:
    """From one machine's reboot to the next one's, and when the slot went from one to the other.

    `freed` and `taken` are the writes of the semaphore, `committed` that of the next one's record.
    """

    before: Trip
    after: Trip
    freed: float
    taken: float
    committed: float

    @property
    def idle(self) -> float:
        """Seconds from the one's being healthy, its locksmithd there, to the beginning of the next one's shutdown."""
        return self.after.down - self.before.ready

    @property
    def strict(self) -> float:
        """The same, with the start of locksmithd counted as idle too."""
        return self.after.down - self.before.started

    @property
    def parts(self) -> tuple[float, ...]:
        """Split `strict` into the `PARTS`."""
        moments = (
            self.before.started,
            self.before.ready,
            self.freed,
            self.taken,
            self.committed,
            self.after.down,
        )
        return tuple(later - earlier for earlier, later in pairwise(moments))


def find(trips: Iterable[Trip], written: Sequence[Written], group: str) -> list[Gap]:
    """Give the gaps, in order; `ValueError` where the writes don't tell one.

    `written` is everything below the group's prefix; trips are named by machine id.
    """
    in_order = sorted(trips, key=lambda trip: trip.down)
    return [_gap(before, after, written, group) for before, after in pairwise(in_order)]


def _gap(before: Trip, after: Trip, written: Sequence[Written], group: str) -> Gap:
    held = [(write.at, _holders(write)) for write in written if write.key == keys.semaphore_key(group)]
    commits = [write.at for write in written if _is_commit(write, group, after.machine)]
    freed = _first((at for at, holders in held if before.machine not in holders), before.started)
    taken = _first((at for at, holders in held if after.machine in holders), freed)
    return Gap(before, after, freed, taken, _first(commits, taken))


def _holders(write: Written) -> tuple[str, ...]:
    return semaphore.decode(write.value, write.key).holders if write.value else ()


def _is_commit(write: Written, group: str, machine: str) -> bool:
    if write.key != keys.holder_key(group, machine) or write.value is None:
        return False
    return claim.decode(write.value, write.key, machine).state == COMMITTED


def _first(moments: Iterable[float], after: float) -> float:
    found = [moment for moment in moments if moment >= after]
    if not found:
        raise ValueError("the semaphore's writes do not tell how the slot went on")
    return min(found)
