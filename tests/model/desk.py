"""One FleetLock client and its servers as a small model, of which every state is explored (docs/fleetlock.md).

No server remembers a client: the nonce of a cycle is looked up in the record of its slot, else in its place in the
queue, else it is new. Here two calls of one client are answered at once, by two servers, whose requests are lost or
late. Another machine takes the one slot in between, and an operator unlocks. A server that is killed leaves its
requests behind.

What no server can tell is left out: a call that arrives when its client has made others since.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from tests.model.lock import Explored, Model, Step, visit

BOOTED, STEADY, ASKS, MAY, DOWN = "booted", "steady", "asks", "may", "down"
"""Where the client is: it has to say that it is steady; wants nothing; asks; may reboot at any time; is down."""
FREE, ENTER, TAKE, TAKING, COMMIT, COMMITTING, YES, NO = (
    *("free", "enter", "take", "taking", "commit", "committing", "yes", "no"),
)
LEAVE, RELEASE, RELEASING = "leave", "release", "releasing"
"""Where a server is with a call: what it is about to do, or what it waits for an answer to."""
SENT = {TAKING: TAKE, COMMITTING: COMMIT, RELEASING: RELEASE}
"""Where it goes on when a request was lost, or has lost: it reads again."""
NOTHING = 0


class Server(NamedTuple):
    """A call that is answered. `heard`: the client waits for this answer. `fresh`: nobody wrote since it has read."""

    at: str = FREE
    nonce: int = NOTHING
    heard: bool = False
    fresh: bool = False
    place: int = NOTHING
    """The nonce of the place that a steady-state removes first."""


class World(NamedTuple):
    """Everything; `slot` and `place` have the nonce of the client's claim there. `late` are requests that may win."""

    client: str = BOOTED
    wants: int = 2
    slot: int = NOTHING
    committed: bool = False
    place: int = NOTHING
    servers: tuple[Server, ...] = (Server(), Server())
    late: tuple[tuple[str, int], ...] = ()
    other: bool = False
    """Whether another machine has the one slot."""
    freed: bool = False
    """An operator freed the client's slot past its point of no return."""
    others: int = 1
    losses: int = 1
    kills: int = 1
    acts: int = 1


@dataclass(frozen=True)
class Protocol:
    """How the servers go about it; a test takes one rule away to see whether the model notices."""

    looks_up: bool = True
    """The nonce is that of the client's slot, or of its place."""
    takes_with_its_place: bool = True
    """A slot is taken in one write with the place, or not at all."""
    commits: bool = True
    """No success without the commit."""
    waits_for_a_slot: bool = True
    """No success for a client that waits in the queue."""
    releases_what_it_saw: bool = True
    """A steady-state releases the claim that was there when it came, and no later one."""
    compares: bool = True
    """A write is guarded by the semaphore's version."""


def explore(beginning: World, protocol: Protocol = Protocol()) -> Explored[World]:
    """Visit every state; `BrokenRuleError` at the first that breaks a rule of safety."""
    return visit(beginning, Model(partial(steps, protocol=protocol), rule_broken, is_end, alike))


def steps(world: World, protocol: Protocol) -> Iterator[Step[World]]:
    """Give everything that may happen next."""
    yield from _client(world)
    for number, server in enumerate(world.servers):
        if server.at != FREE:
            yield from _server(world, number, server, protocol)
            yield from _wire(world, number, server, protocol)
    yield from _late(world, protocol)
    yield from _others(world)
    free = next((number for number, server in enumerate(world.servers) if server.at == FREE), None)
    if free is not None and not any(server.heard for server in world.servers):
        if world.client == BOOTED:
            yield Step("a steady-state comes", _serve(world, free, _steady(world)))
        elif world.client in {ASKS, MAY}:
            yield Step("a pre-reboot comes", _serve(world, free, _pre_reboot(world, protocol)))


def _client(world: World) -> Iterator[Step[World]]:
    """Do what the client does without a server."""
    if world.client == STEADY and world.wants:
        yield Step("the client wants to reboot", world._replace(client=ASKS))
    elif world.client == MAY:
        yield Step("the client goes down", world._replace(client=DOWN, wants=world.wants - 1, servers=_unheard(world)))
    elif world.client == DOWN:
        # Each call ends within half a minute: what was asked before is answered by now.
        done = tuple(Server() for _ in world.servers)
        yield Step("the client boots", world._replace(client=BOOTED, freed=False, servers=done))
    if world.client in {ASKS, MAY} and world.kills:
        killed = world._replace(client=BOOTED, kills=world.kills - 1, servers=_unheard(world))
        yield Step("the client forgets everything", killed, needed=False)
    if world.losses and any(server.heard for server in world.servers):
        hung_up = world._replace(losses=world.losses - 1, servers=_unheard(world))
        yield Step("the client has no answer", hung_up, needed=False)


def _steady(world: World) -> Server:
    """Look what a steady-state has to release."""
    if world.place:
        return Server(LEAVE, world.slot or world.place, place=world.place)
    return Server(RELEASE, world.slot) if world.slot else Server(YES)


def _pre_reboot(world: World, protocol: Protocol) -> Server:
    """Look whether the client has a claim."""
    if protocol.looks_up and world.slot:
        return Server(COMMIT, world.slot)
    if protocol.looks_up and world.place:
        return Server(TAKE, world.place)
    at_work = (nonce for server in world.servers for nonce in (server.nonce, server.place))
    known = {world.slot, world.place, *at_work, *(nonce for _, nonce in world.late)}
    return Server(ENTER, max(known) + 1)


def _server(world: World, number: int, server: Server, protocol: Protocol) -> Iterator[Step[World]]:
    """Do what a server does next, by what it reads now, or kill it."""
    match server.at:
        case "enter" if world.place:
            yield _becomes(world, number, "finds another's place", _pre_reboot(world, protocol))
        case "enter":
            yield Step(f"{number} enters the queue", _with(world, number, at=TAKE)._replace(place=server.nonce))
        case "take":
            yield _take(world, number, server, protocol)
        case "commit":
            yield _commit(world, number, server, protocol)
        case "leave":
            place = NOTHING if world.place == server.place else world.place
            left = _with(world, number, at=RELEASE, place=NOTHING)._replace(place=place)
            yield Step(f"{number} removes the place", left)
        case "release":
            yield _release(world, number, server, protocol)
        case "yes" | "no":
            yield _answer(world, number, server)
    if world.kills:
        late = _add(world, _on_its_way(server))
        killed = _with(world, number, **Server()._asdict())._replace(late=late, kills=world.kills - 1)
        yield Step(f"{number} is killed", killed, needed=False)


def _commit(world: World, number: int, server: Server, protocol: Protocol) -> Step[World]:
    if world.slot != server.nonce:
        return _becomes(world, number, "finds its slot gone", server._replace(at=NO))
    if not protocol.commits:
        return _becomes(world, number, "commits nothing", server._replace(at=YES))
    return _becomes(world, number, "sends its commit", server._replace(at=COMMITTING, fresh=True))


def _take(world: World, number: int, server: Server, protocol: Protocol) -> Step[World]:
    if world.slot == server.nonce:
        return _becomes(world, number, "finds its slot", server._replace(at=COMMIT))
    if world.slot:
        return _becomes(world, number, "finds the slot of another call", _pre_reboot(world, protocol))
    if world.place != server.nonce and protocol.takes_with_its_place:
        return _becomes(world, number, "finds its place gone", server._replace(at=NO))
    if world.other:
        at = NO if protocol.waits_for_a_slot else YES
        return _becomes(world, number, "finds no free slot", server._replace(at=at))
    return _becomes(world, number, "sends its take", server._replace(at=TAKING, fresh=True))


def _release(world: World, number: int, server: Server, protocol: Protocol) -> Step[World]:
    if world.slot and (world.slot == server.nonce or not protocol.releases_what_it_saw):
        return _becomes(world, number, "sends its release", server._replace(at=RELEASING, fresh=True))
    return _becomes(world, number, "has nothing to release", server._replace(at=YES))


def _answer(world: World, number: int, server: Server) -> Step[World]:
    """Bring an answer to the client, if it waits for that."""
    after = _with(world, number, **Server()._asdict())
    if not server.heard:
        return Step(f"{number} answers nobody", after)
    if server.at == YES and world.client == BOOTED:
        return Step(f"{number}: the client is steady", after._replace(client=STEADY))
    if server.at == YES:
        return Step(f"{number}: the client may reboot", after._replace(client=MAY))
    return Step(f"{number}: the client may not reboot yet", after)


def _wire(world: World, number: int, server: Server, protocol: Protocol) -> Iterator[Step[World]]:
    """Bring a server's write to the store, and the answer back, or lose them."""
    if server.at not in SENT:
        return
    wins = server.fresh or not protocol.compares
    after = _applied(world, server.at, server.nonce, protocol) if wins else None
    done = {TAKING: COMMIT, COMMITTING: YES, RELEASING: YES}[server.at]
    again = SENT[server.at]
    answered = world if after is None else after
    yield Step(f"{number} has its answer: {server.at}", _with(answered, number, at=again if after is None else done))
    if world.losses:
        left = world.losses - 1
        lost = _with(answered, number, at=again)._replace(losses=left)
        yield Step(f"{number} has no answer: {server.at}", lost, needed=False)
        late = _with(world, number, at=again)._replace(losses=left, late=_add(world, _on_its_way(server)))
        yield Step(f"a request of {number} is late: {server.at}", late, needed=False)


def _late(world: World, protocol: Protocol) -> Iterator[Step[World]]:
    for request in world.late:
        rest = world._replace(late=tuple(other for other in world.late if other != request))
        after = _applied(rest, *request, protocol)
        if after is not None:
            yield Step(f"a late request arrives: {request[0]}", after, needed=False)
        yield Step(f"a late request is lost: {request[0]}", rest)


def _others(world: World) -> Iterator[Step[World]]:
    """Let another machine take the slot and release it, and an operator unlock the client."""
    if world.other:
        yield Step("another machine releases the slot", _wrote(world._replace(other=False)))
    elif world.others and not world.slot:
        taken = _wrote(world._replace(other=True, others=world.others - 1))
        yield Step("another machine takes the slot", taken, needed=False)
    if world.place and world.client == STEADY and not world.wants:
        yield Step("the place expires", world._replace(place=NOTHING))
    if world.slot and world.acts:
        freed = world.freed or world.committed
        unlocked = world._replace(slot=NOTHING, committed=False, acts=world.acts - 1, freed=freed)
        yield Step("an operator unlocks the client", _wrote(unlocked), needed=False)


def _applied(world: World, sent: str, nonce: int, protocol: Protocol) -> World | None:
    """Apply a write that nobody was faster than; None: it does not hold for what is there."""
    if sent == TAKING:
        if protocol.takes_with_its_place and world.place != nonce:
            return None
        place = NOTHING if world.place == nonce else world.place
        return _wrote(world._replace(slot=nonce, committed=False, place=place))
    if sent == COMMITTING:
        return _wrote(world._replace(committed=True)) if world.slot else None
    return _wrote(world._replace(slot=NOTHING, committed=False))


def _serve(world: World, number: int, server: Server) -> World:
    return _with(world, number, **server._replace(heard=True)._asdict())


def _becomes(world: World, number: int, words: str, server: Server) -> Step[World]:
    heard = world.servers[number].heard
    return Step(f"{number} {words}", _with(world, number, **server._replace(heard=heard)._asdict()))


def _with(world: World, number: int, **changes: object) -> World:
    servers = list(world.servers)
    changed = servers[number]._replace(**changes)  # type: ignore[arg-type]
    servers[number] = changed if changed.at in SENT else changed._replace(fresh=False)
    return world._replace(servers=tuple(servers))


def _unheard(world: World) -> tuple[Server, ...]:
    return tuple(server._replace(heard=False) for server in world.servers)


def _on_its_way(server: Server) -> tuple[tuple[str, int], ...]:
    return ((server.at, server.nonce),) if server.fresh else ()


def _add(world: World, sent: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted({*world.late, *sent}))


def _wrote(world: World) -> World:
    """Write the semaphore: whatever was sent before can no longer win."""
    servers = tuple(server._replace(fresh=False) for server in world.servers)
    return world._replace(servers=servers, late=())


def rule_broken(world: World) -> str:
    """Name the rule that a state breaks; empty: none."""
    if world.client in {MAY, DOWN} and not world.slot and not world.freed:
        return "the client reboots and holds no slot"
    return "two hold the one slot" if world.other and world.slot else ""


def is_end(world: World) -> bool:
    """Whether the client has what it wanted, and has nothing any more."""
    has = world.slot or world.place or world.other or any(server.at != FREE for server in world.servers)
    return world.client == STEADY and not world.wants and not has


def alike(world: World) -> World:
    """Give one world for all that differ in the servers' numbers and in the nonces' names alone."""
    servers = tuple(sorted(world.servers))
    names = {NOTHING: NOTHING}
    known = (nonce for one in servers for nonce in (one.nonce, one.place))
    for nonce in (world.slot, world.place, *known, *(nonce for _, nonce in world.late)):
        names.setdefault(nonce, len(names))
    return world._replace(
        slot=names[world.slot],
        place=names[world.place],
        servers=tuple(sorted(one._replace(nonce=names[one.nonce], place=names[one.place]) for one in servers)),
        late=tuple(sorted((sent, names[nonce]) for sent, nonce in world.late)),
    )
