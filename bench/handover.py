"""`python -m bench.handover [--hand-overs N] [--up-to N]`: from a give-back to the next take, for lines of any length.

Real: etcd on v3, the lock and the line of the daemon for those in front. Those behind are places in line of the same
kind with raw watches, in a process of their own (crowd.py). The original's polling is computed (polling.py).
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import click

from bench import polling
from bench.lanes import Lane, open_lane
from bench.line import LOOKS_AT_V2, HandOver, QueuePosition
from locksmith.lock.queue_sight import KNOWN
from locksmith.store import etcd3, etcd3_wire
from locksmith.store.grpc import number
from locksmith.store.protocol import Put
from tests.harness.etcd import Etcd

SIZES = (2, 10, 100, 1_000, 10_000)
AIM, AIMED_AT = 4.0, 1_000
"""How many times as long as a guarded write a hand-over may take, at p50 and at p99, and with how many in line."""
REQUESTS_AIM = 4
WRITES_EACH = 3
"""Guarded writes that are timed after each hand-over."""
REBOOT = 5.0
"""Seconds for which a machine of the original holds the slot, as measured where its makespan was."""
SPARE = 2
"""How many more real ones stand in front than hand-overs are seen: the one that takes, and the one behind it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen at one length of the line, at rest and with its upkeep.

    `writes` are the milliseconds of guarded writes over a kept connection, done between the hand-overs; `memory` is
    etcd's, resident, in MiB.
    """

    waiters: int
    writes: Sequence[float]
    at_rest: Sequence[HandOver]
    kept_up: Sequence[HandOver]
    memory: float


@click.command()
@click.option(
    "--hand-overs", default=100, show_default=True, type=click.IntRange(2), help="How many, at most, at each length."
)
@click.option("--up-to", default=SIZES[-1], show_default=True, type=click.IntRange(10), help="The longest line.")
def main(hand_overs: int, up_to: int) -> None:
    """Measure hand-overs in lines of several lengths."""
    print("waiters   give-back to take     with upkeep        call to granted     guarded write   ", end="")
    print("  in writes  calls  etcd")
    print("          p50       p99       p50       p99       p50       p99       p50       p99   ", end="")
    print("   p50   p99          MiB")
    outcomes = []
    for size in (size for size in SIZES if size <= up_to):
        outcomes.append(asyncio.run(measure(size, hand_overs)))
        _show(outcomes[-1])
    _judge(outcomes)
    _show_polling([outcome.waiters for outcome in outcomes], outcomes, hand_overs)


async def measure(waiters: int, hand_overs: int) -> Outcome:
    """Measure one length, on an etcd of its own."""
    if waiters > KNOWN:
        # Whoever comes to a long line looks at it later: it is not to be at its front before that.
        hand_overs = min(hand_overs, waiters // 2 - SPARE)
    with Etcd() as etcd:
        async with QueuePosition(etcd, "bench", waiters, real=2 * hand_overs + SPARE) as line:
            bare, at_rest = BareWrites(await open_lane(etcd.endpoints[0])), []
            for _ in range(hand_overs):
                at_rest.append(await line.hand_over())
                await bare.write()
            line.keep_up()
            kept_up = [await line.hand_over() for _ in range(hand_overs)]
            return Outcome(waiters, bare.took, at_rest, kept_up, line.reading().memory)


class BareWrites:
    """Guarded writes of one key, as cheap as they can be; `took` are their times, in milliseconds."""

    def __init__(self, lane: Lane) -> None:
        self.took: list[float] = []
        self._lane = lane
        self._version = 0

    async def write(self) -> None:
        """Write a few times. The first one, on a connection that has rested, does not count."""
        for place in range(WRITES_EACH + 1):
            fields = etcd3_wire.transaction([Put("bench/bare", b"x" * 100, self._version)])
            began = time.perf_counter()
            answer = await self._lane.post(etcd3.TXN, fields)
            if place:
                self.took.append(1000 * (time.perf_counter() - began))
            self._version = number(answer["header"], "revision")


def _show(outcome: Outcome) -> None:
    columns = (
        *_quantiles(outcome.at_rest, lambda one: one.slot_free),
        *_quantiles(outcome.kept_up, lambda one: one.slot_free),
        *_quantiles(outcome.at_rest, lambda one: one.whole),
    )
    times, (p50, p99) = " ".join(f"{value:6.1f} ms" for value in (*columns, *_of_writes(outcome))), _in_writes(outcome)
    print(f"{outcome.waiters:7,} {times} {p50:7.1f} {p99:5.1f} {requests(outcome):6} {outcome.memory:5.0f}", flush=True)


def _of_writes(outcome: Outcome) -> tuple[float, float]:
    percent = statistics.quantiles(outcome.writes, n=100, method="inclusive")
    return percent[49], percent[98]


def _in_writes(outcome: Outcome) -> tuple[float, float]:
    """Say how many times as long as a guarded write a hand-over takes, each at p50 and at p99."""
    p50, p99 = _quantiles(outcome.at_rest, lambda one: one.slot_free)
    bare50, bare99 = _of_writes(outcome)
    return p50 / bare50, p99 / bare99


def requests(outcome: Outcome) -> int:
    """Count the requests for a hand-over: the median, because a waiter that prolongs its place meanwhile adds some."""
    return round(statistics.median(sum(one.requests.values()) for one in outcome.at_rest))


def _judge(outcomes: Sequence[Outcome]) -> None:
    typical = Counter(tuple(sorted(one.requests.items())) for one in outcomes[0].at_rest).most_common(1)[0][0]
    print("a hand-over is", ", ".join(f"{count} {method}" for method, count in typical if count))
    for outcome in outcomes:
        aim = f"{outcome.waiters:,} waiters: requests without watches and the look at v2 {bare_requests(outcome)}"
        print(f"{aim}: aim {REQUESTS_AIM}: {_met(bare_requests(outcome), REQUESTS_AIM)}")
        if outcome.waiters == AIMED_AT:
            p50, p99 = _in_writes(outcome)
            print(f"p50 and p99 in guarded writes, aim {AIM:g}: {_met(p50, AIM)}, {_met(p99, AIM)}")


def bare_requests(outcome: Outcome) -> int:
    """Count the same without watches and looks at v2."""
    left_out = {"Watch", LOOKS_AT_V2}
    counts = [sum(n for method, n in one.requests.items() if method not in left_out) for one in outcome.at_rest]
    return round(statistics.median(counts))


def _met(value: float, aim: float) -> str:
    return "met" if value <= aim else "MISSED"


def _show_polling(sizes: Sequence[int], outcomes: Sequence[Outcome], hand_overs: int) -> None:
    print(f"the original's polling, computed, each machine with the slot for {REBOOT:g} s: p50 and p99 of the gaps,")
    print("polls for a hand-over; and how many times as long the gap is (p50)")
    for size, outcome in zip(sizes, outcomes, strict=True):
        [p50, _] = _quantiles(outcome.at_rest, lambda one: one.slot_free)
        for within, words in ((1.0, "all ask at once"), (polling.LONGEST_PAUSE, "all ask within 5 minutes")):
            rng = Random(1)
            polled = polling.poll(size, within=within, reboot=REBOOT, hand_overs=hand_overs, rng=rng)
            gaps = statistics.quantiles(polled.gaps, n=100, method="inclusive")
            polls = statistics.median(polled.polls)
            times = 1000 * gaps[49] / p50
            print(f"{size:7,} {words:25} {gaps[49]:7.1f} s {gaps[98]:7.1f} s {polls:8,.0f} {times:10,.0f} times")


def _quantiles(found: Sequence[HandOver], of: Callable[[HandOver], float]) -> tuple[float, float]:
    percent = statistics.quantiles([1000 * of(one) for one in found], n=100, method="inclusive")
    return percent[49], percent[98]


if __name__ == "__main__":
    main()
