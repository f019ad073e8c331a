"""Mutants that the unit tests let pass, in whole fleets: a few seeds, bad days, the line and twins."""

import os
import resource
import subprocess
import sys
import time
from math import ceil

from tests.mutants import results
from tests.mutants.results import Mutant

SEEDS = 6
AS_LONG = 4
"""How many times as much of a processor as without a mutant: one that needs more is not judged."""
STORIES = [f"tests/sim/test_{name}.py" for name in ("bad_days", "twins", "fleet", "line")]
PASSED, FAILED = 0, 1
"""What pytest ends with; with anything else it has judged nothing."""


def play(mutants: list[Mutant], ends: float) -> None:
    """Play each of them that has not been played yet, until the time is over, and keep what comes of it.

    First without any: a simulation that fails by itself would notice every mutant.
    """
    found = results.simulated()
    left = [mutant for mutant in mutants if mutant.diff not in found]
    if not left or time.monotonic() > ends:
        return
    before = _used()
    if is_noticed("") is not False:
        sys.exit("the simulation does not pass without a mutant: see `pytest tests/sim`")
    limit = ceil(AS_LONG * (_used() - before))
    for number, mutant in enumerate(left, 1):
        if time.monotonic() > ends:
            return
        print(f"\rsimulation: {number} of {len(left)} ", end="", flush=True)
        found[mutant.diff] = is_noticed(mutant.name, limit)
        results.keep_simulated(found)
    print()


def is_noticed(mutant: str, limit: int | None = None) -> bool | None:
    """Whether a story failed; None: they were not played to an end, which tells nothing."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *STORIES]
    environment = os.environ | {"MUTANT_UNDER_TEST": mutant, "SIM_SEEDS": str(SEEDS)}
    command = ["prlimit", f"--cpu={limit or 'unlimited'}", *pytest]
    ended = subprocess.run(command, cwd=results.FOLDER, env=environment, check=False, capture_output=True).returncode
    return {PASSED: False, FAILED: True}.get(ended)


def _used() -> float:
    """Give the seconds of a processor that programs started here have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
