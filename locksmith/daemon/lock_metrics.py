"""What Prometheus scrapes of the lock, its queue, and the store under it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from locksmith.daemon.group_metrics import GroupMetrics
from locksmith.daemon.group_sight import UNKNOWN
from locksmith.store.meter import Meter
from locksmith.store.observed import KINDS, OK

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WAITS = (1.0, 10.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)
HOLDS = (5.0, 15.0, 30.0, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY)
"""Upper bounds of the histograms' buckets, in seconds."""


class LockMetrics(Meter):
    """The meter of a registry; docs/metrics.md lists them. `group` has the figures of the whole group."""

    def __init__(self, registry: CollectorRegistry, group: GroupMetrics | None = None) -> None:
        self._group = group
        self._waiters = Gauge(
            "locksmith_queue_waiters",
            "How many were queued for a slot when this machine last read the queue; 0 while it is not queued.",
            registry=registry,
        )
        self._position = Gauge(
            "locksmith_queue_position",
            "This machine's place in the queue, 1 for the first; 0 while it is not queued.",
            registry=registry,
        )
        self._waited = Histogram(
            "locksmith_wait_seconds",
            "How long this machine waited for the slots that it released.",
            buckets=WAITS,
            registry=registry,
        )
        self._held = Histogram(
            "locksmith_held_seconds",
            "How long this machine held the slots that it released.",
            buckets=HOLDS,
            registry=registry,
        )
        self._handovers = Counter("locksmith_handovers", "Slots that this machine had and released.", registry=registry)
        self._races = Counter(
            "locksmith_lost_races", "Guarded writes of the lock that came too late.", registry=registry
        )
        self._requests = Counter(
            "locksmith_store_requests",
            "Calls of the store, by their kind and result.",
            ["kind", "result"],
            registry=registry,
        )
        self._restarts = Counter(
            "locksmith_watch_restarts", "Watches that broke and were opened again.", registry=registry
        )
        self._presence = Gauge(
            "locksmith_presence_timestamp_seconds",
            "When this machine's presence was last written or prolonged, as a Unix time; 0 if it never was.",
            registry=registry,
        )
        self._clones = Gauge(
            "locksmith_clones", "1 while another machine is seen with this machine's id.", registry=registry
        )
        self._went_back = Gauge(
            "locksmith_store_went_back",
            "1 while this machine takes no slot, because it has seen the store go back in time; "
            "`locksmithctl resume` ends that.",
            registry=registry,
        )
        self._other_cluster = Gauge(
            "locksmith_other_cluster",
            "1 while an endpoint belongs to another etcd cluster than this machine has seen before.",
            registry=registry,
        )
        for kind in KINDS:
            self._requests.labels(kind, OK)

    def request(self, kind: str, result: str) -> None:
        """Count a call of the store."""
        self._requests.labels(kind, result).inc()

    def watch_restarted(self) -> None:
        """Count the event."""
        self._restarts.inc()

    def lost_race(self) -> None:
        """Count the event."""
        self._races.inc()

    def queued(self, position: int, waiters: int) -> None:
        """Show the queue."""
        self._position.set(position)
        self._waiters.set(waiters)
        if self._group is not None:
            self._group.queued(waiters if position else UNKNOWN)

    def gave_back(self, waited: float, held: float) -> None:
        """Count a released slot."""
        self._handovers.inc()
        self._waited.observe(waited)
        self._held.observe(held)

    def present(self, moment: float) -> None:
        """Show when the group last saw this machine."""
        self._presence.set(moment)

    def went_back(self, *, back: bool) -> None:
        """Show whether the store went back."""
        self._went_back.set(int(back))

    def other_cluster(self, *, seen: bool) -> None:
        """Show whether there is another."""
        self._other_cluster.set(int(seen))

    def clones(self, machines: int) -> None:
        """Show whether there is another."""
        self._clones.set(machines)
