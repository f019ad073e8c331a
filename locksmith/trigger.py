"""Triggers: why a reboot may be needed. Plugins of the entry-point group `locksmith.triggers`.

A trigger is made by a callable that gets a `TriggerContext` and gives something with the methods of `Trigger`. Another
package adds one by naming it in that entry-point group; those that come with locksmith stand there too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from locksmith.errors import UsageError
from locksmith.host.bus import SystemBus
from locksmith.host.paths import Paths
from locksmith.snapshot import Boot, Sighting
from locksmith.triggers.settings import TriggerSettings
from locksmith.triggers.strangers import OnOperator

ENTRY_POINTS = "locksmith.triggers"
FIRST = ("update-engine", "reboot-required", "kernel", "needs-restarting", "max-uptime")
"""The order in which wishes count where several want a reboot: the most telling first, other packages' last."""


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """What a trigger may use. `on_operator` takes note of a reboot that root asks for in passing."""

    paths: Paths
    bus: SystemBus
    settings: TriggerSettings
    on_operator: OnOperator


class Trigger(Protocol):
    """One source of wishes. It ends by itself; whatever keeps it from looking is a doubt, never a wish."""

    name: str

    def found(self) -> bool:
        """Whether this machine has what it looks at: then it is used unless the configuration says otherwise."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when it is worth looking again. It is called once, in the loop, before the bus starts."""
        ...

    async def look(self, now: datetime, boot: Boot) -> Sighting:
        """Look now, within a limit."""
        ...

    async def close(self) -> None:
        """Let go of whatever it listens to."""
        ...


TriggerFactory = Callable[[TriggerContext], Trigger]


def make_triggers(context: TriggerContext) -> tuple[list[Trigger], list[str]]:
    """Make the triggers to use, in the order in which they count, and name those that this machine has no use for.

    `UsageError`: one that the configuration names is not installed, or one cannot be used.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    use = context.settings.use
    if missing := [name for name in use if name not in points]:
        raise UsageError(f"there is no trigger {missing[0]!r}; installed are: {', '.join(sorted(points)) or 'none'}")
    chosen = use or sorted(points, key=_rank)
    made = [_made(points[name], context) for name in chosen]
    used = made if use else [trigger for trigger in made if trigger.found()]
    unused = set(points) - {trigger.name for trigger in used}
    return used, sorted(unused, key=_rank)


def _rank(name: str) -> tuple[int, str]:
    order: Sequence[str] = FIRST
    return (order.index(name) if name in order else len(order), name)


def _made(point: EntryPoint, context: TriggerContext) -> Trigger:
    try:
        factory: TriggerFactory = point.load()
        trigger = factory(context)
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the daemon's answer is one sentence
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"the trigger {point.name!r} ({point.value}) cannot be used: {why}") from None
    if trigger.name != point.name:
        raise UsageError(f"the trigger {point.name!r} ({point.value}) cannot be used: it calls itself {trigger.name!r}")
    return trigger
