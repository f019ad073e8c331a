"""The clock of both programs counts a suspend."""

import asyncio
import time
from pathlib import Path

import locksmith
from locksmith.util import boottime


def test_a_loop_goes_by_boot_time(monkeypatch):
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        real = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3600)
        return before, loop.time()

    before, after = boottime.run(main())
    assert 3600 <= after - before < 3660
    assert abs(before - time.clock_gettime(time.CLOCK_BOOTTIME) + 3600) < 60


def test_a_timer_that_came_due_in_a_suspend_rings_right_after_it(monkeypatch):
    async def main() -> str:
        real = time.clock_gettime
        asyncio.get_running_loop().call_later(
            0.01, lambda: monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3600)
        )
        try:
            async with asyncio.timeout(1800):
                await asyncio.Event().wait()
        except TimeoutError:
            return "rang"
        return ""

    assert boottime.run(main()) == "rang"


def test_both_programs_run_on_it():
    """A part that runs on another loop would take an hour of suspend for a moment."""
    sources = [path for path in Path(locksmith.__file__).parent.rglob("*.py") if path.name != "boottime.py"]
    assert [str(path) for path in sources if "asyncio.run(" in path.read_text()] == []
