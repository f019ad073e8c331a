"""Servers, and machines, that do not notice another cluster, or do not obey an operator's word of it."""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from locksmith.errors import StoreError
from locksmith.server.kinds import refusal
from locksmith.server.refusal import RefusalKind
from tests.sim.broken_parts import AnyCluster, Broken, NoHistory, calm
from tests.sim.machine import SimSeen
from tests.sim.plan import Calendars, Clients, Faults, Plan
from tests.sim.sim_desk import SimDesk, SimMachineDesk


def switched(drawn: Plan) -> Plan:
    """Make a fleet of machines, of which most have no etcd, and FleetLock clients, whose store is replaced."""
    rng = Random(f"{drawn.seed} switches")
    number = rng.randint(2, 5)
    clients = Clients(
        number=rng.randint(1, 4), servers=rng.randint(1, 3), poll=60.0, machines=rng.choice((0.5, 1.0)), hub=True
    )
    return replace(
        calm(drawn),
        machines=number,
        windows=(None,) * number,
        slots=rng.choice((1, 1, 2)),
        stepwise=False,
        busy=rng.choice((5.0, 60.0)),
        hooks=False,
        calendars=Calendars(),
        clients=clients,
        faults=Faults(
            switches=rng.choice((1, 1, 2)),
            restores=rng.choice((0, 0, 0, 1)),
            watch_lags=rng.choice((0.0, 0.0, 0.3)),
            watch_breaks=rng.choice((0.0, 0.0, 0.3)),
            server_partitions=rng.choice((0, 0, 2)),
            server_kills=rng.choice((0, 0, 3)),
            server_restarts=rng.choice((0, 0, 3)),
            server_freezes=rng.choice((0, 0, 2)),
            lost_call=rng.choice((0.0, 0.0, 0.1)),
            twice=rng.choice((0.0, 0.0, 0.1)),
            lost_answer=rng.choice((0.0, 0.0, 0.05)),
        ),
    )


class Blind(SimDesk):
    """Takes each cluster that answers clients for its own."""

    def __init__(self, around) -> None:
        around.mark.clusters.__class__ = AnyCluster
        super().__init__(around)


class Trusting(SimDesk):
    """Takes a `resume` in another cluster for the word that this one counts, whatever it was said of."""

    def __init__(self, around) -> None:
        mark = around.mark
        succeed = mark.succeed
        mark.succeed = lambda position, order: succeed(position, of_all(position, order, mark.clusters.own))
        super().__init__(around)


class Deaf(SimDesk):
    """Hears no word of another cluster."""

    def __init__(self, around) -> None:
        around.mark.clusters.successor = None
        super().__init__(around)


class Repeating(Blind):
    """Says once more to a client what the record of its slot says, in whatever cluster; it writes nothing there."""

    async def pre_reboot(self, group, client):
        if not self._is_another:
            return await super().pre_reboot(group, client)
        with suppress(StoreError):
            if (await self._slots(group).read(client)).committed:
                return None
        return refusal(RefusalKind.STORE, "another cluster")

    async def steady_state(self, group, client):
        if not self._is_another:
            return await super().steady_state(group, client)
        return refusal(RefusalKind.STORE, "another cluster")

    @property
    def _is_another(self) -> bool:
        around: Any = self.around
        return not around.store._store._server.counts_for(around.mark.clusters.own)


class BlindForMachines(SimMachineDesk):
    """Takes each cluster that answers for the one that it has seen first."""

    def __init__(self, around) -> None:
        around.observer.clusters.__class__ = AnyCluster
        super().__init__(around)


class Boasting(SimMachineDesk):
    """Says how far the store has come by the most that it has seen, in whatever cluster."""

    most = 0

    async def _compared(self, group, waiting, known, call):
        revision, error = await super()._compared(group, waiting, known, call)
        self.most = max(self.most, revision)
        return self.most, error


class Obstinate(SimMachineDesk):
    """Goes on with the cluster that it has seen first, whatever an operator says."""

    def __init__(self, around) -> None:
        around.observer.clusters.successor = None
        super().__init__(around)


class Unnoted(NoHistory):
    """Takes each cluster that answers for its own, whatever its disk says."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.clusters.__class__ = AnyCluster


class Stubborn(SimSeen):
    """Obeys no word of another cluster."""

    def succeed(self, position, order) -> bool:  # noqa: ARG002 - as it is there
        return False


def of_all(position, order, own):
    """Give an order that says what a server wants to hear."""
    return replace(order, cluster=position.cluster, replaces=(own,))


def quietly(drawn: Plan) -> Plan:
    """What takes one switch, a few clients, and nothing else."""
    clients = Clients(number=3, servers=1, poll=60.0)
    return replace(
        switched(drawn),
        machines=1,
        windows=(None,),
        slots=3,
        busy=5.0,
        faults=Faults(switches=1),
        clients=clients,
    )


def resumed(drawn: Plan) -> Plan:
    """What takes an operator who says before that the store is to be believed, and a switch."""
    return replace(quietly(drawn), operator_acts=40, only=("resume",))


def without_etcd(drawn: Plan) -> Plan:
    """What takes a few machines without etcd."""
    shaped = replace(quietly(drawn), clients=Clients(servers=1, machines=1.0, hub=True))
    return replace(shaped, machines=2, windows=(None,) * 2)


def with_etcd(drawn: Plan) -> Plan:
    """What takes a few machines with etcd."""
    return replace(quietly(drawn), machines=3, windows=(None,) * 3, clients=Clients())


def often_started(drawn: Plan) -> Plan:
    """What takes daemons that start in the new cluster."""
    return replace(with_etcd(drawn), busy=120.0, faults=Faults(switches=2, restarts=100))


def few(drawn: Plan) -> Plan:
    """What takes one client that wants to reboot once or twice."""
    return replace(quietly(drawn), slots=1, busy=0.0, clients=Clients(number=1, servers=1, poll=60.0))


def few_with_etcd(drawn: Plan) -> Plan:
    """What takes one machine with etcd."""
    return replace(with_etcd(drawn), machines=1, windows=(None,), slots=1, busy=0.0)


def few_without_etcd(drawn: Plan) -> Plan:
    """What takes one machine without etcd."""
    return replace(without_etcd(drawn), machines=1, windows=(None,), slots=1, busy=0.0)


BROKEN_SWITCHES = [
    Broken(Blind, "to a cluster that counts by no operator's word", quietly, seed=1),
    Broken(Trusting, "to a cluster that counts by no operator's word", resumed, seed=3),
    Broken(Repeating, "to reboot by a cluster that counts by no word", quietly, seed=1),
    Broken(Deaf, "still waits", few, seed=6),
    Broken(BlindForMachines, "to a cluster that counts by no operator's word", without_etcd, seed=1),
    Broken(Boasting, "by a revision to which that cluster never came", without_etcd),
    Broken(Obstinate, "still waits", few_without_etcd, seed=3),
    Broken(Unnoted, "in another cluster than it has seen", often_started, seed=2),
    Broken(Stubborn, "still waits", few_with_etcd, seed=3),
]
