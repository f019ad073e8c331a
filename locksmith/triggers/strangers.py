"""Who else says that a reboot is needed: root may, nobody else.

Any local user can send as many such signals as it likes, from as many connections as the bus lets it have. What that
makes us do is bounded: one question for a connection, few questions in a second, few lines in the log.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from locksmith.errors import HostError
from locksmith.host.bus_errors import NobodyError
from locksmith.triggers.ratelimit import RateLimit

MOST_REMEMBERED = 1024

log = logging.getLogger(__name__)


class Strangers:
    """The senders of a NEED_REBOOT that are not the engine.

    `ask_user` gives the Unix user id of a connection by its unique name.
    """

    def __init__(self, ask_user: Callable[[str], Awaitable[int]], on_wish: Callable[[str], None]) -> None:
        self._ask_user = ask_user
        self._on_wish = on_wish
        self._known: set[str] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._questions = RateLimit(burst=20, per_second=5)
        self._lines = RateLimit(burst=3, per_second=1 / 60)

    def hear(self, sender: str, version: str) -> None:
        """Find out who the sender is, at once, before it leaves the bus."""
        if sender in self._known:
            return
        if not self._questions.allows(self._now()):
            self._complain(f"too many StatusUpdates of others than update_engine: that of {sender} was ignored")
            return
        self._remember(sender)
        task = asyncio.create_task(self._judge(sender, version))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def forget(self) -> None:
        """Forget who was asked about: another bus gives the same unique names to others."""
        self._known.clear()

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _judge(self, sender: str, version: str) -> None:
        try:
            user = await self._ask_user(sender)
        except NobodyError:
            self._complain(f"a StatusUpdate of {sender}, which left the bus before it was known who it is, was ignored")
        except HostError as error:
            self._known.discard(sender)
            self._complain(f"a StatusUpdate of {sender} was ignored: {error}")
        else:
            self._decide(sender, user, version)

    def _decide(self, sender: str, user: int, version: str) -> None:
        if user == 0:
            self._known.discard(sender)
            self._on_wish(version)
        else:
            self._complain(f"a StatusUpdate of the user with the id {user} was ignored: only root may ask for a reboot")

    def _remember(self, sender: str) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known.add(sender)

    def _complain(self, sentence: str) -> None:
        if self._lines.allows(self._now()):
            log.warning("%s", sentence)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
