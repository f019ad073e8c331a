"""Which etcd cluster a server believes, in the stores that all its groups share.

That is the first cluster that answers. Another one takes its place when an operator's `resume --replaces` says so, in
any group of the server: pages, metrics and machines without etcd then need no restart of the server.

A FleetLock client needs the `resume` of its own group (store_marks.py). So does a machine without etcd that has seen
the cluster before. A machine that is new has seen none, and gets its slot where the server asks.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial

from locksmith.lock import successor
from locksmith.lock.records.order import Order
from locksmith.store.cluster import Clusters
from locksmith.store.connect import open_store
from locksmith.store.protocol import Expecting, Observer, Position, Store
from locksmith.store.settings import StoreSettings

log = logging.getLogger(__name__)


class _Shared:
    """What the shared stores believe, as `successor.observe` tells it."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    def succeed(self, position: Position, order: Order) -> bool:
        """Believe another cluster from now on, if the order says so."""
        before = self._clusters.own
        if not before or order.cluster != position.cluster or before not in order.replaces:
            return False
        self._clusters.replace(position.cluster)
        log.warning("cluster %s counts from now on instead of %s: %s", position.cluster, before, order.describe())
        return True


def following(settings: StoreSettings, groups: Iterable[str]) -> Expecting:
    """Give what tells a store which cluster counts."""
    return following_by(partial(open_observed, settings), groups)


def following_by(connect: Callable[[Observer], Store], groups: Iterable[str]) -> Expecting:
    """Give the same; `connect` opens the store in which an operator's word is looked for."""
    observer, names = Expecting(str), tuple(groups)
    if (clusters := observer.clusters) is not None:
        clusters.resume = f"locksmithctl --group {names[0] if len(names) == 1 else 'GROUP'} resume"
        clusters.successor = partial(_look, connect, names, clusters)
    return observer


async def _look(connect: Callable[[Observer], Store], groups: Iterable[str], clusters: Clusters) -> None:
    """Look for such a `resume` in the cluster that answers. Errors are those of the store."""
    for group in groups:
        await successor.observe(connect, group, _Shared(clusters))


def open_observed(settings: StoreSettings, observer: Observer) -> Store:
    """Give a store whose answers the observer hears."""
    return open_store(settings, observer=observer)
