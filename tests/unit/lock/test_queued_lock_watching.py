"""What is waited for across calls: what ends a watch, and what becomes of its errors."""

import asyncio
import gc
from typing import Any

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.kept_wait import KeptWait
from tests.sim.virtual_time import run


class Watches:
    """Notes the watches that are opened, and those that were cancelled."""

    def __init__(self) -> None:
        self.opened: list[float] = []
        self.cancelled = 0

    def lasting(self, seconds: float, error: Exception | None = None):
        async def wait() -> None:
            self.opened.append(seconds)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if error is not None:
                raise error

        return wait


def play(story) -> list[dict[str, Any]]:
    """Play it, and give what the loop complains about."""
    complaints: list[dict[str, Any]] = []

    async def main(loop):
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        await story(Watches())
        await asyncio.sleep(1)
        gc.collect()

    run(main)
    return complaints


def test_a_watch_goes_on_between_two_calls_until_something_else_is_waited_for():
    async def story(watches):
        watching, aim, other = KeptWait(), object(), object()
        watching.aim(aim, watches.lasting(10))
        assert not await watching.ended(3)
        watching.aim(aim, watches.lasting(10))
        assert not await watching.ended(3)
        assert watches.opened == [10]
        watching.aim(other, watches.lasting(5))
        await asyncio.sleep(0)
        assert watches.cancelled == 1
        assert not await watching.ended(4)
        assert await watching.ended(2)
        assert watches.opened == [10, 5]
        assert await watching.ended(0)  # nothing is waited for any more

    assert play(story) == []


def test_an_error_of_a_watch_is_that_of_who_asks():
    async def story(watches):
        watching = KeptWait()
        watching.aim("aim", watches.lasting(1, StoreUnavailableError("no endpoint answers")))
        with pytest.raises(StoreUnavailableError):
            await watching.ended(2)
        assert await watching.ended(0)

    assert play(story) == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.5, 2])
def test_a_stopped_watch_reports_nothing_whether_it_failed_before_or_not(after):
    async def story(watches):
        watching = KeptWait()
        watching.aim("aim", watches.lasting(1, StoreUnavailableError("no endpoint answers")))
        assert not await watching.ended(0.1)
        await asyncio.sleep(after)
        watching.stop()
        del watching

    assert play(story) == []


def test_a_watch_that_has_failed_and_is_dropped_complains_about_nothing():
    async def story(watches):
        watching = KeptWait()
        watching.aim("aim", watches.lasting(1, StoreUnavailableError("no endpoint answers")))
        assert not await watching.ended(0.1)
        await asyncio.sleep(2)
        del watching

    assert play(story) == []
