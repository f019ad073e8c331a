"""Runs the tests that are coroutines, as `asyncio.run` does: each has a loop of its own, and leaves no task."""

import asyncio
import inspect
import os

import pytest

# The tool would cut its lines to the width that a runner of parallel tests names.
os.environ.pop("COLUMNS", None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def test_...`, and leave every other test to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True
