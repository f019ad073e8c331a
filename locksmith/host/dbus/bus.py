"""The system bus, which may come and go.

`SystemBus` holds a connection. If the connection ends, `SystemBus` makes a new connection, sets its match rules again,
and asks for the owners of the watched names.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Self

from locksmith.agent.permit import Permit
from locksmith.errors import HostError
from locksmith.host.dbus.callers import Callers
from locksmith.host.dbus.errors import AnsweredError, BusGoneError, NobodyError, StrangeAnswerError
from locksmith.host.dbus.frames import Head
from locksmith.host.dbus.link import Answer, Ears, Link
from locksmith.host.dbus.messages import (
    BUS_NAME,
    BUS_PATH,
    OWNER_CHANGED,
    Call,
    Incoming,
    Match,
    Outgoing,
    Property,
    RefusedError,
    Signal,
    owner_changed,
    to_bus,
)
from locksmith.util.ratelimit import RateLimit

CALL_LIMIT = 5.0
"""Seconds for a call, if its caller names no limit."""

DO_NOT_QUEUE, PRIMARY_OWNER = 4, 1
"""A flag of RequestName, and its answer (D-Bus' specification)."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between tries to connect: they double from the first to the longest."""
LASTING = 10.0
"""Seconds that a connection must last before the next tries are quick again: a bus may end each connection at once."""

POLICY_ADVICE = (
    "install this version's bus policy as /etc/dbus-1/system.d/org.locksmith1.conf, then `systemctl restart locksmithd`"
)
"""What to do if the bus refuses a name: mostly the policy of an earlier version is in place."""

Handler = Callable[[Signal], None]

log = logging.getLogger(__name__)


class SystemBus:
    """The system bus at `address` (None: `DBUS_SYSTEM_BUS_ADDRESS`, or the default one).

    `what` names the bus in the log. Subscribe before `start`. Handlers run in the event loop and must not block. They
    get no signals while the connection is being set up: after a (re)connection each listener must read the state
    itself.
    """

    def __init__(self, address: str | None = None, what: str = "the system bus") -> None:
        self._address = address
        self._what = what
        self._callers = Callers(self._whose)
        self._ends = RateLimit(burst=5, per_second=1 / 60)
        self._names: list[str] = []
        self._without: set[str] = set()
        self._link: Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._subscriptions: list[tuple[Match, Handler]] = []
        self._watched: dict[str, list[Callable[[], None]]] = {}
        self._owners: dict[str, str] = {}
        self._listeners: list[Callable[[bool], None]] = []
        self._served: tuple[str, Answer] | None = None
        self._complained = False

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._link is not None

    @property
    def unique_name(self) -> str:
        """The name that the bus gave to the present connection; empty: there is none."""
        return self._link.unique_name if self._link is not None else ""

    def subscribe(self, match: Match, handler: Handler) -> None:
        """Give `handler` every signal that matches, on this connection and each later connection."""
        self._subscriptions.append((match, handler))
        if match.sender:
            self._watched.setdefault(match.sender, [])

    def watch_name(self, name: str, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the well-known `name` gets or loses an owner; `owner` tells which."""
        self._watched.setdefault(name, []).append(changed)

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True whenever the bus is connected (again) and with False when it goes away."""
        self._listeners.append(listener)

    def serve(self, name: str, path: str, answer: Answer) -> None:
        """Have calls to `path` answered under a well-known name, on this connection and each later connection."""
        self.take_name(name)
        self._served = (path, answer)

    def take_name(self, name: str) -> None:
        """Take a well-known name, on this connection and each later connection."""
        self._names.append(name)

    def emit(self, signal: Signal) -> None:
        """Send a signal, if there is a bus; the call does not wait."""
        if self._link is not None:
            self._link.send(signal)

    def owner(self, name: str) -> str | None:
        """Give the unique name of the connection that owns a watched or subscribed name now."""
        return self._owners.get(name) or None

    async def start(self) -> bool:
        """Connect, and stay connected from now on. Tells whether the first try succeeded, and waits for no other."""
        self._keeper = asyncio.create_task(self._keep(), name="system bus")
        await self._tried.wait()
        return self.connected

    async def close(self) -> None:
        """End the connection for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def call(self, call: Call, *, limit: float = CALL_LIMIT, permit: Permit | None = None) -> list[Any]:
        """Call a method and give the body of its answer, within `limit` seconds.

        Raises the errors of errors.py. Without a connection it fails at once. With a `permit` it is sent at once or
        never.
        """
        if self._link is None:
            raise BusGoneError(f"{call} was not called: there is no connection to the system bus; does dbus run?")
        return await self._link.call(call, limit, permit)

    async def get(self, wanted: Property, *, limit: float = CALL_LIMIT) -> Any:
        """Give a property. Raises the errors of `call`."""
        try:
            [variant] = await self.call(wanted.get(), limit=limit)
        except AnsweredError as error:
            raise type(error)(f"{wanted} cannot be read: {error.text}", error.name, error.text) from None
        if variant.signature != wanted.signature:
            raise StrangeAnswerError(f"{wanted} is of type {variant.signature!r}, not {wanted.signature!r}")
        return variant.value

    async def unix_user(self, unique_name: str) -> int:
        """Tell the Unix user id of a connection. `NobodyError`: it has gone. `TooManyError`: its user asks too much."""
        return await self._callers.user(unique_name)

    async def _whose(self, unique_name: str) -> int:
        [uid] = await self.call(to_bus("GetConnectionUnixUser", unique_name, "u"))
        return int(uid)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = _now()
            try:
                await self._stay_connected()
            except HostError as error:
                self._complain(error)
            self._tried.set()
            if _now() - began >= LASTING:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _stay_connected(self) -> None:
        """Connect, and return when that connection has ended."""
        link = await Link.open(self._address, self._ears)
        try:
            await self._set_up(link)
            self._announce(link)
            reason = await link.ended()
            if self._ends.allows(_now()):
                log.warning("%s went away (%s); connecting again", self._what, reason)
        finally:
            await link.close()
            if self._link is not None:
                self._announce(None)

    async def _set_up(self, link: Link) -> None:
        self._owners.clear()
        self._callers.forget()
        for rule in [*map(owner_changed, self._watched), *(match.rule for match, _ in self._subscriptions)]:
            await link.call(to_bus("AddMatch", rule), CALL_LIMIT)
        for name in self._names:
            await self._own(link, name)
        for name in self._watched:
            with contextlib.suppress(NobodyError):
                [owner] = await link.call(to_bus("GetNameOwner", name, "s"), CALL_LIMIT)
                # A change that came after this answer may have been handled before it.
                self._owners.setdefault(name, owner)

    async def _own(self, link: Link, name: str) -> None:
        """Take the name. The daemon also works without the name, so a policy that forbids it is only logged, once."""
        try:
            take = Call(BUS_NAME, BUS_PATH, BUS_NAME, "RequestName", "su", (name, DO_NOT_QUEUE), "u")
            [got] = await link.call(take, CALL_LIMIT)
        except AnsweredError as error:
            self._miss(name, f"the bus does not give the name {name}: {error.text}; {POLICY_ADVICE}")
        else:
            if got == PRIMARY_OWNER:
                self._without.discard(name)
            else:
                self._miss(name, f"another program has the name {name} on the bus: see `busctl status {name}`")

    def _miss(self, name: str, what: str) -> None:
        if name not in self._without:
            log.warning("%s", what)
        self._without.add(name)

    @property
    def _ears(self) -> Ears:
        callers = self._callers
        return Ears(self._take, self._wants, self._answer, callers.enter, callers.user, callers.leave)

    def _wants(self, head: Head) -> bool:
        """Whether a signal is to be read: only signals of the bus, and of services with a listener."""
        if head.sender == BUS_NAME:
            return True
        senders = {match.sender for match, _ in self._subscriptions if match.fits(head)}
        if any(sender and self.owner(sender) == head.sender for sender in senders):
            return True
        return None in senders and self._callers.hears(head.sender)

    async def _answer(self, call: Incoming) -> Outgoing:
        if self._served is None or call.path != self._served[0]:
            raise RefusedError("org.freedesktop.DBus.Error.UnknownObject", f"there is no {call.path} here")
        return await self._served[1](call)

    def _announce(self, link: Link | None) -> None:
        self._link = link
        self._complained = False
        self._tried.set()
        for listener in self._listeners:
            listener(link is not None)

    def _complain(self, error: HostError) -> None:
        """Log the first failure of an outage only; the others say the same."""
        if not self._complained:
            log.warning("%s; trying again until it works", error)
        self._complained = True

    def _take(self, signal: Signal) -> None:
        if signal.sender == BUS_NAME and OWNER_CHANGED.fits(signal):
            if signal.signature == "sss":
                self._take_owner(*signal.body)
        elif self._link is not None:
            self._deliver(signal)

    def _take_owner(self, name: str, _old: str, new: str) -> None:
        self._owners[name] = new
        if self._link is not None:
            for changed in self._watched.get(name, ()):
                changed()

    def _deliver(self, signal: Signal) -> None:
        for match, handler in self._subscriptions:
            if match.fits(signal) and (match.sender is None or signal.sender == self.owner(match.sender)):
                handler(signal)


def _now() -> float:
    return asyncio.get_running_loop().time()
