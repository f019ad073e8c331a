"""Asks others once, each within a limit, and keeps what came of it: for `--check-config --online`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from locksmith.errors import LocksmithError

LIMIT: Final = 30.0
"""Seconds for each question."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What came of a question: `says` in a few words, and if it failed, the problem."""

    name: str
    says: str = ""
    problem: str = ""


async def contact(name: str, ask: Callable[[], Awaitable[str]]) -> Contact:
    """Ask one that has this name. Only what is no `LocksmithError` is raised."""
    try:
        async with asyncio.timeout(LIMIT):
            return Contact(name, says=await ask())
    except TimeoutError:
        return Contact(name, problem=f"no answer within {LIMIT:g} s")
    except LocksmithError as error:
        return Contact(name, problem=str(error))
