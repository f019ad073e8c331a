"""The machines that came up sick, over the time of a run. Pure."""

import heapq
import math


class Sick:
    """Machines that hold their slot from when it is `seen` that they are sick until they are repaired.

    Time only goes forward: each call is for a moment that is no earlier than the last one's.
    """

    def __init__(self, began: float) -> None:
        self._now = began
        self._coming: list[tuple[float, float]] = []
        self._repaired: list[float] = []
        self._held = 0.0

    def add(self, seen: float, repaired: float) -> None:
        """Note one; it may be seen later than now."""
        heapq.heappush(self._coming, (seen, repaired))

    def __bool__(self) -> bool:
        """Whether there is any, now or to come."""
        return bool(self._coming or self._repaired)

    def held(self, at: float) -> float:
        """Give for how long they have held slots until then, all together, in seconds."""
        self._go_on(at)
        return self._held

    def resumed(self, at: float, limit: int | None) -> float:
        """Give the first moment from `at` on at which there are fewer than `limit`, at which the group halts."""
        self._go_on(at)
        while limit is not None and len(self._repaired) >= limit:
            at = self._repaired[0]
            self._go_on(at)
        return at

    def _go_on(self, until: float) -> None:
        while True:
            seen = self._coming[0][0] if self._coming else math.inf
            repaired = self._repaired[0] if self._repaired else math.inf
            event = min(seen, repaired, until)
            self._held += len(self._repaired) * (event - self._now)
            self._now = event
            if repaired <= event:
                heapq.heappop(self._repaired)
            elif seen <= event:
                heapq.heappush(self._repaired, heapq.heappop(self._coming)[1])
            else:
                return
