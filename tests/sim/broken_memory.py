"""Servers that refuse from memory, and act for clients in turn, wrong in one place, each in its own way.

The rules of `client_rules.py` must notice them.
"""

from dataclasses import replace

from locksmith.server.attempt_turns import AttemptTurns
from locksmith.server.foreseen import NotForeseenError
from locksmith.server.kept_places import KeptPlaces
from locksmith.server.rehearsal import Rehearsals
from tests.sim.broken_desks import served, slowly_served
from tests.sim.broken_parts import Broken
from tests.sim.plan import Faults, Plan
from tests.sim.sim_desk import SimDesk


class Granting(SimDesk):
    """Lets a client reboot if memory has a free slot for it."""

    async def _foresee(self, group, client):
        slots = self._slots(group, self._rehearsals[group].on_mirror, rehearsed=True)
        try:
            return await self._ask(group, client, slots)
        except NotForeseenError as error:
            return await super()._foresee(group, client) if "no place" in str(error) else None

    async def pre_reboot(self, group, client):
        refused = await self._foresee(group, client)
        mirror = self._rehearsals[group].on_mirror
        if refused is None and (await mirror.get(self._lock(group).lock.key)).entry is not None:
            return None
        return await super().pre_reboot(group, client)


class Untold(SimDesk):
    """Does not ask whether its memory has what it has just done for a client."""

    def wait_by(self, hub):
        super().wait_by(hub)
        for rehearsals in self._rehearsals.values():
            rehearsals.__class__ = _Untold


class _Untold(Rehearsals):
    def knows(self, _client):
        return self._mirror.freshness.current


class Unfreed(SimDesk):
    """Does not ask whether its memory has the slot that it has just freed."""

    def wait_by(self, hub):
        super().wait_by(hub)
        for rehearsals in self._rehearsals.values():
            rehearsals.__class__ = _Unfreed


class _Unfreed(Rehearsals):
    def asked(self, client, store, *, releases=False):  # noqa: ARG002 - as it is there
        super().asked(client, store)


class Careless(SimDesk):
    """Takes each place for one that lasts for long enough."""

    def wait_by(self, hub):
        super().wait_by(hub)
        for rehearsals in self._rehearsals.values():
            rehearsals.on_mirror._kept.__class__ = _Careless


class _Careless(KeptPlaces):
    def lasts(self, _place, _ttl):
        return True

    shows = lasts


class Unseen(SimDesk):
    """Takes a place that was prolonged for one that the next in the queue has seen written."""

    def wait_by(self, hub):
        super().wait_by(hub)
        for rehearsals in self._rehearsals.values():
            rehearsals.on_mirror._kept.__class__ = _Unseen


class _Unseen(KeptPlaces):
    def shows(self, place, ttl):
        return self.lasts(place, ttl)


class Unending(SimDesk):
    """Gives no turn back."""

    def __init__(self, around) -> None:
        super().__init__(around)
        self._attempts = {group: _Unending() for group in self._attempts}


class _Unending(AttemptTurns):
    def _end(self):
        pass


def in_memory(drawn: Plan) -> Plan:
    """What takes servers that keep the group in memory."""
    shaped = served(drawn)
    return replace(shaped, clients=replace(shaped.clients, hub=True))


def slowly_in_memory(drawn: Plan) -> Plan:
    """What takes clients that wait for long at such servers."""
    shaped = slowly_served(drawn)
    clients = replace(shaped.clients, servers=1, number=6, hub=True, unattended=2400.0)
    return replace(shaped, busy=5.0, operator_acts=0, faults=Faults(gone=0.9), clients=clients)


def forgetful(drawn: Plan) -> Plan:
    """What takes clients that die while they wait, and a server whose memory lags."""
    shaped = in_memory(drawn)
    faults = Faults(client_kills=60, watch_lags=0.6)
    return replace(shaped, busy=5.0, faults=faults, clients=replace(shaped.clients, servers=1))


def freeing(drawn: Plan) -> Plan:
    """What takes clients that wait for one slot, and a server whose memory lags."""
    shaped = in_memory(drawn)
    clients = replace(shaped.clients, servers=1, number=6)
    return replace(shaped, busy=5.0, faults=Faults(watch_lags=0.6), clients=clients)


BROKEN_MEMORY = [
    Broken(Granting, "holds no slot past its point of no return", in_memory),
    Broken(Untold, "and has heard that it has no place", forgetful),
    Broken(Unfreed, "and has freed a slot for it before the call", freeing, seed=5),
    Broken(Careless, "expires between two of its calls", slowly_in_memory),
    Broken(Unending, "for an answer to", served),
    Broken(Unseen, "between two of its calls", slowly_in_memory),
]
