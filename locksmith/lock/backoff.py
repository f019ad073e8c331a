"""When a machine leaves the queue because it cannot take a slot itself, and when it returns. Pure.

The first in the queue blocks every machine after it. If its attempts to take a slot fail again and again, or if the
denial binds this machine alone, it leaves the queue, and enters it again after a pause that doubles each time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

FAILURES = 3
"""How many attempts in a row may fail before the first leaves the queue."""
FAILING_LIMIT = 60.0
"""Seconds for which attempts may fail before the first leaves the queue, however few they were."""
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds for which a machine stays out of the queue: at first, and at most; each pause is twice as long."""
JITTER = 0.5
"""The least share of a pause: machines that left together do not return together."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a machine has left the queue, and until when, in the event loop's time.

    `code` and `text` are the reason that every user sees. A change of `key` after `revision` ends it early; empty: none
    does.
    """

    code: str
    text: str
    ends: float
    key: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class _Failing:
    """Attempts that failed, one after another: since when, and how many."""

    since: float
    attempts: int


class BackOff:
    """How often one machine could not take a slot for reasons of its own. Times are the event loop's."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failing: _Failing | None = None
        self._absences = 0

    def denied(self, code: str, text: str, now: float, *, key: str, revision: int) -> Absence:
        """Leave the queue at once: the denial binds this machine alone."""
        return self._leave(Absence(code, text, now, key, revision))

    def failed(self, code: str, text: str, now: float, *, began: float) -> Absence | None:
        """Leave the queue if this attempt, which `began` then, was one too many; None: keep the place, and try again.

        A machine that has left before, and has taken no slot since, leaves after a single attempt.
        """
        before = self._failing or _Failing(began, 0)
        self._failing = _Failing(before.since, before.attempts + 1)
        if self._absences == 0 and self._failing.attempts < FAILURES and now - before.since < FAILING_LIMIT:
            return None
        return self._leave(Absence(code, text, now))

    def answered(self) -> None:
        """Take note that an attempt was answered with a denial that binds the whole group."""
        self._failing = None

    def forget(self) -> None:
        """Forget all failures and absences: this machine has taken a slot, or what it was denied for has changed."""
        self._failing, self._absences = None, 0

    def _leave(self, absence: Absence) -> Absence:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._absences, 10))
        self._absences += 1
        self._failing = None
        ends = absence.ends + self._rng.uniform(JITTER, 1.0) * longest
        return Absence(absence.code, absence.text, ends, absence.key, absence.revision)


class ReturnTime:
    """The time of day at which an absence ends, as people are told. The same absence ends at the same time."""

    def __init__(self) -> None:
        self._told: datetime | None = None

    def of(self, absence: Absence, now: float, clock: datetime) -> datetime:
        """Give the time, at `now` of the event loop and at `clock`; it changes only if the clock was stepped."""
        left = timedelta(seconds=max(0.0, absence.ends - now))
        until = (clock + left).replace(microsecond=0) + timedelta(seconds=1)
        if self._told is None or abs(until - self._told) > timedelta(seconds=2):
            self._told = until
        return self._told
