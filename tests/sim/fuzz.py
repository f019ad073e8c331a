"""Runs seed after seed for as long as asked, on all cores: `make fuzz MINUTES=5`.

It tells how many machines rebooted, and which faults they met; a seed that breaks a rule is shrunk, told, and ends it.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count

from tests.sim.daemon import Parts
from tests.sim.fleet import simulate
from tests.sim.plan import plan
from tests.sim.shrink import judge
from tests.sim.story import BrokenRuleError

BATCH = 20
EVENTS = {
    "reboots by a daemon": "goes down by its daemon",
    "boots": "has booted",
    "daemons killed": "its daemon dies",
    "power cuts": "loses its power",
    "reboots by a person": "goes down by a person",
    "machines that came up sick": "comes up sick",
    "shutdowns blocked": "has its shutdown blocked",
    "clocks stepped": "has its clock stepped",
    "refused by logind": "logind refuses",
    "logind says yes and does nothing": "logind says yes and does nothing",
    "reboots with a lost reply": "logind is not reached",
    "updates reset": "has its update reset",
    "reboots cancelled": "cancel",
    "locked by hand": "by hand",
    "unlocked": "unlocks",
    "frozen": "freezes the group",
    "windows moved or removed": "the fleet's window",
    "outages of the store": "is not reached by any machine",
    "partitions of one machine": "is not reached by n",
    "answers of the store lost": "an answer is lost",
    "daemons that stood still for up to minutes": "its daemon stands still",
    "stores that went back to a backup": "goes back from revision",
    "stores whose place another cluster took": "from now on, of revision",
    "stores that others wrote to after that": "is written to by others",
    "stores that forgot their past": "forgets its past",
    "leases that ended before their time": "before its time",
    "machines that did not come back": "does not come back",
    "updates that did not last": "comes up without update",
    "soft reboots": "reboots softly",
    "daemons of an older version": "has an older version",
    "disks rolled back": "the disk of some time ago",
    "machines that lost their state": "an empty state",
    "full disks": "has a full disk",
    "machines without a bus": "without a bus",
    "machines with a wrong endpoint": "has a wrong endpoint",
    "machines that could not look at the other keyspace": "cannot look at the other keyspace",
    "machines that believed to have seen more of the store": "believes to have seen more",
    "leader changes that started all leases again": "has another leader",
    "keyspaces that were copied, without leases": "is a copy",
    "machines that went from the queue for good": "goes for good",
    "machines that reached another cluster alone": "reaches another cluster alone",
    "machines that waited for their own cluster": "- other_cluster",
    "machines that left the queue, and returned later": "- take_fails",
    "users who logged in before a reboot": "logged in",
    "daemons that stood still, or had no bus, after a commit": "after its commit",
    "crowds of more than a hundred": "a crowd",
    "calls that reached two servers": "brought to two servers",
    "servers that stood still as a whole": "freezes for",
    "servers that ran twice": "runs twice",
    "servers that were restarted": "is restarted",
}
"""What is counted: the words that tell it in a story."""


def run(seeds: Iterable[int]) -> tuple[Counter[str], int | None]:
    """Run seeds; give what happened, and the first that broke a rule."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        seen["seeds"] += 1
        try:
            story = simulate(plan(seed))
        except BrokenRuleError:
            return seen, seed
        text = "\n".join(story.lines)
        seen.update({name: text.count(words) for name, words in EVENTS.items()})
    return seen, None


def fuzz(minutes: float, first: int, cores: int) -> tuple[Counter[str], float, int | None]:
    """Run seeds from `first` on; give what happened, the seconds it took, and the seed that broke a rule."""
    began, seen, batches = time.monotonic(), Counter[str](), count(first, BATCH)
    with ProcessPoolExecutor(cores, initializer=logging.disable) as pool:
        running: set[Future[tuple[Counter[str], int | None]]] = set()
        while time.monotonic() - began < minutes * 60 or running:
            while len(running) < 2 * cores and time.monotonic() - began < minutes * 60:
                start = next(batches)
                running.add(pool.submit(run, range(start, start + BATCH)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for batch, broken in (one.result() for one in done):
                seen += batch
                if broken is not None:
                    pool.shutdown(cancel_futures=True)
                    return seen, time.monotonic() - began, broken
    return seen, time.monotonic() - began, None


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument(
        "--first", type=int, default=int(time.time()), help="the first seed; by default none is run twice"
    )
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    logging.disable()  # the stories tell more than the logs of eight machines at once
    seen, seconds, broken = fuzz(asked.minutes, asked.first, asked.cores)
    if broken is not None:
        try:
            judge(plan(broken), Parts())
        except BrokenRuleError as error:
            sys.stdout.write(f"seed {broken}: {error}\n")
        return 1
    rate = seen["reboots by a daemon"] / seconds / asked.cores
    sys.stdout.write(
        f"{seen['seeds']:,} seeds from {asked.first} on, in {seconds:.0f} s on {asked.cores} cores: no rule broken\n"
    )
    sys.stdout.writelines(f"{seen[name]:>12,}  {name}\n" for name in EVENTS)
    sys.stdout.write(f"{rate:>12,.0f}  reboots a second, on each core\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
