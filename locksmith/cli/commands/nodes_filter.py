"""Which machines `nodes` shows: by state, name, trigger and strategy. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from locksmith.cli.table import Row
from locksmith.fleet.group import GroupView
from locksmith.lock.records.node import Node
from locksmith.util.words import listed

LISTS = ("holders", "waiters", "nodes", "absent")
"""The lists of a group's JSON that have machines."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Machines in one of `states` and with one of `names`, which are patterns like `web-*`; empty: any.

    A machine that is not present has no trigger and no strategy.
    """

    states: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether any machine is left out."""
        return bool(self.states or self.names or self.triggers or self.strategies)

    def of(self, view: GroupView, rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
        """Give the rows of those machines; a row has the machine's name first, then its state."""
        for machine_id, row in rows:
            named = self._is_named(row.cells[0]) and self._is_in_state(view, machine_id, row.cells[1])
            if named and self._says(view.machines.get(machine_id)):
                yield machine_id, row

    def none(self, rows: Iterable[tuple[str, Row]]) -> str:
        """Say that there is no such machine; a state that no machine has may be a typo."""
        states = sorted({row.cells[1].partition(" #")[0] for _, row in rows})
        return f"no machine here is shown by these filters; the states are {listed(states, 20) or 'none'}"

    def _is_named(self, name: str) -> bool:
        low = name.lower()
        known = (low, low.partition(".")[0])
        return not self.names or any(fnmatchcase(one, pattern.lower()) for one in known for pattern in self.names)

    def _says(self, node: Node | None) -> bool:
        """Whether a machine says of itself that it needs a reboot for one of the triggers, and has such a strategy."""
        trigger, strategy = (node.need, node.strategy) if node else ("", "")
        return (not self.triggers or trigger in self.triggers) and (not self.strategies or strategy in self.strategies)

    def _is_in_state(self, view: GroupView, machine_id: str, shown: str) -> bool:
        """Whether a machine is in one of the states, as it is shown (`queued #2`), or as the machine itself says."""
        node, low = view.machines.get(machine_id), shown.lower()
        known = {low, low.partition(" #")[0], low.removeprefix("dry run "), node.state if node else ""}
        return not self.states or any(state.lower() in known for state in self.states)


def only(fields: dict[str, object], ids: set[str]) -> dict[str, Any]:
    """Give a group's JSON with these machines alone in its lists; its sums stay those of the whole group."""
    return {
        name: [one for one in value if one["id"] in ids] if name in LISTS and isinstance(value, list) else value
        for name, value in fields.items()
    }
