"""Mutants that the unit tests let pass, in whole fleets: a few seeds, bad days, the line and twins."""

import os
import subprocess
import sys
import time

from tests.mutants import results
from tests.mutants.results import Mutant

SEEDS = 12
CPU_LIMIT = 150
"""Seconds of a processor for one mutant, ten times what all of it takes. A mutant that reaches it is not judged."""
PASSED, FAILED = 0, 1
"""What pytest ends with; with anything else it has judged nothing."""
STORIES = [f"tests/sim/test_{name}.py" for name in ("line", "twins", "bad_days", "fleet")]


def play(mutants: list[Mutant], ends: float) -> None:
    """Play each of them that has not been played yet, until the time is over, and keep what comes of it."""
    found = results.simulated()
    for number, mutant in enumerate(mutants, 1):
        if time.monotonic() > ends:
            return
        if mutant.diff not in found:
            print(f"\rsimulation: {number} of {len(mutants)} ", end="", flush=True)
            found[mutant.diff] = _is_noticed(mutant)
            results.keep_simulated(found)
    print()


def _is_noticed(mutant: Mutant) -> bool | None:
    """Whether a story failed; None: they were not played to an end, which tells nothing."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *STORIES]
    environment = os.environ | {"MUTANT_UNDER_TEST": mutant.name, "SIM_SEEDS": str(SEEDS)}
    command = ["prlimit", f"--cpu={CPU_LIMIT}", *pytest]
    ended = subprocess.run(command, cwd=results.FOLDER, env=environment, check=False, capture_output=True).returncode
    return {PASSED: False, FAILED: True}.get(ended)
