"""When a machine asks etcd, where all machines of a large group would ask at one moment. Pure.

A window opens, or an update appears, on all machines in the same second. Thousands of machines that ask then make etcd
so slow that each call ends at its limit. All of them ask again, and the work that was done is lost. So each machine of
a large group draws a moment of its own. A machine whose call fails all the same draws another, from a longer time.

A group of up to `PER_SECOND` machines is not spread at all.
"""

from random import Random

PER_SECOND = 100
"""How many machines may begin to ask in a second: each sends five requests, which cost etcd some 5 ms of CPU."""
RETRY, LONGEST_RETRY = 5.0, 60.0
"""Seconds after which a step that failed is tried again: at first, and at most."""
SOON = 3
"""How many failures in a row are tried again soon; after that each pause is twice as long."""
MOST_DOUBLINGS = 16
"""How often a pause is doubled at most: the longest pause is reached long before."""
WIDEST = 8
"""How many times as long as its first spread a large group spreads at most, where etcd bears less than expected."""


def spread(machines: int) -> float:
    """Say over how many seconds a group of so many machines spreads what all of them may want at one moment."""
    return machines / PER_SECOND if machines > PER_SECOND else 0.0


def wider(wide: float, failures: int) -> float:
    """Say over how many seconds a group spreads after so many failures in a row, each longer than the one before."""
    return wide * min(WIDEST, 2.0 ** min(failures, MOST_DOUBLINGS))


def pause(failures: int, rng: Random, arriving: int | None = None) -> float:
    """Say for how many seconds to pause after so many failures in a row.

    `arriving`: so many machines (0: that is not known) may have come at this moment, and failed; None: a few at most.
    Machines that failed at the same moment do not ask again at the same moment.
    """
    longer = min(LONGEST_RETRY, RETRY * 2.0 ** min(max(0, failures - SOON), MOST_DOUBLINGS))
    if (wide := wider(spread(arriving or 0), failures)) > longer:
        return rng.uniform(RETRY / 2, wide)
    return RETRY if longer == RETRY and arriving != 0 else rng.uniform(longer / 2, longer)


class Arrival:
    """The moment at which this machine asks, counted from when it became able to. Times are the event loop's."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._share = rng.random()
        self._since: float | None = None

    def left(self, machines: int, now: float) -> float:
        """Give the seconds that are left until this machine may ask, in a group of so many."""
        gone = 0.0 if self._since is None else now - self._since
        return max(0.0, self._share * spread(machines) - gone)

    def note(self, now: float, *, able: bool) -> None:
        """Take note whether this machine is able to ask: nothing but its moment keeps it from that."""
        if not able and self._since is not None:
            self._since, self._share = None, self._rng.random()
        elif able and self._since is None:
            self._since = now
