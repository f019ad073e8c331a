"""The metrics of the loop: its state and reasons, as gauges and counters of an injected registry."""

import logging
from contextlib import AbstractContextManager, closing, nullcontext

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from locksmith import __version__
from locksmith.agent.journal import Phase
from locksmith.agent.node_status import next_opening
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.state import state_of
from locksmith.agent.steps import Abort, Release, Step, Wait
from locksmith.config.model import MetricsSettings
from locksmith.daemon.metrics_server import MetricsServer, listen
from locksmith.daemon.metrics_tls import ServerCertificate
from locksmith.lock.answer import Granted
from locksmith.lock.records import states
from locksmith.lock.records.states import ERRORS

log = logging.getLogger(__name__)


class Metrics:
    """A reporter that keeps the metrics; docs/metrics.md lists them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
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
        self._show_wait(step)
        if snapshot is not None:
            self._show_snapshot(snapshot)

    def performed(self, step: Step) -> None:
        """Count a step that has succeeded."""
        if isinstance(step, Release):
            self._reboots.labels("completed").inc()
        elif isinstance(step, Abort) and step.failed:
            self._reboots.labels("failed").inc()

    def _show_wait(self, step: Step) -> None:
        self._waiting.clear()
        self._until.set(0)
        if isinstance(step, Wait):
            self._waiting.labels(step.code).set(1)
            self._until.set(step.until.timestamp() if step.until else 0)
            if step.code in ERRORS:
                self._errors.labels(step.code).inc()

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        entry, opens = snapshot.journal.entry, next_opening(snapshot)
        held = entry is not None and (entry.phase is Phase.COMMITTED or isinstance(snapshot.answer, Granted))
        self._needed.set(bool(snapshot.needs))
        self._held.set(held)
        self._window.set(opens.timestamp() if opens else 0)
        self._cycle.set(snapshot.now.timestamp())
