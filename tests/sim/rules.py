"""What may never happen, checked at every write of the store, at every order to reboot and after every turn.

Nothing here asks the code under test: the rules read the store's values, the machines and what the people did.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from locksmith.config.model import WindowSettings
from locksmith.errors import CorruptValueError
from locksmith.lock import places
from locksmith.lock.orders import Ordered
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, node, semaphore, share
from locksmith.lock.records import order as order_record
from locksmith.lock.records.claim import COMMITTED, HELD, MANUAL, WENT_WRONG, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.states import SICK
from locksmith.lock.unlocking import MID_REBOOT
from locksmith.window import window_set
from locksmith.window.blackout import Blackout
from locksmith.window.window_set import WindowSet
from locksmith.window.windows import Windows
from tests.sim.client_rules import ClientRules, queued_as
from tests.sim.daemon import GROUP, SESSIONS
from tests.sim.hub_rules import HubRules
from tests.sim.machine import DAEMON, SimMachine
from tests.sim.network import QUEUE, TIME, Answer, SimServer, StoreBefore
from tests.sim.plan import STORMY
from tests.sim.story import Story
from tests.sim.switch_rules import SwitchRules

KEY = keys.semaphore_key(GROUP)
WINDOWS = keys.window_key("fleet")
NEVER = Windows(blackouts=(Blackout.parse("Mon..Sun"),))
FRESH = 10.0
"""Seconds the last look may be old at the reboot, and a little for the order itself."""
LONGEST_HOLD = SESSIONS.total_seconds() + 60.0
"""Seconds for users, and for hooks of at most 20 s that run before them and are undone afterwards."""
OPERATOR = "operator"
SCRIPT = "script"
SHARE = keys.share_key(GROUP)
RECORDS = keys.holders_prefix(GROUP)
NODES = keys.nodes_prefix(GROUP)
RESUME = keys.resume_key(GROUP)
FREEZE, SPACING = keys.freeze_key(GROUP), keys.spacing_key(GROUP)
HALF_A_DAY = timedelta(hours=12)
"""A reboot of so long ago counts for a day, also if the clock was stepped since."""
LATE = 120.0
"""Seconds after which no write is on its way any more: the longest the network keeps one, and some tries."""
SHOWN = 150.0
"""Seconds in which a machine that has booted shows itself, and the last take of before that is decided."""
TOLD = 150.0
"""Seconds for a machine to release its slot, or to report it: `health` and a few tries."""
STUCK = 300.0
"""Seconds for which a slot may stay free where only the queue is disturbed: the second takes 180 for a gone first."""
SELDOM = 5.0
"""Seconds between two looks at that."""
HAND_OVER = 1.0
"""Seconds of made-up time, in which a call takes up to 40 ms, for a slot to find the first in line."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A semaphore that a machine has seen and the store has lost: its version, and which run of the daemon knows it.

    `run` is None where the machine has it on its disk.
    """

    version: int
    run: int | None

    def counts(self, machine: SimMachine, server: SimServer) -> bool:
        """Whether the machine still knows it, and the store can still tell."""
        return self.run in (None, machine.runs) and not server.has_forgotten(self.version)


@dataclass
class Rules:
    """The rules of one simulation; `windows` are those of its machines, `bare` the ids taken without a record."""

    story: Story
    server: SimServer
    machines: dict[str, SimMachine]
    windows: dict[str, WindowSettings]
    dry: set[str]
    hooks: bool = False
    calm: bool = False
    prompt: bool = False
    """Nothing keeps a machine from telling its group what becomes of it."""
    unable_since: dict[str, float] = field(default_factory=dict)
    """For each id that holds a slot and cannot go on: since when."""
    stepwise: bool = False
    """The store has no transactions: a place may come late, when its ticket is gone."""
    sociable: bool = False
    """Nothing goes wrong but that users log in."""
    held_since: dict[str, float] = field(default_factory=dict)
    down: dict[str, SimMachine] = field(default_factory=dict)
    """No fault of any kind will happen, so nothing excuses a free slot while a machine waits."""
    unlocked: dict[str, int] = field(default_factory=dict)
    """For each id that an operator unlocked past its point of no return: in which boot of the machine."""
    left_queue: dict[str, float] = field(default_factory=dict)
    """For each id whose place in line was given up, or has expired: when."""
    overtaken: dict[str, float] = field(default_factory=dict)
    """For each id that stands in line: when a place came before its own whose ticket was older; it sees that later."""
    free_since: float | None = None
    frozen: set[str] | None = None
    """While the group is frozen, as the operator was told: who is past the point of no return all the same."""
    halted: dict[int, set[str]] = field(default_factory=dict)
    """For each number of reboots that went wrong, not acknowledged: who was past the point of no return before."""
    version: int = 0
    """The semaphore's, at the last write."""
    judged: tuple[int, int] = (0, 0)
    """That version, and how many were down, when it was last judged whether they hold slots."""
    restored: float = float("-inf")
    """When the store went back to a backup the last time."""
    knew: dict[str, int] = field(default_factory=dict)
    """For each id how far it had seen the store come before that; until an operator says that it is to be believed."""
    committed: dict[str, float] = field(default_factory=dict)
    """For each nonce when the write took effect, the last time, by which its machine passed the point of no return."""
    lost: dict[str, Lost] = field(default_factory=dict)
    """For each id that had seen a semaphore that is gone since: what it knows; until then, too."""
    heard: dict[str, float] = field(default_factory=dict)
    """For each id that was given an answer older than what it has on its disk: when; until then, too."""
    sets: list[tuple[float, WindowSet | None]] = field(default_factory=list)
    """The set of windows in the store: since when it is what."""
    orderly: bool = False
    """Nothing but the queue is disturbed, so that a free slot has to be taken within a bound."""
    ends: dict[str, float] = field(default_factory=dict)
    """For each order that ends by itself: when, by the time of the simulation."""
    takeable_since: float | None = None
    """Since when a slot is free that a machine in the queue may take, and nothing was written to the semaphore."""
    takeable_version: int = 0
    looked: float = 0.0
    most_per_day: int = 0
    """How many reboots triggers may cause (0: any number)."""
    desks: ClientRules | None = None
    """The rules for FleetLock clients and their servers, where there are any."""
    hubs: HubRules | None = None
    """The rules for what servers share between their machines, where there are any."""
    expire_after: float = 0.0
    """Seconds after which the slot of a lost machine or client may be taken (0: never)."""
    record_at: dict[str, float] = field(default_factory=dict)
    """For each id when its record was written the last time."""
    known_ended: dict[str, None] = field(default_factory=dict)
    """The nonces of claims of which their machines know that they have ended: a server said so."""
    elsewhere: dict[str, None] = field(default_factory=dict)
    """Who has written to another cluster than the fleet's; judged at the end, as more may follow from it."""
    clusters: SwitchRules = field(init=False)
    """The rules for another cluster that takes the place of the store."""

    def __post_init__(self) -> None:
        self.clusters = SwitchRules(self.story, self.server)

    def ended_by(self, _machine: str, nonce: str) -> None:
        """Take note that a machine was told by a server that its claim has ended."""
        self.known_ended[nonce] = None

    def wrote_elsewhere(self, author: str, _before: StoreBefore) -> None:
        """Take note of a write to another cluster."""
        self.elsewhere[author] = None

    def ended(self) -> None:
        """Judge what is left of the storm."""
        if self.elsewhere:
            self.story.breaks(f"{', '.join(self.elsewhere)} wrote to another cluster")

    def wrote(self, author: str, before: StoreBefore) -> None:
        """Judge one write, and take note of what holds from then on."""
        self.record_at |= {key: asyncio.get_running_loop().time() for key in before.found if self._is_record(key)}
        if KEY in before.found or any(key.startswith(RECORDS) for key in before.found):
            self._judge_slots(author, before)
            self._note_halt(before, self.server)
        for key in before.found:
            if key.startswith(NODES):
                self._judge_words(author, key)
                self._judge_end(author, key)
        self._note_who_left_the_queue(before.gone())
        if self.calm and author == TIME:
            self._judge_waiting(before.gone())
        self._note_who_was_overtaken(before)
        if WINDOWS in before.found or not self.sets:
            self._note_windows()
        if RESUME in before.found:
            self.knew.clear()
            self.lost.clear()
            self.heard.clear()
            for machine in self.machines.values():
                machine.is_ahead = False
        self.clusters.wrote(before)
        self._note_orders(author, before)
        self._note_free_slot(before)
        if self.desks is not None:
            self.desks.wrote(author, before)
        if self.hubs is not None:
            self.hubs.wrote(author, before)

    def _note_orders(self, author: str, before: StoreBefore) -> None:
        """Judge who ends an order, and when: a machine may, once it is over by its own word."""
        now = asyncio.get_running_loop().time()
        for key in before.found:
            if key not in (FREEZE, SPACING):
                continue
            raw = self.server.value(key)
            if raw is None and author in self.machines and now < self.ends.get(key, float("inf")):
                self.story.breaks(f"{author} ended an order before its time")
            order = order_record.decode(raw, key, "freeze") if raw else None
            lasts = order.lasts if order else None
            self.ends[key] = now + lasts if lasts is not None else float("inf")

    def _judge_words(self, author: str, key: str) -> None:
        """Judge whether a machine whose reboot went wrong says why."""
        raw = self.server.value(key)
        shown = node.decode(raw, key, author) if raw else None
        if shown is not None and shown.state in SICK and not shown.reason.partition(";")[0]:
            self.story.breaks(f"{author} says that its reboot went wrong, and not why")

    def _judge_end(self, author: str, key: str) -> None:
        """Judge whether a machine that ends its presence holds no slot, as far as its journal knows."""
        machine = self.machines.get(author)
        if machine is None or key != keys.node_key(GROUP, author) or self.server.value(key) is not None:
            return
        record = _record(self.server, author) if author in self.semaphore().holders else None
        if record is not None and record.nonce == machine.nonce:
            self.story.breaks(f"{author} ends its presence while it holds a slot")

    def _judge_slots(self, author: str, before: StoreBefore) -> None:
        old, new = _semaphore(before.value(KEY)), self.semaphore()
        added, removed = set(new.holders) - set(old.holders), set(old.holders) - set(new.holders)
        if added and len(new.holders) > new.max:
            self.story.breaks(f"{author} took a slot although {len(old.holders)} of {new.max} were held")
        if new.max != old.max and author != OPERATOR and not self._is_shares(before, old.max, new.max):
            self.story.breaks(f"{author} changed max from {old.max} to {new.max}")
        for holder in sorted(added | removed):
            self.story.tell(author, f"{'takes' if holder in added else 'gives back'} {holder}: {_text(new)}")
        self._note_holders(added, removed)
        for holder in sorted(removed):
            judged = self._expires(author, holder) or (
                self.desks is not None and self.desks.gave_back(author, holder, _record(before, holder))
            )
            if not judged:
                self._gave_back(author, holder, before)
        for holder in sorted(added):
            if self.desks is not None and self.desks.took(author, holder):
                self._in_turn(queued_as(holder), before)
                self._takes_none_while_frozen(holder)
            else:
                self._took(author, holder, before)
        for holder in sorted(set(old.holders) & set(new.holders)):
            if keys.holder_key(GROUP, holder) in before.found:
                self._kept(author, _record(before, holder), _record(self.server, holder))
                self._note_commit(author, _record(self.server, holder))

    def _is_record(self, key: str) -> bool:
        return key.startswith(RECORDS) and self.server.value(key) is not None

    def _expires(self, author: str, holder: str) -> bool:
        """Judge a slot that another takes from a lost machine; False: it was released."""
        own = author in (holder, OPERATOR, SCRIPT) or (self.desks is not None and self.desks.is_for(holder))
        if own or not self.expire_after:
            return False
        stood = asyncio.get_running_loop().time() - self.record_at.get(keys.holder_key(GROUP, holder), 0.0)
        if stood < self.expire_after:
            self.story.breaks(f"{author} takes the slot of {holder} away before its time")
        self.story.tell(author, f"takes the slot of {holder}, which is lost")
        if self.desks is not None:
            self.desks.expired(holder)
        return True

    def _took(self, author: str, holder: str, before: StoreBefore) -> None:
        record = _record(self.server, holder)
        if record is not None and record.nonce in self.known_ended:
            self.story.breaks(f"a slot is taken for {holder}, which has ended that claim")
        if holder == author:
            self.unlocked.pop(holder, None)
            if author in self.machines:
                self._in_turn(author, before)
            self._takes_none_while_frozen(author)
            self._knows_no_better(author)
            self.clusters.acts(self.machines.get(author), "takes a slot")
        elif author != OPERATOR:
            self.story.breaks(f"{author} took a slot for {holder}")

    def refused(self, author: str, words: str) -> None:
        """Judge what the store refuses: it does so only where more is asked of it at once than etcd takes."""
        self.story.breaks(f"{author} asks the store for too much at once: {words}")

    def went_back(self, revision: int) -> None:
        """Take note that the store is about to go back to a backup of that revision.

        A machine past its point of no return cannot be called back. One that has seen more of the store has to wait.
        """
        before, now = self.restored, asyncio.get_running_loop().time()
        self.restored = now
        if self.desks is not None:
            self.desks.went_back()
        for name, machine in self.machines.items():
            if machine.forgot_at > before:
                for known in (self.knew, self.heard, self.lost):
                    known.pop(name, None)
            if name in self.down or self._committed(name):
                self.unlocked[name] = _boot_in_question(machine)
            self.left_queue[name] = now
            if machine.was_behind:
                continue  # it may take an old `resume` for one that came after
            seen = machine.noted()
            self.knew[name] = max(self.knew.get(name, 0), seen.revision)
            for version, run in ((seen.version, None), (machine.saw, machine.runs)):
                if version > revision and name not in self.lost:
                    self.lost[name] = Lost(version, run)

    def switches(self, revision: int) -> None:
        """Take note that another cluster, with a backup of that revision, is about to take the place of the store."""
        self.went_back(revision)
        self.clusters.switches()

    def told(self, machine: SimMachine, answer: Answer[Any]) -> None:
        """Take note of an answer that has arrived: a machine that has more on its disk knows from then on."""
        if answer.sent > self.restored and answer.revision < self.knew.get(machine.name, 0):
            self.heard.setdefault(machine.name, asyncio.get_running_loop().time())

    def is_back(self) -> None:
        """Take note of what the backup says. Its orders may be over by their own word: machines have seen them."""
        self._note_windows()
        self.clusters.note_revision()
        for key in (FREEZE, SPACING):
            raw = self.server.value(key)
            for_ever = raw is not None and order_record.decode(raw, key, "freeze").lasts is None
            self.ends[key] = float("inf") if for_ever else float("-inf")
        for machine in self.machines.values():
            machine.forget_reboots()  # where its disk goes back as well, no memory of its reboots is left
        self.halted, self.version = {}, self.server.read(KEY).version

    def _note_holders(self, added: set[str], removed: set[str]) -> None:
        for holder in removed:
            self.held_since.pop(holder, None)
        self.held_since.update(dict.fromkeys(added, asyncio.get_running_loop().time()))

    def _note_commit(self, author: str, record: Claim | None) -> None:
        if record is not None and record.holder == author and record.state == COMMITTED:
            self.committed[record.nonce] = asyncio.get_running_loop().time()
            self.clusters.acts(self.machines.get(author), "passes its point of no return")

    def _note_windows(self) -> None:
        raw = self.server.value(WINDOWS)
        now = window_set.decode(raw, WINDOWS) if raw else None
        self.sets.append((asyncio.get_running_loop().time(), now))

    def _knows_no_better(self, author: str) -> None:
        """Judge a take behind a restore; one that was under way then may win where nothing had changed since."""
        now, machine = asyncio.get_running_loop().time(), self.machines.get(author)
        if now - self.restored < LATE:
            return
        if machine is not None and machine.forgot_at > self.restored:
            return  # what it knew was on its disk
        if self.knew.get(author, 0) >= self.server.revision:
            self.story.breaks(f"{author} takes a slot and has seen more of the store than that knows")
        if now - self.heard.get(author, now) > LATE:
            self.story.breaks(f"{author} takes a slot although an answer told it that the store went back")
        if (lost := self.lost.get(author)) is not None and lost.counts(self.machines[author], self.server):
            self.story.breaks(f"{author} takes a slot and has seen a semaphore that the store has lost")

    def _gave_back(self, author: str, holder: str, before: StoreBefore) -> None:
        machine, record = self.machines.get(holder), _record(before, holder)
        if author == SCRIPT:
            self._is_through_its_reboot(holder, before)
        if author in (OPERATOR, SCRIPT):
            if record is not None and record.state == COMMITTED and machine is not None:
                self.unlocked[holder] = _boot_in_question(machine)
        elif machine is not None and machine.down_by != DAEMON and record is not None and author == holder:
            self._gave_its_own_back(machine, record)
        elif holder != author:
            self.story.breaks(f"{author} gave back the slot of {holder}")
        elif record is None and machine is not None:
            self.story.breaks(f"{author} gave back a slot without a record")
        elif machine is not None and machine.down_by == DAEMON:
            self.story.breaks(f"{author} gave its slot back before it had rebooted")

    def _is_through_its_reboot(self, holder: str, before: StoreBefore) -> None:
        """Judge whose slot a script frees. Without transactions a machine may come back right before the write."""
        record = _record(before, holder)
        if record is None or record.kind == MANUAL or self.stepwise:
            return
        key = keys.node_key(GROUP, holder)
        shown = before.value(key)
        if shown is None:
            return
        if record.state != HELD or node.decode(shown, key, holder).state in MID_REBOOT:
            self.story.breaks(f"a script freed the slot of {holder}, which is present and not through its reboot")

    def _gave_its_own_back(self, machine: SimMachine, record: Claim) -> None:
        name = machine.name
        if record.kind == MANUAL:
            self.story.breaks(f"{name} undid the manual claim of {record.who}")
        elif not self._has_rebooted(machine, record):
            return
        elif record.state == COMMITTED and machine.forgot == record.nonce and record.commits > machine.remembers:
            self.story.breaks(f"{name} gave its slot back, and hides that its disk was rolled back")
        elif machine.problems():
            self.story.breaks(f"{name} gave its slot back before it was healthy")
        elif machine.drained:
            self.story.breaks(f"{name} gave its slot back before its hooks had brought it back")

    def _has_rebooted(self, machine: SimMachine, record: Claim) -> bool:
        """Whether it has booted since the claim, and knew that when it gave its slot back: that may come late."""
        return record.boot_id != machine.boot.boot_id and self.server.sent >= machine.booted_at

    def ordered(self, what: str, done: object) -> None:
        """Take note of an operator's order: what holds from now on, or no longer."""
        self.frozen = {claim.holder for claim in done.too_late} if isinstance(done, Ordered) else None
        if what == "thaw":
            self.frozen = None

    def holds_back(self, name: str, since: float | None) -> None:
        """Take note that an operator was told that an id is held back, or (None) is about to let it go on."""
        if self.desks is not None and since is not None:
            self.desks.held[name] = since
        elif self.desks is not None:
            self.desks.held.pop(name, None)

    def _note_halt(self, before: StoreBefore, after: SimServer) -> None:
        """A reboot that went wrong halts from the touch of the semaphore on that follows its record."""
        version = self.server.read(KEY).version
        touched, self.version = version != self.version, version
        wrong = sum(self._is_wrong(_record(after, name)) for name in self.semaphore().holders)
        self.halted = {number: late for number, late in self.halted.items() if number <= wrong}
        if touched and wrong > len(self.halted):
            records = {name: _record(before, name) for name in _semaphore(before.value(KEY)).holders}
            late = {name for name, claim in records.items() if claim is not None and claim.state != HELD}
            self.halted |= dict.fromkeys(range(len(self.halted) + 1, wrong + 1), late)

    def _is_wrong(self, claim: Claim | None) -> bool:
        return claim is not None and claim.state in WENT_WRONG and not claim.acknowledged

    def _is_shares(self, before: StoreBefore, was: int, slots: int) -> bool:
        """Whether a share that stands makes this number, of as many machines as may be present."""
        try:
            raw = before.value(SHARE)
            found = share.decode(raw, SHARE) if raw else None
        except CorruptValueError:
            return False
        if found is None or found.is_void(was):
            return False
        most = len(self.machines) + (len(self.desks.clients) if self.desks is not None else 0)
        return slots in {found.of(machines) for machines in range(most + 1)}

    def _note_who_left_the_queue(self, gone: Sequence[str]) -> None:
        for key in gone:
            if key.startswith(QUEUE):
                self.left_queue[places.name_in(key)] = asyncio.get_running_loop().time()

    def _judge_waiting(self, gone: Sequence[str]) -> None:
        """Judge whether a place expires while its machine waits, on a day on which nothing keeps it from asking."""
        for key in gone:
            machine = self.machines.get(places.name_in(key)) if key.startswith(QUEUE) else None
            if machine is not None and machine.on and machine.claims:
                self.story.breaks(f"the place of {machine.name} expires while it waits")

    def _note_who_was_overtaken(self, before: StoreBefore) -> None:
        """Take note of each place after a new one, whose number is older: the machine there does not see it at once."""
        new = [key for key, entry in before.found.items() if key.startswith(QUEUE) and entry is None]
        line = self.server.line()
        if new and not self.stepwise and (twice := [name for name, count in Counter(line).items() if count > 1]):
            self.story.breaks(f"{twice[0]} stands twice in the queue")
        for key in new:
            if (name := places.name_in(key)) in line:
                self.overtaken |= dict.fromkeys(line[line.index(name) + 1 :], asyncio.get_running_loop().time())

    def _in_turn(self, author: str, before: StoreBefore) -> None:
        """Judge the order: as many take as slots are free. A take sent from a place that is gone may win late."""
        excused = max(self.left_queue.get(author, float("-inf")), self.overtaken.get(author, float("-inf")))
        gone = asyncio.get_running_loop().time() - excused
        line, free = before.line_of(author), self.semaphore().max - len(_semaphore(before.value(KEY)).holders)
        if author not in line[:free] and gone > LATE:
            self.story.breaks(f"{author} takes a slot out of turn: in line stand {', '.join(line) or 'none'}")

    def _is_judged(self, name: str) -> bool:
        """Tell a machine, or a client, from operators and legacy nodes."""
        return name in self.machines or (self.desks is not None and name in self.desks.clients)

    def _takes_none_while_frozen(self, author: str) -> None:
        """Judge a take after a freeze that the operator was told of; one that a backup lets win late is none."""
        if (
            asyncio.get_running_loop().time() - self.restored < LATE
            or self.frozen is None
            or not self._is_judged(author)
        ):
            return
        if self.freeze_stands():
            self.story.breaks(f"{author} takes a slot although the group is frozen")

    def _kept(self, author: str, before: Claim | None, after: Claim | None) -> None:
        if before is not None and before.kind == MANUAL and author != OPERATOR and before != after:
            self.story.breaks(f"{author} wrote over the manual claim of {before.who}")

    def windows_of(self, name: str, ago: float = 0.0) -> list[Windows | None]:
        """Give a machine's windows as they were at some time in the last seconds, and (the last) as they are.

        One whose set is not there has none at all.
        """
        settings, since = self.windows[name], asyncio.get_running_loop().time() - ago
        if not settings.sets:
            return [window_set.union([settings.own])]
        ended = [*(time for time, _ in self.sets[1:]), float("inf")]
        stood = [one for (_, one), end in zip(self.sets, ended, strict=True) if end >= since]
        return [NEVER if one is None else window_set.union([settings.own, one]) for one in stood]

    def began(self, machine: SimMachine) -> None:
        """Judge the beginning of the hooks before a reboot."""
        if machine.name in self.dry:
            self.story.breaks(f"{machine.name} drains itself in a dry run")
        now, least = machine.clock(), self.windows[machine.name].least
        if not any(_has_left(windows, now, least) for windows in self.windows_of(machine.name, LATE)):
            self.story.breaks(f"{machine.name} begins its reboot with too little of its window left")

    def asked(self, machine: SimMachine) -> None:
        """Judge an order to reboot at the moment it is given."""
        self.story.tell(machine.name, "orders its reboot")
        self._is_wanted(machine)
        self._is_the_time(machine)
        self._is_permitted(machine)

    def _is_wanted(self, machine: SimMachine) -> None:
        name, engine, packages = machine.name, machine.engine, machine.packages
        if name in self.dry:
            self.story.breaks(f"{name} reboots in a dry run")
        now = asyncio.get_running_loop().time()
        since = now - max(engine.needed_until, packages.needed_until)
        must_release = engine.must_release and packages.need is None and packages.needed_until < engine.needed_until
        for_ever = machine.insatiable and now < STORMY + FRESH
        if not machine.is_wanted and not for_ever and (must_release or since > FRESH + 0.1):
            self.story.breaks(f"{name} reboots and nothing wants it to")
        other = machine.wants_for_ever()
        if engine.need in machine.tried and packages.need is None and other in {None, *machine.met}:
            self.story.breaks(f"{name} reboots once more for {engine.need}")
        if not machine.is_wanted and since > FRESH + 0.1 and other in machine.met:
            self.story.breaks(f"{name} reboots again for what it has rebooted for")
        today = [at for at in machine.caused if abs(machine.clock() - at) < HALF_A_DAY]
        if 0 < self.most_per_day <= len(today):
            self.story.breaks(f"{name} reboots more often in a day than its triggers may")

    def _is_the_time(self, machine: SimMachine) -> None:
        name, windows = machine.name, self.windows_of(machine.name, FRESH + 5.0)
        if not any(one is None or one.contains(machine.clock()) for one in windows):
            self.story.breaks(f"{name} reboots outside its window")
        blocked = asyncio.get_running_loop().time() - (machine.blocked_since or float("inf"))
        if blocked > FRESH + 0.1:
            self.story.breaks(f"{name} reboots although its shutdown is blocked")
        if self.hooks and not machine.drained:
            self.story.breaks(f"{name} reboots and is not drained")

    def _is_permitted(self, machine: SimMachine) -> None:
        """Judge what the group allows; whom an operator has unlocked too late is beyond it."""
        if self._excused(machine):
            return
        name, now = machine.name, self.semaphore()
        down = [name, *(other.name for other in self.down.values() if other is not machine and self._counts(other))]
        down += self.desks.out() if self.desks is not None else []
        if len(down) > max(now.max, len(now.holders)):
            self.story.breaks(f"{', '.join(down)} are down at once")
        if self.freeze_stands() and self.frozen is not None and name not in self.frozen:
            self.story.breaks(f"{name} reboots although the group is frozen, and no report says so")
        limit = machine.halt_after.of(len(self.machines))
        if limit in self.halted and name not in self.halted[limit]:
            self.story.breaks(f"{name} reboots although the group is halted")
        if limit == 1 and self.desks and (lost := self.desks.lost(self.committed.get(machine.nonce, 0.0))):
            self.story.breaks(f"{name} reboots although the client {lost} is lost")
        if limit == 1 and (orphan := self._orphan(name)):
            self.story.breaks(f"{name} reboots although {orphan} has forgotten its claim")
        if not self._committed(name):
            self.story.breaks(f"{name} reboots without holding a slot past its point of no return")
        if asyncio.get_running_loop().time() - self.committed.get(machine.nonce, 0.0) > FRESH + 0.1:
            self.story.breaks(f"{name} orders its reboot long after its commit took effect")

    def _orphan(self, name: str) -> str:
        """Name a machine that shows itself without the claim by which it rebooted, for longer than a look is old."""
        now = asyncio.get_running_loop().time()
        for other in self.semaphore().holders:
            machine, record = self.machines.get(other), _record(self.server, other)
            if machine is None or record is None or other == name or record.state != COMMITTED or record.acknowledged:
                continue
            shown = self.server.read(keys.node_key(GROUP, other)).entry
            if shown is None or f'"claim":"{record.nonce}"'.encode() in shown.value:
                continue
            booted = record.boot_id != machine.boot.boot_id and machine.boot.boot_id.encode() in shown.value
            if booted and now - max(machine.forgot_at, machine.booted_at) > SHOWN:
                return other
        return ""

    def _look_after_the_unable(self) -> None:
        """Judge machines that hold a slot, and have no disk or no bus to go on with."""
        now = asyncio.get_running_loop().time()
        unable = [name for name in self.semaphore().holders if self._is_unable(name, now)]
        self.unable_since = {name: self.unable_since.get(name, now) for name in unable}
        for name, since in self.unable_since.items():
            if now - since > TOLD:
                self.story.breaks(f"{name} cannot go on with its reboot for {TOLD:.0f} s, and does not tell its group")

    def _is_unable(self, name: str, now: float) -> bool:
        """Whether it could neither write nor look at itself, and neither released its slot nor reported it."""
        machine = self.machines.get(name)
        if machine is None or now >= max(machine.full_until, machine.no_bus_until):
            return False
        record = _record(self.server, name)
        if record is None or machine.down_by is not None or record.nonce != machine.nonce:
            return False
        if record.state in WENT_WRONG:
            return False
        if record.boot_id == machine.boot.boot_id:
            return record.state == HELD and now < machine.full_until
        return now < machine.no_bus_until

    def freeze_stands(self) -> bool:
        """Tell whether the group is frozen, by the store. What is over by its own word may fail to be removed."""
        over = asyncio.get_running_loop().time() >= self.ends.get(FREEZE, float("inf"))
        return self.server.value(FREEZE) is not None and not over

    def turn(self) -> None:
        """Judge the state of the fleet after a turn."""
        if self.down and (self.version, len(self.down)) != self.judged:
            self.judged, holders = (self.version, len(self.down)), self.semaphore().holders
            for name, machine in self.down.items():
                if name not in holders and self._counts(machine):
                    self.story.breaks(f"{name} goes down and holds no slot")
        if self.desks is not None:
            self.desks.turn()
        if self.hubs is not None:
            self.hubs.turn()
        if self.calm:
            self._hand_over()
        if self.sociable:
            self._hold_on()
        if self.prompt:
            self._look_after_the_unable()
        if self.orderly and asyncio.get_running_loop().time() - self.looked > SELDOM:
            self._goes_on()

    def _goes_on(self) -> None:
        """Judge whether the queue goes on: a slot that a machine in it may take does not stay free."""
        now = self.looked = asyncio.get_running_loop().time()
        version, free = self.server.read(KEY).version, self.semaphore().available > 0
        able = [name for name in self.server.line() if self._may_take(name, now)] if free and now < STORMY else []
        if not able or self._is_held_back(now) or version != self.takeable_version:
            self.takeable_since, self.takeable_version = None, version
        elif self.takeable_since is None:
            self.takeable_since = now
        elif now - self.takeable_since > STUCK:
            first = self.server.line()[0]
            self.story.breaks(f"a slot stays free although {able[0]} may take it: {first} is first in the queue")

    def _may_take(self, name: str, now: float) -> bool:
        """Tell whether a machine that waits could take a slot, if it were the first."""
        machine = self.machines.get(name)
        if machine is None or not machine.on or machine.is_ahead or now < machine.unable_until:
            return False
        wrong = sum(self._is_wrong(_record(self.server, holder)) for holder in self.semaphore().holders)
        return not wrong or wrong < (machine.halt_after.number or wrong + 1)

    def _is_held_back(self, now: float) -> bool:
        """Tell whether an order stands that is not over by its own word."""
        return any(self.server.value(key) is not None and now < self.ends[key] for key in (FREEZE, SPACING))

    def _note_free_slot(self, before: StoreBefore) -> None:
        """One that is taken after the other is no slot that stays free."""
        if not self.server.count(QUEUE) or self.semaphore().available <= 0:
            self.free_since = None
        elif self.free_since is None or len(_semaphore(before.value(KEY)).holders) < len(self.semaphore().holders):
            self.free_since = asyncio.get_running_loop().time()

    def _hold_on(self) -> None:
        """Judge how long users and hooks hold a slot before the point of no return."""
        time = asyncio.get_running_loop().time()
        for name, since in self.held_since.items():
            record = _record(self.server, name)
            if record is not None and record.state == HELD and time - since > LONGEST_HOLD:
                self.story.breaks(f"{name} holds a slot for longer than its users may")

    def _hand_over(self) -> None:
        """Judge whether a machine that waits for a slot takes a free one at once."""
        time = asyncio.get_running_loop().time()
        if self.free_since is not None and time - self.free_since > HAND_OVER:
            first = self.server.line()[0]
            self.story.breaks(f"a slot stays free for {HAND_OVER:.0f} s, and {first} is first in line")

    def semaphore(self) -> Semaphore:
        """The semaphore as it stands."""
        return _semaphore(self.server.value(KEY))

    def record(self, holder: str) -> Claim | None:
        """Give the record of a holder as it stands."""
        return _record(self.server, holder)

    def _counts(self, machine: SimMachine) -> bool:
        return machine.down_by == DAEMON and not self._excused(machine)

    def _excused(self, machine: SimMachine) -> bool:
        """Whether an operator took its slot away when it could no longer be stopped, in this boot."""
        return self.unlocked.get(machine.name) == _boot_in_question(machine)

    def _committed(self, name: str) -> bool:
        record = _record(self.server, name)
        claim = self.machines[name].nonce
        held = name in self.semaphore().holders and record is not None
        return held and record is not None and record.state == COMMITTED and record.nonce == claim


def _boot_in_question(machine: SimMachine) -> int:
    """The boot that runs, or has just ended while the machine is off."""
    return machine.boots if machine.on else machine.boots - 1


@lru_cache(maxsize=256)
def _semaphore(raw: bytes | None) -> Semaphore:
    return semaphore.decode(raw, KEY) if raw else Semaphore()


def _record(values: SimServer | StoreBefore, holder: str) -> Claim | None:
    return _claim(values.value(_holder_key(holder)), holder)


@lru_cache(maxsize=1024)
def _holder_key(holder: str) -> str:
    return keys.holder_key(GROUP, holder)


@lru_cache(maxsize=1024)
def _claim(raw: bytes | None, holder: str) -> Claim | None:
    try:
        return claim_record.decode(raw, keys.holder_key(GROUP, holder), holder) if raw else None
    except CorruptValueError:
        return None


def _text(now: Semaphore) -> str:
    return f"{len(now.holders)} of {now.max} held by {', '.join(now.holders) or 'no machine'}"


def _has_left(windows: Windows | None, now: datetime, least: timedelta) -> bool:
    opening = windows.opening(now) if windows is not None else None
    return windows is None or (opening is not None and opening.left(now) >= least)
