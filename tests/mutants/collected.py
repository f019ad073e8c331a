"""Judges a mutant without starting pytest for it: the tests are collected once, and run in a copy of that process.

mutmut itself starts pytest anew for each mutant, in which most of the time went.
"""

import contextlib
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

        def run_tests(*, mutant_name: str | None, tests: Iterable[str]) -> int:  # noqa: ARG001 - mutmut has set it
            return _run(session, tests)

        runner.test_runner.run_tests = run_tests  # type: ignore[method-assign, unused-ignore]
        starts(runner)

    ForkRunner.startup = startup  # type: ignore[assignment, method-assign, unused-ignore]


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
