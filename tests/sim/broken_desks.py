"""Servers that are wrong in one place, each in its own way: the rules of `client_rules.py` must notice them."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from locksmith.errors import LockError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission_readings import Others
from locksmith.lock.answer import Granted
from locksmith.lock.orders import OperatorOrders, Ordered
from locksmith.lock.queue import FIRST_LASTS, Queue
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import REBOOT
from locksmith.lock.records.incident import HaltAfter
from locksmith.lock.records.order import HOLD
from locksmith.server.client_slots import ClientSlots
from locksmith.server.kinds import refusal
from locksmith.server.refusal import RefusalKind
from tests.sim.broken_parts import Broken, Unadmitted, calm
from tests.sim.plan import Calendars, Clients, Faults, Plan
from tests.sim.sim_desk import SimDesk


class Eager(SimDesk):
    """Lets a client reboot that waits in the queue."""

    async def pre_reboot(self, group, client):
        refused = await super().pre_reboot(group, client)
        return None if refused is not None and refused.kind is RefusalKind.QUEUED else refused


class Uncommitted(SimDesk):
    """Lets a client reboot as soon as it has a slot."""

    def _lock(self, group, store=None, **how):
        lock = super()._lock(group, store, **how)

        async def commit(_claim):
            return Granted()

        lock.commit = commit  # type: ignore[method-assign]
        return lock


class Pushy(SimDesk):
    """Makes a new place in the queue at each call."""

    class Slots(ClientSlots):
        async def take(self, claim):
            await self._lock.leave(claim)
            await self.read(claim.holder)
            return await super().take(claim)


class Undressed(SimDesk):
    """Takes slots by another kind of claim."""

    class Slots(ClientSlots):
        async def take(self, claim):
            return await super().take(replace(claim, kind=REBOOT))


class Mistaken(SimDesk):
    """Takes each client that asks for the first."""

    async def pre_reboot(self, group, client):  # noqa: ARG002 - as it is there
        return await super().pre_reboot(group, "c1")


class Generous(SimDesk):
    """Releases the first client's slot for each client."""

    async def steady_state(self, group, client):  # noqa: ARG002 - as it is there
        return await super().steady_state(group, "c1")


class Absent(SimDesk):
    """Does not say until when a client is to be back."""

    class Slots(ClientSlots):
        async def show(self, claim, *, goes=False):
            pass


class Patient(SimDesk):
    """Counts on a client for days."""

    class Slots(ClientSlots):
        async def show(self, claim, *, goes=False):
            self._served = replace(self._served, limit=timedelta(days=3))
            await super().show(claim, goes=goes)


class Unhalted(SimDesk):
    """Goes on, whatever has become of others."""

    def __init__(self, around) -> None:
        super().__init__(around)
        self._rules = replace(self._rules, halt_after=HaltAfter(0))


class Forgetful(SimDesk):
    """Keeps the place of a client for a minute and a half, as that of a daemon."""

    ttl = 90.0


class Open(SimDesk):
    """Knows no windows."""

    def _windows(self, group, store):
        windows = super()._windows(group, store)
        windows._names = ()
        return windows


class Disobedient(SimDesk):
    """Knows no orders."""

    lock = Unadmitted


class Deaf(RebootLock):
    """Hears of no order after it has a slot."""

    def __init__(self, *args, **named) -> None:
        super().__init__(*args, **named)
        check = self._admission.check

        async def at_the_take(*args, last, **named):
            return Others() if last else await check(*args, last=last, **named)

        self._admission.check = at_the_take  # type: ignore[method-assign]


class Unheeding(SimDesk):
    """Checks the orders when it takes a slot, and no more when a client may reboot."""

    lock = Deaf


class TakesBack(SimDesk):
    """Releases a slot that is denied by now, also where the client has been told to reboot."""

    class Slots(ClientSlots):
        async def give_way(self, cycle, why):
            held = replace(cycle.held, state="held") if cycle.held is not None else None
            return await super().give_way(replace(cycle, held=held), why)


class Busy(SimDesk):
    """Makes sure at each steady-state that nothing can be on its way."""

    async def _steady_state(self, group, client, again):
        guarded = self._lock(group).lock.guarded
        await guarded.fence((await guarded.holder_state(client)).reading)
        return await super()._steady_state(group, client, again)


class Promising(SimDesk):
    """Says that a client has nothing any more, whatever became of it."""

    class Slots(ClientSlots):
        async def release(self, claim, why, *, rebooted=False):
            pass


class Strict(SimDesk):
    """Refuses a steady-state of a client that has nothing."""

    async def _steady_state(self, group, client, again):
        if (await self._slots(group).read(client)).is_idle:
            return refusal(RefusalKind.NO_SLOT, "it holds no slot")
        return await super()._steady_state(group, client, again)


class Rude(SimDesk):
    """Releases whatever holds the id of a client."""

    async def _steady_state(self, group, client, again):
        lock = self._lock(group)
        if (await self._slots(group).read(client)).other is not None:
            await LockAdmin(lock.lock.guarded).unlock(client)
        return await super()._steady_state(group, client, again)


class Late(SimDesk):
    """Releases what a client holds when its slot is released, and not what it held when it called."""

    class Slots(ClientSlots):
        later = 0.0

        async def release(self, claim, why, *, rebooted=False):
            await asyncio.sleep(self.later)
            await super().release((await self.read(claim.holder)).held or claim, why, rebooted=rebooted)

    def _slots(self, group, store=None, **how):
        slots = super()._slots(group, store, **how)
        slots.later = self.around.rng.choice((0.0, 20.0))  # type: ignore[attr-defined]
        return slots


class Raising(SimDesk):
    """Answers a slot of another claim with an error."""

    async def pre_reboot(self, group, client):
        refused = await super().pre_reboot(group, client)
        if refused is not None and refused.kind is RefusalKind.NO_SLOT:
            raise LockError(refused.sentence)
        return refused


class OneTry(SimDesk):
    """Gives up where another server was faster."""

    async def _act(self, group, client, act):
        return await act(group, client, False)


class Undrained(SimDesk):
    """Takes the hooks before a reboot for done."""

    class Slots(ClientSlots):
        async def prepare(self, claim):  # noqa: ARG002 - as it is there
            return ""

        async def _prepared(self, claim):
            return claim


class Twofold(SimDesk):
    """Does not ask whether another server runs the hooks of a client."""

    def __init__(self, around) -> None:
        super().__init__(around)

        async def at_once(_group, _client, work):
            return await work()

        self._hooks._with_key = at_once  # type: ignore[method-assign]


class LeftDrained(SimDesk):
    """Takes the hooks after a reboot for done."""

    class Slots(ClientSlots):
        async def undo(self, claim, why, *, rebooted=False):
            await self.release(claim, why, rebooted=rebooted)
            return ""


class Inattentive(SimDesk):
    """Does not ask for the window again once the hooks have run."""

    async def _unready(self, _group, slots, claim):
        unready = await slots.prepare(claim)
        return refusal(RefusalKind.NOT_READY, unready) if unready else None


class Unnoted(SimDesk):
    """Does not write down that it undoes the hooks of a client that has rebooted."""

    class Slots(ClientSlots):
        async def _note_undone(self, claim):
            return claim


class Fresh(SimDesk):
    """Makes a new claim for each call."""

    class Slots(ClientSlots):
        async def read(self, client):
            cycle = await super().read(client)
            new = f"{asyncio.get_running_loop().time()}"
            held = replace(cycle.held, nonce=new) if cycle.held is not None else None
            queued = replace(cycle.queued, nonce=new) if cycle.queued is not None else None
            return replace(cycle, held=held, queued=queued)


class Punctual(RebootLock):
    """Takes the slot of who is lost when its record is old by the clock."""

    def __init__(self, *args, **named) -> None:
        super().__init__(*args, **named)
        admission, clock = self._admission, named["clock"]

        def expired(others):
            limit = timedelta(seconds=admission.rules.expire_after)
            gone = [one for one in others.claims if one.shows_presence and one.holder not in others.present]
            return next((one for one in gone if clock() - one.held_since > limit), None)

        admission.expired = expired  # type: ignore[method-assign]


class ByTheClock(SimDesk):
    """Believes its clock."""

    lock = Punctual


class Jealous(Queue):
    """Takes a client for gone that has not called for three minutes."""

    def _is_deserted(self, first) -> bool:
        return self._unchanged.stood(first, asyncio.get_running_loop().time()) > FIRST_LASTS


class Trusting(SimDesk):
    """Believes any store, however much more of it has been seen."""

    def __init__(self, around):
        super().__init__(replace(around, mark=None))


class OneId(OperatorOrders):
    """Holds a machine back, and not its Zincati."""

    async def hold(self, machine_id, order, ttl=None, *, shown=None):
        before = await self._put(keys.hold_key(self._group, machine_id), HOLD, order, ttl, shown=shown)
        return Ordered(before, await self._fence())


def served(drawn: Plan) -> Plan:
    """What a few clients show, on a quiet day."""
    clients = Clients(number=4, servers=2, poll=60.0)
    return replace(
        calm(drawn),
        machines=1,
        windows=(None,),
        slots=1,
        stepwise=False,
        busy=60.0,
        hooks=False,
        calendars=Calendars(),
        clients=clients,
    )


def restored(drawn: Plan) -> Plan:
    """What takes a store that goes back, and an operator who says nothing to that."""
    return replace(roomy(drawn), faults=Faults(restores=1), busy=5.0, operator_acts=0)


def slowly_served(drawn: Plan) -> Plan:
    """What takes clients that call as seldom as Zincati, and machines that wait after them."""
    shaped = served(drawn)
    return replace(shaped, machines=4, windows=(None,) * 4, clients=replace(shaped.clients, poll=300.0))


def hooked(drawn: Plan) -> Plan:
    """What takes hooks."""
    return replace(served(drawn), hooks=True, slots=3)


def roomy(drawn: Plan) -> Plan:
    """What takes a slot for each."""
    return replace(served(drawn), slots=6)


def ordered_with_hooks(drawn: Plan) -> Plan:
    """What takes hooks, and an operator who freezes while they run."""
    return replace(ordered(drawn), hooks=True, only=("freeze", "thaw"))


def called_twice(drawn: Plan) -> Plan:
    """What takes calls that reach two servers."""
    return replace(served(drawn), slots=6, faults=Faults(twice=0.8), busy=5.0)


def called_twice_in_line(drawn: Plan) -> Plan:
    """What takes such calls of clients that wait."""
    return replace(called_twice(drawn), slots=1)


def hooked_twice(drawn: Plan) -> Plan:
    """What takes such calls, and hooks."""
    return replace(called_twice(drawn), hooks=True)


def left(drawn: Plan) -> Plan:
    """What takes clients that never come back, and no operator who looks after them."""
    shaped = replace(served(drawn), slots=4, faults=Faults(gone=0.6))
    return replace(shaped, clients=replace(shaped.clients, unattended=2400.0, poll=300.0))


def expiring(drawn: Plan) -> Plan:
    """What takes clients that never come back, a group that does not halt for them, and clocks that are a day off."""
    shaped = replace(served(drawn), slots=2, faults=Faults(gone=0.6, days_off=0.5))
    return replace(shaped, clients=replace(shaped.clients, expire_after=1500.0, unattended=3600.0, poll=300.0))


def closing(drawn: Plan) -> Plan:
    """What takes a window that closes."""
    shaped = served(drawn)
    return replace(shaped, clients=replace(shaped.clients, window="00:05 for 5m"))


def closing_with_hooks(drawn: Plan) -> Plan:
    """What takes a window that closes every minute, while hooks run."""
    shaped = replace(roomy(drawn), hooks=True, busy=5.0)
    return replace(shaped, clients=replace(shaped.clients, window="00:00..14:00 for 20s"))


def hasty(drawn: Plan) -> Plan:
    """What takes clients that are killed, and ask for a reboot before they have said that they are steady."""
    return replace(roomy(drawn), hooks=True, faults=Faults(client_kills=60, hasty=1.0, bad_hook=0.3), busy=5.0)


def ordered(drawn: Plan) -> Plan:
    """What takes an operator who freezes and thaws, and holds machines back, all the time."""
    return replace(served(drawn), operator_acts=150, slots=4, only=("freeze", "thaw", "hold", "release"))


def held(drawn: Plan) -> Plan:
    """What takes Zincati's ids, a slow store, and an operator who holds machines back, all the time."""
    shaped = replace(ordered(drawn), only=("hold", "release"), faults=Faults(slow_store=0.5), busy=5.0)
    return replace(shaped, clients=replace(shaped.clients, zincati=True, servers=3))


def sick(drawn: Plan) -> Plan:
    """What takes machines whose reboots go wrong."""
    return replace(served(drawn), slots=4, faults=Faults(sick=0.8), machines=2, windows=(None,) * 2, busy=20.0)


def by_hand(drawn: Plan) -> Plan:
    """What takes an operator who locks by hand, and clients that die."""
    return replace(served(drawn), operator_acts=60, only=("lock_by_hand",), slots=6, faults=Faults(client_kills=40))


BROKEN_DESKS = [
    Broken(Eager, "holds no slot past its point of no return", served),
    Broken(Uncommitted, "holds no slot past its point of no return", served),
    Broken(Mistaken, "which has not asked", served, seed=1),
    Broken(Undressed, "without a claim of its own", served),
    Broken(Generous, "which has not called", roomy),
    Broken(Rude, "which is not its client's claim", by_hand),
    Broken(TakesBack, "which it has told to reboot", ordered),
    Broken(Late, "of a claim after that of its call", called_twice),
    Broken(Unheeding, "to reboot although the group is frozen", ordered_with_hooks),
    Broken(Disobedient, "although an operator holds it back", ordered),
    Broken(OneId, "although an operator holds it back", held),
    Broken(Disobedient, "to reboot although the group is halted", sick),
    Broken(Unhalted, "is lost", left),
    Broken(Unadmitted, "reboots although the client", left, seed=3),
    Broken(ByTheClock, "away before its time", expiring, seed=1),
    Broken(Open, "to reboot outside its window", closing),
    Broken(Absent, "says until when it is to be back", served),
    Broken(Patient, "the group still counts on it", left),
    Broken(Busy, "which has nothing, writes", served),
    Broken(Promising, "that it has nothing any more, and it has", served),
    Broken(Forgetful, "between two of its calls", slowly_served),
    Broken(Jealous, "between two of its calls", slowly_served),
    Broken(Pushy, "loses its place in the queue by asking again", slowly_served),
    Broken(Strict, "still not steady", served),
    Broken(Inattentive, "to reboot outside its window", closing_with_hooks),
    Broken(Undrained, "and has not drained it", hooked),
    Broken(Unnoted, "and has not drained it", hasty),
    Broken(LeftDrained, "and its hooks have not brought it back", hooked),
    Broken(Twofold, "which run on", hooked_twice),
    Broken(Raising, "has no answer to a call", served),
    Broken(OneTry, "than that it lost a race", called_twice_in_line),
    Broken(Fresh, "than that it lost a race", slowly_served),
    Broken(Trusting, "and has seen more of the store", restored, seed=4),
]
