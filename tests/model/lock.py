"""The lock as a small model, of which every state is explored: a few machines, slots, faults, and an operator.

It leaves out all that takes time and all that a machine does on its own, and keeps what decides: the semaphore that is
written by compare-and-swap, the record beside it, each machine's journal, and requests that are lost, answered too late
or applied after everybody has given up on them. `docs/architecture.md` names the rules; here they are checked in each
state, and that from each state everything can come to its end without another fault.

A semaphore's version is not counted: a request on its way is `fresh` as long as nobody has written since it was sent.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W", bound=Hashable)

IDLE, TAKE, TAKING, COMMIT, COMMITTING, REBOOT, DOWN, GIVE, GIVING, DEAD = (
    *("idle", "take", "taking", "commit", "committing", "reboot"),
    *("down", "give", "giving", "dead"),
)
"""Where a machine's daemon is: about to send a request, waiting for its answer, about to reboot, going down, dead."""
NONE, HELD, COMMITTED, FAILED, SEEN = "", "held", "committed", "failed", "seen"
"""The record beside the semaphore; with none the machine holds no slot. SEEN: failed, and an operator knows."""
REQUESTED, EARLIER, OLDER = "requested", "earlier", "older"
"""The journal: a claim that can be given up, one past the point of no return (COMMITTED), one of an earlier boot.

OLDER: the machine has booted with the disk of before its commit, which names a claim that can be given up.
"""
HERE = "here"
"""What the group remembers of a machine's last commit: that was in this boot, or in an EARLIER one."""
AHEAD, TAKING_AHEAD = "take from what it read before", "taking from what it read before"
"""A take that was prepared while no slot was free: only the semaphore is read after that."""
GIVE_AHEAD, GIVING_AHEAD = "give-back from what it wrote last", "giving back from what it wrote last"
"""A release that reads nothing: it starts from the semaphore and the record as this daemon wrote them last."""
WAITS = {TAKING: TAKE, TAKING_AHEAD: AHEAD, COMMITTING: COMMIT, GIVING: GIVE, GIVING_AHEAD: GIVE_AHEAD}


class Machine(NamedTuple):
    """One machine. `late` are requests on their way that nobody waits for, and that would still win."""

    wants: bool = True
    at: str = IDLE
    journal: str = NONE
    slot: str = NONE
    fresh: bool = False
    late: tuple[str, ...] = ()
    freed: bool = False
    """An operator freed its slot past the point of no return."""
    remembered: str = NONE
    """What the group remembers of its last commit."""
    rebooted: bool = False
    """It has gone down for its update."""
    prepared: bool = False
    """It has read all that a take needs but the semaphore, and nothing of that held it back."""
    knows: int = -1
    """How many others held a slot when this daemon wrote the semaphore last; -1: it has not written it."""
    since: bool = False
    """Whether another has written the semaphore since then."""


UNKNOWN: dict[str, object] = {"knows": -1, "since": False}
"""What a daemon knows of its last write when it has been started again."""


class World(NamedTuple):
    """Everything. `crashes`, `losses`, `rollbacks` and `acts` are the faults and acts that may still happen."""

    machines: tuple[Machine, ...]
    slots: int
    manual: bool
    crashes: int
    losses: int
    acts: int
    rollbacks: int = 0
    freezes: bool = False
    """Whether the operator's acts are freezes; else they are the others."""
    frozen: bool = False
    ahead: bool = False
    """Whether releases start from what was written last."""

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return self.slots - sum(machine.slot != NONE for machine in self.machines) - self.manual


@dataclass(frozen=True)
class Protocol:
    """How the daemons go about it; a test takes one rule away to see whether the model notices."""

    compares: bool = True
    """A write is guarded by the semaphore's version."""
    settles: bool = True
    """Giving up writes, also where the machine holds nothing: a request on its way can no longer win."""
    journals_first: bool = True
    """The journal says `requested` before the first request is sent."""
    waits_for_the_boot: bool = True
    """The slot stays while the machine goes down."""
    commits: bool = True
    """Before the reboot the record is written once more, guarded by the slot."""
    commits_anew: bool = True
    """So it is, also where it says already that the machine is past the point of no return."""
    heeds_the_record: bool = True
    """A machine whose journal is older than its record reports that, and releases nothing until it is acknowledged."""
    group_remembers: bool = True
    """The commit writes what the machine reboots for, and no take is for the same again after a boot."""
    checks_what_it_read: bool = True
    """A prepared take is guarded by all that was read, not by the semaphore's version alone."""
    compares_releases: bool = True
    """A release from what was written last is guarded by the versions of then."""
    freeze_touches: bool = True
    """A freeze writes the semaphore after its order."""
    starts_again: bool = True
    """A daemon that was killed is started again, and goes on as its journal says."""


class BrokenRuleError(Exception):
    """A rule does not hold; `path` is how it came to that, step by step."""

    def __init__(self, rule: str, path: list[str]) -> None:
        super().__init__(f"{rule}:\n" + "\n".join(f"  {number}. {step}" for number, step in enumerate(path, 1)))
        self.rule = rule
        self.path = path


class Step(NamedTuple, Generic[W]):
    """What may happen next. A fault, or an operator's act, is not needed for anything to come to its end."""

    words: str
    world: W
    needed: bool = True
    broken: str = ""


def start(
    machines: int,
    slots: int,
    *,
    crashes: int,
    losses: int,
    acts: int,
    rollbacks: int = 0,
    freezes: bool = False,
    ahead: bool = False,
) -> World:
    """Give the beginning: all want to reboot, and nobody holds anything."""
    return World(
        (Machine(),) * machines,
        slots,
        manual=False,
        crashes=crashes,
        losses=losses,
        acts=acts,
        rollbacks=rollbacks,
        freezes=freezes,
        ahead=ahead,
    )


def steps(world: World, protocol: Protocol) -> Iterator[Step[World]]:
    """Give everything that may happen next."""
    for number, machine in enumerate(world.machines):
        yield from _daemon(world, number, machine, protocol)
        yield from _wire(world, number, machine, protocol)
        yield from _faults(world, number, machine)
        if world.acts and machine.slot != NONE and not world.freezes:
            freed = machine.slot == COMMITTED or machine.at == DOWN
            unlocked = _wrote(_with(world, number, slot=NONE, freed=freed))
            yield Step(f"an operator unlocks {number}", unlocked._replace(acts=world.acts - 1), needed=False)
    yield from _freezer(world, protocol) if world.freezes else _operator(world)


def _daemon(world: World, number: int, machine: Machine, protocol: Protocol) -> Iterator[Step[World]]:
    """Do what the daemon does next, by what it reads now."""
    match machine.at:
        case "take":
            yield from _take(world, number, machine, protocol)
        case "commit":
            yield from _commit(world, number, machine, protocol)
        case "reboot":
            broken = f"{number} reboots once more for the same update" if machine.rebooted else ""
            yield Step(f"{number} goes down", _with(world, number, at=DOWN, rebooted=True), broken=broken)
        case "give":
            if machine.journal == OLDER and machine.slot in {COMMITTED, FAILED} and protocol.heeds_the_record:
                yield from _reported(world, number, machine)
            elif machine.slot == NONE and not protocol.settles:
                yield Step(f"{number} has nothing to give back", _ended(world, number))
            else:
                yield _becomes(world, number, "sends its give-back", at=GIVING, fresh=True)
                if machine.knows >= 0:
                    fresh = not machine.since
                    yield _becomes(world, number, "sends its give-back unread", at=GIVING_AHEAD, fresh=fresh)
        case _:
            yield from _begins(world, number, machine, protocol)
    if machine.at in {TAKE, COMMIT, REBOOT}:
        journal = REQUESTED if protocol.journals_first else machine.journal
        yield _becomes(world, number, "gives up", at=GIVE, journal=journal)


def _begins(world: World, number: int, machine: Machine, protocol: Protocol) -> Iterator[Step[World]]:
    if machine.at == IDLE and machine.wants:
        journal = REQUESTED if protocol.journals_first else NONE
        yield _becomes(world, number, "wants a slot", at=TAKE, journal=journal)
    elif machine.at == DOWN:
        yield _becomes(
            world,
            number,
            "boots",
            at=GIVE,
            journal=EARLIER,
            freed=False,
            remembered=_booted(machine),
            prepared=False,
            **UNKNOWN,
        )
        if not protocol.waits_for_the_boot:
            yield Step(f"{number} gives back", _wrote(_with(world, number, slot=NONE)))
    elif machine.at == DEAD and protocol.starts_again:
        again = {NONE: IDLE, REQUESTED: TAKE, COMMITTED: GIVE, EARLIER: GIVE, OLDER: GIVE}[machine.journal]
        yield _becomes(world, number, "starts again", at=again)


def _reported(world: World, number: int, machine: Machine) -> Iterator[Step[World]]:
    """Report a disk that is older than the record, and wait for an operator."""
    if machine.slot == COMMITTED:
        yield Step(f"{number} reports its older disk", _wrote(_with(world, number, slot=FAILED)))
    else:
        yield Step("an operator acknowledges it", _wrote(_with(world, number, slot=SEEN)))


def _booted(machine: Machine) -> str:
    return EARLIER if machine.remembered == HERE else machine.remembered


def _take(world: World, number: int, machine: Machine, protocol: Protocol) -> Iterator[Step[World]]:
    if machine.slot == NONE and machine.remembered == EARLIER and protocol.group_remembers:
        yield _becomes(world, number, "hears what it has rebooted for", at=IDLE, journal=NONE, wants=False)
    elif machine.slot != NONE:
        yield _becomes(world, number, "finds that it has its slot", at=COMMIT, journal=COMMITTED)
    elif world.free > 0:
        if not world.frozen:
            yield _becomes(world, number, "sends its take", at=TAKING, fresh=True)
        if machine.prepared:
            yield _becomes(world, number, "sends its prepared take", at=TAKING_AHEAD, fresh=True, prepared=False)
    elif world.freezes and not world.frozen and not machine.prepared:
        yield _becomes(world, number, "reads what a take needs", prepared=True)


def _commit(world: World, number: int, machine: Machine, protocol: Protocol) -> Iterator[Step[World]]:
    if machine.slot == NONE:
        yield _becomes(world, number, "finds its slot gone", at=GIVE, journal=REQUESTED)
    elif world.frozen:
        yield _becomes(world, number, "is held back", at=GIVE, journal=REQUESTED)
    elif not protocol.commits or (machine.slot == COMMITTED and not protocol.commits_anew):
        yield _becomes(world, number, "is past the point of no return", at=REBOOT)
    else:
        yield _becomes(world, number, "sends its commit", at=COMMITTING, fresh=True)


def _becomes(world: World, number: int, words: str, **changes: object) -> Step[World]:
    return Step(f"{number} {words}", _with(world, number, **changes))


def _wire(world: World, number: int, machine: Machine, protocol: Protocol) -> Iterator[Step[World]]:
    """Bring requests to the store, and answers back, or lose them."""
    sent = WAITS.get(machine.at)
    if sent is not None:
        guarded = protocol.compares and (protocol.compares_releases or sent != GIVE_AHEAD)
        wins = (machine.fresh or not guarded) and not _is_refused(world, machine, sent, protocol)
        after, broken = _applied(world, number, sent, wins)
        following = {TAKE: COMMIT, AHEAD: COMMIT, COMMIT: REBOOT}
        again = {AHEAD: TAKE, GIVE_AHEAD: GIVE}.get(sent, sent)
        answered = _ended(after, number) if sent in {GIVE, GIVE_AHEAD} else _with(after, number, at=following[sent])
        if sent in {TAKE, AHEAD, COMMIT} and world.ahead:
            answered = _with(answered, number, knows=_others(answered, number), since=False)
        if sent in {TAKE, AHEAD}:
            answered = _with(answered, number, journal=COMMITTED)
        if not wins:
            answered = _with(world, number, at=again, **UNKNOWN)
        yield Step(f"{number} has its {sent} answered", answered, broken=broken)
        if world.losses:
            left = world.losses - 1
            lost = _with(after, number, at=again, **UNKNOWN)._replace(losses=left)
            yield Step(f"the answer to the {sent} of {number} is lost", lost, needed=False, broken=broken)
            gone = _with(world, number, at=again, **UNKNOWN)._replace(losses=left)
            yield Step(f"the {sent} of {number} is lost", gone, needed=False)
            late = _with(world, number, at=again, late=_late(machine, sent), **UNKNOWN)._replace(losses=left)
            yield Step(f"the {sent} of {number} is late", late, needed=False)
    for request in machine.late:
        waiting = tuple(other for other in machine.late if other != request)
        wins = not _is_refused(world, machine, request, protocol)
        after, broken = _applied(_with(world, number, late=waiting), number, request, wins)
        yield Step(f"a late {request} of {number} arrives", after, needed=False, broken=broken)
        yield Step(f"a late {request} of {number} is lost", _with(world, number, late=waiting))


def _is_refused(world: World, machine: Machine, request: str, protocol: Protocol) -> bool:
    """Whether what a prepared take has read does not stand so any more."""
    changed = world.frozen or machine.remembered == EARLIER
    return request == AHEAD and changed and protocol.checks_what_it_read


def _faults(world: World, number: int, machine: Machine) -> Iterator[Step[World]]:
    """Kill the daemon, cut the machine's power, or have it come up with the disk of some time ago."""
    if world.rollbacks and machine.at == DOWN:
        older = _with(world, number, at=GIVE, journal=OLDER, freed=False, remembered=_booted(machine), **UNKNOWN)
        yield Step(f"{number} boots with an older disk", older._replace(rollbacks=world.rollbacks - 1), needed=False)
    if not world.crashes or machine.at == DEAD:
        return
    left, sent = world.crashes - 1, WAITS.get(machine.at)
    late = _late(machine, sent) if sent is not None else machine.late
    if machine.at != DOWN:
        killed = _with(world, number, at=DEAD, late=late, prepared=False, **UNKNOWN)
        yield Step(f"the daemon of {number} is killed", killed._replace(crashes=left), needed=False)
    if machine.at != IDLE or machine.journal != NONE:
        journal = machine.journal if machine.journal in {NONE, OLDER} else EARLIER
        booted = _booted(machine)
        cut = _with(world, number, at=DEAD, journal=journal, late=late, freed=False, remembered=booted, **UNKNOWN)
        yield Step(f"{number} loses its power", cut._replace(crashes=left), needed=False)


def _operator(world: World) -> Iterator[Step[World]]:
    if world.manual:
        yield Step("an operator gives the manual lock back", _wrote(world._replace(manual=False)))
    elif world.acts and world.free > 0:
        locked = world._replace(manual=True, acts=world.acts - 1)
        yield Step("an operator locks by hand", _wrote(locked), needed=False)
    if world.acts:
        fewer = world._replace(slots=world.slots - 1, acts=world.acts - 1)
        yield Step("an operator takes a slot away", _wrote(fewer), needed=False)
    if world.slots < 1:
        yield Step("an operator adds a slot", _wrote(world._replace(slots=world.slots + 1)))


def _freezer(world: World, protocol: Protocol) -> Iterator[Step[World]]:
    """Freeze, and thaw: a thaw only removes the order."""
    if world.frozen:
        yield Step("an operator thaws", world._replace(frozen=False))
    elif world.acts:
        frozen = world._replace(frozen=True, acts=world.acts - 1)
        yield Step("an operator freezes", _wrote(frozen) if protocol.freeze_touches else frozen, needed=False)


def _applied(world: World, number: int, request: str, wins: bool) -> tuple[World, str]:
    """Apply a request in the store; one that does not win changes nothing."""
    if not wins:
        return world, ""
    broken = ""
    if request in {TAKE, AHEAD}:
        if world.free <= 0:
            broken = f"{number} takes a slot although none is free"
        elif world.frozen:
            broken = f"{number} takes a slot although the group is frozen"
        return _wrote(_with(world, number, slot=HELD)), broken
    if request == COMMIT:
        broken = f"{number} passes its point of no return although the group is frozen" if world.frozen else ""
        return _wrote(_with(world, number, slot=COMMITTED, remembered=HERE)), broken
    machine = world.machines[number]
    if request == GIVE_AHEAD and machine.knows == 0:
        # The value that it writes has none but those who held a slot when it wrote last.
        for other in range(len(world.machines)):
            world = world if other == number else _with(world, other, slot=NONE)
    if machine.journal == OLDER and machine.slot == COMMITTED:
        broken = f"{number} releases its slot, and hides that its disk is older"
    kept = machine.remembered if machine.remembered == EARLIER else NONE
    return _wrote(_with(world, number, slot=NONE, remembered=kept)), broken


def _ended(world: World, number: int) -> World:
    """Clear the journal; a machine that has booted has what it wanted."""
    wants = world.machines[number].journal != EARLIER
    return _with(world, number, at=IDLE, journal=NONE, wants=wants, **UNKNOWN)


def _others(world: World, number: int) -> int:
    return sum(machine.slot != NONE for other, machine in enumerate(world.machines) if other != number)


def _late(machine: Machine, request: str) -> tuple[str, ...]:
    return tuple(sorted({*machine.late, request})) if machine.fresh else machine.late


def _with(world: World, number: int, **changes: object) -> World:
    machines = list(world.machines)
    changed = machines[number]._replace(**changes)  # type: ignore[arg-type]
    machines[number] = changed if changed.at in WAITS else changed._replace(fresh=False)
    return world._replace(machines=tuple(machines))


def _wrote(world: World) -> World:
    """Write the semaphore: whatever was sent before can no longer win, and what was written last stands no longer."""
    return world._replace(
        machines=tuple(machine._replace(fresh=False, late=(), since=machine.knows >= 0) for machine in world.machines)
    )


def rule_broken(world: World) -> str:
    """Name the rule that a state breaks; empty: none."""
    for number, machine in enumerate(world.machines):
        if machine.at == DOWN and machine.slot == NONE and not machine.freed:
            return f"{number} goes down and holds no slot"
        if machine.journal == NONE and machine.slot != NONE:
            return f"{number} holds a slot, and its journal knows nothing of it"
    return ""


def is_end(world: World) -> bool:
    """Whether everybody has what they wanted, and nobody holds anything."""
    return not world.manual and all(
        not machine.wants and machine.at == IDLE and machine.slot == NONE for machine in world.machines
    )


@dataclass
class Explored(Generic[W]):
    """All states that can be reached: how each came about, and which lead where without a fault."""

    states: dict[W, int]
    came_from: list[tuple[int, str]]
    leads_to: list[list[int]]
    ends: list[int]

    def path(self, state: int) -> list[str]:
        """Tell how a state came about."""
        words: list[str] = []
        while state:
            state, step = self.came_from[state]
            words.append(step)
        return words[::-1]


@dataclass(frozen=True)
class Model(Generic[W]):
    """What may happen in a world, which rule a world breaks, whether it is an end, and one for all that are alike."""

    steps: Callable[[W], Iterable[Step[W]]]
    rule_broken: Callable[[W], str]
    is_end: Callable[[W], bool]
    alike: Callable[[W], W]


def explore(beginning: World, protocol: Protocol = Protocol()) -> Explored[World]:
    """Visit every state of the lock; `BrokenRuleError` at the first that breaks a rule of safety."""
    return visit(beginning, Model(partial(steps, protocol=protocol), rule_broken, is_end, _alike))


def visit(beginning: W, model: Model[W]) -> Explored[W]:
    """Visit every state; `BrokenRuleError` at the first that breaks a rule of safety, by a shortest path."""
    found = Explored({model.alike(beginning): 0}, [(0, "")], [], [])
    todo = deque([model.alike(beginning)])
    while todo:
        world = todo.popleft()
        state = found.states[world]
        found.leads_to.append([])
        if model.is_end(world):
            found.ends.append(state)
        for step in model.steps(world):
            rule = step.broken or model.rule_broken(step.world)
            if rule:
                raise BrokenRuleError(rule, [*found.path(state), step.words])
            after = model.alike(step.world)
            number = found.states.get(after)
            if number is None:
                number = found.states[after] = len(found.came_from)
                found.came_from.append((state, step.words))
                todo.append(after)
            if step.needed:
                found.leads_to[state].append(number)
    return found


def must_end(found: Explored[W]) -> None:
    """See that from each state everything can come to its end; `BrokenRuleError`: from one it cannot."""
    leads_here: list[list[int]] = [[] for _ in found.came_from]
    for state, afters in enumerate(found.leads_to):
        for after in afters:
            leads_here[after].append(state)
    ending, todo = set(found.ends), deque(found.ends)
    while todo:
        for before in leads_here[todo.popleft()]:
            if before not in ending:
                ending.add(before)
                todo.append(before)
    stuck = next((state for state in range(len(found.came_from)) if state not in ending), None)
    if stuck is not None:
        raise BrokenRuleError("nothing leads to the end from here", found.path(stuck))


def _alike(world: World) -> World:
    """Give one world for all that differ in the machines' numbers alone."""
    return world._replace(machines=tuple(sorted(world.machines)))
