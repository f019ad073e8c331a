"""Stories with a store on etcd v3, and how long they may take."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from locksmith.store.etcd3 import Etcd3Store
from locksmith.store.settings import StoreSettings

T = TypeVar("T")

SLACK = 3.0
"""Seconds that a busy machine may add to a deadline."""


def run(settings: StoreSettings, story: Callable[[Etcd3Store], Awaitable[T]]) -> T:
    """Run an async story with a store, and close that."""

    async def scene() -> T:
        store = Etcd3Store(settings)
        try:
            async with asyncio.timeout(30):
                return await story(store)
        finally:
            await store.close()

    return asyncio.run(scene())


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where the block takes longer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + SLACK
