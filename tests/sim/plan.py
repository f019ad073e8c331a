"""What a seed makes of a simulation: the fleet, and which faults it meets how often.

Each kind of fault is there or not, by the toss of a coin: a storm of everything at once hides what two faults do.
"""

from dataclasses import dataclass, field, replace
from random import Random

STORMY = 900.0
"""Seconds in which faults happen."""
CROWDS = 0.01
"""How many fleets are of hundreds of machines."""
CLIENTS = 0.2
"""How many fleets have FleetLock clients beside their machines, if they are of few machines."""
FEW = 8


@dataclass(frozen=True)
class Faults:
    """How likely each fault is, at each occasion; 0 for those that this seed leaves out."""

    crash: float = 0.0
    """A daemon is killed at an await, or between two writes of its journal."""
    lost_answer: float = 0.0
    """A call to the store gets no answer; a write may arrive all the same, now or much later."""
    lost_swap: float = 0.0
    """The same, for the writes of the semaphore alone."""
    rack_failure: float = 0.0
    """The machine loses its power together with the answer."""
    slow_store: float = 0.0
    outages: int = 0
    """Times at which no machine reaches the store for a while."""
    power_cuts: int = 0
    refused: float = 0.0
    lost_reply: float = 0.0
    """logind's reply to a reboot is lost, whether or not it was obeyed."""
    nothing_happens: float = 0.0
    inhibited: float = 0.0
    """The reboot is answered and delayed for minutes."""
    silent_logind: float = 0.0
    """Times a minute at which logind does not say whether the machine goes down."""
    engine_error: float = 0.0
    engine_reset: float = 0.0
    cancelled: float = 0.0
    """An operator cancels a reboot that is asked for, between the last look at the engine and what follows from it."""
    bad_disk: float = 0.0
    """A write of the journal fails."""
    clock_steps: int = 0
    others_reboot: int = 0
    """Times at which a person reboots a machine by hand, without the lock."""
    sick: float = 0.0
    """A machine comes up sick, and stays so for a while."""
    blocked: int = 0
    """Times at which a user blocks a machine's shutdown for a while."""
    bad_hook: float = 0.0
    """A hook before the reboot fails."""
    restarts: int = 0
    """Times at which a daemon is stopped in an orderly way and started again."""
    frozen: float = 0.0
    """A process stands still at an await, for up to minutes: its place in line and its record may expire."""
    partitions: int = 0
    """Times at which one machine does not reach the store."""
    compactions: int = 0
    """Times at which the store forgets its past."""
    restores: int = 0
    """Times at which the store goes back to a backup of some minutes ago."""
    expiries: int = 0
    """Times at which something that has a lease is gone before its time."""
    dead: float = 0.0
    """A machine does not come back from its reboot until a person goes there, after the storm."""
    rollback: float = 0.0
    """A machine comes up with what it had before, and wants the same update again."""
    soft_reboots: int = 0
    """Times at which a person restarts a machine's userspace, without the lock."""
    clocks_off: float = 0.0
    """Seconds by which clocks are wrong from the beginning, at most."""
    disk_rollback: float = 0.0
    """A machine comes up with its whole disk as it was some time ago, /var too, and wants the same update again."""
    disk_lost: float = 0.0
    """A machine comes up with nothing in /var/lib/locksmith."""
    full_disks: int = 0
    """Times at which a machine's disk takes no writes for minutes."""
    no_bus: float = 0.0
    """A machine comes up without a bus, for minutes: it cannot look at itself."""
    unable: int = 0
    """Times at which one machine cannot take a slot for a while: its look at the other keyspace fails."""
    ahead: int = 0
    """Times at which one machine believes to have seen more of the store than that knows."""
    loose: float = 0.0
    """How many machines halt after three incidents, while the others halt after the first."""
    elections: int = 0
    """Times at which a machine goes for good from the queue, and leader changes begin that start all leases again."""
    copies: int = 0
    """Times at which the keyspace is that of a copy: no key has a lease, and one place is of a machine that is gone."""
    stalled: float = 0.0
    """A daemon stands still for minutes between its commit and its order to reboot, or its bus is away then."""
    logins: float = 0.0
    """Another user logs in, at a look at who is there, and stays for minutes."""
    switches: int = 0
    """Times at which another cluster, with a backup of some minutes ago, takes the place of the store. Servers and
    machines reach it at different times, and an operator says later that it counts."""
    traffic: int = 0
    """How often others write to a store that has gone back, at once: it grows past all that a machine has seen."""
    astray: int = 0
    """Times at which one machine's endpoints lead to another cluster for minutes."""
    older: float = 0.0
    """How many machines have an older version, until some time of the storm."""
    misdirected: int = 0
    """Times at which one machine is given a wrong endpoint, which is corrected minutes later; half of them at first."""
    insatiable: float = 0.0
    """How many machines have a trigger that wants a reboot, whatever was done, until the storm is over."""
    scripts: int = 0
    """Times at which a unit on a machine stops, and runs `locksmithctl unlock`."""
    lost_call: float = 0.0
    """A client's call, or its answer, is lost; the call may reach a server all the same, now or a minute later."""
    twice: float = 0.0
    """A client's call reaches two servers."""
    server_kills: int = 0
    """Times at which a server is killed; another is started in its stead."""
    server_freezes: int = 0
    lend_freezes: float = 0.0
    """How likely a server stands still for minutes when it has asked for a lease, before it hears of it."""
    """Times at which a server stands still for minutes; what it was about to send goes out when it wakes up."""
    server_doubles: int = 0
    """Times at which a server is started beside its own run."""
    server_restarts: int = 0
    days_off: float = 0.0
    """How many servers have a clock that is a day off."""
    client_kills: int = 0
    """Times at which a client is killed, and forgets everything."""
    client_power_cuts: int = 0
    hasty: float = 0.0
    """How many clients ask for their reboot although their steady-state was not heard yet."""
    withdrawn: float = 0.0
    """A client's update is withdrawn while it waits: it calls no more, and does not say so."""
    gone: float = 0.0
    """A client never comes back from its reboot."""
    watch_lags: float = 0.0
    """How many of a server's watches of its group lag, or tell nothing at all."""
    watch_breaks: float = 0.0
    """How many of them break before their time."""
    server_partitions: int = 0
    """Times at which one server does not reach the store."""
    vanishings: int = 0
    """Times at which a machine loses its power while it waits, and stays off for many minutes."""


HUB_FAULTS = ("watch_lags", "watch_breaks", "server_partitions", "vanishings")
"""Those of what a server shares between its machines. The queue has to go on within the same bound."""
SERVER_FAULTS = (
    *("server_kills", "server_doubles", "server_restarts", "server_freezes", "lend_freezes"),
    *("lost_call", "twice"),
)
CALL_FAULTS = ("lost_answer", "slow_store", "engine_reset")
"""After those and these, too, the places of machines that are gone leave the queue in time."""
QUEUE_FAULTS = ("unable", "ahead", "loose", "elections", "copies", "older")
"""Those after which the queue has to go on within a bound, where nothing else goes wrong."""


@dataclass(frozen=True)
class Calendars:
    """What a fleet's windows have beside their openings, and what else may want a reboot."""

    blackout: tuple[int, int] | None = None
    """The minute it begins, and how many it lasts; on half of the machines."""
    least: float = 0.0
    """Seconds of a window that must be left when a reboot begins."""
    splay: float = 0.0
    fleet_set: bool = False
    """Half of the machines go by a set of windows in the store, which the operator changes."""
    packages: bool = False
    """Packages want reboots too, beside the update engine."""


IN_MEMORY = 0.7
"""Of the fleets with FleetLock clients, how many have servers that keep the group in memory."""


@dataclass(frozen=True)
class Clients:
    """The FleetLock clients of a fleet, and the servers that they call."""

    number: int = 0
    servers: int = 2
    poll: float = 300.0
    """Seconds between two calls of one client."""
    window: str | None = None
    """When they may reboot; None: it is always open."""
    fleet_set: bool = False
    """They go by the set of windows in the store, which the operator changes."""
    expire_after: float = 0.0
    """Seconds after which the slot of one that is lost may be taken; then nothing halts the group. 0: never."""
    unattended: float = 0.0
    """Seconds after the storm in which no operator looks at the fleet."""
    machines: float = 0.0
    """Which share of the machines has no etcd, and asks the servers."""
    zincati: bool = False
    """Their ids are those that Zincati derives from machine-ids, by which operators hold them back."""
    hub: bool = False
    """The servers keep the group in memory, and the places of who waits at them by a lease of their own."""

    @property
    def any(self) -> bool:
        """Whether a machine or a client needs the servers."""
        return self.number > 0 or self.machines > 0


@dataclass(frozen=True)
class Plan:
    """One simulation. `windows` has one for each machine, or None: it is always open."""

    seed: int
    machines: int
    slots: int
    stepwise: bool
    windows: tuple[str | None, ...]
    faults: Faults = field(default_factory=Faults)
    go_nodes: int = 0
    operator_acts: int = 0
    only: tuple[str, ...] = ()
    """What the operator does, by the names of its methods; empty: anything."""
    hooks: bool = False
    """The machines have hooks, which take their time."""
    busy: float = 0.0
    """Seconds after a reboot until a machine wants the next, at most; 0: it wants one or two in all."""
    spacing: float = 0.0
    calendars: Calendars = Calendars()
    clients: Clients = Clients()

    @property
    def most_per_day(self) -> int:
        """How many reboots triggers may cause; a fleet that is busy for a quarter of an hour would see no more."""
        return 3 if self.faults.insatiable else 0

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens but updates and reboots."""
        others = self.go_nodes or self.operator_acts or self.clients.number
        return self.faults == Faults() and not others and not self.spacing

    @property
    def is_prompt(self) -> bool:
        """Whether nothing keeps a machine from telling its group what becomes of it."""
        bad = ("disk_rollback", "disk_lost", "full_disks", "no_bus", "sick", "rollback")
        return replace(self.faults, **dict.fromkeys(bad, 0)) == Faults() and not self.operator_acts

    @property
    def is_orderly(self) -> bool:
        """Whether nothing happens that could keep a slot free, but to the queue itself."""
        names = (*QUEUE_FAULTS, *HUB_FAULTS)
        others = replace(self.faults, sick=0.0, **{name: getattr(Faults(), name) for name in names})
        if others != Faults() or self.go_nodes or self.clients.number:
            return False  # a client that is first takes a slot when it calls again, or never
        return not self.operator_acts or self.only == ("freeze",)

    @property
    def is_left_in_time(self) -> bool:
        """Whether nothing keeps the place of a machine that is gone in the queue, but what servers share."""
        names = (*HUB_FAULTS, *SERVER_FAULTS, *CALL_FAULTS)
        return replace(self.faults, **{name: getattr(Faults(), name) for name in names}) == Faults()

    @property
    def is_sociable(self) -> bool:
        """Whether nothing goes wrong but that users log in."""
        return replace(self, faults=replace(self.faults, logins=0.0)).is_calm

    def draw(self, name: str) -> Random:
        """Give a source of chance of its own to each part: a new part leaves the others' fate as it was."""
        return Random(f"{self.seed} {name}")


def plan(seed: int) -> Plan:
    """Draw a plan: a fleet that meets half of all faults now and then, or a few machines that meet a few often.

    Half of all fleets are busy all the time; most of those have no window to wait for, or one that closes again and
    again, and many a milder storm. One in a hundred is a crowd.
    """
    rng, pace = Random(seed), Random(f"{seed} pace")
    few, crowd = rng.random() < 0.3, pace.random() < CROWDS
    bad = Random(f"{seed} a bad day")
    machines = rng.randint(1, 3) if few else rng.randint(3, 8)
    slots = rng.choice((1, 1, 2))
    busy = pace.choice((0.0, 0.0, 5.0, 60.0))
    tireless = bool(busy) and pace.random() < 0.7
    mild = tireless and pace.random() < 0.6
    if tireless:
        slots = pace.randint(1, max(1, machines - 1))
    flicker = pace.choice((None, None, "00:00..15:0/15 for 12s"))
    chance, high = (0.15, 4.0) if few else (0.2, 0.5) if mild else (0.5, 1.0)
    if crowd:
        machines, slots = pace.randint(100, 300), pace.randint(5, 30)
        slots = _many_slots(Random(f"{seed} many slots"), slots)
    drawn = _ill_fate(Random(f"{seed} ill fate"), _bad_day(bad, _faults(rng, chance, high)))
    drawn = _bad_disks(Random(f"{seed} bad disks"), drawn)
    drawn = _blocked(Random(f"{seed} queue"), drawn)
    drawn = _late(Random(f"{seed} late"), drawn)
    drawn = _crowded_store(Random(f"{seed} traffic"), drawn)
    drawn = _astray(Random(f"{seed} other cluster"), drawn)
    drawn = _of_two_versions(Random(f"{seed} versions"), drawn)
    drawn = _misdirected(Random(f"{seed} misdirected"), drawn)
    drawn = _never_content(Random(f"{seed} insatiable"), drawn)
    drawn = _with_scripts(Random(f"{seed} scripts"), drawn)
    drawn = _replaced(Random(f"{seed} replaced"), drawn)
    shaped = Plan(
        seed=seed,
        machines=machines,
        slots=slots,
        stepwise=rng.random() < 0.3,
        windows=(flicker,) * machines if tireless else tuple(_window(rng) for _ in range(machines)),
        # What is decided while such a window is open is done when it has closed: that takes a slow store.
        faults=replace(drawn, slow_store=0.4) if tireless and flicker else drawn,
        go_nodes=rng.choice((0, 0, 1, 2)),
        operator_acts=rng.choice((0, 0, 3, 8)),
        hooks=bad.random() < 0.5,
        busy=busy,
        spacing=0.0 if crowd or tireless else bad.choice((0.0, 0.0, 60.0)),
        calendars=Calendars() if tireless else _calendars(Random(f"{seed} calendars")),
    )
    return _without_etcd(with_clients(shaped))


def _without_etcd(drawn: Plan) -> Plan:
    """Have an eighth of the fleets ask servers, all machines or some."""
    some = Random(f"{drawn.seed} without etcd").random() < 0.125
    return machines_served(drawn) if some and drawn.machines <= FEW else drawn


def with_clients(drawn: Plan, share: float = CLIENTS) -> Plan:
    """Give so many of the fleets a few FleetLock clients, which meet faults of their own where others do."""
    rng = Random(f"{drawn.seed} clients")
    if rng.random() >= share or drawn.machines > FEW:
        return drawn
    clients = Clients(
        number=rng.randint(1, 4),
        servers=rng.randint(1, 3),
        poll=rng.choice((300.0, 300.0, 60.0)),
        window=rng.choice((None, None, f"00:{rng.randint(0, 10):02} for {rng.randint(4, 20)}m")),
        fleet_set=rng.random() < 0.5,
    )
    # On a store without transactions, as etcd's v2 API is, there is nothing to follow.
    memory = Random(f"{drawn.seed} memory")
    clients = replace(clients, hub=not drawn.stepwise and memory.random() < IN_MEMORY)
    if drawn.faults == Faults():
        return replace(drawn, clients=clients)
    faults = replace(
        drawn.faults,
        watch_lags=memory.choice((0.0, 0.1, 0.4)) if clients.hub else 0.0,
        watch_breaks=memory.choice((0.0, 0.1, 0.4)) if clients.hub else 0.0,
        lost_call=rng.choice((0.0, 0.1, 0.4)),
        twice=rng.choice((0.0, 0.1, 0.4)),
        server_kills=rng.choice((0, 3, 10)),
        client_kills=rng.choice((0, 2, 6)),
        client_power_cuts=rng.choice((0, 0, 2)),
        withdrawn=rng.choice((0.0, 0.0, 0.2)),
        gone=rng.choice((0.0, 0.0, 0.2)),
        hasty=Random(f"{drawn.seed} hasty").choice((0.0, 0.0, 0.5)),
    )
    return replace(drawn, clients=clients, faults=faults)


def clients_alone(drawn: Plan) -> Plan:
    """Make a fleet of clients, beside one machine."""
    shaped = with_clients(replace(drawn, machines=1, windows=drawn.windows[:1]), 1.0)
    return replace(shaped, clients=replace(shaped.clients, number=max(3, shaped.clients.number)))


def machines_served(drawn: Plan) -> Plan:
    """Make a fleet of which some or all machines have no etcd; half of them share it with FleetLock clients."""
    rng = Random(f"{drawn.seed} machines without etcd")
    shaped = with_clients(drawn, 1.0)
    number = rng.choice((0, shaped.clients.number))
    # On a store without transactions, as etcd's v2 API is, there is nothing to follow.
    clients = replace(shaped.clients, number=number, machines=rng.choice((0.5, 1.0)), hub=not drawn.stepwise)
    if drawn.faults == Faults():
        return replace(shaped, clients=clients)
    faults = replace(
        shaped.faults,
        server_freezes=rng.choice((0, 3, 8)),
        server_doubles=rng.choice((0, 2, 5)),
        server_restarts=rng.choice((0, 2, 5)),
    )
    return replace(shaped, clients=clients, faults=_far_back(Random(f"{drawn.seed} hub"), faults))


def _far_back(rng: Random, faults: Faults) -> Faults:
    """Add what befalls those who wait far back, in half of the storms."""
    if rng.random() < 0.5:
        return faults
    return replace(
        faults,
        watch_lags=rng.choice((0.0, 0.1, 0.4)),
        watch_breaks=rng.choice((0.0, 0.1, 0.4)),
        server_partitions=rng.choice((0, 2, 5)),
        vanishings=rng.choice((0, 0, 3)),
    )


def _many_slots(rng: Random, slots: int) -> int:
    """Give half of the crowds more slots than etcd takes keys of their holders in one transaction."""
    return rng.randint(65, 200) if rng.random() < 0.5 else slots


def _calendars(rng: Random) -> Calendars:
    """Draw what half of the fleets have."""
    if rng.random() < 0.5:
        return Calendars()
    return Calendars(
        blackout=rng.choice((None, (rng.randint(1, 10), rng.randint(1, 4)))),
        least=rng.choice((0.0, 45.0)),
        splay=rng.choice((0.0, 0.5)),
        fleet_set=rng.random() < 0.5,
        packages=rng.random() < 0.5,
    )


def _bad_day(rng: Random, faults: Faults) -> Faults:
    """Add what goes wrong with the machines themselves, in half of the storms."""
    if rng.random() < 0.5:
        return faults
    return replace(
        faults,
        sick=rng.choice((0.0, 0.3)),
        blocked=rng.choice((0, 2, 6)),
        bad_hook=rng.choice((0.0, 0.3)),
    )


def _ill_fate(rng: Random, faults: Faults) -> Faults:
    """Add what comes from far away, in half of the storms: to the store, to one machine's way there, to its clock."""
    if rng.random() < 0.5:
        return faults
    return replace(
        faults,
        frozen=rng.choice((0.0, 0.0, 0.003)),
        partitions=rng.choice((0, 0, 3, 6)),
        compactions=rng.choice((0, 3, 10)),
        restores=rng.choice((0, 0, 0, 1, 2)),
        expiries=rng.choice((0, 0, 6)),
        dead=rng.choice((0.0, 0.0, 0.1)),
        rollback=rng.choice((0.0, 0.0, 0.3)),
        soft_reboots=rng.choice((0, 0, 3)),
        clocks_off=rng.choice((0.0, 0.0, 60.0, 1200.0)),
    )


def _bad_disks(rng: Random, faults: Faults) -> Faults:
    """Add what happens to disks, and what a machine without its bus meets, in a third of the storms."""
    if rng.random() < 0.67:
        return faults
    return replace(
        faults,
        disk_rollback=rng.choice((0.0, 0.0, 0.3)),
        disk_lost=rng.choice((0.0, 0.0, 0.2)),
        full_disks=rng.choice((0, 2, 6)),
        no_bus=rng.choice((0.0, 0.0, 0.3)),
    )


def _blocked(rng: Random, faults: Faults) -> Faults:
    """Add what befalls the queue, in a fifth of the storms."""
    if rng.random() < 0.8:
        return faults
    return replace(
        faults,
        unable=rng.choice((0, 2, 5)),
        ahead=0 if faults.restores else rng.choice((0, 0, 1)),
        loose=rng.choice((0.0, 0.5)),
        elections=rng.choice((0, 0, 1)),
        copies=rng.choice((0, 0, 1)),
    )


def _late(rng: Random, faults: Faults) -> Faults:
    """Add what comes between a slot and its order, each in a quarter of the storms."""
    if faults == Faults():
        return faults
    return replace(faults, stalled=rng.choice((0.0, 0.0, 0.0, 0.3)), logins=rng.choice((0.0, 0.0, 0.0, 0.5)))


def _crowded_store(rng: Random, faults: Faults) -> Faults:
    """Add others who use the store too, to half of those that go back."""
    return replace(faults, traffic=rng.choice((0, 3000))) if faults.restores else faults


def _astray(rng: Random, faults: Faults) -> Faults:
    """Add endpoints that lead to another cluster, to a fifth of the storms."""
    return faults if faults == Faults() or rng.random() < 0.8 else replace(faults, astray=rng.randint(1, 6))


def _replaced(rng: Random, faults: Faults) -> Faults:
    """Have another cluster take the place of the store in a twelfth of the storms."""
    return faults if faults == Faults() or rng.random() < 0.92 else replace(faults, switches=rng.choice((1, 1, 2)))


def _of_two_versions(rng: Random, faults: Faults) -> Faults:
    """Have a fifth of the fleets upgraded during the storm."""
    return faults if faults == Faults() else replace(faults, older=rng.choice((0.0, 0.0, 0.0, 0.0, 0.5)))


def _misdirected(rng: Random, faults: Faults) -> Faults:
    """Add wrong endpoints to a sixth of the storms."""
    return faults if faults == Faults() or rng.random() < 0.83 else replace(faults, misdirected=rng.randint(1, 4))


def _never_content(rng: Random, faults: Faults) -> Faults:
    """Have a trigger that wants a reboot for ever in an eighth of the fleets that meet faults."""
    return faults if faults == Faults() else replace(faults, insatiable=0.5 if rng.random() < 0.125 else 0.0)


def _with_scripts(rng: Random, faults: Faults) -> Faults:
    """Have units of a fifth of the fleets unlock their machines."""
    return faults if faults == Faults() or rng.random() < 0.8 else replace(faults, scripts=rng.randint(2, 20))


def _window(rng: Random) -> str | None:
    return rng.choice((None, "00:00 for 2h", f"00:{rng.randint(1, 14):02} for {rng.randint(2, 10)}m"))


def _faults(rng: Random, chance: float, high: float) -> Faults:
    def rate(most: float) -> float:
        drawn = min(0.7, high * rng.uniform(most / 10, most))
        return drawn if rng.random() < chance else 0.0

    def times(most: int) -> int:
        drawn = rng.randint(1, most)
        return drawn if rng.random() < chance else 0

    return Faults(
        crash=rate(0.03),
        lost_answer=rate(0.1),
        rack_failure=rate(0.5),
        slow_store=rate(0.1),
        outages=times(3),
        power_cuts=times(3),
        refused=rate(0.5),
        lost_reply=rate(0.5),
        nothing_happens=rate(0.4),
        inhibited=rate(0.5),
        silent_logind=rate(0.2),
        engine_error=rate(0.1),
        engine_reset=rate(0.5),
        cancelled=rate(0.1),
        bad_disk=rate(0.1),
        clock_steps=times(4),
        others_reboot=times(3),
        restarts=times(4),
    )
