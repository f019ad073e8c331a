"""The others at the semaphore: nodes of the original, which know no records, and an operator at the keyboard."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random

from locksmith.errors import LocksmithError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import semaphore
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import NotHeldError, Semaphore
from locksmith.lock.unlocking import Frees
from locksmith.lock.window_sets import WindowStore
from locksmith.store.protocol import Store
from locksmith.window.window_set import WindowSet
from tests.sim.machine import MIDNIGHT, SimMachine
from tests.sim.rules import KEY
from tests.sim.story import Story

WHO = "alice"


@dataclass
class GoNode:
    """A node of the original: a bare id in the semaphore while it reboots."""

    name: str
    store: Store
    rng: Random

    async def live(self, stormy: Callable[[], bool]) -> None:
        """Take a slot now and then, and give it back; at the end without."""
        while stormy():
            await asyncio.sleep(self.rng.uniform(10, 240))
            if await self._swap(lambda now: now.take(self.name) if self.name not in now.holders else now):
                await asyncio.sleep(self.rng.uniform(5, 60))
            await self.release()

    async def release(self) -> None:
        """Give back whatever it has, until nothing on its way can take any more."""
        released = False
        while not released:
            await asyncio.sleep(self.rng.uniform(0.1, 5))
            released = await self._swap(lambda now: now.release(self.name) if self.name in now.holders else now)

    async def _swap(self, change: Callable[[Semaphore], Semaphore]) -> bool:
        """Read, change and write, as the original does; False: it did not work, or that is not known."""
        try:
            reading = await self.store.get(KEY)
            now = semaphore.decode(reading.entry.value, KEY) if reading.entry else Semaphore()
            await self.store.swap(KEY, semaphore.encode(change(now)), reading.version)
        except LocksmithError:
            return False
        return True


@dataclass
class Operator:
    """An operator with `locksmithctl`: locks by hand, unlocks what is stuck, changes the number of slots, cancels."""

    lock: RebootLock
    machines: Sequence[SimMachine]
    rng: Random
    story: Story
    orders: OperatorOrders
    said: Callable[[str, object], None] = lambda _what, _done: None
    """Told of each order at the moment it stands, or is about to end."""
    windows: WindowStore | None = None
    """The sets of windows in the store, where the fleet has one."""
    script: LockAdmin | None = None
    """The way to the lock of the scripts on the machines."""
    only: Sequence[str] = ()
    """What it does, by the names of its methods; empty: anything."""
    clients: Sequence[str] = ()
    """The ids of FleetLock clients."""
    machine_ids: Mapping[str, str] = field(default_factory=dict)
    """The machine-id of each client by which it is held back, if that is not its own id."""
    holds_back: Callable[[str, float | None], None] = lambda _name, _since: None
    """Told of each id that is held back, since when that stands, and (None) of each that is about to go on."""
    cluster: Callable[[], str] = str
    """Names the cluster that answers."""
    clusters_before: list[str] = field(default_factory=list)
    """Those whose place it has taken."""
    store_went_back: bool = False
    machines_forget: bool = False
    """Whether machines may lose their memory of a claim."""
    locked: list[str] = field(default_factory=list)
    nonces: int = 0

    @property
    def admin(self) -> LockAdmin:
        """Its way to the lock."""
        return LockAdmin(self.lock.guarded)

    async def act(self) -> None:
        """Do one thing or another."""
        acts = (
            *(self._lock_by_hand, self._lock_by_hand, self._unlock, self._set_max, self._set_share, self._cancel),
            *(self._freeze, self._thaw, self._hold, self._release, self.resume),
            *((self._move_windows, self._move_windows, self._remove_windows) if self.windows is not None else ()),
        )
        may = [act for act in acts if not self.only or act.__name__.strip("_") in self.only]
        await self.attempt(self.rng.choice(may))

    async def attempt(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do one thing, or be told why not."""
        try:
            await act()
        except LocksmithError as error:
            self.story.tell(WHO, f"is told: {error}")

    async def tidy(self, slots: int) -> None:
        """Take back every lock made by hand, and make sure that there are slots."""
        for name in self.locked:
            await self.insist(partial(self._unlock_by_hand, name))
        await self.insist(self._thaw)
        await self.insist(self.open_windows)
        for name in (*(machine.name for machine in self.machines), *self.clients):
            self.holds_back(name, None)
            await self.insist(partial(self.orders.unhold, self.machine_ids.get(name, name)))
        await self.insist(partial(self.admin.set_max, slots))

    async def insist(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do it again until it is done, or was done already."""
        while True:
            with contextlib.suppress(LocksmithError):
                await act()
                return
            await asyncio.sleep(1)

    async def _unlock_by_hand(self, name: str) -> None:
        if isinstance(await self._claim(name), Claim):
            with contextlib.suppress(NotHeldError):
                await self.admin.unlock(name)

    async def _claim(self, name: str) -> Claim | None:
        claim = (await self.lock.read()).claims.get(name)
        return claim if isinstance(claim, Claim) and claim.kind == MANUAL else None

    async def _lock_by_hand(self) -> None:
        name = self.rng.choice([*(machine.name for machine in self.machines), *self.clients, "a-rack"])
        self.nonces += 1
        self.locked.append(name)
        self.story.tell(WHO, f"locks {name} by hand")
        await self.lock.take(Claim(name, MANUAL, f"hand-{self.nonces}", MIDNIGHT, who=WHO, reason="disk swap"))

    async def _unlock(self) -> None:
        holders = (await self.lock.read()).semaphore.holders
        if holders:
            name = self.rng.choice(holders)
            self.story.tell(WHO, f"unlocks {name}")
            claim = await self.admin.unlock(name)
            self.story.tell(WHO, f"has undone: {claim.describe() if claim else 'a bare id'}")

    async def stop_a_unit(self, name: str) -> None:
        """Unlock a machine from a unit on it, as `ExecStopPost=locksmithctl unlock` does."""
        assert self.script is not None
        self.story.tell(name, "has a unit stopped, which unlocks it")
        await self.script.unlock(name, frees=Frees.UNASKED)

    async def open_windows(self) -> None:
        """Let the fleet's set be open all day."""
        await self._write_windows("00:00 for 24h")

    async def _move_windows(self) -> None:
        await self._write_windows(f"00:{self.rng.randint(0, 14):02} for {self.rng.randint(1, 8)}m")

    async def _write_windows(self, window: str) -> None:
        if self.windows is not None:
            self.story.tell(WHO, f"sets the fleet's window to {window}")
            await self.windows.write("fleet", WindowSet.parse([window], []))

    async def _remove_windows(self) -> None:
        if self.windows is not None:
            self.story.tell(WHO, "removes the fleet's windows")
            await self.windows.remove("fleet")

    async def _set_max(self) -> None:
        slots = self.rng.randint(1, 3)
        self.story.tell(WHO, f"sets max to {slots}")
        await self.admin.set_max(slots)

    async def _set_share(self) -> None:
        percent = self.rng.choice(("20%", "50%", "100%"))
        self.story.tell(WHO, f"sets max to {percent} of the machines")
        await self.admin.set_share(percent)

    async def _freeze(self) -> None:
        self.story.tell(WHO, "freezes the group")
        ttl = self.rng.choice((None, 120.0))
        done = await self.orders.freeze(self._order("the database moves", ttl), ttl)
        self.said("freeze", done)
        self.story.tell(WHO, f"has frozen it; too late for {[claim.holder for claim in done.too_late]}")

    async def _thaw(self) -> None:
        self.said("thaw", None)
        self.story.tell(WHO, "thaws the group")
        await self.orders.thaw()

    async def _hold(self) -> None:
        name = self.rng.choice([*(machine.name for machine in self.machines), *self.clients])
        self.story.tell(WHO, f"holds {name} back")
        await self.orders.hold(self.machine_ids.get(name, name), self._order("a demo runs on it"))
        self.holds_back(name, asyncio.get_running_loop().time())

    async def _release(self) -> None:
        name = self.rng.choice([*(machine.name for machine in self.machines), *self.clients])
        self.story.tell(WHO, f"lets {name} go on")
        self.holds_back(name, None)
        await self.orders.unhold(self.machine_ids.get(name, name))

    async def look_after_a_restore(self) -> None:
        """Unlock a machine that holds a slot by the store's word alone: it is up and does not know that claim."""
        if not self.store_went_back and not self.machines_forget:
            return
        for machine in self.machines:
            if machine.forgot and machine.down_by is None and not machine.claims:
                machine.drained = False  # no journal knows that its hooks have to bring it back
            now = await self.lock.read()
            claim = now.claims.get(machine.name)
            known = isinstance(claim, Claim) and (claim.kind == MANUAL or claim.nonce == machine.nonce)
            if machine.name in now.semaphore.holders and machine.down_by is None and not known:
                self.story.tell(WHO, f"unlocks {machine.name}, which is up and holds nothing")
                with contextlib.suppress(NotHeldError):
                    await self.admin.unlock(machine.name)

    async def unlock_client(self, name: str) -> None:
        """Free the slot of a client that is gone for good, or knows nothing of it."""
        self.story.tell(WHO, f"unlocks {name}, which will not ask for that")
        await self.admin.unlock(name)

    async def resume(self) -> None:
        """Acknowledge what went wrong."""
        found = await self.orders.resume(self._order("seen"))
        if found:
            self.story.tell(WHO, f"acknowledges {', '.join(one.describe() for one in found)}")

    async def replace_clusters(self) -> None:
        """Say that the cluster that answers has taken the place of each one before."""
        now = self.cluster()
        for before in self.clusters_before:
            self.story.tell(WHO, f"says that cluster {now} has taken the place of {before}")
            await self.orders.resume(replace(self._order("all are up"), cluster=now, replaces=(before,)))

    def _order(self, reason: str, ttl: float | None = None) -> Order:
        self.nonces += 1
        now = MIDNIGHT + timedelta(seconds=int(asyncio.get_running_loop().time()))
        return Order(WHO, now, reason, now + timedelta(seconds=ttl) if ttl else None, nonce=f"order-{self.nonces}")

    async def _cancel(self) -> None:
        """Call a reboot off, as the journal allows."""
        machine = self.rng.choice(list(self.machines))
        if machine.cancel():
            self.story.tell(WHO, f"cancels the reboot of {machine.name}")
