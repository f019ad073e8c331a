"""Judges a mutant without starting pytest for it: the tests are collected once, and run in a copy of that process.

mutmut itself starts pytest anew for each mutant, in which most of the time went.
"""

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.config import _prepareconfig
from mutmut.configuration import config
from mutmut.utils.file_utils import change_cwd
from mutmut.workers.isolation import ForkRunner

ARGUMENTS = ["--rootdir=.", "--capture=no"]


def register() -> None:
    """Change how mutmut runs the tests of a mutant."""
    starts = ForkRunner.startup

    def startup(runner: ForkRunner) -> None:
        session = _collected()
        gc.freeze()  # or a collection in each copy would copy the memory too

        def run_tests(*, mutant_name: str | None, tests: Iterable[str]) -> int:
            return _run(session, nearest_first(mutant_name, tests) if mutant_name else tests)

        runner.test_runner.run_tests = run_tests  # type: ignore[method-assign, unused-ignore]
        starts(runner)

    ForkRunner.startup = startup  # type: ignore[assignment, method-assign, unused-ignore]


def nearest_first(mutant: str, tests: Iterable[str]) -> list[str]:
    """Order tests: first those of the mutant's module, then of its package; else as they are, the fastest first."""
    _, package, *_, module, _function = mutant.split(".")

    def distance(test: str) -> int:
        return 0 if f"/test_{module}" in test else 1 if f"/{package}/" in test else 2

    return sorted(tests, key=distance)


def _collected() -> pytest.Session:
    """Collect all tests, as `pytest` does before it runs them."""
    known = config()
    arguments = [*ARGUMENTS, *known.pytest_add_cli_args, *known.pytest_add_cli_args_test_selection]
    silence = Path(os.devnull).open("w")  # noqa: SIM115 - what reports the tests keeps it
    with change_cwd("mutants"), contextlib.redirect_stdout(silence):
        prepared = _prepareconfig(arguments)
        prepared._do_configure()
        session = pytest.Session.from_config(prepared)
        prepared.hook.pytest_sessionstart(session=session)
        prepared.hook.pytest_collection(session=session)
    return session


def _run(session: pytest.Session, tests: Iterable[str]) -> int:
    """Run some of them, in a process of their own, until one fails; give what pytest would end with."""
    found = {item.nodeid: item for item in session.items}
    chosen = [found[test] for test in tests]
    with change_cwd("mutants"), tempfile.TemporaryDirectory() as scratch:
        cast("Any", session.config)._tmp_path_factory._basetemp = Path(
            scratch
        ).resolve()  # pytest tidies up at its own end
        for item, following in pairwise([*chosen, None]):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return int(pytest.ExitCode.TESTS_FAILED)
    return int(pytest.ExitCode.OK)
