"""A wait for several things at once."""

import asyncio

import pytest

from locksmith.errors import StoreUnavailableError
from locksmith.lock.first_of import first_of
from tests.sim.virtual_time import run


@pytest.mark.parametrize("fails", [False, True])
def test_it_ends_with_the_first_as_that_ends_and_the_others_have_ended_by_then(fails):
    ended: list[str] = []

    async def first() -> None:
        await asyncio.sleep(1)
        if fails:
            raise StoreUnavailableError("no endpoint answers")

    async def other() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)
            ended.append("other")

    async def main(loop):
        if fails:
            with pytest.raises(StoreUnavailableError):
                await first_of(first(), other())
        else:
            await first_of(first(), other())
        assert (loop.now, ended) == (3, ["other"])

    run(main)
