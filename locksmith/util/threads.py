"""Blocking calls outside the event loop, each with a time limit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, limit: float) -> T:
    """Give the result of `work`, which runs in its own daemon thread; `TimeoutError` after `limit` seconds.

    An executor's threads are not used: the end of the process waits for them, and so for a hung call. A thread cannot
    be stopped. After the limit `work` runs on until it ends by itself, and its result is dropped.
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
        # On a closed loop (RuntimeError) no task waits for the result.
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # every error belongs to the task that waits
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(fail, error)
        else:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=run, name="locksmith blocking call", daemon=True).start()
    async with asyncio.timeout(limit):
        return await answer
