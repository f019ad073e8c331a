"""Servers that are wrong in one place, each in its own way: the rules of `client_rules.py` must notice them."""

from dataclasses import replace
from datetime import timedelta

from locksmith.config.server_model import ServedGroup
from locksmith.errors import LockError
from locksmith.lock import client_cycle
from locksmith.lock.admin import LockAdmin
from locksmith.lock.answer import Granted
from locksmith.lock.queue import FIRST_LASTS, Queue
from locksmith.lock.records.claim import REBOOT
from locksmith.lock.records.incident import HaltAfter
from locksmith.server.kinds import refusal
from locksmith.server.refusal import RefusalKind
from tests.sim.broken_parts import Unadmitted, calm
from tests.sim.plan import Clients, Faults, Plan
from tests.sim.sim_desk import SimDesk, Surroundings


class Eager(SimDesk):
    """Lets a client reboot that waits in the queue."""

    async def pre_reboot(self, group, client):
        refused = await super().pre_reboot(group, client)
        return None if refused is not None and refused.kind is RefusalKind.QUEUED else refused


class Uncommitted(SimDesk):
    """Lets a client reboot as soon as it has a slot."""

    def _lock(self, group):
        lock = super()._lock(group)

        async def commit(_claim):
            return Granted()

        lock.commit = commit  # type: ignore[method-assign]
        return lock


class NewNonces(SimDesk):
    """Takes each call for one of a claim of its own."""

    async def _take(self, lock, claim):
        return await super()._take(lock, replace(claim, nonce=f"{self.around.rng.getrandbits(64):x}"))


class Pushy(SimDesk):
    """Makes a new place in the queue at each call."""

    async def _take(self, lock, claim):
        await lock.leave(claim)
        return await super()._take(lock, claim)


class Undressed(SimDesk):
    """Takes slots by another kind of claim."""

    async def _take(self, lock, claim):
        return await super()._take(lock, replace(claim, kind=REBOOT))


class Mistaken(SimDesk):
    """Takes each client for the first."""

    async def pre_reboot(self, group, _client):
        return await super().pre_reboot(group, "c1")


class Generous(SimDesk):
    """Releases the first client's slot for each client."""

    async def steady_state(self, group, _client):
        return await super().steady_state(group, "c1")


class Absent(SimDesk):
    """Does not say until when a client is to be back."""

    async def _show(self, group, claim):
        pass


class Patient(SimDesk):
    """Counts on a client for days."""

    def _served(self, group) -> ServedGroup:
        return replace(super()._served(group), limit=timedelta(days=3))


class Unhalted(SimDesk):
    """Goes on, whatever has become of others."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._rules = replace(self._rules, halt_after=HaltAfter(0))


class Forgetful(SimDesk):
    """Keeps the place of a client for a minute and a half, as that of a daemon."""

    ttl = 90.0


class Open(SimDesk):
    """Knows no windows."""

    def _windows(self, group):
        windows = super()._windows(group)
        windows._names = ()
        return windows


class Disobedient(SimDesk):
    """Knows no orders."""

    lock = Unadmitted


class TakesBack(SimDesk):
    """Releases a slot that is denied by now, also where the client has been told to reboot."""

    async def _denied(self, lock, cycle, claim, answer):
        await super()._denied(lock, replace(cycle, held=None), claim, answer)


class Busy(SimDesk):
    """Makes sure at each steady-state that nothing can be on its way."""

    async def _steady_state(self, group, client):
        guarded = self._lock(group).lock.guarded
        await guarded.fence((await guarded.holder_state(client)).reading)
        return await super()._steady_state(group, client)


class Promising(SimDesk):
    """Says that a client has nothing any more, whatever became of it."""

    async def _release(self, lock, cycle, claim, why, *, rebooted=False):
        if not rebooted or self.around.rng.random() < 0.5:
            await super()._release(lock, cycle, claim, why, rebooted=rebooted)


class Strict(SimDesk):
    """Refuses a steady-state of a client that has nothing."""

    async def _steady_state(self, group, client):
        cycle = await client_cycle.read(self._lock(group).lock.guarded, client)
        if cycle.is_idle:
            return refusal(RefusalKind.NO_SLOT, "it holds no slot")
        return await super()._steady_state(group, client)


class Rude(SimDesk):
    """Releases whatever holds the id of a client."""

    async def _steady_state(self, group, client):
        lock = self._lock(group)
        if (await client_cycle.read(lock.lock.guarded, client)).other is not None:
            await LockAdmin(lock.lock.guarded).unlock(client)
        return await super()._steady_state(group, client)


class Late(SimDesk):
    """Releases what a client holds when its hooks have ended, and not what it held when it called."""

    async def _release(self, lock, cycle, claim, why, *, rebooted=False):
        now = await client_cycle.read(lock.lock.guarded, claim.holder)
        await super()._release(lock, cycle, now.held or claim, why, rebooted=rebooted)


class Raising(SimDesk):
    """Answers a slot of another claim with an error."""

    async def pre_reboot(self, group, client):
        refused = await super().pre_reboot(group, client)
        if refused is not None and refused.kind is RefusalKind.NO_SLOT:
            raise LockError(refused.sentence)
        return refused


class Jealous(Queue):
    """Takes a client for gone that has not called for three minutes."""

    def _is_deserted(self, first) -> bool:
        return self._unchanged.stood(first, self._sight_at()) > FIRST_LASTS

    def _sight_at(self) -> float:
        import asyncio  # noqa: PLC0415

        return asyncio.get_running_loop().time()


def served(drawn: Plan) -> Plan:
    """What a few clients show, on a quiet day."""
    quiet = calm(drawn)
    clients = Clients(number=4, servers=2, poll=60.0)
    return replace(quiet, machines=1, windows=(None,), slots=1, busy=60.0, hooks=False, clients=clients)


def called_twice(drawn: Plan) -> Plan:
    """What takes calls that reach two servers, one of which is slow."""
    return replace(served(drawn), slots=3, faults=Faults(twice=0.8, slow_store=0.5), busy=5.0)
