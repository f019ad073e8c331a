"""What Prometheus scrapes of the whole group: the same figures on each member, as old as its last check."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from locksmith.daemon.group_sight import UNKNOWN, GroupFigures

FRESH = 900.0
"""Seconds for which figures count: three checks. Older ones are not shown: another member may know better."""


class GroupMetrics:
    """The figures of one group; docs/metrics.md lists them."""

    def __init__(self, registry: CollectorRegistry, group: str, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._group = group
        self._clock = clock
        self._figures = GroupFigures()
        self._seen = 0.0
        self._queued = UNKNOWN
        self._add("max", "How many slots the group has.", lambda: self._fresh.slots)
        self._add("held", "How many slots of the group are held.", lambda: self._fresh.held)
        self._add(
            "queued",
            "How many were queued for a slot when this machine last read the queue; NaN while it is not queued.",
            lambda: self._queued,
        )
        self._add(
            "lost",
            "How many machines of the group hold a slot, and were not seen since their presence ended.",
            lambda: self._fresh.lost,
        )
        self._add(
            "overdue",
            "How many machines of the group are past their commit for longer than `reboot.limit`.",
            lambda: self._fresh.overdue,
        )
        self._add("halted", "1 while the rollout of the group is halted.", lambda: self._fresh.halted)
        self._add("frozen", "1 while an operator's freeze stops the group.", lambda: self._fresh.frozen)
        self._add(
            "seen_timestamp_seconds",
            "When this machine last read the figures of the group, as a Unix time; 0 if it never did.",
            lambda: self._seen,
        )

    def show(self, figures: GroupFigures) -> None:
        """Show these figures."""
        self._figures, self._seen = figures, self._clock()

    def queued(self, number: float) -> None:
        """Show how many are in the queue."""
        self._queued = number

    @property
    def _fresh(self) -> GroupFigures:
        return self._figures if self._clock() - self._seen < FRESH else GroupFigures()

    def _add(self, name: str, text: str, value: Callable[[], float]) -> None:
        gauge = Gauge(f"locksmith_group_{name}", text, ["group"], registry=self._registry)
        gauge.labels(self._group).set_function(value)
