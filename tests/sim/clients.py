"""FleetLock clients: machines with a Zincati, which know nothing of locksmith and call one of its servers now and then.

A client asks again every few minutes. From the first success on it reboots when its users have had their time; of
everything else it knows nothing, and a restart forgets all of it. After each start it says that it is steady, until it
is told that this was heard.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

from tests.sim.plan import Faults
from tests.sim.story import Story

PRE_REBOOT, STEADY = "pre-reboot", "steady-state"
JITTER = 0.1
"""By which share of the pause between two calls a pause may be longer or shorter."""
MOST_PATIENT = 400.0
"""Seconds for its users before a client reboots, at most: longer than it waits between two calls."""


@dataclass(frozen=True, eq=False)
class Request:
    """A call on its way to a server. `run` counts the starts of the client: a call of an earlier one is late."""

    client: str
    kind: str
    run: int
    sent: float


ANSWERING: ContextVar[Request | None] = ContextVar("the call that is answered", default=None)
"""What a server's task, and each call of the store that it makes, is for."""


@dataclass
class Client:
    """One machine with a client. `call` brings a call to a server, and tells whether it was answered with success."""

    name: str
    rng: Random
    story: Story
    faults: Callable[[], Faults]
    call: Callable[[Request], Awaitable[bool]]
    poll: float = 300.0
    """Seconds between two calls."""
    careful: bool = False
    """Whether it reboots only if its last call was a success too, as Zincati does."""
    hasty: bool = False
    """Whether it asks for a reboot although its steady-state was not heard yet, as a script may."""
    permitted: Callable[["Client"], None] = lambda _client: None
    """Told when it may reboot: from then on nothing stops it but its own death."""
    reboots: Callable[["Client"], None] = lambda _client: None
    """Told when it goes down."""
    run: int = 0
    on: bool = True
    wanted: str | None = None
    done: int = 0
    permit: bool = False
    """Whether a success of this run lets it reboot."""
    rebooting: bool = False
    """Whether it goes down by a permit, or is down by it."""
    is_steady: bool = False
    """Whether it has been told that its steady-state was heard, in this run."""
    gone: bool = False
    """Whether it never comes back."""
    went_at: float = 0.0
    """When it went down the last time."""
    excused: bool = False
    """Whether its slot was taken from it in a way that no server can help; until it is steady again."""
    drained: bool = False
    """Whether a server's hooks have begun to drain it, and none have brought it back."""
    ready: bool = False
    """Whether it is drained, and nothing has begun to undo that."""
    old_record: bool = False
    """Whether a restore of the store may have brought back a record of hooks that were undone since; until they run."""
    hooks_on: str = ""
    """The server whose hooks for it run."""
    ghost: bool = False
    """Whether a slot may be held for it of which it knows nothing: a call of an earlier run was answered late."""
    update: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    @property
    def is_down_or_will_be(self) -> bool:
        """Whether it reboots, or nothing can stop it any more."""
        return (self.permit or self.rebooting) and not self.excused

    @property
    def waits(self) -> bool:
        """Whether it wants to reboot, and may not yet."""
        return self.wanted is not None and not self.gone

    @property
    def is_at_risk(self) -> bool:
        """Whether it may reboot, or may be on its way to a success of pre-reboot."""
        return self.is_down_or_will_be or self.waits

    def may_be_late(self, run: int) -> bool:
        """Whether a steady-state that it sent in this run may be one that it does not wait for any more."""
        return self.is_steady or self.hasty or run != self.run

    @property
    def is_idle(self) -> bool:
        """Whether it is steady and wants nothing."""
        return self.on and self.is_steady and self.wanted is None and not self.permit

    def wants(self, version: str) -> None:
        """Have an update to reboot for."""
        self.story.tell(self.name, f"has update {version} and wants a reboot")
        self.wanted = version
        self.update.set()

    def drop(self) -> None:
        """Have it no more; nothing is told to any server."""
        if self.wanted is not None and not self.permit:
            self.story.tell(self.name, "has its update withdrawn")
            self.wanted, self.ghost = None, True
            self.update.clear()

    def start(self) -> None:
        """Start the client; it knows nothing of earlier runs."""
        if not self.on or self.gone:
            return
        self.run += 1
        self.permit = self.is_steady = False
        self.task = asyncio.ensure_future(self._live())

    def kill(self) -> None:
        """End it, and start it again a little later."""
        if self.on and self.task is not None and not self.rebooting:
            self.story.tell(self.name, "its client dies, and forgets everything")
            self.permit = False
            self.task.cancel()
            asyncio.get_running_loop().call_later(self.rng.uniform(1, 20), self._start_again, self.run)

    def cut_power(self) -> None:
        """Go down at once."""
        if self.on and not self.rebooting:
            self.story.tell(self.name, "loses its power")
            self.permit = False
            self._go_down()

    def _start_again(self, run: int) -> None:
        if run == self.run:
            self.start()

    async def _live(self) -> None:
        self.rebooting = False  # from here on a server may release its slot
        while not await self._call(STEADY):
            if self.hasty and self.waits:
                await self._ask()
            await self._pause()
        self.is_steady, self.excused = True, False
        self.story.tell(self.name, "is steady")
        while True:
            await self.update.wait()
            await self._ask()

    async def _ask(self) -> None:
        """Ask until it may reboot, and go on asking while its users have their time."""
        loop, ends, last = asyncio.get_running_loop(), None, False
        while self.wanted is not None:
            if ends is None or loop.time() < ends or self.careful:
                last = await self._call(PRE_REBOOT)
            if not self.waits:
                return
            if last and ends is None:
                patience = self.rng.choice((0.0, 0.0, self.rng.uniform(0, MOST_PATIENT)))
                self.story.tell(self.name, f"may reboot, in {patience:.0f} s")
                ends, self.permit = loop.time() + patience, True
                self.permitted(self)
            if ends is not None and loop.time() >= ends and (last or not self.careful):
                self._reboot()
            await self._pause(None if ends is None else max(0.0, ends - loop.time()))

    async def _pause(self, limit: float | None = None) -> None:
        pause = self.poll * self.rng.uniform(1 - JITTER, 1 + JITTER)
        await asyncio.sleep(pause if not limit else min(pause, limit))

    async def _call(self, kind: str) -> bool:
        return await self.call(Request(self.name, kind, self.run, asyncio.get_running_loop().time()))

    def _reboot(self) -> None:
        self.story.tell(self.name, f"reboots for {self.wanted}")
        self.rebooting, self.wanted = True, None
        self.done += 1
        self.update.clear()
        self.reboots(self)
        self._go_down()

    def _go_down(self) -> None:
        self.on, self.went_at = False, asyncio.get_running_loop().time()
        if self.task is not None:
            self.task.cancel()
        if self.rebooting and self.rng.random() < self.faults().gone:
            self.story.tell(self.name, "never comes back")
            self.gone = True
            return
        asyncio.get_running_loop().call_later(self.rng.uniform(5, 120), self._boot)

    def _boot(self) -> None:
        self.on = True
        self.story.tell(self.name, "has booted")
        self.start()
