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
from bench.line import HandOver, QueuePosition
from locksmith.lock.queue_sight import KNOWN
from locksmith.lock.records import keys
from locksmith.store.connect import open_store
from tests.harness.etcd import Etcd

SIZES = (10, 100, 1_000, 10_000)
P50_AIM, P99_AIM, AIMED_AT = 10.0, 50.0, 1_000
"""Milliseconds from give-back to take, and with how many in line."""
REBOOT = 5.0
"""Seconds for which a machine of the original holds the slot, as measured where its makespan was."""
READS = 100
"""How often the read is timed that hand-overs are compared with."""
SPARE = 2
"""How many more real ones stand in front than hand-overs are seen: the one that takes, and the one behind it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen at one length of the line, at rest and with its upkeep.

    `read` is how long one read alone takes there, in milliseconds; `memory` is etcd's, resident, in MiB.
    """

    waiters: int
    read: float
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
    print("waiters   give-back to take     with upkeep        call to granted    p50 in  requests    etcd")
    print("          p50       p99       p50       p99       p50       p99       reads   of etcd     MiB")
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
            read = await _read_alone(etcd)
            at_rest = [await line.hand_over() for _ in range(hand_overs)]
            line.keep_up()
            kept_up = [await line.hand_over() for _ in range(hand_overs)]
            return Outcome(waiters, read, at_rest, kept_up, line.reading().memory)


async def _read_alone(etcd: Etcd) -> float:
    store = open_store(etcd.settings())
    taken = []
    for _ in range(READS):
        began = time.perf_counter()
        await store.get(keys.semaphore_key("bench"))
        taken.append(1000 * (time.perf_counter() - began))
    await store.close()
    return statistics.median(taken)


def _show(outcome: Outcome) -> None:
    columns = (
        *_quantiles(outcome.at_rest, lambda one: one.slot_free),
        *_quantiles(outcome.kept_up, lambda one: one.slot_free),
        *_quantiles(outcome.at_rest, lambda one: one.whole),
    )
    times, reads = " ".join(f"{value:6.1f} ms" for value in columns), columns[0] / outcome.read
    print(f"{outcome.waiters:7,} {times} {reads:7.1f} {requests(outcome):9} {outcome.memory:7.0f}", flush=True)


def requests(outcome: Outcome) -> int:
    """Count the requests for a hand-over: the median, because a waiter that prolongs its place meanwhile adds some."""
    return round(statistics.median(sum(one.requests.values()) for one in outcome.at_rest))


def _judge(outcomes: Sequence[Outcome]) -> None:
    typical = Counter(tuple(sorted(one.requests.items())) for one in outcomes[0].at_rest).most_common(1)[0][0]
    print("a hand-over is", ", ".join(f"{count} {method}" for method, count in typical if count))
    least, most = min(map(requests, outcomes)), max(map(requests, outcomes))
    print(f"requests for a hand-over the same at every length: {'met' if least == most else 'MISSED'}")
    for outcome in outcomes:
        if outcome.waiters == AIMED_AT:
            p50, p99 = _quantiles(outcome.at_rest, lambda one: one.slot_free)
            print(f"at {AIMED_AT:,}: p50 aim {P50_AIM:g} ms: {_met(p50, P50_AIM)}", end="; ")
            print(f"p99 aim {P99_AIM:g} ms: {_met(p99, P99_AIM)}")


def _met(value: float, aim: float) -> str:
    return "met" if value < aim else "MISSED"


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
