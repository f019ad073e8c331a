"""What the loop reaches, as small protocols. The daemon has real ports, the simulation has simulated ports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from locksmith.agent.facts import Blocker, Boot, RebootNeed, ShutdownState, Stage, TriggerResult, WindowSight
from locksmith.agent.identity import Target
from locksmith.agent.journal import FailedAttempt, Hooks, Journal, JournalEntry, PreRebootState
from locksmith.agent.permit import Permit
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Step
from locksmith.agent.strategy import Strategy
from locksmith.lock.records.node import Node
from locksmith.lock.records.past import LastReboot, Past

HEARTBEAT = 30.0
"""Seconds after which the loop observes again, unless an event wakes it earlier."""


class Trigger(Protocol):
    """Why a reboot may be needed, as the loop asks it (triggers/plugin.py has the rest of a plugin)."""

    name: str

    async def check(self, now: datetime, boot: Boot) -> TriggerResult:
        """Look now, within a limit. What prevents the look is an error in the result, never a need for a reboot."""
        ...


class Machine(Protocol):
    """What the loop needs of the machine it runs on."""

    async def boot(self) -> Boot:
        """Say which boot this is; `HostError` when that cannot be told."""
        ...

    async def shutdown_state(self) -> ShutdownState:
        """Say whether the machine is going down."""
        ...

    async def reboot(self, permit: Permit) -> None:
        """Ask for the reboot and read the reply: `RebootRefusedError`, `RebootUnknownError`.

        `permit` is held while the order is put on the wire. The order is not sent later.
        """
        ...

    async def before(self, need: RebootNeed | None) -> PreRebootState:
        """Say how this machine is before its reboot; `HostError`: that cannot be told."""
        ...

    def system(self) -> str:
        """Say what operating system runs (os-release(5)); empty: it does not say."""
        ...


class Gate(Protocol):
    """What may block a reboot. A gate that cannot look blocks."""

    name: str

    async def check(self, entry: JournalEntry | None) -> Sequence[Blocker]:
        """Look now, within a limit."""
        ...


class WindowSource(Protocol):
    """When this machine may reboot."""

    async def check(self, now: datetime, *, wanted: bool) -> WindowSight:
        """Say it; `wanted`: a reboot is. `StoreError`: what counts is in a store that does not answer."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


class Closable(Protocol):
    """What holds connections, which the loop closes at its end."""

    async def close(self) -> None: ...  # noqa: D102 - as the class says


class Users(Protocol):
    """Who is logged in, and their warning. `HostError`: logind does not say."""

    async def present(self) -> frozenset[str]:
        """Name the users whose sessions count."""
        ...

    async def warn(self, at: datetime, reason: str) -> None:
        """Tell them that this machine reboots."""
        ...

    async def call_off(self) -> None:
        """Take the warning back."""
        ...


class Stages(Protocol):
    """What runs at the same time as the loop, as it may take minutes."""

    def wanted(self, stage: Stage) -> bool:
        """Whether there is anything to do for it."""
        ...

    async def run(self, stage: Stage, entry: JournalEntry | None) -> Sequence[Blocker]:
        """Run it to its end, and give what went wrong. One that runs already, from before a restart, is waited for.

        Cancelled, it goes on by itself: `stop` ends it.
        """
        ...

    async def stop(self, stage: Stage, entry: JournalEntry) -> None:
        """End one that is under way."""
        ...


class JournalStore(Protocol):
    """The machine's memory (host/journal.py tells what each does)."""

    failed_writes: int

    def read(self) -> Journal: ...  # noqa: D102 - as the class says
    def begin(self, entry: JournalEntry) -> None: ...  # noqa: D102 - as the class says
    def commit(self, nonce: str, before: PreRebootState | None = None) -> None: ...  # noqa: D102 - as the class says
    def hooks(self, nonce: str, hooks: Hooks, taken: datetime | None = None) -> None: ...  # noqa: D102 - as the class says
    def report_failure(self, nonce: str, state: str, failure: str) -> None: ...  # noqa: D102 - as the class says
    def reopen(self, nonce: str) -> None: ...  # noqa: D102 - as the class says
    def fail(self, nonce: str, failure: FailedAttempt) -> None: ...  # noqa: D102 - as the class says
    def take_over(self, nonce: str, goes_on: Callable[[], bool]) -> None: ...  # noqa: D102 - as the class says
    def clear(  # noqa: D102 - as the class says
        self, nonce: str, *, done: LastReboot | None = None, past: Past = ()
    ) -> None: ...


class Presence(Protocol):
    """How the others of the group see this machine (presence.py)."""

    @property
    def clone(self) -> str:
        """Name another machine that was seen with this one's id; empty: none was."""
        ...

    async def show(self, now: Node) -> None:
        """Write what this machine does, where that is news."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when news that were put off are to be shown."""
        ...

    async def confirm(self, now: Node, longer: float) -> None:
        """Write, before the point of no return, that it goes down; afterwards `clone` is up to date."""
        ...

    async def leave(self) -> None:
        """End the record now: the daemon stops, and the machine holds nothing."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


class Reporter(Protocol):
    """What is told of each step: the log, systemd, the metrics, coordinator.conf."""

    def show(self, step: Step, snapshot: Snapshot | None) -> None:
        """Take note of the step the loop is about to perform; without a snapshot, observing itself failed."""
        ...

    def performed(self, step: Step) -> None:
        """Take note that a step has succeeded."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the loop reaches."""

    machine: Machine
    triggers: Sequence[Trigger]
    journal: JournalStore
    strategy: Callable[[Target], Strategy]
    """Makes the strategy for a target."""
    clock: Callable[[], datetime]
    """Gives aware local time."""
    reporters: Sequence[Reporter] = ()
    operator: Callable[[], bool] = lambda: False
    """Tells whether a `locksmithctl reboot` runs."""
    adopts: Callable[[], bool] = lambda: False
    """Tells whether this boot must still release a slot from before the reboot journal."""
    adopted: Callable[[], None] = lambda: None
    """Notes that it has done so."""
    presence: Presence | None = None
    """None: the strategy shares no store with a group."""
    windows: WindowSource | None = None
    """None: the machine may reboot at any time."""
    gates: Sequence[Gate] = ()
    """The cheap gates, asked at each observation while a reboot is needed. The expensive gates are a stage."""
    stages: Stages | None = None
    """None: there is nothing to run."""
    users: Users | None = None
    """None: no user has to be warned."""
    machines: Callable[[], int] = int
    """How many machines the group has; 0: that is not known."""
    heartbeat: float = HEARTBEAT
    """Seconds that the loop sleeps at most."""
