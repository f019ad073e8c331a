"""The reporters of the loop: to the log, systemd and coordinator.conf (to metrics: metrics.py)."""

import logging
from dataclasses import replace

from locksmith.agent import events
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import sentence, state_of
from locksmith.agent.steps import Finish, ReportFailure, Request, Run, Step, Wait
from locksmith.errors import HostError
from locksmith.host.coordinator import Coordinator, CoordinatorState
from locksmith.host.notify import Notifier
from locksmith.lock.records import states
from locksmith.util.commands import naming_group

log = logging.getLogger(__name__)

FAILURES = {
    *states.ERRORS,
    "stuck",
    "retry",
    "given_up",
    "repeated",
    "max_per_day",
    "clone",
    "halt",
    "restored",
    "other_cluster",
}
"""The reasons to wait that an operator should look into."""


DRY_RUN = "DRY RUN: "
"""What a line about a machine that only rehearses begins with."""


class LogReporter:
    """Logs a line for each step, with its reason; a step that stays the same is not logged again.

    The system journal gets the fields of `agent/events.py` too.
    """

    def __init__(self, *, dry_run: bool = False) -> None:
        self._prefix = DRY_RUN if dry_run else ""
        self._last = ""
        self._waits_for = ""

    def show(self, step: Step, snapshot: Snapshot | None) -> None:
        """Log a new step. A repeated attempt after a no is not new, and neither is the same reason until a later time.

        A stage is mostly over at once; if it takes longer, the wait for it is logged.
        """
        news = sentence(replace(step, until=None) if isinstance(step, Wait) else step)
        if isinstance(step, Request | Run) or news == self._last:
            return
        self._last = news
        extra = events.of_step(step, snapshot, self._waits_for)
        self._waits_for = step.code if isinstance(step, Wait) else ""
        log.log(_level(step), "%s%s", self._prefix, sentence(step), extra=extra)

    def performed(self, step: Step) -> None:
        """Do nothing."""


def _level(step: Step) -> int:
    if isinstance(step, ReportFailure) or (isinstance(step, Wait) and step.code in states.SICK):
        return logging.ERROR
    failure = isinstance(step, Wait) and step.code in FAILURES
    return logging.WARNING if failure else logging.INFO


class SystemdReporter:
    """Sends `READY=1` at the first step, the reason as the unit's status, and a watchdog message each cycle."""

    def __init__(self, notifier: Notifier, group: str = "", *, dry_run: bool = False) -> None:
        self._notifier = notifier
        self._group = group
        self._prefix = DRY_RUN if dry_run else ""
        self._ready = False

    def show(self, step: Step, snapshot: Snapshot | None) -> None:  # noqa: ARG002 - part of the interface
        """Tell systemd."""
        if not self._ready:
            self._notifier.ready()
            self._ready = True
        self._notifier.status(f"{self._prefix}{naming_group(sentence(step), self._group)}")
        self._notifier.watchdog()

    def performed(self, step: Step) -> None:
        """Do nothing."""


class CoordinatorReporter:
    """Keeps coordinator.conf. A failure is logged once, tried again, and stops no reboot."""

    def __init__(self, coordinator: Coordinator, strategy: str) -> None:
        self._coordinator = coordinator
        self._strategy = strategy
        self._shown: CoordinatorState | None = None
        self._complained = False
        self.set(CoordinatorState.STARTING)

    def show(self, step: Step, snapshot: Snapshot | None) -> None:
        """Write the state when it changes."""
        self.set(_coordinator_state(step, wanted=snapshot is not None and bool(snapshot.needs)))

    def performed(self, step: Step) -> None:
        """Do nothing."""

    def set(self, state: CoordinatorState) -> None:
        """Write one state."""
        if state == self._shown:
            return
        try:
            self._coordinator.set(self._strategy, state)
        except HostError as error:
            log.log(logging.DEBUG if self._complained else logging.WARNING, "%s", error)
            self._complained = True
        else:
            self._shown, self._complained = state, False


def _coordinator_state(step: Step, *, wanted: bool) -> CoordinatorState:
    if isinstance(step, Finish):
        return CoordinatorState.DISABLED
    if state_of(step) in {states.REBOOTING, states.STUCK}:
        return CoordinatorState.REBOOTING
    return CoordinatorState.REBOOT_PLANNED if wanted else CoordinatorState.RUNNING
