"""An operator in the same queue as the machines: asks, says the reason to wait, and asks again after a change."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import click

from locksmith.cli.go_flags import GoOption
from locksmith.errors import LockError, LocksmithError, StoreError, UsageError
from locksmith.lock.answer import Answer, Denied
from locksmith.window.duration import parse_duration

ASK_AGAIN = 30.0
"""Seconds after which it asks again in any case, which also keeps its place in the queue."""
RETRY = 5.0
"""Seconds after which it asks again where the store could not be asked, or watched."""

SKIPPABLE = ("inhibitor", "uptime", "clock", "alerts", "checks", "sessions")
"""The gates that an operator's reboot may leave out."""

wait_option = click.option(
    "--wait", "waits", cls=GoOption, is_flag=True, help="Wait in the queue until a slot is free, as the machines do."
)
timeout_option = click.option(
    "--timeout", cls=GoOption, metavar="D", help="With --wait: stop waiting after a while, like 90s or 1h30m."
)


@dataclass(frozen=True, slots=True)
class QueueWait:
    """How long to wait for permission, in seconds: 0 not at all, None for ever. `say` tells each reason once.

    `who_holds` says more of the slots where none is free; empty: no more is known.
    """

    limit: float | None
    say: Callable[[str], None]
    who_holds: Callable[[], Awaitable[str]] | None = None

    @property
    def is_endless(self) -> bool:
        """Whether to wait for as long as it takes."""
        return self.limit is None

    async def obtain(self, ask: Callable[[], Awaitable[Answer]], changed: Callable[[float], Awaitable[bool]]) -> None:
        """Return when permission is given. `LockError`: it is not, or not in time; a place in the queue stays then."""
        clock = asyncio.get_running_loop().time
        ends = None if self.limit is None else clock() + self.limit
        said = ""
        while True:
            text, watch = await self._ask(ask)
            if not text:
                return
            left = ASK_AGAIN if ends is None else min(ASK_AGAIN, ends - clock())
            if left <= 0:
                raise LockError(f"the wait ended after {self.limit:g} s: {text}" if self.limit else text)
            if text != said:
                said = text
                self.say(f"waiting: {text}")
            await self._pause(changed if watch else None, left)

    async def _ask(self, ask: Callable[[], Awaitable[Answer]]) -> tuple[str, bool]:
        """Give the reason for a no, and whether it can be watched; an empty one is a yes."""
        try:
            answer = await ask()
        except StoreError as error:
            if self.limit == 0:
                raise
            return str(error), False
        if not isinstance(answer, Denied):
            return "", False
        more = await self._holders() if answer.code == "slot" else ""
        return more or answer.text, True

    async def _holders(self) -> str:
        """Say who has the slots. An error here ends no wait: the answer is known without it."""
        if self.who_holds is not None:
            with contextlib.suppress(LocksmithError):
                return await self.who_holds()
        return ""

    async def _pause(self, changed: Callable[[float], Awaitable[bool]] | None, limit: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                try:
                    if changed is not None and await changed(limit):
                        return
                except StoreError as error:
                    self.say(f"cannot watch for a free slot: {error}")
                await asyncio.sleep(RETRY)


def queue_wait(say: Callable[[str], None], *, waits: bool, timeout: str | None) -> QueueWait:
    """Read `--wait` and `--timeout`; `UsageError` says what is wrong with them."""
    if timeout is None:
        return QueueWait(None if waits else 0, say)
    if not waits:
        raise UsageError("--timeout is for --wait: without that, nothing waits")
    try:
        seconds = parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None
    if seconds <= 0:
        raise UsageError(f"--timeout must be longer than 0s, not {timeout}")
    return QueueWait(seconds, say)
