"""What happened in a rollout, and when: pure bookkeeping in seconds since its beginning."""

import time
from collections.abc import Iterable

DOWN, UP, RELEASED = "down", "up", "given back"


class Rollout:
    """The fleet's nodes by name, and the moments of each."""

    def __init__(self, names: list[str], slots: int) -> None:
        self.names = names
        self.slots = slots
        self.order: list[str] = []
        self.most_down = 0
        self._began = time.monotonic()
        self._moments: dict[tuple[str, str], float] = {}
        self._holders: set[str] = set()

    def begin(self) -> None:
        """Start the clock: from now on all nodes want to reboot."""
        self._began = time.monotonic()

    def note(self, name: str, event: str) -> None:
        """Take note that a node went down, or came up."""
        self._moments[name, event] = self.elapsed
        if event == DOWN:
            self.order.append(name)
        self.most_down = max(self.most_down, sum(self._is_down(other) for other in self.names))

    def hold(self, holders: Iterable[str]) -> None:
        """Take note of who holds a slot now."""
        self._holders = set(holders)
        for name in self.names:
            if (name, UP) in self._moments and name not in self._holders:
                self._moments.setdefault((name, RELEASED), self.elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning; the makespan once it is over."""
        return self.makespan if self.finished else time.monotonic() - self._began

    @property
    def finished(self) -> bool:
        """Whether every node has rebooted and given its slot back."""
        return all((name, RELEASED) in self._moments for name in self.names)

    @property
    def is_halfway(self) -> bool:
        """Whether about half of the nodes are done and another one is rebooting right now."""
        done = sum((name, RELEASED) in self._moments for name in self.names)
        return 2 * done >= len(self.names) - 1 and any(map(self._is_down, self.names))

    @property
    def makespan(self) -> float:
        """Seconds from the beginning to the last slot given back."""
        return max(self._moments.values(), default=0.0)

    @property
    def idle_share(self) -> float:
        """The share of all slots' time in which the slot's node was not down, while somebody still waited to go."""
        goes = [self._moments[name, DOWN] for name in self.names if (name, DOWN) in self._moments]
        if not goes or self.makespan == 0:
            return 0.0
        slots = min(self.slots, len(self.names))
        last = max(goes)
        busy = sum(min(self._moments.get((name, UP), last), last) - self._moments[name, DOWN] for name in self.order)
        return max(0.0, 1 - busy / (last * slots)) if last else 0.0

    def state(self, name: str) -> str:
        """Name a node's state for the table."""
        if self._is_down(name):
            return "rebooting"
        if (name, RELEASED) in self._moments:
            return "done"
        return "holds the slot" if name in self._holders else "wants a reboot"

    def times(self, name: str) -> list[float | None]:
        """Give when a node went down, came up, and gave its slot back."""
        return [self._moments.get((name, event)) for event in (DOWN, UP, RELEASED)]

    def _is_down(self, name: str) -> bool:
        return (name, DOWN) in self._moments and (name, UP) not in self._moments
