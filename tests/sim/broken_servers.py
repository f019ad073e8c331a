"""Servers of machines without etcd, and the strategy of those, that are wrong in one place, each in its own way."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from locksmith.errors import ConflictError, OutcomeUnknownError
from locksmith.lock import machine_wire as wire
from locksmith.lock.answer import Granted
from locksmith.lock.ended import UnlessEnded
from locksmith.lock.records import keys
from locksmith.store.protocol import ABSENT
from locksmith.util.jsonread import load_object
from locksmith.util.records import dump
from locksmith_strategies.server import Server
from tests.sim.broken_parts import Broken, Unadmitted, calm
from tests.sim.plan import Calendars, Clients, Faults, Plan
from tests.sim.sim_desk import SimMachineDesk


class Unmarked(SimMachineDesk):
    """Takes a slot for whatever request comes, also for a claim that its machine has ended."""

    class Passing(UnlessEnded):
        def __init__(self, *args) -> None:
            super().__init__(*args)
            self.release()

        def knows_ended(self, reading):
            pass

    guards = Passing


class Unended(SimMachineDesk):
    """Lets a daemon that stops leave the queue, and does not write that its claim has ended."""

    async def _of_claim(self, group, claim, call, asked):
        if call != wire.LEAVE:
            return await super()._of_claim(group, claim, call, asked)
        said = await super()._of_claim(group, claim, call, replace(asked, fields={**asked.fields, "ends": False}))
        return {**said, "ended": True}


class Unaware(SimMachineDesk):
    """Remembers the last claim that a machine has ended, and not that others have ended before.

    Not sixteen: no late request would be of one before those. With the word of those before, its seed shows nothing.
    """

    most_ended = 1

    async def _end(self, group, lock, claim, call, asked):
        await super()._end(group, lock, claim, call, asked)
        entry = (await self._store_of(group).get(keys.ended_key(group, claim.holder))).entry
        if entry is not None:
            fields = {**load_object(entry.value), "before": ABSENT}
            with suppress(ConflictError):
                await self._store_of(group).swap(entry.key, dump(fields), entry.version)


class Granting(SimMachineDesk):
    """Lets a machine reboot without a word in the store."""

    async def _of_claim(self, group, claim, call, asked):
        if call == wire.COMMIT:
            at = {"store": {"cluster": self._cluster, "revision": 0}}
            return {**wire.encode_answer(Granted(), claim.nonce), **at}
        return await super()._of_claim(group, claim, call, asked)


class Keeping(SimMachineDesk):
    """Says that a claim has ended, and releases nothing."""

    async def _end(self, group, lock, claim, call, asked):
        pass


class Mistaken(SimMachineDesk):
    """Takes each machine for the first."""

    async def _of_claim(self, group, claim, call, asked):
        return await super()._of_claim(group, replace(claim, holder="n1"), call, asked)


class Impatient(SimMachineDesk):
    """Gives a place up that was not asked for in 20 seconds."""

    ttl = 20.0


class Disobedient(SimMachineDesk):
    """Knows no orders."""

    lock = Unadmitted


class Sleepy(SimMachineDesk):
    """Lets a machine wait for as long as it wants, whatever happens."""

    async def wait(self, group, machine, fields):  # noqa: ARG002 - as it is there
        return asyncio.ensure_future(asyncio.sleep(fields["seconds"], result=True))


class Optimistic(Server):
    """Takes a commit without an answer for one that was done."""

    async def commit(self, claim):
        try:
            return await super().commit(claim)
        except OutcomeUnknownError:
            return Granted(asyncio.get_running_loop().time())


def quiet(drawn: Plan) -> Plan:
    """What machines without etcd show on a quiet day."""
    return replace(
        calm(drawn),
        machines=3,
        windows=(None,) * 3,
        slots=1,
        stepwise=False,
        busy=60.0,
        calendars=Calendars(),
        clients=Clients(machines=1.0, servers=2),
    )


def lossy(drawn: Plan) -> Plan:
    """What takes calls that come late, or twice."""
    faults = Faults(lost_call=0.3, twice=0.3, engine_reset=0.5)
    return replace(quiet(drawn), slots=3, busy=5.0, faults=faults)


def stopping(drawn: Plan) -> Plan:
    """What takes daemons that stop while they wait."""
    quick = lossy(drawn)
    return replace(quick, faults=replace(quick.faults, restarts=60))


def ordered(drawn: Plan) -> Plan:
    """What takes an operator who freezes and thaws, all the time."""
    return replace(quiet(drawn), operator_acts=150, slots=4, only=("freeze", "thaw"))


BROKEN_SERVERS = [
    Broken(Unmarked, "which has ended that claim", lossy, seed=10),
    Broken(Unended, "which has ended that claim", stopping, seed=28),
    Broken(Unaware, "which has ended that claim", stopping),
    Broken(Granting, "without holding a slot past its point of no return", quiet),
    Broken(Keeping, "still held", quiet),
    Broken(Mistaken, "took a slot for", quiet),
    Broken(Impatient, "expires while it waits", quiet),
    Broken(Disobedient, "although the group is frozen", ordered),
    Broken(Sleepy, "a slot stays free for", quiet),
    Broken(Optimistic, "without holding a slot past its point of no return", lossy),
]
