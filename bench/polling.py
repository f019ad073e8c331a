"""The original's waiting, computed: everybody polls, with a pause that is doubled from 5 seconds up to 5 minutes.

Computed, because at its pace one run would take hours. It doubles the 5 seconds before its first pause: so four
machines take 70 s and eight 910 s, and 71 s and 911 s were measured.
"""

import heapq
from dataclasses import dataclass, field
from random import Random

FIRST_INTERVAL, LONGEST_PAUSE = 5.0, 300.0
"""Seconds."""


@dataclass(slots=True)
class Polled:
    """How a fleet fared: seconds from each give-back to the next take, and the polls that each needed."""

    gaps: list[float] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)
    ended: float = 0.0


def poll(waiters: int, *, within: float, reboot: float, hand_overs: int, rng: Random) -> Polled:
    """Let one take the only slot and `waiters` begin to poll `within` seconds; each holds it for `reboot` seconds.

    Seen until so many hand-overs are done, or nobody waits any more.
    """
    asking = [(rng.uniform(0, within), FIRST_INTERVAL) for _ in range(waiters)]
    heapq.heapify(asking)
    polled, free_at, polls = Polled(), reboot, 0
    while asking and len(polled.gaps) < hand_overs:
        now, interval = heapq.heappop(asking)
        polls += 1
        if now < free_at:
            pause = min(2 * interval, LONGEST_PAUSE)
            heapq.heappush(asking, (now + pause, pause))
            continue
        polled.gaps.append(now - free_at)
        polled.polls.append(polls)
        free_at, polls = now + reboot, 0
    polled.ended = free_at
    return polled
