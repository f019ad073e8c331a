"""Limits on callers: how often each user of this machine can call the daemon over the bus.

The sender alone decides whether a message is taken, before its body is read. A user has one limit for all connections.
All users together have a limit too, because a person may have thousands of user ids. For root the limit is of each
connection: a monitor in a loop cannot keep an operator from the daemon.
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

from locksmith.errors import HostError
from locksmith.util.futures import heed
from locksmith.util.ratelimit import RateLimit

MOST_USERS = 1024
"""Senders whose user is remembered."""
MOST_ACCOUNTS = 256
"""Users whose messages are counted."""
MOST_UNKNOWN = 32
"""Messages in work from senders whose user the bus has not told yet."""
MOST_UNKNOWN_OF_ONE = 8

TOO_MANY = "this user sends more messages than locksmithd answers; wait a minute and try again"

log = logging.getLogger(__name__)


class Verdict(Enum):
    """The decision about a message."""

    TAKE = auto()
    REFUSE = auto()
    """Answered with an error."""
    DROP = auto()


class TooManyError(HostError):
    """Refused: the sender has sent more than it may."""

    component = "bus"


K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """The values that were used last, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Give a remembered value."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: K, value: V) -> V:
        """Remember a value, and forget the value that was not used for the longest time."""
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()


@dataclass(slots=True)
class _Account:
    """The messages that a user, or a connection of root, may still send."""

    messages: RateLimit
    refusals: RateLimit = field(default_factory=lambda: RateLimit(burst=10, per_second=1))
    lines: RateLimit = field(default_factory=lambda: RateLimit(burst=1, per_second=1 / 600))


def _of_user() -> _Account:
    return _Account(RateLimit(burst=60, per_second=10))


def _of_root() -> _Account:
    return _Account(RateLimit(burst=300, per_second=100))


class Callers:
    """The senders of messages to this connection. `ask` gives a sender's user by the bus; `HostError`: unknown."""

    def __init__(self, ask: Callable[[str], Awaitable[int]], now: Callable[[], float] | None = None) -> None:
        self._ask = ask
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._trusted = {0, os.geteuid()}
        self._users: Remembered[str, int] = Remembered(MOST_USERS)
        self._accounts: Remembered[int | str, _Account] = Remembered(MOST_ACCOUNTS)
        self._everybody = _Account(RateLimit(burst=240, per_second=60))
        self._unknown: dict[str, int] = {}
        self._asking: dict[str, asyncio.Task[int]] = {}
        self._lines = RateLimit(burst=10, per_second=1 / 60)

    def forget(self) -> None:
        """Forget the names: another bus gives the same names to other connections."""
        self._users.clear()

    def enter(self, sender: str) -> Verdict:
        """Decide about a message by its sender. After a message that is taken, `leave` must be called."""
        user = self._users.get(sender)
        if user is not None:
            return self._charge(sender, user)
        mine = self._unknown.get(sender, 0)
        if mine >= MOST_UNKNOWN_OF_ONE:
            return self._refuse(self._everybody)
        if sum(self._unknown.values()) >= MOST_UNKNOWN:
            return self._too_many(self._everybody, f"unknown users (the last one is {sender})")
        self._unknown[sender] = mine + 1
        return Verdict.TAKE

    def leave(self, sender: str) -> None:
        """Note that a message is done."""
        left = self._unknown.get(sender, 0) - 1
        if left > 0:
            self._unknown[sender] = left
        else:
            self._unknown.pop(sender, None)

    def hears(self, sender: str) -> bool:
        """Decide about a signal by its sender, and find out the sender's user."""
        if (user := self._users.get(sender)) is not None:
            return self._charge(sender, user) is Verdict.TAKE
        if self.enter(sender) is not Verdict.TAKE:
            return False
        self._asked(sender).add_done_callback(lambda _task: self.leave(sender))
        return True

    async def user(self, sender: str) -> int:
        """Tell the user of a connection. `TooManyError`: the user has sent too much. `HostError`: unknown."""
        known = self._users.get(sender)
        return known if known is not None else await asyncio.shield(self._asked(sender))

    def _asked(self, sender: str) -> "asyncio.Task[int]":
        """Ask the bus, once for all that wait for the answer."""
        if (asking := self._asking.get(sender)) is not None:
            return asking
        asking = asyncio.ensure_future(self._identify(sender))
        self._asking[sender] = asking
        asking.add_done_callback(heed)
        asking.add_done_callback(lambda _done: self._asking.pop(sender, None))
        return asking

    async def _identify(self, sender: str) -> int:
        user = self._users.put(sender, await self._ask(sender))
        if self._charge(sender, user) is not Verdict.TAKE:
            raise TooManyError(TOO_MANY)
        return user

    def _charge(self, sender: str, user: int) -> Verdict:
        trusted = user in self._trusted
        key = sender if trusted else user
        account = self._accounts.get(key) or self._accounts.put(key, _of_root() if trusted else _of_user())
        who = f"user {user} (the connection {sender})"
        if not account.messages.allows(self._now()):
            return self._too_many(account, who)
        if not trusted and not self._everybody.messages.allows(self._now()):
            return self._too_many(self._everybody, f"all users together (the last one is {who})")
        return Verdict.TAKE

    def _too_many(self, account: _Account, who: str) -> Verdict:
        now = self._now()
        if account.lines.allows(now) and self._lines.allows(now):
            log.warning("too many messages on the bus from %s: the daemon answers some of them and drops the rest", who)
        return self._refuse(account)

    def _refuse(self, account: _Account) -> Verdict:
        return Verdict.REFUSE if account.refusals.allows(self._now()) else Verdict.DROP
