"""`python -m bench.contention [--seconds S]`: 2 to 64 processes take one semaphore on etcd v3 from each other.

Exit status 1 when there ever were more holders than slots: in etcd's history, or by the processes' own clock; or when
a take that a process was told of is not in that history.
"""

import asyncio
import itertools
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from bench import contender, history
from bench.contender import Contest, Tally, Turn
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.connect import open_store
from tests.harness.etcd import Etcd

CONTESTS = ((2, 1), (4, 1), (8, 1), (16, 1), (32, 1), (64, 1), (16, 3))
"""How many processes contend, for how many slots."""

HEADINGS = (
    "processes  max  takes/s  ratio  lost races  no slot   take + give back   wish to given back",
    "                                  per take  per take    p50       p99       p50       p99",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one contest went."""

    processes: int
    slots: int
    seconds: float
    tallies: Sequence[Tally]
    written: Sequence[Semaphore]

    @property
    def turns(self) -> list[Turn]:
        """Every slot that was held, by whichever process."""
        return [turn for tally in self.tallies for turn in tally.turns]

    @property
    def rate(self) -> float:
        """Takes per second, of all processes together."""
        return len(self.turns) / self.seconds

    @property
    def problems(self) -> list[str]:
        """Say what must never happen and did."""
        most, at_once = max(len(value.holders) for value in self.written), most_at_once(self.turns)
        found = [
            (most > self.slots, f"{most} holders in etcd's history"),
            (at_once > self.slots, f"{at_once} processes held a slot at once"),
            (takes(self.written) != len(self.turns), f"{takes(self.written)} takes in etcd's history"),
        ]
        failures = [tally.failure for tally in self.tallies if tally.failure]
        return [text for wrong, text in found if wrong] + failures


def most_at_once(turns: Iterable[Turn]) -> int:
    """Count how many held a slot at the same time, by their own clock; who gives back just then holds it no more."""
    changes = sorted(change for turn in turns for change in ((turn.taken, 1), (turn.giving, -1)))
    return max(itertools.accumulate(change for _, change in changes), default=0)


def takes(written: Sequence[Semaphore]) -> int:
    """Count the holders that entered, from one write to the next."""
    return sum(len({*now.holders} - {*before.holders}) for before, now in itertools.pairwise(written))


@click.command()
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1), help="How long each contest is.")
def main(seconds: float) -> None:
    """Measure the lock under contention, and prove that it never let in too many."""
    print(*HEADINGS, sep="\n")
    with Etcd() as etcd:
        outcomes: list[Outcome] = []
        for count, slots in CONTESTS:
            outcomes.append(contest(etcd, count, slots, seconds))
            _show(outcomes[-1], outcomes[0].rate)
    writes = sum(len(outcome.written) for outcome in outcomes)
    good = not any(outcome.problems for outcome in outcomes)
    print(f"{writes} writes of the semaphore:", "at no time more holders than max" if good else "VIOLATED")
    sys.exit(not good)


def _show(outcome: Outcome, first: float) -> None:
    print(_row(outcome, first))
    for problem in outcome.problems:
        print(f"  PROBLEM: {problem}; {outcome.slots} slots, {len(outcome.turns)} takes told of")


def contest(etcd: Etcd, count: int, slots: int, seconds: float) -> Outcome:
    """Let `count` processes contend for a group's `slots`."""
    group = f"{count} for {slots}"
    asyncio.run(_set_max(etcd, group, slots))
    tallies = _contend(Contest(etcd.settings(), group, seconds), count)
    return Outcome(count, slots, seconds, tallies, history.semaphores(etcd, group))


async def _set_max(etcd: Etcd, group: str, slots: int) -> None:
    lock = RebootLock(open_store(etcd.settings()), group)
    await LockAdmin(lock.guarded).set_max(slots)
    await lock.close()


def _contend(contest: Contest, count: int) -> list[Tally]:
    # Each child a fork of a server that has imported everything and runs no thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([contender.__name__])
    start, tallies = context.Barrier(count), context.Queue()
    children = [context.Process(target=contender.run, args=(contest, start, tallies)) for _ in range(count)]
    for child in children:
        child.start()
    limit = contender.START_LIMIT + contest.seconds
    told = [tallies.get(timeout=limit) for _ in children]
    for child in children:
        child.join()
    return told


def _row(outcome: Outcome, first: float) -> str:
    turns = outcome.turns
    if len(turns) < 2:  # noqa: PLR2004 - quantiles need two
        return f"{outcome.processes:9} {outcome.slots:4}  no more than {len(turns)} takes"
    lost, denied = sum(t.lost_races for t in outcome.tallies), sum(t.denied for t in outcome.tallies)
    columns = [*_quantiles([turn.work for turn in turns]), *_quantiles([turn.whole for turn in turns])]
    return (
        f"{outcome.processes:9} {outcome.slots:4} {outcome.rate:8.1f} {outcome.rate / first:6.2f} "
        f"{lost / len(turns):11.2f} {denied / len(turns):8.1f} " + " ".join(f"{1000 * x:6.0f} ms" for x in columns)
    )


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    percent = statistics.quantiles(values, n=100, method="inclusive")
    return percent[49], percent[98]


if __name__ == "__main__":
    main()
