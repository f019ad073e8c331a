"""An operator's word that another etcd cluster takes the place of the one that a machine has seen.

The machine reads it in that other cluster, of which nothing else counts. A `resume` counts only if it names both: the
cluster in which it was said, and the one whose place that takes. One that was said there for another reason, before or
since, names neither; one that a copy of the keys has brought along names another cluster. So no clock has a part in it.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from locksmith.errors import HostError
from locksmith.lock.admission import read_order
from locksmith.lock.records import keys
from locksmith.lock.records.order import RESTORED, Order
from locksmith.store.protocol import Known, NoObserver, Observer, Position, Store


class Mark(Protocol):
    """What a machine has seen of the store (host/seen_revision.py)."""

    def succeed(self, position: Position, order: Order) -> bool:
        """Believe another cluster from now on, if the order says so."""
        ...


class Whereabouts(NoObserver):
    """Notes which cluster answers, and how far it has come."""

    position = Position(0)

    def answered(self, position: Position, known: Known, *, linearizable: bool = True) -> None:
        """Take note of it."""
        del known, linearizable
        self.position = position


async def observe(connect: Callable[[Observer], Store], group: str, mark: Mark) -> None:
    """Read the group's `resume` in the cluster that answers, and tell the mark.

    `connect` opens a store that believes the first cluster that answers, and refuses endpoints that disagree: while the
    cluster before is there, no other takes its place. Errors are the store's.
    """
    here = Whereabouts()
    store = connect(here)
    try:
        entry = (await store.get(keys.resume_key(group))).entry
    finally:
        await store.close()
    order = read_order(entry, RESTORED)
    if isinstance(order, Order):
        with suppress(HostError):  # it changes nothing; the next check tries again
            mark.succeed(here.position, order)
