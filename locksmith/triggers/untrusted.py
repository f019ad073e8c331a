"""Signals from others than update_engine that say that a reboot is needed: only root is believed.

Any local user can send any number of such signals, from as many connections as the bus allows. The daemon's work for
them is bounded. The bus is asked once about a connection, the signals of a user who sends too many are dropped
(host/dbus/callers.py), and few lines are logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from locksmith.errors import HostError
from locksmith.util.ratelimit import RateLimit

MOST_REMEMBERED = 1024

OnOperator = Callable[[str], Awaitable[None]]
"""Notes root's request for a reboot to a version (`""`: unknown). `HostError`: it could not be noted."""

log = logging.getLogger(__name__)


class UntrustedSenders:
    """The senders of a NEED_REBOOT other than update_engine.

    `unix_user` gives the Unix user id of a connection by its unique name. `HostError`: the connection has gone, there
    is no answer, or the user has sent too much.
    """

    def __init__(self, unix_user: Callable[[str], Awaitable[int]]) -> None:
        self._unix_user = unix_user
        self._asked: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._lines = RateLimit(burst=2, per_second=1 / 60)

    def hear(self, sender: str, version: str, on_operator: OnOperator) -> None:
        """Ask for the sender's user at once, before the sender leaves the bus; believe root."""
        if sender in self._asked:
            return
        self._remember(sender)
        task = asyncio.ensure_future(self._judge(sender, version, on_operator))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def forget(self) -> None:
        """Forget the senders: another bus gives the same unique names to other connections."""
        self._asked.clear()

    def complain(self, what: str) -> None:
        """Log that a signal was ignored, unless there were many such lines."""
        if self._lines.allows(_now()):
            log.warning("ignored %s", what)

    async def _judge(self, sender: str, version: str, on_operator: OnOperator) -> None:
        try:
            user = await self._unix_user(sender)
            if user != 0:
                self.complain(f"a StatusUpdate of {sender}: user {user} is neither update_engine nor root")
                return
            await on_operator(version)
        except HostError as error:
            self.complain(f"a StatusUpdate of {sender}: {error}")
        # Not remembered: root may ask again, and so may a sender whose user is unknown.
        self._asked.discard(sender)

    def _remember(self, sender: str) -> None:
        if len(self._asked) >= MOST_REMEMBERED:
            self._asked.clear()
        self._asked.add(sender)


def _now() -> float:
    return asyncio.get_running_loop().time()
