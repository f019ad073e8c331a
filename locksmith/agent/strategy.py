"""Strategies: how permission to reboot is obtained. Plugins of the entry-point group `locksmith.strategies`.

A strategy is a class that is called with a `StrategyContext` and has the methods of `Strategy`. Another package adds
one by naming it in that entry-point group; nothing here has to change.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from locksmith.agent.fleet_lock import FleetLockSettings
from locksmith.agent.fleet_server import FleetServerSettings
from locksmith.errors import UsageError
from locksmith.lock.admission import Watermark
from locksmith.lock.answer import Answer
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.records.claim import Claim
from locksmith.util.words import instead_of

ENTRY_POINTS = "locksmith.strategies"


def _no_mark() -> Watermark:
    raise NotImplementedError  # for strategies without servers


@dataclass(frozen=True, slots=True)
class StrategyContext:
    """What a strategy may use."""

    group: str
    open_lock: Callable[[], QueuedLock]
    """Connect to the group's lock. Nothing is connected before this call."""
    adopt: bool = False
    """Whether to release a slot that this machine holds without a record, as in a fleet of legacy nodes."""
    machine_id: Callable[[], str] = str
    """Read this machine's id. `HostError`: it has none."""
    asking: Callable[[], None] = lambda: None
    """Write down that a slot may be asked for, before that is sent. `HostError`: then it must not be sent."""
    fleet_lock: FleetLockSettings = field(default_factory=FleetLockSettings)
    """The table `[fleet-lock]`. A strategy of another package has its settings in a file of its own."""
    fleet_server: FleetServerSettings = field(default_factory=FleetServerSettings)
    """The table `[fleet-server]`."""
    mark: Callable[[], Watermark] = _no_mark
    """Give what this machine has seen of the store that the servers act on."""


class Strategy(Protocol):
    """One way to obtain permission. Every call is idempotent, ends by itself, and may be repeated after a crash.

    Any `LocksmithError` counts as a no, is shown as the reason to wait, and the call is tried again later.
    """

    reboots: bool
    """False: never. The daemon releases what its reboot journal names, and ends."""
    present: bool
    """True: the machines share a store of the group's, and show each other there what they do (presence.py)."""

    async def request(self, claim: Claim) -> Answer:
        """Answer whether this machine may reboot now."""
        ...

    async def changed(self, limit: float) -> bool:
        """Wait until it is worth asking again after a denial; False after `limit` seconds."""
        ...

    async def commit(self, claim: Claim) -> Answer:
        """Look a last time whether the permission still stands, and make it irrevocable."""
        ...

    async def report_failure(self, claim: Claim, state: str, failure: str) -> bool:
        """Show what went wrong with the reboot (`unhealthy` or `failed`, and a sentence): the permission stays taken.

        True: an operator has acknowledged it, or no operator can. Then a healthy machine releases its slot.
        """
        ...

    async def abort(self, claim: Claim, reason: str) -> None:
        """Remove a request, or release a permission that was not used; `reason` says why, for a person."""
        ...

    async def complete(self, claim: Claim) -> None:
        """Release the permission after a healthy boot."""
        ...

    async def adopt(self, holder: str) -> bool:
        """Release what this machine held before it had a reboot journal; True: there was such a slot."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


@runtime_checkable
class AsksServer(Protocol):
    """What a strategy has in addition if a server grants its slots, and no store of the group does. Optional."""

    server: str
    """Names the server in a sentence, with its URL, the group, and this machine's id there."""

    def recheck(self) -> None:
        """Ask the server at the next request, however recently it was asked."""
        ...

    async def contact(self) -> str:
        """Say in a few words how the server answers, and change nothing there; any `LocksmithError`: it does not."""
        ...


def asks_server(strategy: Strategy) -> AsksServer | None:
    """Give a strategy whose slots a server grants; None: this strategy has a store, or no slots."""
    return strategy if isinstance(strategy, AsksServer) else None


def has_slots(strategy: Strategy) -> bool:
    """Whether the permission of a strategy is a slot, for which other machines may wait."""
    return strategy.present or asks_server(strategy) is not None


StrategyFactory = Callable[[StrategyContext], Strategy]


def installed() -> list[str]:
    """Name the strategies that are installed."""
    return sorted({point.name for point in entry_points(group=ENTRY_POINTS)})


def make(name: str, context: StrategyContext) -> Strategy:
    """Make a strategy by its name. `UsageError` lists those that are installed, or says why this one can't be used."""
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            return _made(point.load(), context)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the daemon's answer is one sentence
            why = f"{type(error).__name__}: {error}"
            raise UsageError(f"the strategy {name!r} ({point.value}) cannot be used: {why}") from None
    raise UsageError(f"there is no strategy {name!r}; installed are: {instead_of(name, installed())}")


def _made(factory: StrategyFactory, context: StrategyContext) -> Strategy:
    strategy = factory(context)
    for name in ("reboots", "present"):
        if not isinstance(getattr(strategy, name, None), bool):
            raise TypeError(f"its `{name}` must be True or False")
    return strategy
