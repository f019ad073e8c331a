"""A limit on the rate of events that others can cause."""

from dataclasses import dataclass


@dataclass(slots=True)
class RateLimit:
    """Allows at most `burst` events at once, and `per_second` in the long run."""

    burst: float
    per_second: float
    _left: float | None = None
    _at: float = 0.0

    def allows(self, now: float) -> bool:
        """Count an event at `now` (seconds of a clock that never goes back); False: it is above the limit."""
        left = self.burst if self._left is None else self._left + (now - self._at) * self.per_second
        left, self._at = min(left, self.burst), now
        allowed = left >= 1
        self._left = left - 1 if allowed else left
        return allowed

    def refund(self) -> None:
        """Forget the last event that was allowed: it was none of those that are limited."""
        if self._left is not None:
            self._left = min(self._left + 1, self.burst)
