"""Whether a take that was sent may still win: its response was lost, or this program was stopped before it came."""

from enum import Enum, auto

DOUBT = 120.0
"""Seconds after which a take that was cut off no longer wins in practice. Until then a queued machine checks each time
whether it has a slot by now: otherwise it would wait for itself, and all others with it."""


class _Pending(Enum):
    """What is known of the last take."""

    NONE = auto()
    CUT_OFF = auto()
    EARLIER_RUN = auto()
    """An earlier run of this program may have sent it."""


class PendingTake:
    """The last take of one claim. Times are the event loop's."""

    def __init__(self) -> None:
        self._state = _Pending.NONE
        self._cut_off_at = 0.0

    @property
    def may_win(self) -> bool:
        """Whether it may still win, however long ago it was sent."""
        return self._state is not _Pending.NONE

    def is_recent(self, now: float) -> bool:
        """Whether it was cut off here so lately that it is worth checking again and again."""
        return self._state is _Pending.CUT_OFF and now - self._cut_off_at < DOUBT

    def decided(self) -> None:
        """Note that no take is on its way."""
        self._state = _Pending.NONE

    def cut_off(self, now: float) -> None:
        """Note that a take was sent, and its result is not known."""
        self._state, self._cut_off_at = _Pending.CUT_OFF, now

    def follow(self, *, of_earlier_run: bool) -> None:
        """Note that there is another claim, which an earlier run of this program may have made."""
        self._state = _Pending.EARLIER_RUN if of_earlier_run else _Pending.NONE
