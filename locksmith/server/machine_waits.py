"""The waits of machines that are under way in one server: futures, and no tasks, as there may be thousands."""

import asyncio
from collections.abc import Awaitable
from functools import partial

from locksmith.server.waiting_room import tell

Key = tuple[str, str]
"""A group, and the id of a machine of it."""


class Waits:
    """One wait for each machine. The future of a wait tells whether it is worth asking, and may be cancelled."""

    def __init__(self) -> None:
        self._told: dict[Key, asyncio.Future[bool]] = {}
        self._watching: dict[Key, asyncio.Future[bool]] = {}
        self.draining = False

    def keep(self, key: Key, told: "asyncio.Future[bool]") -> "asyncio.Future[bool]":
        """Note a wait until it ends."""
        self._told[key] = told
        told.add_done_callback(partial(self._end, key))
        return told

    def watch(self, key: Key, change: Awaitable[bool]) -> "asyncio.Future[bool]":
        """Wait for what tells a change in the store; it is ended with the wait."""
        watching = self._watching[key] = asyncio.ensure_future(change)
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        watching.add_done_callback(partial(_pass_on, told))
        return self.keep(key, told)

    async def stop(self, key: Key) -> None:
        """End the wait of a machine: its next call has come."""
        if (told := self._told.pop(key, None)) is not None:
            tell(told, worth=True)
        if (watching := self._watching.pop(key, None)) is not None:
            watching.cancel()
            await asyncio.wait({watching})

    def drain(self) -> None:
        """Answer all who wait, from now on."""
        self.draining = True
        for told in tuple(self._told.values()):
            tell(told, worth=True)

    def _end(self, key: Key, told: "asyncio.Future[bool]") -> None:
        if self._told.get(key) is told:
            del self._told[key]
            if (watching := self._watching.pop(key, None)) is not None:
                watching.cancel()


def at_once() -> "asyncio.Future[bool]":
    """Give a wait that is over: it is worth asking."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    told.set_result(True)
    return told


def _pass_on(told: "asyncio.Future[bool]", watching: "asyncio.Future[bool]") -> None:
    """Tell what a watch has told, or its error. A watch that was ended tells that it is worth asking."""
    if watching.cancelled():
        tell(told, worth=True)
    elif (error := watching.exception()) is None:
        tell(told, worth=watching.result())
    elif not told.done():
        told.set_exception(error)
