"""The metrics of the loop: its state and reasons, as gauges and counters of an injected registry.

A series is there from the start, and stays. If the loop tries again after an error, or asks again for a slot, the
reason of its wait stays too. So an alert that needs a reason for 15 minutes is not interrupted by each attempt.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from locksmith import __version__
from locksmith.agent.facts import Stage
from locksmith.agent.journal import Phase
from locksmith.agent.node_status import next_opening
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import state_of
from locksmith.agent.steps import Abort, Finish, Idle, Release, Request, Run, Step, Wait
from locksmith.config.model import MetricsSettings
from locksmith.daemon.metrics_server import MetricsServer
from locksmith.lock.answer import Granted
from locksmith.lock.records import states
from locksmith.lock.records.states import ERRORS, REASONS
from locksmith.util.listener import listen
from locksmith.util.server_certificate import ServerCertificate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while a daemon runs."""

    group: str = ""
    strategy: str = ""
    dry_run: bool = False


class Metrics:
    """A reporter that keeps the metrics; docs/metrics.md lists them."""

    def __init__(
        self, registry: CollectorRegistry, identity: Identity | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._reason = ""
        self._failing_since = 0.0
        self._state = Gauge(
            "locksmith_state", "1 for the state this machine is in, 0 for the others.", ["state"], registry=registry
        )
        self._waiting = Gauge(
            "locksmith_waiting", "1 for the reason this machine waits, if it does.", ["reason"], registry=registry
        )
        self._until = Gauge(
            "locksmith_wait_until_timestamp_seconds",
            "When the present wait ends, as a Unix time; 0 if it does not wait, or the end is unknown.",
            registry=registry,
        )
        self._needed = Gauge(
            "locksmith_reboot_needed", "1 when at least one trigger says that a reboot is needed.", registry=registry
        )
        self._wanted = Gauge(
            "locksmith_wanted_since_timestamp_seconds",
            "Since when a reboot is needed, as a Unix time; 0 if none is.",
            registry=registry,
        )
        self._failing = Gauge(
            "locksmith_failing_since_timestamp_seconds",
            "Since when an error keeps the loop from its next step, as a Unix time; 0 if none does.",
            registry=registry,
        )
        self._held = Gauge("locksmith_lock_held", "1 when this machine holds permission to reboot.", registry=registry)
        self._window = Gauge(
            "locksmith_next_window_timestamp_seconds",
            "When the present or next reboot window opens, as a Unix time; 0 if the machine may reboot at any time.",
            registry=registry,
        )
        self._cycle = Gauge(
            "locksmith_last_cycle_timestamp_seconds",
            "When the loop last observed this machine, as a Unix time.",
            registry=registry,
        )
        self._errors = Counter(
            "locksmith_errors",
            "Steps of the loop that failed, by the part that failed.",
            ["component"],
            registry=registry,
        )
        self._reboots = Counter(
            "locksmith_reboots",
            "Reboots completed, and reboots that were asked for and failed.",
            ["result"],
            registry=registry,
        )
        Info("locksmith_build", "The version of locksmith.", registry=registry).info({"version": __version__})
        own = identity or Identity()
        info = Info(
            "locksmith", "The group and strategy of this machine, and whether it is in a dry run.", registry=registry
        )
        info.info({"group": own.group, "strategy": own.strategy, "dry_run": str(own.dry_run).lower()})
        for reason in REASONS:
            self._waiting.labels(reason)
        for component in ERRORS:
            self._errors.labels(component)
        for result in ("completed", "failed"):
            self._reboots.labels(result)

    def serve(self, settings: MetricsSettings) -> AbstractContextManager[object]:
        """Serve the registry over HTTP(S) until the end of the context that this gives.

        If the port cannot be used, this is logged and never fatal: reboots matter more.
        """
        try:
            server = self._start(settings)
        except (OSError, OverflowError, ValueError, RuntimeError) as error:
            log.error("metrics are not served: %s:%d: %s", settings.address, settings.port, error)  # noqa: TRY400
            return nullcontext()
        log.info("metrics on %s:%d", settings.address, server.port)
        return closing(server)

    def _start(self, settings: MetricsSettings) -> MetricsServer:
        context = None
        if settings.certfile and settings.keyfile:
            context = ServerCertificate(settings.certfile, settings.keyfile).context
        server = MetricsServer(listen(settings.address, settings.port), self._registry, context)
        server.start()
        return server

    def show(self, step: Step, snapshot: Snapshot | None) -> None:
        """Show the step; without a snapshot its metrics stay as they are."""
        current = state_of(step)
        for state in states.ALL:
            self._state.labels(state).set(state == current)
        self._show_wait(step, snapshot)
        if snapshot is not None:
            self._show_snapshot(snapshot)

    def performed(self, step: Step) -> None:
        """Count a step that has succeeded; after it no error is in the way."""
        if not isinstance(step, Wait | Request) and self._reason in ERRORS:
            self._show_reason("")
        if isinstance(step, Release):
            self._reboots.labels("completed").inc()
        elif isinstance(step, Abort) and step.failed:
            self._reboots.labels("failed").inc()

    def _show_wait(self, step: Step, snapshot: Snapshot | None) -> None:
        if isinstance(step, Wait):
            self._show_reason(step.code)
            self._until.set(step.until.timestamp() if step.until else 0)
            if step.code in ERRORS:
                self._errors.labels(step.code).inc()
            return
        self._until.set(0)
        if not self._keeps_reason(step, snapshot):
            self._show_reason("")

    def _keeps_reason(self, step: Step, snapshot: Snapshot | None) -> bool:
        """Whether a step only tries what failed once more, or asks once more for what there was to wait for."""
        if isinstance(step, Idle | Finish):
            return False
        if self._reason in ERRORS or isinstance(step, Request):
            return True
        granted = snapshot is not None and isinstance(snapshot.answer, Granted)
        return isinstance(step, Run) and step.stage is Stage.CHECKS and not granted

    def _show_reason(self, reason: str) -> None:
        if self._reason and self._reason != reason:
            self._waiting.labels(self._reason).set(0)
        if reason:
            self._waiting.labels(reason).set(1)
        if reason not in ERRORS:
            self._failing_since = 0
        elif not self._failing_since:
            self._failing_since = self._clock()
        self._failing.set(self._failing_since)
        self._reason = reason

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        entry, opens = snapshot.journal.entry, next_opening(snapshot)
        held = entry is not None and (entry.phase is Phase.COMMITTED or isinstance(snapshot.answer, Granted))
        self._needed.set(bool(snapshot.needs))
        self._wanted.set(min((need.since.timestamp() for need in snapshot.needs), default=0))
        self._held.set(held)
        self._window.set(opens.timestamp() if opens else 0)
        self._cycle.set(snapshot.now.timestamp())
