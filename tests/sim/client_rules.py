"""What may never happen with FleetLock clients and their servers, checked at every write and at every answer.

As in `rules.py`, nothing here asks the code under test: the rules read the store's values, the clients, and which call
a server's write is for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from locksmith.lock import places
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, FLEETLOCK, Claim
from locksmith.lock.records.node import TTL
from locksmith.server.refusal import Refusal, RefusalKind
from tests.sim.clients import ANSWERING, PRE_REBOOT, STEADY, Client, Request
from tests.sim.daemon import GROUP
from tests.sim.machine import MIDNIGHT
from tests.sim.memory_rules import MemoryRules
from tests.sim.network import QUEUE, TIME, Answer, StoreBefore
from tests.sim.story import Story

if TYPE_CHECKING:
    from tests.sim.desks import Run
    from tests.sim.rules import Rules

CLIENTS = "clients"
"""Whose windows those of the clients are, among those of the machines."""
WAITS_ON = 600.0
"""Seconds after an answer in which a client has called again, or has died."""
SLACK = 60.0
"""Seconds for what was decided before to take effect."""
JUST_NOW, IN_CALM = 15.0, 1.0
"""Seconds for which a look at the windows holds, at the moment of the grant; and where nothing goes wrong."""
QUICK = 2.9
"""Seconds within which a call is answered where nothing goes wrong, and no hook runs."""
SELDOM = 5.0
"""Seconds between two looks at who is lost."""
LOST_RACES = ("was changed since it was read", "too: call again")
"""Words for a write that another was faster than: of the store, and of a server that gave up."""
PREFIX = f"{FLEETLOCK}:"
IN_QUEUE = {RefusalKind.QUEUED, RefusalKind.NO_SLOT}


@dataclass
class Known:
    """What is known of a call while it is answered.

    `nonce` is that of the client's claim when the call came, `looked` that at the call's first answer of the store.
    `nothing`: the client had nothing then, no slot, no record, no place and no presence. `moved`: this call has removed
    a place of the client.
    """

    nonce: str
    nothing: bool
    looked: str | None = None
    moved: bool = False
    began: float = 0.0
    alone: bool = True
    """Whether no other call of the client was answered at the same time."""
    run: "Run | None" = None
    """The run of a server that answers it."""
    asked: bool = False
    """Whether anything of the store was read for it."""
    strayed: bool = False
    """Whether another cluster answered than that run has seen, of which no operator has said that it counts."""


@dataclass
class ClientRules:
    """The rules for the clients of one simulation; `limit` is how long a reboot of theirs may take (seconds)."""

    story: Story
    rules: "Rules"
    clients: Mapping[str, Client] = field(default_factory=dict)
    stands_still: Callable[[str], bool] = lambda _server: False
    """Whether a server stands still as a whole, with its hooks: its leases may have expired."""
    machine_ids: Mapping[str, str] = field(default_factory=dict)
    """The machine-id of each client by which an operator holds it back, if that is not its own id."""
    servers: Sequence[str] = ()
    limit: float = 0.0
    hooks: bool = False
    clock: Callable[[str], datetime] = lambda _server: MIDNIGHT
    """The clock of a server."""
    halts: bool = True
    """A reboot that goes wrong halts the group."""
    look_holds: float = JUST_NOW
    """Seconds from a look at the windows to a grant, at most."""
    leases_hold: bool = True
    """No lease ends early, or is started again, or is lost: what expires does so in its time."""
    open: dict[Request, Known] = field(default_factory=dict)
    """The calls that are answered now."""
    queued_at: dict[str, float] = field(default_factory=dict)
    """For each client that waits in the queue: when it was told so the last time."""
    called_at: dict[str, float] = field(default_factory=dict)
    """For each client when it called the last time."""
    committed_at: dict[str, float] = field(default_factory=dict)
    """For each nonce when its commit took effect, the last time."""
    vanished: dict[str, float] = field(default_factory=dict)
    """For each client past its point of no return whose presence is gone: since when."""
    emptied: dict[str, object] = field(default_factory=dict)
    """For each client that has no place since it was told so: the run of a server that has told it."""
    held: dict[str, float] = field(default_factory=dict)
    """For each id that an operator holds back: since when that was told."""
    clusters: "dict[Run, str]" = field(default_factory=dict)
    """For each run of a server the cluster that it has seen, or that has taken its place."""
    seen: "dict[Run, int]" = field(default_factory=dict)
    """For each run of a server how far it has seen the store come, in this history."""
    knew: "dict[Run, int]" = field(default_factory=dict)
    """The same, of the history before the last restore; until an operator says that the store is to be believed."""
    heard: "dict[Run, float]" = field(default_factory=dict)
    """For each run that was given an answer older than that: when; until then, too."""
    judged_at: float = 0.0
    judged: tuple[int, tuple[str, ...]] = (0, ())
    memory: MemoryRules = field(init=False)
    """The rules for what servers refuse from memory."""

    def __post_init__(self) -> None:
        self.memory = MemoryRules(self.story, self.rules.server)

    # What servers do

    def begins(self, request: Request) -> None:
        """Take note of a call that has come to a server."""
        known = Known(self._nonce(request.client), nothing=self._has_nothing(request.client), began=time_now())
        for other, beside in self.open.items():
            if other.client == request.client:
                known.alone = beside.alone = False
        self.open[request] = known
        if request.kind == STEADY:
            self.queued_at.pop(request.client, None)

    def looked(self, run: "Run", answer: Answer[Any]) -> None:
        """Take note of an answer of the store to the server that works on a call."""
        self._note_revision(run, answer)
        request = ANSWERING.get()
        if request is None or (known := self.open.get(request)) is None:
            return
        known.strayed = known.strayed or not self.rules.server.counts_for(self.clusters.get(run, ""))
        known.run, known.asked = run, known.asked or answer.value is not None
        if known.looked is None:
            known.looked = self._nonce(request.client)

    def _note_revision(self, run: "Run", answer: Answer[Any]) -> None:
        if self.rules.server.counts_for(self.clusters.get(run, "")):
            self.clusters[run] = answer.cluster
        if answer.sent <= self.rules.restored:
            return  # it may be of the history before, or of this one
        self.seen[run] = max(self.seen.get(run, 0), answer.revision)
        if answer.revision < self.knew.get(run, 0):
            self.heard.setdefault(run, time_now())

    def ends(self, request: Request) -> None:
        """Take note of a call that no server works on any more."""
        self.open.pop(request, None)
        self.memory.ends(request)
        self.called_at[request.client] = time_now()

    def answered(self, server: str, request: Request, refusal: Refusal | None, run: object = None) -> None:
        """Judge an answer of a `run` of a server at the moment when it is given."""
        name, client, alone = request.client, self.clients[request.client], self.open[request].alone
        if refusal is None and alone and time_now() - self.rules.restored > SLACK:
            if request.kind == STEADY:
                self._gave_all_back(server, name)
                self.emptied[name] = run
            elif not client.excused:
                self._granted(server, name)
        if refusal is not None and refusal.kind is RefusalKind.QUEUED and alone and self.emptied.get(name) is run:
            self.story.breaks(f"{server} tells {name} that it waits, and has heard that it has no place")
        self._judge_source(server, request, refusal, run)
        if refusal is not None and any(words in refusal.sentence for words in LOST_RACES):
            self.story.breaks(f"{server} has no better answer to {name} than that it lost a race")
        took = time_now() - self.open[request].began
        if took > QUICK and self.look_holds == IN_CALM and not self.hooks:
            self.story.breaks(f"{server} takes {took:.0f} s for an answer to {name}")
        if request.kind == STEADY:
            return
        if request.run == client.run and refusal is not None and refusal.kind in IN_QUEUE:
            self.queued_at[name] = time_now()
        else:
            self.queued_at.pop(name, None)

    def _judge_source(self, server: str, request: Request, refusal: Refusal | None, run: object) -> None:
        """Judge an answer by where it is from: from memory, or from another cluster."""
        known = self.open[request]
        if refusal is None and request.kind == STEADY:
            self.memory.is_steady(request, run)
        elif refusal is None and known.strayed:
            self.story.breaks(f"{server} tells {request.client} to reboot by a cluster that counts by no word")
        elif refusal is not None and request.kind == PRE_REBOOT and not known.asked:
            self.memory.refuses(server, run, queued_as(request.client), refusal, known.began)

    def _granted(self, server: str, name: str) -> None:
        """Judge a success of pre-reboot: from here on nothing stops the client."""
        record = self.rules.record(name)
        if record is None or name not in self.rules.semaphore().holders or record.state != COMMITTED:
            self.story.breaks(f"{server} tells {name} to reboot, which holds no slot past its point of no return")
            return
        if self.hooks and not self.clients[name].ready and not self.clients[name].old_record:
            self.story.breaks(f"{server} tells {name} to reboot, and has not drained it")
        at = self.committed_at.get(record.nonce, 0.0)
        rules = self.rules
        if rules.frozen is not None and rules.freeze_stands() and name not in rules.frozen:
            self.story.breaks(f"{server} tells {name} to reboot although the group is frozen")
        hold = keys.hold_key(GROUP, self.machine_ids.get(name, name))
        if at > self.held.get(name, float("inf")) and rules.server.value(hold) is not None:
            self.story.breaks(f"{server} tells {name} to reboot although an operator holds it back")
        if self.halts and 1 in rules.halted and name not in rules.halted[1]:
            self.story.breaks(f"{server} tells {name} to reboot although the group is halted")
        if lost := self.lost(at, but=name):
            self.story.breaks(f"{server} tells {name} to reboot although {lost} is lost")
        times = (self.clock(server), self.clock(server) - timedelta(seconds=self.look_holds))
        if not any(
            one is None or one.contains(time) for one in rules.windows_of(CLIENTS, self.look_holds) for time in times
        ):
            self.story.breaks(f"{server} tells {name} to reboot outside its window")

    def _gave_all_back(self, server: str, name: str) -> None:
        """Judge a success of steady-state, of a client of which nothing else was asked meanwhile."""
        record = self.rules.record(name)
        held = name in self.rules.semaphore().holders and record is not None and record.kind == FLEETLOCK
        if held or queued_as(name) in self.rules.server.line():
            self.story.breaks(f"{server} tells {name} that it has nothing any more, and it has")

    def lost(self, since: float, but: str = "") -> str:
        """Name a client that was lost before that moment, and whose loss no operator has acknowledged."""
        for name, vanished in self.vanished.items() if self.halts else ():
            if name != but and since - vanished > SLACK and self._is_out(name):
                return name
        return ""

    # The store

    def wrote(self, author: str, before: StoreBefore) -> None:
        """Judge one write."""
        request = ANSWERING.get() if author in self.servers else None
        if keys.resume_key(GROUP) in before.found:
            self.knew.clear()
            self.heard.clear()
        if request is not None and request.kind == STEADY:
            self._writes_for_steady(request, before)
        for name in self.clients:
            self._note_presence(name, before)
            self._note_commit(author, name, before)
        self._judge_places(author, request, before)
        self.memory.wrote()

    def took(self, author: str, holder: str) -> bool:
        """Judge a slot that was taken; False: by none of the servers."""
        if author not in self.servers:
            return False
        request, record = ANSWERING.get(), self.rules.record(holder)
        if request is not None and request.run != self.clients[request.client].run:
            self.clients[request.client].ghost = True
        if request is None or (request.client, request.kind) != (holder, PRE_REBOOT):
            self.story.breaks(f"{author} took a slot for {holder}, which has not asked")
        elif (record is None or record.kind != FLEETLOCK) and time_now() - self.rules.restored > SLACK:
            self.story.breaks(f"{author} took a slot for {holder} without a claim of its own")
        if request is not None and (known := self.open.get(request)) is not None and known.run is not None:
            self._knows_no_better(author, known.run)
        return True

    def _knows_no_better(self, author: str, run: "Run") -> None:
        """Judge a take behind a restore; one that was under way then may win where nothing had changed since."""
        now = time_now()
        if now - self.rules.restored < SLACK:
            return
        if self.knew.get(run, 0) >= self.rules.server.revision or now - self.heard.get(run, now) > SLACK:
            self.story.breaks(f"{author} took a slot for a client and has seen more of the store than that knows")

    def gave_back(self, author: str, holder: str, before: Claim | None) -> bool:
        """Judge a slot that was given back; False: by none of the servers."""
        client = self.clients.get(holder)
        is_out = before is not None and before.state == COMMITTED
        if author not in self.servers:
            if client is not None:
                client.excused = client.excused or is_out or client.is_down_or_will_be
                client.drained = client.ready = False  # the operator who frees a slot by hand sees to that
            return False
        request = ANSWERING.get()
        if request is None or request.client != holder:
            self.story.breaks(f"{author} gave back the slot of {holder}, which has not called")
        elif before is None or before.kind != FLEETLOCK:
            self.story.breaks(f"{author} gave back the slot of {holder}, which is not its client's claim")
        elif request.kind == PRE_REBOOT and is_out:
            self.story.breaks(f"{author} gave back the slot of {holder}, which it has told to reboot")
        elif client is not None and is_out and client.may_be_late(request.run) and client.is_at_risk:
            self._gave_back_late(author, request, before)
        if request is not None and request.kind == STEADY:
            self.memory.frees(request)
        if client is not None and client.drained and before is not None:
            self.story.breaks(f"{author} gave back the slot of {holder}, and its hooks have not brought it back")
        return True

    def is_for(self, holder: str) -> bool:
        """Whether a server works on a call of this client now."""
        request = ANSWERING.get()
        return request is not None and request.client == holder

    def expired(self, holder: str) -> None:
        """Take note that the slot of a client that was lost is another's now."""
        if (client := self.clients.get(holder)) is not None:
            client.excused, client.drained, client.ready = True, False, False

    def hooks_begin(self, server: str, name: str, *, drain: bool) -> None:
        """Take note that a server's hooks for a client begin."""
        client = self.clients[name]
        if client.hooks_on and self.leases_hold and not self.stands_still(client.hooks_on):
            self.story.breaks(f"{server} runs the hooks of {name}, which run on {client.hooks_on}")
        client.hooks_on, client.drained = server, client.drained or drain
        client.ready, client.old_record = client.ready and drain, False
        self.story.tell(server, f"begins to {'drain' if drain else 'bring back'} {name}")

    def hooks_end(self, name: str) -> None:
        """Take note that they have ended, or were ended with their server."""
        self.clients[name].hooks_on = ""

    def drained(self, name: str) -> None:
        """Take note that the hooks before a reboot have done their work."""
        self.clients[name].ready = True

    def brought_back(self, server: str, name: str) -> None:
        """Take note that they have undone what those before them did."""
        self.story.tell(server, f"has brought {name} back")
        self.clients[name].drained = False

    def _gave_back_late(self, author: str, request: Request, claim: Claim) -> None:
        """Judge a steady-state that frees a client which may reboot: one that was sent before, and came late.

        The protocol cannot tell it from a new one. But a server that has looked before the claim was made can.
        """
        known = self.open.get(request)
        if known is not None and known.looked is not None and claim.nonce not in {known.looked, known.nonce}:
            self.story.breaks(f"{author} gave back the slot of {request.client}, of a claim after that of its call")
        self.story.tell(request.client, "has a steady-state of before come late: its slot is gone")
        self.clients[request.client].excused = True

    def _writes_for_steady(self, request: Request, before: StoreBefore) -> None:
        known = self.open.get(request)
        if known is None or not (known.alone and known.nothing):
            return
        if not any(before.value(key) for key in self._keys(request.client)):
            key = next(iter(before.found), "something")
            self.story.breaks(f"a steady-state of {request.client}, which has nothing, writes {key}")

    def _note_presence(self, name: str, before: StoreBefore) -> None:
        key = keys.node_key(GROUP, name)
        if key not in before.found and keys.holder_key(GROUP, name) not in before.found:
            return
        if self.rules.server.value(key) is None and self._is_out(name):
            self.vanished.setdefault(name, time_now())
        else:
            self.vanished.pop(name, None)

    def _note_commit(self, author: str, name: str, before: StoreBefore) -> None:
        record = self.rules.record(name)
        if keys.holder_key(GROUP, name) not in before.found or record is None or record.state != COMMITTED:
            return
        if author not in self.servers:
            return  # an operator acknowledges it
        self.committed_at[record.nonce] = time_now()
        shown = self.rules.server.value(keys.node_key(GROUP, name))
        if shown is None and self.leases_hold and time_now() - self.rules.restored > SLACK:
            self.story.breaks(f"{author} commits {name}, and nothing in the store says until when it is to be back")

    def _judge_places(self, author: str, request: Request | None, before: StoreBefore) -> None:
        """Judge places that are made, and places that go."""
        for key, entry in before.found.items():
            name = places.name_in(key).removeprefix(PREFIX)
            if not key.startswith(QUEUE + "!") or queued_as(name) != places.name_in(key):
                continue
            if self.rules.server.value(key) is not None:
                self.emptied.pop(name, None)
            own = request is not None and request.client == name
            known = self.open.get(request) if own and request is not None else None
            if entry is None and known is not None and known.moved and self.leases_hold:
                self.story.breaks(f"{name} loses its place in the queue by asking again")
            gone = entry is not None and self.rules.server.value(key) is None
            if gone and known is not None:
                known.moved = True
            elif gone and not own and self._waits(name) and self.leases_hold:
                by = "expires" if author == TIME else f"is removed by {author}"
                self.story.breaks(f"the place of {name} {by} between two of its calls")

    # The state

    def turn(self) -> None:
        """Judge whether each client that reboots, or will, holds a slot."""
        if time_now() - self.judged_at > SELDOM:
            self.judged_at = time_now()
            self._seldom()
        out = tuple(name for name, client in self.clients.items() if client.is_down_or_will_be)
        if out and (self.rules.version, out) != self.judged:
            self.judged, holders = (self.rules.version, out), self.rules.semaphore().holders
            for name in out:
                if name not in holders:
                    self.story.breaks(f"{name} is to reboot, and no slot is held for it")

    def _seldom(self) -> None:
        """Judge whether clients that are away for too long count as lost."""
        for name in self.clients if self.leases_hold else ():
            record, now = self.rules.record(name), time_now()
            is_out = record is not None and record.nonce in self.committed_at and self._is_out(name)
            over = is_out and now - self.called_at.get(name, now) > self.limit + TTL + SLACK
            if over and self.rules.server.value(keys.node_key(GROUP, name)) is not None:
                self.story.breaks(f"{name} is away for longer than its limit, and the group still counts on it")

    def out(self) -> list[str]:
        """Name the clients that reboot, or will."""
        return [name for name, client in self.clients.items() if client.is_down_or_will_be]

    def went_back(self) -> None:
        """Take note that the store goes back to a backup."""
        for run, revision in self.seen.items():
            self.knew[run] = max(self.knew.get(run, 0), revision)
        self.seen.clear()
        self.memory.went_back()
        self.queued_at.clear()
        self.emptied.clear()
        self.vanished.clear()
        self.held.clear()
        for client in self.clients.values():
            client.excused = client.excused or client.permit or client.rebooting
            client.ghost = True  # what it has released may be held again
            client.drained = client.ready = False
            client.old_record = True

    def _waits(self, name: str) -> bool:
        client = self.clients[name]
        return client.waits and client.on and time_now() - self.queued_at.get(name, float("-inf")) < WAITS_ON

    def _is_out(self, name: str) -> bool:
        record = self.rules.record(name)
        held = name in self.rules.semaphore().holders and record is not None and record.kind == FLEETLOCK
        return held and record is not None and record.state == COMMITTED and not record.acknowledged

    def _nonce(self, name: str) -> str:
        record = self.rules.record(name)
        return record.nonce if record is not None else ""

    def _has_nothing(self, name: str) -> bool:
        return not any(self.rules.server.value(key) for key in self._keys(name)) and (
            name not in self.rules.semaphore().holders
        )

    def _keys(self, name: str) -> list[str]:
        return [keys.holder_key(GROUP, name), keys.ticket_key(GROUP, queued_as(name)), keys.node_key(GROUP, name)]


def queued_as(name: str) -> str:
    """Name a client as the keys of the queue do."""
    return PREFIX + name


def time_now() -> float:
    """Tell the time of the simulation."""
    return asyncio.get_running_loop().time()
