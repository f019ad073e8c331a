"""`make mutants`: change the core in one place after another, and see that a test notices.

mutmut makes the mutants and has the unit tests judge them, each by the tests that reach its function. What those let
pass is played in the simulation. What that lets pass too needs a reason in survivors.toml, or the run fails.

    python -m tests.mutants                    # go on where the last run ended, to the end
    python -m tests.mutants --minutes 20       # the same, for so long
    python -m tests.mutants queue decide       # all mutants of two modules, again
    python -m tests.mutants --again            # those that were not noticed, again: after a new test
    python -m tests.mutants --units            # without the simulation, which takes the most time for each
    python -m tests.mutants --show             # only what is known
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

from mutmut.__main__ import cli

from tests.mutants import collected, operators, report, results, simulation
from tests.mutants.results import OPEN, Mutant

os.environ |= {"HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"}


def main() -> int:
    options = _options()
    ends = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    if not options.show:
        _judge(options, ends)
        if not options.units:
            simulation.play(_open(options.modules), ends)
    return report.show(results.mutants(), options.modules)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="See that a test notices each change of the core.")
    parser.add_argument("modules", nargs="*", help="the last part of their names; none: all that is not known yet")
    parser.add_argument("--minutes", type=float, help="stop after so many; the next run goes on from there")
    parser.add_argument("--again", action="store_true", help="judge those again that were not noticed")
    parser.add_argument("--units", action="store_true", help="leave the simulation out")
    parser.add_argument("--show", action="store_true", help="judge nothing, show what is known")
    parser.add_argument("--jobs", type=int, default=1, help="how many mutants at a time (1)")
    return parser.parse_args()


def _judge(options: argparse.Namespace, ends: float) -> None:
    operators.register()
    collected.register()
    names = [f"locksmith.*{module}.x*" for module in options.modules]
    if options.again:
        names = [one.name for one in _open(options.modules)]
    with _limited(ends - time.monotonic()):
        cli(["run", "--max-children", str(options.jobs), *names], standalone_mode=False)


def _open(modules: list[str]) -> list[Mutant]:
    known = results.reasons()
    return [
        one for one in results.mutants() if one.kind == OPEN and report.is_of(one, modules) and one.change not in known
    ]


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt mutmut after a time, as Ctrl-C does: what it knows by then stays."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if seconds != float("inf"):
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    sys.exit(main())
