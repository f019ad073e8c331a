"""What several swaps of one semaphore are together: one swap that does what they would do one after another. Pure.

A swap that was decided on an earlier value holds on a later one as well, if only swaps of other claims of this server
came in between. A release only frees. Of takes, as many fit as slots are free. A commit leaves the holders as they are.
Where another program wrote in between, the guard of the batch fails, as that of each swap does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import MOST_OPERATIONS, Also, Put


@dataclass(frozen=True, slots=True)
class Step:
    """What one swap does to the holders: ids that go, and ids that come; and what is written with it."""

    gone: frozenset[str]
    new: frozenset[str]
    also: Sequence[Also] = ()

    @classmethod
    def between(cls, before: Semaphore, after: Semaphore, also: Sequence[Also]) -> "Step | None":
        """Give what a swap does; None: it must go alone, as what was decided before it must not be done after it.

        That is a fence, which writes the same value and no record, and each change of the number of slots.
        """
        was, becomes = frozenset(before.holders), frozenset(after.holders)
        if before.max != after.max or (was == becomes and not any(isinstance(one, Put) for one in also)):
            return None
        return cls(was - becomes, becomes - was, also)

    def on(self, now: Semaphore) -> Semaphore | None:
        """Do it on this value; None: it does not fit there."""
        holders = frozenset(now.holders)
        left = holders - self.gone
        fits = self.gone <= holders and not self.new & left and (not self.new or len(left) + len(self.new) <= now.max)
        return Semaphore(now.max, tuple(sorted(left | self.new))) if fits else None


@dataclass(frozen=True, slots=True)
class Batch:
    """The steps, by their numbers, that go together; the value that they lead to, and all that is written with it."""

    picked: tuple[int, ...]
    after: Semaphore
    also: tuple[Also, ...]


def together(now: Semaphore, steps: Sequence[Step]) -> Batch:
    """Pick the steps that go together, the first to come first; those that do not fit now are left out.

    No key is written, or guarded, by two of them. There are no more keys than one swap may have.
    """
    picked: list[int] = []
    also: list[Also] = []
    keys: set[str] = set()
    for number, step in enumerate(steps):
        own = {one.key for one in step.also}
        if own & keys or len(also) + len(step.also) >= MOST_OPERATIONS or (after := step.on(now)) is None:
            continue
        now = after
        picked.append(number)
        also += step.also
        keys |= own
    return Batch(tuple(picked), now, tuple(also))
