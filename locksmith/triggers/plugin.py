"""The plugins of triggers: the entry-point group `locksmith.triggers`.

A callable that gets a `TriggerContext` makes a trigger: an object with the methods of `TriggerPlugin`. Another package
adds a trigger with an entry point of that group, as locksmith does for its own.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from locksmith.agent.facts import TriggerResult
from locksmith.agent.ports import Trigger
from locksmith.errors import UsageError
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.triggers.settings import TriggerSettings
from locksmith.triggers.untrusted import OnOperator
from locksmith.util.words import instead_of

ENTRY_POINTS = "locksmith.triggers"
FIRST = ("update-engine", "reboot-required", "kernel", "needs-restarting", "max-uptime")
"""The order of the triggers, if several want a reboot: the most telling first, those of other packages last."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """What a trigger may use. `on_operator` notes a reboot that root requests by a signal.

    `bus` is the loop's connection to logind and systemd: there a trigger listens to services that only root can be.
    Messages of any user come in on `public` (None: there is no other connection).
    """

    paths: Paths
    bus: SystemBus
    settings: TriggerSettings
    on_operator: OnOperator
    public: SystemBus | None = None


class TriggerPlugin(Trigger, Protocol):
    """A trigger, as the daemon makes it and ends it."""

    def found(self) -> bool:
        """Whether this machine has what the trigger reads: then it is used, unless the configuration forbids it."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when another check may give another result. The daemon calls this once, before the bus starts."""
        ...

    async def close(self) -> None:
        """End all that `listen` began."""
        ...


TriggerFactory = Callable[[TriggerContext], TriggerPlugin]


def make_triggers(context: TriggerContext) -> tuple[list[TriggerPlugin], dict[str, TriggerResult | None]]:
    """Make the triggers to use, in the order in which they count, and say of the others what is wrong (None: nothing).

    A trigger that the configuration names must work; otherwise `UsageError` says why it does not. Any other trigger
    that cannot be used is left out, so that the rest still work.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    use = context.settings.use
    if missing := [name for name in use if name not in points]:
        raise UsageError(f"there is no trigger {missing[0]!r}; installed are: {instead_of(missing[0], points)}")
    if use:
        return [_made(points[name], context) for name in use], dict.fromkeys(sorted(points.keys() - use, key=_rank))
    used: list[TriggerPlugin] = []
    others: dict[str, TriggerResult | None] = {}
    for name in sorted(points, key=_rank):
        try:
            used += _found(points[name], context)
        except UsageError as error:
            log.warning("%s; it is left out, as triggers.use does not name it", error)
            others[name] = TriggerResult(error=str(error))
    return used, {name: others.get(name) for name in sorted(points.keys() - {one.name for one in used}, key=_rank)}


def listen(triggers: Iterable[TriggerPlugin], wake: Callable[[], None]) -> None:
    """Have `wake` called when a check is worth it; a trigger that cannot tell is checked with every heartbeat."""
    for trigger in triggers:
        try:
            trigger.listen(wake)
        except Exception as error:  # noqa: BLE001 - as below
            log.warning("the trigger %r does not listen: %s: %s", trigger.name, type(error).__name__, error)


def _rank(name: str) -> tuple[int, str]:
    order: Sequence[str] = FIRST
    return (order.index(name) if name in order else len(order), name)


def _found(point: EntryPoint, context: TriggerContext) -> list[TriggerPlugin]:
    """Make a trigger; give it if this machine has what the trigger reads."""
    trigger = _made(point, context)
    with _usable(point):
        return [trigger] if trigger.found() else []


def _made(point: EntryPoint, context: TriggerContext) -> TriggerPlugin:
    with _usable(point):
        factory: TriggerFactory = point.load()
        trigger = factory(context)
        name = trigger.name
    if name != point.name:
        raise UsageError(f"{_cannot_be_used(point)}: it calls itself {name!r}")
    return trigger


@contextmanager
def _usable(point: EntryPoint) -> Iterator[None]:
    """Turn any error inside the block into a sentence: a plugin may fail in any way."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the daemon's answer is one sentence
        raise UsageError(f"{_cannot_be_used(point)}: {type(error).__name__}: {error}") from None


def _cannot_be_used(point: EntryPoint) -> str:
    return f"the trigger {point.name!r} ({point.value}) cannot be used"
