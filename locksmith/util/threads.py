"""Blocking calls beside the event loop, each with an end."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, limit: float) -> T:
    """Run `work` in a daemon thread of its own and give its result, or `TimeoutError` after `limit` seconds.

    A daemon thread, never an executor's: the end of the process waits for those, and so for a hung call.
    Nothing can stop a thread: `work` has to end by itself, but nobody waits for it; what it says late is dropped.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not answer.done():
            answer.set_result(result)

    def fail(error: BaseException) -> None:
        if not answer.done():
            answer.set_exception(error)

    def run() -> None:
        # A closed loop (RuntimeError) has nobody left who listens.
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to the one who waits
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(fail, error)
        else:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=run, name="locksmith blocking call", daemon=True).start()
    async with asyncio.timeout(limit):
        return await answer
