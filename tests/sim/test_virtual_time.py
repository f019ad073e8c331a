"""The loop on made-up time."""

import asyncio
import itertools
import time

import pytest

from tests.sim import virtual_time
from tests.sim.virtual_time import SpinningError, StalledError, run


def test_a_day_passes_at_once_and_timers_ring_in_order():
    rung: list[tuple[float, str]] = []

    async def main(loop):
        async def ring(name: str, after: float) -> None:
            await asyncio.sleep(after)
            rung.append((loop.now, name))

        await asyncio.gather(ring("evening", 64800), ring("morning", 21600), ring("midnight", 86400), ring("now", 0))

    started = time.monotonic()
    run(main)
    assert time.monotonic() - started < 5
    assert rung == [(0, "now"), (21600, "morning"), (64800, "evening"), (86400, "midnight")]


def test_limits_ring_on_made_up_time():
    async def main(loop):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return loop.now

    assert run(main) == 3600


def test_waiting_for_what_can_never_happen_is_an_error_and_no_hang():
    async def main(_loop):
        await asyncio.Event().wait()

    with pytest.raises(StalledError):
        run(main)


def test_a_loop_without_an_end_at_one_moment_is_an_error_and_no_hang(monkeypatch):
    monkeypatch.setattr(virtual_time, "MOST_TURNS", 1000)

    async def main(_loop):
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(SpinningError):
        run(main)
