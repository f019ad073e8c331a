"""The groups in numbers, as Prometheus gets them of the server: docs/metrics.md. Pure.

What the daemons serve of their group too has the same name and meaning (daemon/group_metrics.py). Here it is read from
all that the store has, so no figure is missing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from locksmith import __version__
from locksmith.daemon.group_sight import UNKNOWN, is_lost
from locksmith.fleet.holders import UNDER_WAY, HolderKind, holder_statuses
from locksmith.lock import machine_wire
from locksmith.lock.records import states
from locksmith.server.api_answers import Seen
from locksmith.server.app import GRANTED
from locksmith.server.refusal import RefusalKind

CALLS: Final = ("pre-reboot", "steady-state")
OUTCOMES: Final = (GRANTED, *(kind.value for kind in RefusalKind))
OTHER: Final = "other"
"""The state of a machine, or the call, of another version."""
OK, REFUSED, FAILED = "ok", "refused", "failed"
RESULTS: Final = (OK, REFUSED, FAILED)
"""How a call of a machine was answered."""
MACHINE_CALLS: Final = (*machine_wire.CALLS, OTHER)

_FIGURES: Final[Mapping[str, str]] = {
    "max": "How many slots the group has.",
    "held": "How many slots of the group are held.",
    "queued": "How many are queued for a slot.",
    "under_way": "How many machines hold a slot that they release by themselves.",
    "lost": "How many machines of the group hold a slot, and were not seen since their presence ended.",
    "overdue": "How many machines of the group are past their commit for longer than `reboot.limit`.",
    "halted": "1 while the rollout of the group is halted.",
    "frozen": "1 while an operator's freeze stops the group.",
    "unhealthy": "How many machines hold a slot, and did not prove themselves healthy after their reboot.",
    "failed": "How many machines hold a slot, and have rebooted without their update.",
    "orphaned": "How many machines hold a slot for a reboot that they do not remember.",
    "absent": "How many machines are remembered, and not present.",
    "reboot_needed": "How many machines of the group need a reboot.",
}

_UNDER_WAY: Final = {*UNDER_WAY, HolderKind.COMMAND, HolderKind.UNHEALTHY, HolderKind.FAILED}


def result_of(status: int) -> str:
    """Tell from the status of an answer how a call of a machine ended."""
    return OK if status < 400 else REFUSED if status < 500 else FAILED  # noqa: PLR2004 - HTTP's classes


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """A group in numbers; `at` is when it was read, as a Unix time."""

    figures: Mapping[str, float]
    states: Mapping[str, float]
    at: float = 0.0


class Figures(Collector):
    """The figures of one scrape."""

    def __init__(
        self,
        groups: Mapping[str, GroupFigures],
        calls: Mapping[tuple[str, str], int],
        machine_calls: Mapping[tuple[str, str], int],
    ) -> None:
        self._groups, self._calls, self._machine_calls = groups, calls, machine_calls

    def collect(self) -> Iterator[Metric]:
        """Give each metric."""
        for name, text in _FIGURES.items():
            yield _family(name, text, ((group, one.figures[name]) for group, one in self._groups.items()))
        yield _family(
            "seen_timestamp_seconds",
            "When this server last read the group, as a Unix time; 0 if it never did.",
            ((group, one.at) for group, one in self._groups.items()),
        )
        machines = GaugeMetricFamily(
            "locksmith_group_machines", "How many machines are present, by their state.", labels=["group", "state"]
        )
        for group, one in self._groups.items():
            for state, number in one.states.items():
                machines.add_metric([group, state], number)
        yield machines
        calls = CounterMetricFamily(
            "locksmith_server_calls",
            "Calls of FleetLock that this server answered, by the kind of the answer.",
            labels=["call", "kind"],
        )
        for (call, kind), number in self._calls.items():
            calls.add_metric([call, kind], number)
        yield calls
        of_machines = CounterMetricFamily(
            "locksmith_server_machine_calls",
            "Calls of daemons without etcd that this server answered, by their result.",
            labels=["call", "result"],
        )
        for (call, result), number in self._machine_calls.items():
            of_machines.add_metric([call, result], number)
        yield of_machines
        yield InfoMetricFamily("locksmith_build", "The version of locksmith.", {"version": __version__})


def _family(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"locksmith_group_{name}", text, labels=["group"])
    for group, value in values:
        family.add_metric([group], value)
    return family


_STATES: Final = (*states.ALL, OTHER)
NO_FIGURES: Final = GroupFigures(dict.fromkeys(_FIGURES, UNKNOWN), dict.fromkeys(_STATES, UNKNOWN))
"""What is known of a group that was never read."""


def figures_of(seen: Seen) -> GroupFigures:
    """Count a group."""
    view, held = seen.view, holder_statuses(seen.view)
    kinds = Counter(one.how for one in held)
    by_state = Counter(node.state for node in view.machines.values())
    figures = {
        "max": view.semaphore.max,
        "held": len(held),
        "queued": len(view.waiters),
        "under_way": sum(kinds[one] for one in _UNDER_WAY),
        "lost": sum(is_lost(one, seen.at) for one in held),
        "overdue": kinds[HolderKind.OVERDUE],
        "halted": seen.is_halted,
        "frozen": view.freeze is not None,
        "unhealthy": kinds[HolderKind.UNHEALTHY],
        "failed": kinds[HolderKind.FAILED],
        "orphaned": kinds[HolderKind.ORPHANED],
        "absent": len(view.absent),
        "reboot_needed": sum(bool(node.need) for node in view.machines.values()),
    }
    known: dict[str, float] = {state: by_state.pop(state, 0) for state in states.ALL}
    return GroupFigures(figures, {**known, OTHER: by_state.total()}, seen.at.timestamp())
