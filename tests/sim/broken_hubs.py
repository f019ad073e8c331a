"""What servers share between their machines, wrong in one place, each in its own way."""

import asyncio
from dataclasses import replace
from functools import partial
from random import Random

from locksmith.lock import machine_wire as wire
from locksmith.server.group_mirror import Freshness, GroupMirror
from locksmith.server.hub import Hub
from locksmith.server.joint_reads import JointReads
from locksmith.server.proven_reads import Proofs
from locksmith.server.shared_places import TTL, SharedPlaces
from locksmith.server.shared_renewals import SharedRenewals
from locksmith.server.waiting_room import WaitingRoom, tell
from tests.sim.broken_parts import Broken
from tests.sim.plan import Calendars, Clients, Faults, Plan
from tests.sim.sim_desk import SimMachineDesk

MACHINES = 12
"""Of which most wait."""


def crowded(drawn: Plan) -> Plan:
    """What machines that wait far back show on a quiet day."""
    return replace(
        drawn,
        machines=MACHINES,
        windows=(None,) * MACHINES,
        slots=3,
        stepwise=False,
        busy=5.0,
        spacing=0.0,
        go_nodes=0,
        operator_acts=0,
        hooks=False,
        faults=Faults(),
        calendars=Calendars(),
        clients=Clients(machines=1.0, servers=2, hub=True),
    )


def far_back(drawn: Plan) -> Plan:
    """Make a fleet of which most wait, for few slots, while what servers share meets faults."""
    rng = Random(f"{drawn.seed} far back")
    faults = Faults(
        watch_lags=rng.choice((0.0, 0.1, 0.4)),
        watch_breaks=rng.choice((0.0, 0.1, 0.4)),
        server_partitions=rng.choice((0, 0, 2, 5)),
        vanishings=rng.choice((0, 2, 5)),
        server_kills=rng.choice((0, 0, 3)),
        server_doubles=rng.choice((0, 0, 3)),
        server_restarts=rng.choice((0, 0, 3)),
        server_freezes=rng.choice((0, 0, 4)),
        lost_call=rng.choice((0.0, 0.0, 0.1)),
        twice=rng.choice((0.0, 0.0, 0.1)),
        lost_answer=rng.choice((0.0, 0.0, 0.05)),
        engine_reset=rng.choice((0.0, 0.0, 0.3)),
    )
    if Random(f"{drawn.seed} lends").random() < 0.3:
        faults = replace(faults, lend_freezes=0.5)
    clients = Clients(machines=rng.choice((0.7, 1.0)), servers=rng.randint(1, 3), hub=True)
    number = rng.randint(6, 10)
    return replace(
        crowded(drawn),
        machines=number,
        windows=(None,) * number,
        slots=rng.choice((1, 1, 2, 3)),
        busy=rng.choice((5.0, 60.0)),
        faults=faults,
        clients=clients,
    )


class Unkept(Hub):
    """Has one lease for all places, and never prolongs it."""

    def __init__(self, *args):
        super().__init__(*args)
        for kept in self._kept.values():
            kept.__class__ = _Unkept


class _Unkept(SharedPlaces):
    async def _keep(self, _now):
        pass


class Stale(Hub):
    """Takes what it knew once for what is, whatever its age, and although the machine has seen more."""

    def __init__(self, *args):
        super().__init__(*args)
        for mirror in self.mirrors._groups.values():
            mirror.__class__ = _Credulous
        for room in self._rooms.values():
            room.__class__ = _Heedless


class _Credulous(GroupMirror):
    @property
    def freshness(self):
        known = super().freshness
        return Freshness(current=known.age is not None, age=known.age)


class _Heedless(WaitingRoom):
    def answer(self, claim, revision):  # noqa: ARG002 - as it is there
        return super().answer(claim, 0)


class Hasty(Hub):
    """Gives a machine far back what it knows of its group, and does not wait until the store has said that it is so."""

    def __init__(self, *args):
        super().__init__(*args)
        for proofs in self._proofs.values():
            proofs.__class__ = _Hasty
        for mirror in self.mirrors._groups.values():
            mirror.__class__ = _Boasting


class _Boasting(GroupMirror):
    def proven_since(self, _asked):
        return True


class _Hasty(Proofs):
    def since_now(self):
        told = super().since_now()
        told.set_result(None)
        return told


class Remembering(Hub):
    """Takes what it read of a key before for what it is now."""

    def __init__(self, *args):
        super().__init__(*args)
        self.mirrors.joint.__class__ = _Remembering


class _Remembering(JointReads):
    async def get(self, key):
        known = vars(self).setdefault("known", {})
        if key not in known:
            known[key] = await super().get(key)
        return known[key]


class Heedless(Hub):
    """Answers by what it knows, although the machine has seen more."""

    def __init__(self, *args):
        super().__init__(*args)
        for room in self._rooms.values():
            room.__class__ = _Heedless


class Quiet(Hub):
    """Lets who waits far back wait for as long as it will, whatever becomes of its place."""

    def __init__(self, *args):
        super().__init__(*args)
        for room in self._rooms.values():
            room.__class__ = _Sleeping


class _Sleeping(WaitingRoom):
    def wait(self, place, limit):
        self._called(place)
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        loop.call_later(limit, partial(tell, told, worth=False))
        return told


class Clinging(Hub):
    """Keeps the place of a machine that calls no more."""

    def __init__(self, *args):
        super().__init__(*args)
        for kept in self._kept.values():
            kept.__class__ = _Clinging


class _Clinging(SharedPlaces):
    async def _remove(self, _place):
        pass


class Postdated(Hub):
    """Dates the lease of the places from when it hears of it."""

    def __init__(self, *args):
        super().__init__(*args)
        for kept in self._kept.values():
            kept.__class__ = _Postdated


class _Postdated(SharedPlaces):
    async def _bind(self, entries):
        before = self._lease
        if not before:
            self._lease = await self._store.lend(TTL)
            self._kept = asyncio.get_running_loop().time()
        await super()._bind(entries)


class Littering(Hub):
    """Tries once to remove a ticket."""

    def __init__(self, *args):
        super().__init__(*args)
        for kept in self._kept.values():
            kept.__class__ = _Littering


class _Littering(SharedPlaces):
    async def _remove_tickets(self):
        pass


class Forgetful(Hub):
    """Takes note of the first call of a machine, and of none after that."""

    def __init__(self, *args):
        super().__init__(*args)
        for kept, room in zip(self._kept.values(), self._rooms.values(), strict=True):
            kept.__class__ = _Once
            room._called = kept.called


class _Once(SharedPlaces):
    def answered(self, _machine):
        pass

    def called(self, place):
        if place.key not in self._guests:
            super().called(place)


class Promising(Hub):
    """Says that it prolongs the presence of machines, and does not."""

    def __init__(self, *args):
        super().__init__(*args)
        for renewals in self._renewals.values():
            renewals.__class__ = _Promising


class _Promising(SharedRenewals):
    async def _prolong(self):
        self._due.clear()


class Permissive(SimMachineDesk):
    """Permits the reboot of a machine that its mirror shows at the front."""

    def _from_room(self, group, claim, known):
        told = super()._from_room(group, claim, known)
        if told is not None and told["queued"]["position"] <= 3:
            return {"answer": wire.GRANTED, "nonce": claim.nonce, "store": told["store"]}
        return told


class Failing(SimMachineDesk):
    """Cannot have a machine wait."""

    async def wait(self, *_call):
        raise RuntimeError


def gone(drawn: Plan) -> Plan:
    """What machines show that go while they wait."""
    return replace(crowded(drawn), slots=1, busy=60.0, faults=Faults(vanishings=8))


def lossy(drawn: Plan) -> Plan:
    """What machines show that go while they wait, and servers that hear nothing of what they have done."""
    return replace(gone(drawn), faults=replace(gone(drawn).faults, lost_answer=0.3))


def untold(drawn: Plan) -> Plan:
    """What servers show that are not told what changes, for minutes."""
    return replace(crowded(drawn), slots=1, faults=Faults(watch_lags=0.9))


def slow(drawn: Plan) -> Plan:
    """What machines show that wait for many minutes."""
    return replace(crowded(drawn), slots=1)


def closed(drawn: Plan) -> Plan:
    """What machines show that have nothing to tell for most of an hour."""
    clients = replace(crowded(drawn).clients, unattended=1800.0)
    return replace(crowded(drawn), machines=4, windows=("00:50 for 2h",) * 4, busy=0.0, clients=clients)


def late(drawn: Plan) -> Plan:
    """What a server shows that stands still until the lease that it has asked for is nearly over."""
    waiting = slow(drawn)
    clients = replace(waiting.clients, servers=1)
    return replace(waiting, machines=6, windows=(None,) * 6, clients=clients, faults=Faults(lend_freezes=1.0))


BROKEN_HUBS = [
    Broken(Unkept, "expires while it waits", slow),
    Broken(Stale, "by an older store than it has seen", untold),
    Broken(Hasty, "a read that is older than its call", untold),
    Broken(Remembering, "a read that is older than its call", untold),
    Broken(Heedless, "by an older store than it has seen", untold),
    Broken(Postdated, "and it was told that it waits", late),
    Broken(Quiet, "a slot stays free for", crowded),
    Broken(Clinging, "stays for", gone),
    Broken(Littering, "has no place for", lossy, seed=1),
    Broken(Forgetful, "and it was told that it waits", slow),
    Broken(Promising, "has said that it is kept", closed),
    Broken(Permissive, "and the store knows nothing of it", slow),
    Broken(Failing, "fails at the", slow),
]
